// Matrix rows as float32: what the stored numbers mean.
//
// Plain and exact, for the reference backend, the converter and tests; fast backends have their own kernels and are
// held against this. Pure functions over the caller's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/weights.h"

namespace prosa {

/// Matrix row -> float32 [cols]: dense conversion, scale * q + bias, or scale * q (small floats). `row` in [0, rows).
void dequantize_row(const Matrix& matrix, int64_t row, float* out);

/// The bit stream of a quantized row -> its codes, one a byte. q.size() is a multiple of 32; `words` may be unaligned.
void unpack_row(const std::byte* words, int bits, std::span<uint8_t> q);

}  // namespace prosa
