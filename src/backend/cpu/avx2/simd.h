// The vector vocabulary of the generic kernels for AVX2 + FMA + F16C: 16 lanes as two registers.
//
// Included inside the ISA's target region and namespace (kernels.cpp); see avx512/simd.h for the meaning of the names.
// maddubs adds pairs of products in 16 bits: exact for codes up to 6 bits; 8-bit codes go as signed values (|w| x ±x).
#pragma once

struct F {
  __m256 lo, hi;
};
struct I {
  __m256i lo, hi;
};
struct B {
  __m256i lo, hi;
};
struct X {
  __m256i v;
};
struct P {
  __m256i lo, hi;
};

inline constexpr int kTokenTile = 4;
inline constexpr int kDenseTokens = 2;
inline constexpr int kStreamTokens = 2;
inline constexpr int kPlaneTokens = 4;
#define PROSA_PAIR_PRODUCTS  // 16-bit pairs do as much as bytes in two planes: generic/pairs.inl
inline constexpr int kPairs = 4;
inline constexpr int kHalvesTogether = 1;  // 16 registers hold the sums of one half of a tile only
inline constexpr bool kSignedCodes = true;
inline constexpr int kAttendTile = 6;
inline constexpr int kAttendWide = 1;

inline F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline F set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, F a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline __m256 widen_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
inline F load_bf16(const uint16_t* p) { return {widen_bf16(p), widen_bf16(p + 8)}; }
inline F load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline F operator+(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline F operator-(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline F operator*(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline F operator/(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
inline F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
inline F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
inline F abs(F a) {
  const __m256 clear = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, clear), _mm256_and_ps(a.hi, clear)};
}
inline F below(F a, F limit) {
  return {_mm256_and_ps(_mm256_cmp_ps(a.lo, limit.lo, _CMP_LE_OQ), a.lo),
          _mm256_and_ps(_mm256_cmp_ps(a.hi, limit.hi, _CMP_LE_OQ), a.hi)};
}
inline float sum(F a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
inline float highest(F a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

inline I izero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline I add(I a, I b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
inline I sub(I a, I b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
template <int N>
inline I scale_up(I a) {
  return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)};
}
template <int N>
inline I scale_down(I a) {
  return {_mm256_srai_epi32(a.lo, N), _mm256_srai_epi32(a.hi, N)};
}
// 16 words of bytes, each moved right by `shift` bits; the bits of `keep` remain.
inline I words(const uint8_t* p, int shift, int32_t keep) {
  const __m128i count = _mm_cvtsi32_si128(shift);
  const __m256i kept = _mm256_set1_epi32(keep);
  const auto eight = [&](const uint8_t* from) {
    return _mm256_and_si256(_mm256_srl_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), count), kept);
  };
  return {eight(p), eight(p + 32)};
}
inline I bits_of(F a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
inline F to_float(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
inline I round(F a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
inline __m256 pow2_8(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
inline F pow2(I n) { return {pow2_8(n.lo), pow2_8(n.hi)}; }
inline int32_t sum(I a) {
  const __m256i eight = _mm256_add_epi32(a.lo, a.hi);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline void store_i8(int8_t* p, I a) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
inline void store_i16(int16_t* p, I a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8));
}

// Each four as 0, 2, 1, 3: the order of even_pairs() and odd_pairs().
inline __m256i split_fours(__m256i x) {
  return _mm256_shuffle_epi8(x, _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5, 2, 3,
                                                 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
}
inline void store_fours(int16_t* p, I a) {
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), split_fours(packed));
}

inline P load_pairs(const int16_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16))};
}
inline P repeat_pair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, 4);
  return {_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)};
}

