// dequantize_row: one matrix row as float32, whatever the file holds. The plain definition that kernels are held
// against.
#include "model/dequantize.h"

#include <array>
#include <cstring>

#include "base/bf16.h"
#include "base/check.h"
#include "model/small_floats.h"

namespace prosa {

namespace {

/// Unpacks with the width known to the compiler, 32 values = Bits words at a time.
template <int Bits>
void unpack(const std::byte* words, std::span<uint8_t> q) {
  constexpr uint32_t kMask = (1U << Bits) - 1U;
  for (size_t block = 0; block < q.size(); block += 32) {
    std::array<uint32_t, Bits> word;
    std::memcpy(word.data(), words + block / 32 * sizeof word, sizeof word);
    for (size_t i = 0; i < 32; ++i) {
      const size_t bit = i * Bits;
      uint32_t value = word[bit / 32] >> (bit % 32);
      if (bit % 32 + Bits > 32) value |= word[bit / 32 + 1] << (32 - bit % 32);
      q[block + i] = static_cast<uint8_t>(value & kMask);
    }
  }
}

void floats_from(const std::byte* data, DType type, int64_t count, float* out) {
  if (type == DType::f32) {
    std::memcpy(out, data, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  // One loop a type, so that each becomes vector code.
  const auto convert = [&](auto to_float) {
    for (int64_t i = 0; i < count; ++i) {
      uint16_t bits = 0;
      std::memcpy(&bits, data + i * 2, sizeof bits);
      out[i] = to_float(bits);
    }
  };
  if (type == DType::bf16) return convert([](uint16_t bits) { return bf16_to_float(bits); });
  convert([](uint16_t bits) { return f16_to_float(bits); });
}

float small_scale(const WeightFormat& format, std::byte scale) {
  const auto code = std::to_integer<unsigned>(scale);
  return format.coding == WeightCoding::nvfp4 ? e4m3_to_float(code) : e8m0_to_float(code);
}

/// scale * code, as MLX multiplies them; exact in float32.
void dequantize_small_floats(const Matrix& matrix, int64_t row, float* out) {
  const WeightFormat& format = matrix.format;
  const std::byte* codes = matrix.data + row * format.row_bytes(matrix.cols);
  const std::byte* scales = matrix.scales + row * matrix.groups();
  for (int64_t column = 0; column < matrix.cols; ++column) {
    const float scale = small_scale(format, scales[column / format.group_size]);
    const auto byte = std::to_integer<unsigned>(codes[column * format.bits / 8]);
    out[column] = scale * (format.bits == 8 ? e4m3_to_float(byte) : e2m1_to_float(column % 2 == 0 ? byte : byte >> 4));
  }
}

}  // namespace

void unpack_row(const std::byte* words, int bits, std::span<uint8_t> q) {
  PROSA_CHECK(q.size() % 32 == 0);
  switch (bits) {
    case 2: return unpack<2>(words, q);
    case 3: return unpack<3>(words, q);
    case 4: return unpack<4>(words, q);
    case 5: return unpack<5>(words, q);
    case 6: return unpack<6>(words, q);
    case 8: return unpack<8>(words, q);
    default: PROSA_CHECK(!"bits of a quantized matrix");
  }
}

void dequantize_row(const Matrix& matrix, int64_t row, float* out) {
  PROSA_CHECK(row >= 0 && row < matrix.rows);
  if (!matrix.quantized()) {
    floats_from(matrix.data + row * matrix.format.row_bytes(matrix.cols), matrix.format.type, matrix.cols, out);
    return;
  }
  const WeightFormat& format = matrix.format;
  if (format.has_small_floats()) return dequantize_small_floats(matrix, row, out);
  std::array<uint8_t, 128> q;
  const auto group = static_cast<size_t>(format.group_size);
  PROSA_CHECK(group <= q.size());
  const int64_t group_bytes = format.row_bytes(format.group_size);
  const int64_t first_group = row * matrix.groups();
  const auto scale_bytes = static_cast<int64_t>(dtype_size(format.type));
  for (int64_t g = first_group; g < first_group + matrix.groups(); ++g) {
    float scale = 0;
    float bias = 0;
    floats_from(matrix.scales + g * scale_bytes, format.type, 1, &scale);
    floats_from(matrix.biases + g * scale_bytes, format.type, 1, &bias);
    unpack_row(matrix.data + g * group_bytes, format.bits, {q.data(), group});
    for (size_t i = 0; i < group; ++i) out[i] = scale * static_cast<float>(q[i]) + bias;
    out += group;
  }
}

}  // namespace prosa
