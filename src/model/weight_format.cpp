// Sizes and names of the formats; the one place that knows what each coding stores beside its codes.
#include "model/weight_format.h"

namespace prosa {

std::string_view to_string(DType type) noexcept {
  switch (type) {
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::f32: return "f32";
  }
  return "unknown";
}

std::string_view to_string(WeightCoding coding) noexcept {
  switch (coding) {
    case WeightCoding::dense: return "";
    case WeightCoding::affine: return "affine";
    case WeightCoding::mxfp4: return "mxfp4";
    case WeightCoding::mxfp8: return "mxfp8";
    case WeightCoding::nvfp4: return "nvfp4";
  }
  return "unknown";
}

bool WeightFormat::is_known() const noexcept {
  if (!quantized()) return *this == dense(type);
  if (has_small_floats()) return *this == small_floats(coding);
  const bool known_bits = bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8;
  return known_bits && (group_size == 32 || group_size == 64 || group_size == 128);
}

int64_t WeightFormat::group_bytes() const noexcept { return has_biases() ? 2 * scale_bytes() : scale_bytes(); }

int64_t WeightFormat::bytes(int64_t rows, int64_t cols) const noexcept {
  return rows * (row_bytes(cols) + groups(cols) * group_bytes());
}

double WeightFormat::bits_per_weight() const noexcept {
  if (group_size == 0) return bits;
  return bits + 8.0 * static_cast<double>(group_bytes()) / group_size;
}

std::string WeightFormat::name() const {
  if (!quantized()) return std::string(to_string(type));
  if (has_small_floats()) return std::string(to_string(coding));
  return std::to_string(bits) + " bit, group " + std::to_string(group_size);
}

}  // namespace prosa
