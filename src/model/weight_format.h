// How the weights of one matrix are stored: plain floating-point numbers, or small codes in groups that share a scale.
//
// A value: two matrices with equal formats are read by the same code. What config.json says about quantization is
// QuantizationSpec (config.h). A further coding is a new WeightCoding with its row in weight_format.cpp; code that only
// asks for sizes and names does not change.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace prosa {

enum class DType { bf16, f16, f32 };

inline constexpr size_t dtype_size(DType type) noexcept { return type == DType::f32 ? 4 : 2; }
std::string_view to_string(DType type) noexcept;  // "bf16"

enum class WeightCoding {
  dense,   // a number is stored as it is
  affine,  // MLX: number = scale * code + bias, a scale and a bias for each group of columns
  // MLX's floating-point modes: number = scale * code, both small floats (small_floats.h), no bias. Bits and group are
  // fixed: WeightFormat::small_floats().
  mxfp4,  // codes E2M1, scales E8M0
  mxfp8,  // codes E4M3, scales E8M0
  nvfp4,  // codes E2M1, scales E4M3
};
/// As MLX's "mode" says it: "affine", "mxfp4". Dense weights have none: "".
std::string_view to_string(WeightCoding coding) noexcept;

struct WeightFormat {
  WeightCoding coding = WeightCoding::dense;
  int bits = 16;             // of one stored number: 16 or 32 dense; 2, 3, 4, 5, 6, 8 affine; 4 or 8 small floats
  int group_size = 0;        // columns that share a scale: 32, 64, 128, nvfp4 16; 0: there are no groups
  DType type = DType::bf16;  // dense: of the numbers; affine: of scales and biases; small floats: holds their products

  static constexpr WeightFormat dense(DType type) noexcept {
    return {WeightCoding::dense, 8 * static_cast<int>(dtype_size(type)), 0, type};
  }
  static constexpr WeightFormat affine(int bits, int group_size, DType scales = DType::bf16) noexcept {
    return {WeightCoding::affine, bits, group_size, scales};
  }

  static constexpr WeightFormat small_floats(WeightCoding coding) noexcept {
    return {coding, coding == WeightCoding::mxfp8 ? 8 : 4, coding == WeightCoding::nvfp4 ? 16 : 32, DType::bf16};
  }

  /// Whether codes and scales are small floats.
  [[nodiscard]] constexpr bool has_small_floats() const noexcept {
    return coding != WeightCoding::dense && coding != WeightCoding::affine;
  }
  [[nodiscard]] constexpr bool has_biases() const noexcept { return coding == WeightCoding::affine; }
  /// Bytes of one group's scale; 0: there is none.
  [[nodiscard]] constexpr int64_t scale_bytes() const noexcept {
    return !quantized() ? 0 : has_small_floats() ? 1 : static_cast<int64_t>(dtype_size(type));
  }
  /// Whether numbers are codes in groups. What is not quantized is dense.
  [[nodiscard]] constexpr bool quantized() const noexcept { return coding != WeightCoding::dense; }
  /// Whether prosa reads and writes this format.
  [[nodiscard]] bool is_known() const noexcept;
  /// Whether rows of so many columns can have it: whole groups only.
  [[nodiscard]] constexpr bool fits(int64_t cols) const noexcept { return group_size == 0 || cols % group_size == 0; }
  [[nodiscard]] constexpr int64_t groups(int64_t cols) const noexcept {
    return group_size == 0 ? 0 : cols / group_size;
  }

  /// Bytes of a row's numbers or codes, without scales and biases.
  [[nodiscard]] constexpr int64_t row_bytes(int64_t cols) const noexcept { return cols * bits / 8; }
  /// Bytes that one group has beside its codes.
  [[nodiscard]] int64_t group_bytes() const noexcept;
  /// Bytes of a matrix with everything that belongs to it.
  [[nodiscard]] int64_t bytes(int64_t rows, int64_t cols) const noexcept;
  /// With scales and biases: 4.5 for 4 bits in groups of 64 with bfloat16 scales.
  [[nodiscard]] double bits_per_weight() const noexcept;

  /// For people: "bf16", "4 bit, group 64", "mxfp4".
  [[nodiscard]] std::string name() const;

  friend auto operator<=>(const WeightFormat&, const WeightFormat&) = default;
};

}  // namespace prosa