inline B load_bytes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}
inline void store_bytes(uint8_t* p, B a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), a.hi);
}
inline B mask(B a, int bits) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(bits));
  return {_mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m)};
}
inline B flip(B a, int bits) {
  const __m256i m = _mm256_set1_epi8(static_cast<char>(bits));
  return {_mm256_xor_si256(a.lo, m), _mm256_xor_si256(a.hi, m)};
}
// The even (odd) bytes of each four, as pairs of 16 bits.
template <bool Signed>
inline P even_pairs(B a) {
  if constexpr (Signed)
    return {_mm256_srai_epi16(_mm256_slli_epi16(a.lo, 8), 8), _mm256_srai_epi16(_mm256_slli_epi16(a.hi, 8), 8)};
  const __m256i m = _mm256_set1_epi16(0xff);
  return {_mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m)};
}
template <bool Signed>
inline P odd_pairs(B a) {
  if constexpr (Signed) return {_mm256_srai_epi16(a.lo, 8), _mm256_srai_epi16(a.hi, 8)};
  return {_mm256_srli_epi16(a.lo, 8), _mm256_srli_epi16(a.hi, 8)};
}
// 128 * high + low of 16 columns, each four (as columns 0, 2, 1, 3) `step` behind the four before.
inline void store_joined(const int8_t* high, const int8_t* low, int16_t* p, int64_t step) {
  const __m256i h = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(high)));
  const __m256i l = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low)));
  const __m256i x = split_fours(_mm256_add_epi16(_mm256_slli_epi16(h, 7), l));
  const __m128i first = _mm256_castsi256_si128(x);
  const __m128i second = _mm256_extracti128_si256(x, 1);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), first);
  _mm_storeh_pd(reinterpret_cast<double*>(p + step), _mm_castsi128_pd(first));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 2 * step), second);
  _mm_storeh_pd(reinterpret_cast<double*>(p + 3 * step), _mm_castsi128_pd(second));
}
inline B operator|(B a, B b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
template <int N>
inline B shift_right(B a) {
  return {_mm256_srli_epi16(a.lo, N), _mm256_srli_epi16(a.hi, N)};
}
template <int N>
inline B shift_left(B a) {
  return {_mm256_slli_epi16(a.lo, N), _mm256_slli_epi16(a.hi, N)};
}

inline X repeat4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {_mm256_set1_epi32(four)};
}
inline __m256i add_quads(__m256i acc, __m256i pairs) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// g++ would make all products first, in memory, and then add them up: the barriers keep sums in registers.
inline I in_order(I acc) {
  asm("" : "+x"(acc.lo), "+x"(acc.hi));
  return acc;
}
inline I dot_pairs(I acc, P a, P b) {
  return in_order({_mm256_add_epi32(acc.lo, _mm256_madd_epi16(a.lo, b.lo)),
                   _mm256_add_epi32(acc.hi, _mm256_madd_epi16(a.hi, b.hi))});
}
inline I dot(I acc, B codes, X x) {
  return in_order(
      {add_quads(acc.lo, _mm256_maddubs_epi16(codes.lo, x.v)), add_quads(acc.hi, _mm256_maddubs_epi16(codes.hi, x.v))});
}
inline __m256i signed_pairs(__m256i w, __m256i x) {
  return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
inline I dot8(I acc, B codes, X x) {
  return in_order({add_quads(acc.lo, signed_pairs(codes.lo, x.v)), add_quads(acc.hi, signed_pairs(codes.hi, x.v))});
}

// Pairs of products in 16 bits, added up for as many chunks as cannot overflow before they are widened: codes of up to
// 6 bits only, see kShortChunks.
inline constexpr bool kShortSums = true;
struct S {
  __m256i lo, hi;
};
inline S short_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline S dot_short(S acc, B codes, X x) {
  acc = {_mm256_add_epi16(acc.lo, _mm256_maddubs_epi16(codes.lo, x.v)),
         _mm256_add_epi16(acc.hi, _mm256_maddubs_epi16(codes.hi, x.v))};
  asm("" : "+x"(acc.lo), "+x"(acc.hi));
  return acc;
}
inline I widen(I acc, S sums) { return {add_quads(acc.lo, sums.lo), add_quads(acc.hi, sums.hi)}; }
