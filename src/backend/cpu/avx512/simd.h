// The vector vocabulary of the generic kernels for AVX-512 with VNNI: 16 lanes everywhere, one register each.
//
// Included inside the ISA's target region and namespace (kernels.cpp). Every ISA offers the same names: F 16 floats,
// I 16 int32, B 64 bytes = 16 rows x 4 columns of codes, X four activations repeated for every row.
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

inline constexpr int kTokenTile = 8;                      // tokens that share a loaded value in the delta rule
inline constexpr int kDenseTokens = 4;                    // the same in products with dense weights
inline constexpr int kPanelHalves = 4;                    // vectors of 16 rows worked on together in prefill's products
inline constexpr int kPanelTokens = 2;                    // tokens worked on together there
inline constexpr bool kSignedCodes = false;               // 8-bit codes stay unsigned in dot()
constexpr int panel_shift(int bits) { return 8 - bits; }  // panels hold left-justified codes

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
inline void store_f16(uint16_t* p, F a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline F operator+(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F operator-(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F operator*(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F operator/(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F abs(F a) { return {_mm512_abs_ps(a.v)}; }
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
inline F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline I round(F a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest, ties to even
inline F pow2(I n) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n.v, _mm512_set1_epi32(127)), 23))};
}
inline int32_t sum(I a) { return _mm512_reduce_add_epi32(a.v); }
inline void store_i8(int8_t* p, I a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a.v)); }

inline B load_bytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
// For what serves several operations: compilers would rather load again for each of them.
inline B load_once(const uint8_t* p) {
  B r = load_bytes(p);
  asm("" : "+v"(r.v));
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
  asm("" : "+v"(r.v));  // as load_once()
  return r;
}
// acc[row] += sum over 4 columns of code * activation.
inline I dot(I acc, B codes, X x) { return {_mm512_dpbusd_epi32(acc.v, codes.v, x.v)}; }
// The same for 8-bit codes (signed ones where kSignedCodes).
inline I dot8(I acc, B codes, X x) { return dot(acc, codes, x); }

// ---- lookups (generic/panel.inl): four lanes of 16 bytes, one for each pair of columns (0, 1), (4, 5), (2, 3), (6, 7)

// 4 x 4 blocks of 4 bytes, then the bytes of each block: [row][lane] <-> [lane][row].
inline __m512i lane_order() { return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); }
inline __m512i byte_order() {
  return _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
}

inline B bzero() { return {_mm512_setzero_si512()}; }
inline __m512i merge_pairs(__m512i t) {  // 2-bit values of two neighbouring columns -> four bits in the even byte
  return _mm512_and_si512(_mm512_or_si512(t, _mm512_srli_epi16(t, 6)), _mm512_set1_epi16(0x000f));
}
// Two chunks of 2-bit values [16 rows][4 columns] -> for each lane and row an index: even column + 4 * odd column.
inline B pair_indices(B first, B second) {
  const __m512i rows = _mm512_or_si512(merge_pairs(first.v), _mm512_slli_epi16(merge_pairs(second.v), 8));
  return {_mm512_permutexvar_epi32(lane_order(), _mm512_shuffle_epi8(rows, byte_order()))};
}
// (factors . pairs of columns) / 32, rounded. The pairs come 64 too large, so that they are unsigned.
inline __m512i table_entries(__m512i pairs, __m128i factor) {
  const __m512i factors = _mm512_broadcast_i32x4(factor);
  const __m512i excess = _mm512_maddubs_epi16(_mm512_set1_epi8(64), factors);
  const __m512i sums = _mm512_sub_epi16(_mm512_maddubs_epi16(pairs, factors), excess);
  return _mm512_srai_epi16(_mm512_add_epi16(sums, _mm512_set1_epi16(16)), 5);
}
// The tables of 8 columns: entry a + 4 b of a pair (x, y) is ((2a - 3) x + (2b - 3) y) / 32, rounded; x, y in [-64,
// 63].
inline B lookup_table(const int8_t* low) {
  int64_t eight;
  std::memcpy(&eight, low, 8);
  const __m512i pick =
      _mm512_setr_epi64(0x0100010001000100, 0x0100010001000100, 0x0504050405040504, 0x0504050405040504,
                        0x0302030203020302, 0x0302030203020302, 0x0706070607060706, 0x0706070607060706);
  const __m512i pairs = _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_set1_epi64(eight), pick), _mm512_set1_epi8(64));
  return {_mm512_packs_epi16(
      table_entries(pairs, _mm_setr_epi8(-3, -3, -1, -3, 1, -3, 3, -3, -3, -1, -1, -1, 1, -1, 3, -1)),
      table_entries(pairs, _mm_setr_epi8(-3, 1, -1, 1, 1, 1, 3, 1, -3, 3, -1, 3, 1, 3, 3, 3)))};
}
inline B lookup_add(B acc, B table, B index) { return {_mm512_add_epi8(acc.v, _mm512_shuffle_epi8(table.v, index.v))}; }
// total[row] += 2^W * (sum over the lanes of found[lane][row], signed)
template <int W>
inline I add_lookups(I total, B found) {
  const __m512i rows = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lane_order(), found.v), byte_order());
  return {_mm512_dpbusd_epi32(total.v, _mm512_set1_epi8(1 << W), rows)};
}
