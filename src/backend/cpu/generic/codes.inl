// Reading ahead, codes out of their planes (packed.h), scales, and how a group's integer sums enter a row: the parts of
// linear.inl.
//
// Included inside an ISA's namespace, after its simd.h.

// Calls f<0>(), f<1>(), … f<N - 1>(): a loop that is unrolled before the compiler decides what lives in registers.
// All of it is inlined at once: later, arrays of accumulators would already be memory.
// (Not where a vector is an array anyway, nor with a check before each load: there it would only keep the compiler busy
// for minutes.)
#if !defined(PROSA_INLINE) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define PROSA_INLINE
#elif !defined(PROSA_INLINE)
#define PROSA_INLINE __attribute__((always_inline))
#endif
template <int N, typename Function>
PROSA_INLINE inline void each(const Function& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) PROSA_INLINE { (f.template operator()<i>(), ...); }
  (std::make_integer_sequence<int, N>{});
}

inline constexpr int64_t kWaitingBytes = 160 << 10;  // of tiles that many tokens take in turn

// Lines are asked for twice: far ahead for the second-level cache, since the hardware's own prefetching stops at 4 KiB
// pages and leaves one stream at half of what the memory can give, and shortly before use for the first-level one.
inline constexpr int64_t kFarAhead = 16384;
inline constexpr int64_t kNearAhead = 1024;

PROSA_INLINE inline void ask_ahead(const uint8_t* line) {
  __builtin_prefetch(line + kFarAhead, 0, 2);
  __builtin_prefetch(line + kNearAhead, 0, 3);
}
inline void read_ahead(const uint8_t* at, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) ask_ahead(at + line);
}

// `c` is the chunk 0..7 of a block of 32 columns.

template <int Bits, int c>
inline B codes_of(const uint8_t* planes) {
  if constexpr (Bits == 8) {
    const B codes = load_bytes(planes + c * kVector);
    return kSignedCodes ? flip(codes, 0x80) : codes;
  } else if constexpr (Bits >= 4) {
    const B pair = load_bytes(planes + c / 2 * kVector);
    const B low = c % 2 == 0 ? mask(pair, 0x0f) : mask(shift_right<4>(pair), 0x0f);
    if constexpr (Bits == 4) return low;
    const uint8_t* high = planes + 4 * kVector;
    if constexpr (Bits == 5) {
      const B plane = load_bytes(high);
      if constexpr (c <= 4)
        return low | mask(shift_left<4 - c>(plane), 0x10);
      else
        return low | mask(shift_right<c - 4>(plane), 0x10);
    } else {
      const B plane = load_bytes(high + c / 4 * kVector);
      constexpr int at = c % 4 * 2;
      if constexpr (at <= 4)
        return low | mask(shift_left<4 - at>(plane), 0x30);
      else
        return low | mask(shift_right<at - 4>(plane), 0x30);
    }
  } else {
    const B low = mask(shift_right<c % 4 * 2>(load_bytes(planes + c / 4 * kVector)), 0x03);
    if constexpr (Bits == 2) return low;
    const B plane = load_bytes(planes + 2 * kVector);
    if constexpr (c <= 2)
      return low | mask(shift_left<2 - c>(plane), 0x04);
    else
      return low | mask(shift_right<c - 2>(plane), 0x04);
  }
}

// Chunks whose products a short sum (S) takes: pairs of code * 127 at most, in 16 bits.
template <int Bits>
inline constexpr int kShortChunks = Bits <= 4   ? 8
                                    : Bits == 5 ? 4
                                                : 2;
static_assert(8 * 2 * 15 * 127 < 32768 && 4 * 2 * 31 * 127 < 32768 && 2 * 2 * 63 * 127 < 32768);

// 128 * high + low: at most 128 columns * 255 * 127.5 * 128, which fits 31 bits.
inline I join_planes(I high, I low) { return add(scale_up<7>(high), low); }

template <bool Wide>
inline F load_scale(const uint8_t* header, int64_t vector) {
  if constexpr (Wide)
    return load(reinterpret_cast<const float*>(header) + vector * 16);
  else
    return load_bf16(reinterpret_cast<const uint16_t*>(header) + vector * 16);
}

// acc + (scale * xs) * dot + bias * xsum. Signed 8-bit codes are code - 128: the bias takes 128 scales more.
template <int Bits>
PROSA_INLINE inline F add_group(F acc, I dots, F scale, F bias, float xs, float xsum) {
  if constexpr (Bits == 8 && kSignedCodes) bias = fma(scale, set1(128.0F), bias);
  acc = fma(scale * set1(xs), to_float(dots), acc);
  return fma(bias, set1(xsum), acc);
}

inline void put_row(float* y, int64_t valid, bool add_to, F value) {
  if (valid >= 16) {
    store(y, add_to ? load(y) + value : value);
    return;
  }
  float lanes[16];
  store(lanes, value);
  for (int64_t i = 0; i < valid; ++i) y[i] = add_to ? y[i] + lanes[i] : lanes[i];
}
