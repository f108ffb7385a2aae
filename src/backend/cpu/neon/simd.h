// The vector vocabulary of the generic kernels for arm64 with the int8 dot product (Armv8.2): 16 lanes as 4 registers.
//
// Included inside the ISA's target region and namespace (kernels.cpp); see avx512/simd.h for the meaning of the names.
// sdot takes signed bytes: codes up to 6 bits fit as they are, 8-bit codes go as code - 128.
#pragma once

struct F {
  float32x4_t v[4];
};
struct I {
  int32x4_t v[4];
};
struct B {
  uint8x16_t v[4];
};
struct X {
  int8x16_t v;
};
struct P {
  int16x8_t first[2], second[2];  // the pairs taken apart: the first of each, and the second
};

inline constexpr int kTokenTile = 4;
inline constexpr int kDenseTokens = 2;
inline constexpr int kStreamTokens = 2;
inline constexpr int kPlaneTokens = 2;
inline constexpr int kHalvesTogether = 2;
inline constexpr bool kSignedCodes = true;
inline constexpr int kAttendTile = 4;
inline constexpr int kAttendWide = 1;
inline constexpr bool kSignedWeights = true;  // sdot takes weight - 128

#define PROSA_EACH(type, expression)                 \
  type r;                                            \
  for (int j = 0; j < 4; ++j) r.v[j] = (expression); \
  return r

inline F zero() { PROSA_EACH(F, vdupq_n_f32(0)); }
inline F set1(float x) { PROSA_EACH(F, vdupq_n_f32(x)); }
inline F load(const float* p) { PROSA_EACH(F, vld1q_f32(p + 4 * j)); }
inline void store(float* p, F a) {
  for (int j = 0; j < 4; ++j) vst1q_f32(p + 4 * j, a.v[j]);
}
inline F load_bf16(const uint16_t* p) {
  PROSA_EACH(F, vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(p + 4 * j)), 16)));
}
inline F load_f16(const uint16_t* p) { PROSA_EACH(F, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * j)))); }
inline F operator+(F a, F b) { PROSA_EACH(F, vaddq_f32(a.v[j], b.v[j])); }
inline F operator-(F a, F b) { PROSA_EACH(F, vsubq_f32(a.v[j], b.v[j])); }
inline F operator*(F a, F b) { PROSA_EACH(F, vmulq_f32(a.v[j], b.v[j])); }
inline F operator/(F a, F b) { PROSA_EACH(F, vdivq_f32(a.v[j], b.v[j])); }
inline F fma(F a, F b, F c) { PROSA_EACH(F, vfmaq_f32(c.v[j], a.v[j], b.v[j])); }
inline F max(F a, F b) { PROSA_EACH(F, vmaxq_f32(a.v[j], b.v[j])); }
inline F min(F a, F b) { PROSA_EACH(F, vminq_f32(a.v[j], b.v[j])); }
inline F abs(F a) { PROSA_EACH(F, vabsq_f32(a.v[j])); }
inline F below(F a, F limit) {
  PROSA_EACH(F, vreinterpretq_f32_u32(vandq_u32(vcleq_f32(a.v[j], limit.v[j]), vreinterpretq_u32_f32(a.v[j]))));
}
inline float sum(F a) { return vaddvq_f32(vaddq_f32(vaddq_f32(a.v[0], a.v[1]), vaddq_f32(a.v[2], a.v[3]))); }
inline float highest(F a) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3]))); }

