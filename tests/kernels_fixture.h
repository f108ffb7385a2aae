// What the tests of kernels share: random numbers, and matrices in the file's form.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/attend_parts.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/state.h"
#include "backend/cpu/workspace.h"
#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "model/dequantize.h"

namespace prosa::backend::cpu {

inline std::vector<float> random_floats(int64_t count, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 engine(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
  return values;
}

// A random matrix in the file's form, with the bytes it points to.
struct TestMatrix {
  Matrix matrix;
  std::vector<std::byte> data, scales, biases;
  TestMatrix() = default;
  TestMatrix(const TestMatrix&) = delete;
  TestMatrix(TestMatrix&&) = default;  // vectors keep their addresses when moved
};

inline void put_values(std::vector<std::byte>& out, DType dtype, const std::vector<float>& values) {
  out.resize(values.size() * dtype_size(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = dtype == DType::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
    if (dtype == DType::f32)
      std::memcpy(out.data() + i * 4, &values[i], 4);
    else
      std::memcpy(out.data() + i * 2, &half, 2);
  }
}

inline TestMatrix quantized_matrix(int64_t rows, int64_t cols, int bits, int group, DType scale_dtype, uint32_t seed) {
  TestMatrix test;
  std::mt19937 engine(seed);
  test.data.resize(static_cast<size_t>(rows * cols * bits / 8));
  for (std::byte& byte : test.data) byte = static_cast<std::byte>(engine());
  put_values(test.scales, scale_dtype, random_floats(rows * cols / group, seed + 1, 0.01F, 0.02F));
  put_values(test.biases, scale_dtype, random_floats(rows * cols / group, seed + 2, -0.2F, 0.0F));
  Matrix& m = test.matrix;
  m.name = "test";
  m.rows = rows;
  m.cols = cols;
  m.data = test.data.data();
  m.format = WeightFormat::affine(bits, group, scale_dtype);
  m.scales = test.scales.data();
  m.biases = test.biases.data();
  return test;
}

inline TestMatrix dense_matrix(int64_t rows, int64_t cols, DType dtype, uint32_t seed) {
  TestMatrix test;
  put_values(test.data, dtype, random_floats(rows * cols, seed));
  test.matrix.name = "test";
  test.matrix.rows = rows;
  test.matrix.cols = cols;
  test.matrix.format = WeightFormat::dense(dtype);
  test.matrix.data = test.data.data();
  return test;
}

}  // namespace prosa::backend::cpu
