// The vector vocabulary of the generic kernels in plain C++: 16 lanes as arrays, for any processor.
//
// Included inside the namespace of kernels.cpp; see avx512/simd.h for the meaning of the names. A product and a sum are
// two roundings here: a fused one would call a library function on processors without it.
#pragma once

struct F {
  float v[16];
};
struct I {
  int32_t v[16];
};
struct B {
  uint8_t v[64];
};
struct X {
  int8_t v[4];
};
struct P {
  int16_t v[32];
};

inline constexpr int kTokenTile = 4;
inline constexpr int kDenseTokens = 2;
inline constexpr int kStreamTokens = 1;
inline constexpr int kPlaneTokens = 1;
inline constexpr int kHalvesTogether = 2;
inline constexpr bool kSignedCodes = false;
inline constexpr int kAttendTile = 4;
inline constexpr int kAttendWide = 1;
inline constexpr bool kSignedWeights = false;

#define PROSA_EACH(type, expression)                  \
  type r;                                             \
  for (int j = 0; j < 16; ++j) r.v[j] = (expression); \
  return r

inline F zero() { PROSA_EACH(F, 0.0F); }
inline F set1(float x) { PROSA_EACH(F, x); }
inline F load(const float* p) { PROSA_EACH(F, p[j]); }
inline void store(float* p, F a) { std::memcpy(p, a.v, sizeof a.v); }
inline F load_bf16(const uint16_t* p) { PROSA_EACH(F, bf16_to_float(p[j])); }
inline F load_f16(const uint16_t* p) { PROSA_EACH(F, f16_to_float(p[j])); }
inline F operator+(F a, F b) { PROSA_EACH(F, a.v[j] + b.v[j]); }
inline F operator-(F a, F b) { PROSA_EACH(F, a.v[j] - b.v[j]); }
inline F operator*(F a, F b) { PROSA_EACH(F, a.v[j] * b.v[j]); }
inline F operator/(F a, F b) { PROSA_EACH(F, a.v[j] / b.v[j]); }
inline F fma(F a, F b, F c) { PROSA_EACH(F, a.v[j] * b.v[j] + c.v[j]); }
inline F max(F a, F b) { PROSA_EACH(F, a.v[j] > b.v[j] ? a.v[j] : b.v[j]); }
inline F min(F a, F b) { PROSA_EACH(F, a.v[j] < b.v[j] ? a.v[j] : b.v[j]); }
inline F abs(F a) { PROSA_EACH(F, a.v[j] < 0 ? -a.v[j] : a.v[j]); }
inline F below(F a, F limit) { PROSA_EACH(F, a.v[j] <= limit.v[j] ? a.v[j] : 0.0F); }
inline float sum(F a) {
  float total = 0;
  for (float x : a.v) total += x;
  return total;
}
inline float highest(F a) {
  float best = a.v[0];
  for (float x : a.v) best = x > best ? x : best;
  return best;
}

