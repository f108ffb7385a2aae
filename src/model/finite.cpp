// The largest magnitude of a block tells: infinities and NaNs are all that lies at or above the largest exponent. So
// the common case is a loop without branches, and the place is searched for only in a block that has one.
#include "model/finite.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/mmap.h"
#include "base/parallel.h"
#include "model/for_each_matrix.h"
#include "model/small_floats.h"
#include "prosa/error.h"

namespace prosa {

namespace {

constexpr int64_t kBlock = 4096;  // numbers

/// Index of the first number that is not finite; -1: all are. `Bits`: an integer as wide as a number.
template <typename Bits>
int64_t find_infinite(const std::byte* data, int64_t count, Bits infinity) {
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  std::array<Bits, kBlock> block;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const auto size = static_cast<size_t>(std::min(kBlock, count - begin));
    std::memcpy(block.data(), data + begin * static_cast<int64_t>(sizeof(Bits)), size * sizeof(Bits));  // unaligned
    Bits largest = 0;
    for (size_t i = 0; i < size; ++i) largest = std::max(largest, static_cast<Bits>(block[i] & ~kSign));
    if (largest < infinity) continue;
    for (size_t i = 0; i < size; ++i) {
      if (static_cast<Bits>(block[i] & ~kSign) >= infinity) return begin + static_cast<int64_t>(i);
    }
  }
  return -1;
}

int64_t find_infinite(const std::byte* data, int64_t count, DType type) {
  switch (type) {
    case DType::bf16: return find_infinite<uint16_t>(data, count, 0x7f80);
    case DType::f16: return find_infinite<uint16_t>(data, count, 0x7c00);
    case DType::f32: return find_infinite<uint32_t>(data, count, 0x7f800000);
  }
  return -1;
}

/// A part of a matrix that one thread looks through.
struct Part {
  const Matrix* matrix = nullptr;
  const char* what = "value";  // "scale", "bias"
  const std::byte* data = nullptr;
  int64_t cols = 0;  // numbers in a row
  int64_t begin = 0;
  int64_t end = 0;      // rows
  bool mapped = false;  // of a file: what was looked at need not stay in the process
};

/// The same for small floats, a byte each: those that are no number, and scales whose product with the largest code is
/// none in float32.
int64_t find_infinite_small(const Part& part, const std::byte* data, int64_t count) {
  const WeightCoding coding = part.matrix->format.coding;
  const bool e4m3 = coding == WeightCoding::nvfp4 || part.data == part.matrix->data;
  const float largest = coding == WeightCoding::mxfp8 ? kMaxE4m3 : kMaxE2m1;
  for (int64_t i = 0; i < count; ++i) {
    const auto code = std::to_integer<unsigned>(data[i]);
    const float value = e4m3 ? e4m3_to_float(code) : e8m0_to_float(code) * largest;
    if (!std::isfinite(value)) return i;
  }
  return -1;
}

void check(const Part& part) {
  const WeightFormat& format = part.matrix->format;
  const bool small = format.has_small_floats();
  const auto row_bytes = part.cols * (small ? 1 : static_cast<int64_t>(dtype_size(format.type)));
  const std::byte* data = part.data + part.begin * row_bytes;
  const int64_t count = (part.end - part.begin) * part.cols;
  const int64_t found = small ? find_infinite_small(part, data, count) : find_infinite(data, count, format.type);
  if (part.mapped) release_pages({data, static_cast<size_t>((part.end - part.begin) * row_bytes)});
  if (found < 0) return;
  throw Error(ErrorCode::bad_checkpoint,
              std::string(part.what) + " [" + std::to_string(part.begin + found / part.cols) + ", " +
                  std::to_string(found % part.cols) + "] of '" + part.matrix->name + "' is not a finite number",
              "weights", "the file is damaged, or its training went wrong: fetch it again, or take another model");
}

}  // namespace

void require_finite(const Weights& weights, int threads) {
  constexpr int64_t kPart = int64_t{1} << 22;  // numbers: some milliseconds
  std::vector<Part> parts;
  const auto add = [&](Part part) {
    part.mapped = weights.storage != nullptr;
    const int64_t rows = std::max<int64_t>(1, kPart / std::max<int64_t>(1, part.cols));
    for (int64_t begin = 0; begin < part.matrix->rows; begin += rows) {
      part.begin = begin;
      part.end = std::min(part.matrix->rows, begin + rows);
      parts.push_back(part);
    }
  };
  for_each_matrix(weights, [&](const MatrixPlace&, const Matrix& matrix) {
    if (!matrix.quantized()) return add({&matrix, "value", matrix.data, matrix.cols});
    add({&matrix, "scale", matrix.scales, matrix.groups()});
    if (matrix.format.has_biases()) add({&matrix, "bias", matrix.biases, matrix.groups()});
    if (matrix.format.coding == WeightCoding::mxfp8) add({&matrix, "value", matrix.data, matrix.cols});
  });
  for_each_item(parts.size(), threads, [&](size_t, size_t item) { check(parts[item]); });
}

}  // namespace prosa
