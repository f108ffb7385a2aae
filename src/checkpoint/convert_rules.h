// The plan that people state: bits and group for all matrices, and exceptions by name. Rounds to nearest, as MLX does.
//
// Chooses formats, no codes; the calibrated methods are plans of their own and may take exceptions from here. Constant
// after it was made, so safe for any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/pattern.h"
#include "checkpoint/convert.h"

namespace prosa::checkpoint {

/// One exception: "PATTERN=BITS[:GROUP]". A pattern is a glob (`*`, `?`, `[…]`) for a module's path or for the end of
/// one after a dot: `down_proj`, `layers.0.*`, `lm_head`. Between slashes it is a regular expression that is searched
/// for: `/layers\.(0|23)\./`. base/pattern.h says what either may hold; none takes long.
class FormatOverride {
 public:
  /// Error(invalid_argument): not of that form, bits or group unknown. Without a group, `default_group` counts.
  static FormatOverride parse(std::string_view text, int default_group);

  /// `name`: of a matrix, with or without ".weight".
  [[nodiscard]] bool matches(std::string_view name) const;
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const WeightFormat& format() const noexcept { return format_; }

 private:
  std::string text_;
  Pattern pattern_;
  WeightFormat format_;
};

class RulePlan : public ConvertPlan {
 public:
  /// As people state it: bits 2, 3, 4, 5, 6, 8, or 16 for bfloat16; group 32, 64, 128. Error(invalid_argument) for
  /// others.
  RulePlan(int bits, int group_size, std::vector<FormatOverride> overrides = {});
  /// One that prosa can write: affine, mxfp4 or bfloat16.
  explicit RulePlan(const WeightFormat& format, std::vector<FormatOverride> overrides = {});

  /// The last exception that matches, else the rule for all. Error(invalid_argument): an exception's group does not
  /// divide the matrix's width.
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override;

  /// The exception for a matrix, for plans that take them from here.
  [[nodiscard]] const FormatOverride* override_of(std::string_view name) const;

  /// Error(invalid_argument) for an exception that matches none of them: a misspelt name must not pass in silence.
  void require_matches(std::span<const MatrixShape> matrices) const;

 private:
  WeightFormat format_;
  std::vector<FormatOverride> overrides_;
};

}  // namespace prosa::checkpoint
