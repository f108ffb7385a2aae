// The formulas of formulas.h. No state, no threads, no weights files.
#include "backend/reference/formulas.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace prosa::backend::reference {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

float silu(float x) { return x * sigmoid(x); }

float softplus(float x) { return x > 20.0F ? x : std::log1p(std::exp(x)); }

float dot(const float* a, const float* b, int64_t size) {
  constexpr int64_t lanes = 16;
  std::array<float, lanes> sums{};
  const int64_t whole = size - size % lanes;
  for (int64_t i = 0; i < whole; i += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (int64_t i = whole; i < size; ++i) sums[i - whole] += a[i] * b[i];
  double total = 0;
  for (const float sum : sums) total += sum;
  return static_cast<float>(total);
}

namespace {
double sum_of_squares(std::span<const float> x) {
  double sum = 0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return sum;
}
}  // namespace

void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> out) {
  const double mean = sum_of_squares(x) / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
  for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * scale * weight[i];
}

void l2_normalize(std::span<float> x) {
  const auto scale = static_cast<float>(1.0 / std::sqrt(sum_of_squares(x) + 1e-6));
  for (float& value : x) value *= scale;
}

void softmax(std::span<float> x) {
  const float largest = std::ranges::max(x);
  double sum = 0;
  for (float& value : x) {
    value = std::exp(value - largest);
    sum += value;
  }
  const auto scale = static_cast<float>(1.0 / sum);
  for (float& value : x) value *= scale;
}

void rotate(std::span<float> head, int64_t rotary_dim, double theta, int64_t position) {
  const int64_t half = rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
    const double angle = static_cast<double>(position) * frequency;
    const auto cosine = static_cast<float>(std::cos(angle));
    const auto sine = static_cast<float>(std::sin(angle));
    const float first = head[i];
    const float second = head[i + half];
    head[i] = first * cosine - second * sine;
    head[i + half] = second * cosine + first * sine;
  }
}

void causal_conv(std::span<const float> x, std::span<const float> weight, int64_t kernel, int64_t channels,
                 std::span<float> out) {
  const int64_t tokens = static_cast<int64_t>(out.size()) / channels;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (int64_t j = 0; j < kernel; ++j) sum += weight[c * kernel + j] * x[(t + j) * channels + c];
      out[t * channels + c] = sum;
    }
  }
}

void delta_rule(std::span<float> s, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                float g, float beta, std::span<float> out) {
  const size_t dk = k.size();
  const size_t dv = v.size();
  for (float& value : s) value *= g;

  std::ranges::fill(out, 0.0F);  // out holds S^T k, then delta, before it holds the result
  for (size_t i = 0; i < dk; ++i) {
    for (size_t j = 0; j < dv; ++j) out[j] += s[i * dv + j] * k[i];
  }
  for (size_t j = 0; j < dv; ++j) out[j] = beta * (v[j] - out[j]);
  for (size_t i = 0; i < dk; ++i) {
    for (size_t j = 0; j < dv; ++j) s[i * dv + j] += k[i] * out[j];
  }

  std::ranges::fill(out, 0.0F);
  for (size_t i = 0; i < dk; ++i) {
    for (size_t j = 0; j < dv; ++j) out[j] += s[i * dv + j] * q[i];
  }
}

}  // namespace prosa::backend::reference
