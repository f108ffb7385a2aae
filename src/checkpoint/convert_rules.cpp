// Patterns of module names, and the plan made of them.
#include "checkpoint/convert_rules.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "checkpoint/quantize.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr size_t kMaxShown = 100;  // bytes of a pattern in a message

std::string_view module_of(std::string_view name) {
  constexpr std::string_view kWeight = ".weight";
  if (name.ends_with(kWeight)) name.remove_suffix(kWeight.size());
  return name;
}

/// 16 bits are plain bfloat16, whatever the group.
WeightFormat known_format(int bits, int group_size, const std::string& where) {
  if (bits == 16) return WeightFormat::dense(DType::bf16);
  if (const auto format = WeightFormat::affine(bits, group_size); format.is_known()) return format;
  throw Error(ErrorCode::invalid_argument,
              std::to_string(bits) + " bits in groups of " + std::to_string(group_size) + " are not known", where,
              "bits: 2, 3, 4, 5, 6, 8, 16; groups: 32, 64, 128");
}

[[noreturn]] void malformed(std::string_view text, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, problem, std::string(text),
              "an override is PATTERN=BITS or PATTERN=BITS:GROUP, as in down_proj=8 or layers.0.*=6:32");
}

int parse_number(std::string_view digits, std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) malformed(text, "no number of bits or columns");
  return number;
}

}  // namespace

FormatOverride FormatOverride::parse(std::string_view text, int default_group) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) malformed(text, "no PATTERN=");
  FormatOverride result;
  result.text_ = text;
  const std::string_view pattern = text.substr(0, equals);
  const std::string_view format = text.substr(equals + 1);
  const size_t colon = format.find(':');
  const int bits = parse_number(format.substr(0, colon), text);
  const int group = colon == std::string_view::npos ? default_group : parse_number(format.substr(colon + 1), text);
  result.format_ = known_format(bits, group, result.text_);
  try {
    const bool is_regex = pattern.size() >= 2 && pattern.starts_with('/') && pattern.ends_with('/');
    result.pattern_ = is_regex ? Pattern::regex(pattern.substr(1, pattern.size() - 2)) : Pattern::glob(pattern);
  } catch (const Error& error) {
    malformed(text.substr(0, kMaxShown), "no pattern that prosa knows: " + error.message());
  }
  return result;
}

bool FormatOverride::matches(std::string_view name) const { return pattern_.matches(module_of(name)); }

RulePlan::RulePlan(int bits, int group_size, std::vector<FormatOverride> overrides)
    : format_(known_format(bits, group_size, "the format of the conversion")), overrides_(std::move(overrides)) {}

RulePlan::RulePlan(const WeightFormat& format, std::vector<FormatOverride> overrides)
    : format_(format), overrides_(std::move(overrides)) {
  PROSA_CHECK(format.is_known() && (!format.has_small_floats() || format.coding == WeightCoding::mxfp4));
}

const FormatOverride* RulePlan::override_of(std::string_view name) const {
  const auto found = std::find_if(overrides_.rbegin(), overrides_.rend(),
                                  [name](const FormatOverride& candidate) { return candidate.matches(name); });
  return found == overrides_.rend() ? nullptr : &*found;
}

MatrixPlan RulePlan::matrix(const std::string& name, int64_t /*rows*/, int64_t cols) const {
  const FormatOverride* special = override_of(name);
  if (special == nullptr) return {format_, nullptr};
  if (!special->format().fits(cols)) {
    throw Error(ErrorCode::invalid_argument,
                "'" + special->text() + "' asks for groups of " + std::to_string(special->format().group_size) +
                    ", but '" + name + "' is " + std::to_string(cols) + " wide",
                "override", "ask for a group that divides the width, or for 16 bits");
  }
  return {special->format(), nullptr};
}

void RulePlan::require_matches(std::span<const MatrixShape> matrices) const {
  for (const FormatOverride& candidate : overrides_) {
    const auto matched = [&](const MatrixShape& matrix) { return candidate.matches(matrix.name); };
    if (std::ranges::any_of(matrices, matched)) continue;
    throw Error(ErrorCode::invalid_argument, "'" + candidate.text() + "' matches no matrix of the model", "override",
                "prosa inspect MODEL --tensors lists the names");
  }
}

}  // namespace prosa::checkpoint
