// The model's formulas, each as one function with the formula and its shapes as comment: float32, scalar loops.
//
// Not fast and not meant to be: whoever wants to know what the model computes reads it here. Sums over a whole vector
// are kept in double. Every function is pure, and the bits of a row depend on nothing but that row.
#pragma once

#include <cstdint>
#include <span>

namespace prosa::backend::reference {

/// 1 / (1 + e^-x)
float sigmoid(float x);

/// x * sigmoid(x)
float silu(float x);

/// log(1 + e^x); x itself above 20, where the difference is below float32's resolution
float softplus(float x);

/// sum_i a[i] * b[i], in 16 interleaved float32 sums (always the same ones, whatever runs beside it)
float dot(const float* a, const float* b, int64_t size);

/// out = x / sqrt(mean(x^2) + eps) * weight      x, weight, out [d]; out may be x
void rms_norm(std::span<const float> x, std::span<const float> weight, float eps, std::span<float> out);

/// x <- x / sqrt(sum(x^2) + 1e-6)                x [d]
void l2_normalize(std::span<float> x);

/// x <- e^(x - max x) / sum e^(x - max x)        x [n]
void softmax(std::span<float> x);

/// Rotary embedding of one head at `position`: dims i and i + rotary_dim / 2 turn together by
/// position * theta^(-2 i / rotary_dim); dims from rotary_dim on stay.    head [head_dim]
void rotate(std::span<float> head, int64_t rotary_dim, double theta, int64_t position);

/// Causal depthwise convolution: out[t, c] = sum_j weight[c, j] * x[t + j, c]
///   x [kernel - 1 + n, channels]: the last kernel - 1 inputs before this call, then n new ones
///   weight [channels, kernel], out [n, channels]
void causal_conv(std::span<const float> x, std::span<const float> weight, int64_t kernel, int64_t channels,
                 std::span<float> out);

/// One token of the gated delta rule, for one value head:
///   S <- g S;   delta = beta (v - S^T k);   S <- S + k delta^T;   out = S^T q
///   q, k [dk], v, out [dv], S [dk, dv]
void delta_rule(std::span<float> s, std::span<const float> q, std::span<const float> k, std::span<const float> v,
                float g, float beta, std::span<float> out);

}  // namespace prosa::backend::reference
