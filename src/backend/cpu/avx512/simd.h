// The vector vocabulary of the generic kernels for AVX-512 with VNNI: 16 lanes everywhere, one register each.
//
// Included inside the ISA's target region and namespace (kernels.cpp). Every ISA offers the same names: F 16 floats,
// I 16 int32, B 64 bytes = 16 rows x 4 columns of codes, X four activations repeated for every row, P 16 pairs of
// int16.
#pragma once

struct F {
  __m512 v;
};
struct I {
  __m512i v;
};
struct B {
  __m512i v;
};
struct X {
  __m512i v;
};
struct P {
  __m512i v;
};

inline constexpr int kTokenTile = 8;           // tokens that share a loaded value in the delta rule
inline constexpr int kDenseTokens = 4;         // the same in products with dense weights
inline constexpr int kStreamTokens = 4;        // the same in products with quantized ones and two planes
inline constexpr int kPlaneTokens = 6;         // and with one plane
inline constexpr int kHalvesTogether = 2;      // halves of a tile that share a loaded activation
inline constexpr bool kSignedCodes = false;    // 8-bit codes stay unsigned in dot()
inline constexpr int kAttendTile = 8;          // query rows that share a loaded key or value
inline constexpr int kAttendWide = 2;          // vectors of keys or values that share a loaded query or weight
inline constexpr bool kSignedWeights = false;  // weights of 8-bit values go into products as they are

inline F zero() { return {_mm512_setzero_ps()}; }
inline F set1(float x) { return {_mm512_set1_ps(x)}; }
inline F load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
inline F load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
inline F load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F abs(F a) { return {_mm512_abs_ps(a.v)}; }
inline F below(F a, F limit) {  // a where it is at most the limit, else 0
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a.v, limit.v, _CMP_LE_OQ), a.v)};
}
inline float sum(F a) { return _mm512_reduce_add_ps(a.v); }
inline float highest(F a) { return _mm512_reduce_max_ps(a.v); }

inline I izero() { return {_mm512_setzero_si512()}; }
inline I add(I a, I b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline I sub(I a, I b) { return {_mm512_sub_epi32(a.v, b.v)}; }
template <int N>
inline I scale_up(I a) {
  return {_mm512_slli_epi32(a.v, N)};  // a * 2^N
}
template <int N>
inline I scale_down(I a) {
  return {_mm512_srai_epi32(a.v, N)};  // floor(a / 2^N)
}
// 16 words of bytes, each moved right by `shift` bits; the bits of `keep` remain.
inline I words(const uint8_t* p, int shift, int32_t keep) {
  const __m512i moved = _mm512_srl_epi32(_mm512_loadu_si512(p), _mm_cvtsi32_si128(shift));
  return {_mm512_and_si512(moved, _mm512_set1_epi32(keep))};
}
inline I bits_of(F a) { return {_mm512_castps_si512(a.v)}; }
inline F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I round(F a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest, ties to even
inline F pow2(I n) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n.v, _mm512_set1_epi32(127)), 23))};
}
inline int32_t sum(I a) { return _mm512_reduce_add_epi32(a.v); }
inline void store_i8(int8_t* p, I a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v)); }
// 0 to 255.
inline void store_weight_bytes(uint8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm512_cvtusepi32_epi8(_mm512_max_epi32(a.v, _mm512_setzero_si512())));
}
inline void store_i16(int16_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtsepi32_epi16(a.v));
}

inline P load_pairs(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
inline P repeat_pair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, 4);
  return {_mm512_set1_epi32(pair)};
}
// acc[lane] += a[lane][0] * b[lane][0] + a[lane][1] * b[lane][1]
inline I dot_pairs(I acc, P a, P b) { return {_mm512_dpwssd_epi32(acc.v, a.v, b.v)}; }

inline B load_bytes(const uint8_t* p) {
  B r = {_mm512_loadu_si512(p)};
  asm("" : "+v"(r.v));  // low and high halves of the codes: compilers would rather load it again for each
  return r;
}
inline void store_bytes(uint8_t* p, B a) { _mm512_storeu_si512(p, a.v); }
inline B mask(B a, int bits) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(static_cast<char>(bits)))}; }
inline B flip(B a, int bits) { return {_mm512_xor_si512(a.v, _mm512_set1_epi8(static_cast<char>(bits)))}; }
inline B operator|(B a, B b) { return {_mm512_or_si512(a.v, b.v)}; }
// Shifts move bits between neighbouring bytes: mask() afterwards.
template <int N>
inline B shift_right(B a) {
  return {_mm512_srli_epi16(a.v, N)};
}
template <int N>
inline B shift_left(B a) {
  return {_mm512_slli_epi16(a.v, N)};
}

inline X repeat4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  X r = {_mm512_set1_epi32(four)};
  asm("" : "+v"(r.v));  // serves several products: compilers would rather load it again for each
  return r;
}
// acc[row] += sum over 4 columns of code * activation.
inline I dot(I acc, B codes, X x) { return {_mm512_dpbusd_epi32(acc.v, codes.v, x.v)}; }
// The same for 8-bit codes (signed ones where kSignedCodes).
inline I dot8(I acc, B codes, X x) { return dot(acc, codes, x); }

// acc[lane] += sum over 4 positions of value, signed, * weight as store_weight_bytes() leaves it.
inline I dot_weights(I acc, B values, X weights) { return {_mm512_dpbusd_epi32(acc.v, weights.v, values.v)}; }

// Sums of a few dot products before they are added up: nothing narrower would be faster here.
inline constexpr bool kShortSums = false;
using S = I;
inline S short_zero() { return izero(); }
inline S dot_short(S acc, B codes, X x) { return dot(acc, codes, x); }
inline I widen(I acc, S sums) { return add(acc, sums); }