inline I izero() { PROSA_EACH(I, 0); }
inline I add(I a, I b) { PROSA_EACH(I, a.v[j] + b.v[j]); }
inline I sub(I a, I b) { PROSA_EACH(I, a.v[j] - b.v[j]); }
template <int N>
inline I scale_up(I a) {
  PROSA_EACH(I, a.v[j] * (1 << N));
}
template <int N>
inline I scale_down(I a) {
  PROSA_EACH(I, a.v[j] >> N);
}
// 16 words of bytes, each moved right by `shift` bits; the bits of `keep` remain.
inline I words(const uint8_t* p, int shift, int32_t keep) {
  uint32_t from[16];
  std::memcpy(from, p, sizeof from);
  PROSA_EACH(I, static_cast<int32_t>(from[j] >> shift) & keep);
}
inline I bits_of(F a) { PROSA_EACH(I, std::bit_cast<int32_t>(a.v[j])); }
inline F to_float(I a) { PROSA_EACH(F, static_cast<float>(a.v[j])); }
// Adding and taking away 1.5 * 2^23 rounds to nearest even for |x| < 2^22, which is all the kernels ask. What lies
// beyond, and NaN, comes of weights that are damaged: it becomes a bound, since no integer stands for it.
inline I round(F a) {
  constexpr float kMost = 4194303.0F;
  PROSA_EACH(I, static_cast<int32_t>(((a.v[j] > -kMost ? a.v[j] < kMost ? a.v[j] : kMost : -kMost) + 12582912.0F) -
                                     12582912.0F));
}
inline F pow2(I n) { PROSA_EACH(F, std::bit_cast<float>((n.v[j] + 127) << 23)); }
inline int32_t sum(I a) {
  int32_t total = 0;
  for (int32_t x : a.v) total += x;
  return total;
}
inline void store_i8(int8_t* p, I a) {
  for (int j = 0; j < 16; ++j) p[j] = static_cast<int8_t>(a.v[j] < -128 ? -128 : a.v[j] > 127 ? 127 : a.v[j]);
}
inline void store_weight_bytes(uint8_t* p, I a) {
  for (int j = 0; j < 16; ++j) p[j] = static_cast<uint8_t>(a.v[j] < 0 ? 0 : a.v[j] > 255 ? 255 : a.v[j]);
}
inline void store_i16(int16_t* p, I a) {
  for (int j = 0; j < 16; ++j) p[j] = static_cast<int16_t>(a.v[j] < -32768 ? -32768 : a.v[j] > 32767 ? 32767 : a.v[j]);
}

inline P load_pairs(const int16_t* p) {
  P r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline P repeat_pair(const int16_t* p) {
  P r;
  for (int j = 0; j < 32; ++j) r.v[j] = p[j % 2];
  return r;
}
// Lanes that are never weighed may hold anything, so sums wrap around as in registers.
inline I dot_pairs(I acc, P a, P b) {
  for (int j = 0; j < 16; ++j) {
    const auto first = static_cast<uint32_t>(a.v[2 * j] * b.v[2 * j]);
    const auto second = static_cast<uint32_t>(a.v[2 * j + 1] * b.v[2 * j + 1]);
    acc.v[j] = static_cast<int32_t>(static_cast<uint32_t>(acc.v[j]) + first + second);
  }
  return acc;
}

#undef PROSA_EACH
#define PROSA_EACH_BYTE(expression)                                       \
  B r;                                                                    \
  for (int j = 0; j < 64; ++j) r.v[j] = static_cast<uint8_t>(expression); \
  return r

inline B load_bytes(const uint8_t* p) {
  B r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline void store_bytes(uint8_t* p, B a) { std::memcpy(p, a.v, sizeof a.v); }
inline B mask(B a, int bits) { PROSA_EACH_BYTE(a.v[j] & bits); }
inline B flip(B a, int bits) { PROSA_EACH_BYTE(a.v[j] ^ bits); }
inline B operator|(B a, B b) { PROSA_EACH_BYTE(a.v[j] | b.v[j]); }
template <int N>
inline B shift_right(B a) {
  PROSA_EACH_BYTE(a.v[j] >> N);
}
template <int N>
inline B shift_left(B a) {
  PROSA_EACH_BYTE(a.v[j] << N);
}

#undef PROSA_EACH_BYTE

inline X repeat4(const int8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline I dot(I acc, B codes, X x) {
  for (int row = 0; row < 16; ++row) {
    for (int j = 0; j < 4; ++j) acc.v[row] += static_cast<int32_t>(codes.v[4 * row + j]) * x.v[j];
  }
  return acc;
}
inline I dot8(I acc, B codes, X x) { return dot(acc, codes, x); }

inline I dot_weights(I acc, B values, X weights) {
  for (int lane = 0; lane < 16; ++lane) {
    for (int j = 0; j < 4; ++j)
      acc.v[lane] += static_cast<int8_t>(values.v[4 * lane + j]) * static_cast<uint8_t>(weights.v[j]);
  }
  return acc;
}

// Sums of a few dot products before they are added up: nothing narrower would be faster here.
inline constexpr bool kShortSums = false;
using S = I;
inline S short_zero() { return izero(); }
inline S dot_short(S acc, B codes, X x) { return dot(acc, codes, x); }
inline I widen(I acc, S sums) { return add(acc, sums); }
