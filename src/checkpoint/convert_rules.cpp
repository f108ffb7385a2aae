// Patterns of module names, and the plan made of them.
#include "checkpoint/convert_rules.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <regex>

#include "checkpoint/quantize.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr size_t kMaxPatternBytes = 256;  // std::regex recurses with the length of what it reads
constexpr size_t kMaxCopies = 16;         // of a part of an expression: ((a?){99}){99} takes seconds a name

/// Without back references, and in return in polynomial time: (a*)*b would take years to find nothing.
constexpr auto kExpressionKind = std::regex::ECMAScript | std::regex_constants::__polynomial;

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

/// How often the counts of an expression may copy a part of it: {1,3} and {2} give 6, as if they were nested.
size_t count_copies(std::string_view expression) {
  size_t copies = 1;
  for (size_t at = expression.find('{'); at != std::string_view::npos; at = expression.find('{', at + 1)) {
    size_t largest = 1;
    for (size_t i = at + 1; i < expression.size() && expression[i] != '}';) {
      size_t number = 0;
      const auto read = std::from_chars(expression.data() + i, expression.data() + expression.size(), number);
      if (read.ec == std::errc::result_out_of_range) return kMaxCopies + 1;
      largest = std::max(largest, number);
      i = std::max(i + 1, static_cast<size_t>(read.ptr - expression.data()));
    }
    if (largest > kMaxCopies) return largest;
    copies *= largest;
    if (copies > kMaxCopies) return copies;
  }
  return copies;
}

}  // namespace

struct FormatOverride::Expression {
  std::regex regex;
};

FormatOverride FormatOverride::parse(std::string_view text, int default_group) {
  const size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0) malformed(text, "no PATTERN=");
  if (equals > kMaxPatternBytes) malformed(text.substr(0, 40), "the pattern is too long");
  FormatOverride result;
  result.text_ = text;
  result.pattern_ = text.substr(0, equals);
  const std::string_view format = text.substr(equals + 1);
  const size_t colon = format.find(':');
  const int bits = parse_number(format.substr(0, colon), text);
  const int group = colon == std::string_view::npos ? default_group : parse_number(format.substr(colon + 1), text);
  result.format_ = known_format(bits, group, result.text_);
  if (result.pattern_.size() >= 2 && result.pattern_.starts_with('/') && result.pattern_.ends_with('/')) {
    const std::string expression = result.pattern_.substr(1, result.pattern_.size() - 2);
    if (count_copies(expression) > kMaxCopies) malformed(text, "the counts in {} multiply to more than 16");
    try {
      result.expression_ = std::make_shared<const Expression>(Expression{std::regex(expression, kExpressionKind)});
    } catch (const std::regex_error& error) {
      malformed(text, std::string("no regular expression: ") + error.what());
    }
  }
  return result;
}

bool FormatOverride::matches(std::string_view name) const {
  const std::string module(module_of(name));
  if (expression_ != nullptr) return std::regex_search(module, expression_->regex);
  for (size_t begin = 0;;) {
    if (::fnmatch(pattern_.c_str(), module.c_str() + begin, 0) == 0) return true;
    const size_t dot = module.find('.', begin);
    if (dot == std::string::npos) return false;
    begin = dot + 1;
  }
}

RulePlan::RulePlan(int bits, int group_size, std::vector<FormatOverride> overrides)
    : format_(known_format(bits, group_size, "the format of the conversion")), overrides_(std::move(overrides)) {}

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
