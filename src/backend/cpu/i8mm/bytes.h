// Codes of eight rows x four columns, for codes.inl: half of a plane vector, so that the sums of eight rows and four
// tokens fit the registers.
//
// Included inside a namespace of the ISA's region, behind neon/simd.h, whose names of 16 rows these hide.
#pragma once

struct B {
  uint8x16_t v[2];
};

inline constexpr int kRowsBytes = 32;  // of a plane vector

inline B load_bytes(const uint8_t* p) { return {{vld1q_u8(p), vld1q_u8(p + 16)}}; }
inline B mask(B a, int bits) {
  const uint8x16_t kept = vdupq_n_u8(static_cast<uint8_t>(bits));
  return {{vandq_u8(a.v[0], kept), vandq_u8(a.v[1], kept)}};
}
inline B flip(B a, int bits) {
  const uint8x16_t flipped = vdupq_n_u8(static_cast<uint8_t>(bits));
  return {{veorq_u8(a.v[0], flipped), veorq_u8(a.v[1], flipped)}};
}
inline B operator|(B a, B b) { return {{vorrq_u8(a.v[0], b.v[0]), vorrq_u8(a.v[1], b.v[1])}}; }
template <int N>
inline B shift_right(B a) {
  if constexpr (N == 0)
    return a;
  else
    return {{vshrq_n_u8(a.v[0], N), vshrq_n_u8(a.v[1], N)}};
}
template <int N>
inline B shift_left(B a) {
  return {{vshlq_n_u8(a.v[0], N), vshlq_n_u8(a.v[1], N)}};
}