inline I izero() { PROSA_EACH(I, vdupq_n_s32(0)); }
inline I add(I a, I b) { PROSA_EACH(I, vaddq_s32(a.v[j], b.v[j])); }
inline I sub(I a, I b) { PROSA_EACH(I, vsubq_s32(a.v[j], b.v[j])); }
template <int N>
inline I scale_up(I a) {
  PROSA_EACH(I, vshlq_n_s32(a.v[j], N));
}
template <int N>
inline I scale_down(I a) {
  PROSA_EACH(I, vshrq_n_s32(a.v[j], N));
}
// 16 words of bytes, each moved right by `shift` bits; the bits of `keep` remain.
inline I words(const uint8_t* p, int shift, int32_t keep) {
  const int32x4_t right = vdupq_n_s32(-shift);
  PROSA_EACH(I, vandq_s32(vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(p + 16 * j)), right)),
                          vdupq_n_s32(keep)));
}
inline I bits_of(F a) { PROSA_EACH(I, vreinterpretq_s32_f32(a.v[j])); }
inline F to_float(I a) { PROSA_EACH(F, vcvtq_f32_s32(a.v[j])); }
inline I round(F a) { PROSA_EACH(I, vcvtnq_s32_f32(a.v[j])); }
inline F pow2(I n) { PROSA_EACH(F, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.v[j], vdupq_n_s32(127)), 23))); }
inline int32_t sum(I a) { return vaddvq_s32(vaddq_s32(vaddq_s32(a.v[0], a.v[1]), vaddq_s32(a.v[2], a.v[3]))); }
inline void store_i8(int8_t* p, I a) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(a.v[0]), vqmovn_s32(a.v[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(a.v[2]), vqmovn_s32(a.v[3]));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
// 0 to 255, as signed bytes less 128.
inline void store_weight_bytes(uint8_t* p, I a) {
  const uint16x8_t low = vcombine_u16(vqmovun_s32(a.v[0]), vqmovun_s32(a.v[1]));
  const uint16x8_t high = vcombine_u16(vqmovun_s32(a.v[2]), vqmovun_s32(a.v[3]));
  const uint8x16_t whole = vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
  vst1q_u8(p, veorq_u8(whole, vdupq_n_u8(0x80)));
}
inline void store_i16(int16_t* p, I a) {
  vst1q_s16(p, vcombine_s16(vqmovn_s32(a.v[0]), vqmovn_s32(a.v[1])));
  vst1q_s16(p + 8, vcombine_s16(vqmovn_s32(a.v[2]), vqmovn_s32(a.v[3])));
}

inline P load_pairs(const int16_t* p) {
  const int16x8x2_t low = vld2q_s16(p);
  const int16x8x2_t high = vld2q_s16(p + 16);
  return {{low.val[0], high.val[0]}, {low.val[1], high.val[1]}};
}
inline P repeat_pair(const int16_t* p) {
  const int16x8_t first = vdupq_n_s16(p[0]);
  const int16x8_t second = vdupq_n_s16(p[1]);
  return {{first, first}, {second, second}};
}
inline I dot_pairs(I acc, P a, P b) {
  for (int j = 0; j < 2; ++j) {
    acc.v[2 * j] = vmlal_s16(acc.v[2 * j], vget_low_s16(a.first[j]), vget_low_s16(b.first[j]));
    acc.v[2 * j] = vmlal_s16(acc.v[2 * j], vget_low_s16(a.second[j]), vget_low_s16(b.second[j]));
    acc.v[2 * j + 1] = vmlal_high_s16(acc.v[2 * j + 1], a.first[j], b.first[j]);
    acc.v[2 * j + 1] = vmlal_high_s16(acc.v[2 * j + 1], a.second[j], b.second[j]);
  }
  return acc;
}

inline B load_bytes(const uint8_t* p) { PROSA_EACH(B, vld1q_u8(p + 16 * j)); }
inline void store_bytes(uint8_t* p, B a) {
  for (int j = 0; j < 4; ++j) vst1q_u8(p + 16 * j, a.v[j]);
}
inline B mask(B a, int bits) { PROSA_EACH(B, vandq_u8(a.v[j], vdupq_n_u8(static_cast<uint8_t>(bits)))); }
inline B flip(B a, int bits) { PROSA_EACH(B, veorq_u8(a.v[j], vdupq_n_u8(static_cast<uint8_t>(bits)))); }
inline B operator|(B a, B b) { PROSA_EACH(B, vorrq_u8(a.v[j], b.v[j])); }
template <int N>
inline B shift_right(B a) {
  if constexpr (N == 0)
    return a;
  else {
    PROSA_EACH(B, vshrq_n_u8(a.v[j], N));
  }
}
template <int N>
inline B shift_left(B a) {
  PROSA_EACH(B, vshlq_n_u8(a.v[j], N));
}

inline X repeat4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {vreinterpretq_s8_s32(vdupq_n_s32(four))};
}
inline I dot(I acc, B codes, X x) { PROSA_EACH(I, vdotq_s32(acc.v[j], vreinterpretq_s8_u8(codes.v[j]), x.v)); }
inline I dot8(I acc, B codes, X x) { return dot(acc, codes, x); }

inline I dot_weights(I acc, B values, X weights) { return dot(acc, values, weights); }
#undef PROSA_EACH

// Sums of a few dot products before they are added up: nothing narrower would be faster here.
inline constexpr bool kShortSums = false;
using S = I;
inline S short_zero() { return izero(); }
inline S dot_short(S acc, B codes, X x) { return dot(acc, codes, x); }
inline I widen(I acc, S sums) { return add(acc, sums); }
