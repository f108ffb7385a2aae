// The two forms of the KV cache's numbers, as generic/attend.inl sees them.
//
// Included inside an ISA's namespace. In both, a vector is integers times one scale, and so are a query and the softmax
// weights of a step. Kv16: pairs of 16 bits; a key and a query are scaled to a length of 2^15, so that by the
// inequality of Cauchy and Schwarz neither a score nor any part of its sum leaves 32 bits. Kv8: fours of bytes;
// whatever is in them, 32 bits hold the sums. Keys and queries are mixed first: a Hadamard matrix leaves their products
// as they are and spreads a dimension that is much larger than the others, on which the scale of all would depend.
// Invariant: sums are exact.

inline constexpr float kInt16Top = 32767.0F;
inline constexpr float kInt8Top = 127.0F;
inline constexpr int64_t kMixed = 16;  // vectors of 16 dimensions that are mixed at most

// Of n dimensions, the vectors of 16 that are mixed with each other: the largest power of two.
constexpr int64_t mixed_vectors(int64_t n) {
  const int64_t vectors = n / 16;
  return std::min(kMixed, vectors & -vectors);
}

// Lane by lane, count vectors times a Hadamard matrix of entries +-1.
inline void mix_vectors(const float* x, int64_t count, F (&mixed)[kMixed]) {
  for (int64_t i = 0; i < count; ++i) mixed[i] = load(x + 16 * i);
  for (int64_t half = 1; half < count; half *= 2) {
    for (int64_t first = 0; first < count; first += 2 * half) {
      for (int64_t i = first; i < first + half; ++i) {
        const F a = mixed[i];
        const F b = mixed[i + half];
        mixed[i] = a + b;
        mixed[i + half] = a - b;
      }
    }
  }
}

// The same twice, with the lanes as vectors in between: 16 vectors are then mixed altogether, fewer in 16 lanes less
// thoroughly. count times as long, and in an order of its own, which is that of all keys and queries.
inline void mix(const float* x, int64_t count, F (&mixed)[kMixed]) {
  alignas(64) float across[16 * kMixed];
  alignas(64) float along[16 * kMixed];
  mix_vectors(x, count, mixed);
  for (int64_t i = 0; i < count; ++i) store(across + 16 * i, mixed[i]);
  for (int64_t lane = 0; lane < 16; ++lane) {
    for (int64_t i = 0; i < count; ++i) along[lane * count + i] = across[16 * i + lane];
  }
  mix_vectors(along, count, mixed);
}

// Calls use(first dimension, 16 numbers) for a mixed key or query as integers up to 127; returns their scale.
template <typename Use>
inline float mixed_numbers(const float* x, int64_t n, Use use) {
  const int64_t count = mixed_vectors(n);
  F mixed[kMixed];
  F peak = zero();
  for (int64_t first = 0; first < n; first += 16 * count) {
    mix(x + first, count, mixed);
    for (int64_t i = 0; i < count; ++i) peak = max(peak, abs(mixed[i]));
  }
  const float size = highest(peak);
  const F inverse = set1(size > 0 ? kInt8Top / size : 0.0F);
  for (int64_t first = 0; first < n; first += 16 * count) {
    if (16 * count < n) mix(x + first, count, mixed);  // else that is what stands there
    for (int64_t i = 0; i < count; ++i) use(first + 16 * i, round(mixed[i] * inverse));
  }
  return size / kInt8Top;
}

// The same of a vector as it is, as integers of which `size` becomes `top`.
template <typename Use>
inline float plain_numbers(const float* x, int64_t n, float size, float top, Use use) {
  const F inverse = set1(size > 0 ? top / size : 0.0F);
  for (int64_t d = 0; d < n; d += 16) use(d, round(load(x + d) * inverse));
  return size / top;
}

inline float largest(const float* x, int64_t n) {
  F peak = zero();
  for (int64_t d = 0; d < n; d += 16) peak = max(peak, abs(load(x + d)));
  return highest(peak);
}

struct Kv16 {
  using Element = int16_t;                     // of the cache
  using Number = int16_t;                      // of a query
  using Weight = int16_t;                      // of a value
  static constexpr bool kCarries = false;      // rounding of weights is carried on: with so many steps it is nothing
  static constexpr int kTogether = 2;          // dimensions of a key, or positions of a value, in a lane
  static constexpr int kParts = 1;             // of a line of 16 lanes
  static constexpr bool kShifts = false;       // scores begin with a shift()
  static constexpr bool kLessWeights = false;  // weights in products are 128 less

  template <int>
  static P key(const Element* line) {
    return load_pairs(line);
  }
  template <int>
  static P value(const Element* line) {
    return load_pairs(line);
  }
  template <int>
  static P repeat(const Number* p) {
    return repeat_pair(p);
  }
  static I score(I acc, P key, P query) { return dot_pairs(acc, key, query); }
  static I weigh(I acc, P value, P weight) { return dot_pairs(acc, value, weight); }

  static void store_elements(Element* p, I a) { store_i16(p, a); }
  template <typename Use>
  static float key_numbers(const float* x, int64_t n, Use use) {
    return plain_numbers(x, n, std::sqrt(sum_of_squares(x, n)), kInt16Top, use);
  }
  template <typename Use>
  static float value_numbers(const float* x, int64_t n, Use use) {
    return plain_numbers(x, n, largest(x, n), kInt16Top, use);
  }
  static float query_numbers(const float* x, int64_t n, Number* out) {
    return key_numbers(x, n, [&](int64_t d, I a) { store_i16(out + d, a); });
  }
  static float shift(const Number*, int64_t) { return 0; }
  // What weights become integers with. Rounding may add half a unit to each: the sum of a step stays within 2^16, and
  // 2^16 times 2^15 within 32 bits.
  static float weight_inverse(float together, float peak) {
    constexpr float kMaxTogether = 65535.0F - kKvStep;
    return std::min(kMaxTogether / together, kInt16Top / peak);
  }
  static void store_weights(Weight* p, I a) { store_i16(p, a); }
};

struct Kv8 {
  using Element = int8_t;
  static constexpr bool kCarries = true;
  static constexpr int kTogether = 4;
  static constexpr float kWeightTop = 254.0F;  // and one that is carried

  static B line_of(const Element* line) { return load_bytes(reinterpret_cast<const uint8_t*>(line)); }
  static void store_elements(Element* p, I a) { store_i8(p, a); }
  template <typename Use>
  static float key_numbers(const float* x, int64_t n, Use use) {
    return mixed_numbers(x, n, use);
  }
  template <typename Use>
  static float value_numbers(const float* x, int64_t n, Use use) {
    return plain_numbers(x, n, largest(x, n), kInt8Top, use);
  }

#ifdef PROSA_PAIR_PRODUCTS
  // Bytes become pairs of 16 bits: the even ones of each four, then the odd ones.
  using Number = int16_t;  // each four as 0, 2, 1, 3
  using Weight = int16_t;
  static constexpr int kParts = 2;
  static constexpr bool kShifts = false;
  static constexpr bool kLessWeights = false;
  template <int Part>
  static P key(const Element* line) {
    if constexpr (Part == 0) return even_pairs<true>(line_of(line));
    return odd_pairs<true>(line_of(line));
  }
  template <int Part>
  static P value(const Element* line) {
    return key<Part>(line);
  }
  template <int Part>
  static P repeat(const Number* p) {
    return repeat_pair(p + 2 * Part);
  }
  static I score(I acc, P key, P query) { return dot_pairs(acc, key, query); }
  static I weigh(I acc, P value, P weight) { return dot_pairs(acc, value, weight); }
  static void store_numbers(Number* p, I a) { store_fours(p, a); }
  static void store_weights(Weight* p, I a) { store_fours(p, a); }
  static float shift(const Number*, int64_t) { return 0; }
#else
  using Number = int8_t;
  using Weight = uint8_t;
  static constexpr int kParts = 1;
  static constexpr bool kShifts = !kSignedCodes;  // keys go into products as key + 128
  static constexpr bool kLessWeights = kSignedWeights;
  template <int>
  static B key(const Element* line) {
    return kShifts ? flip(line_of(line), 0x80) : line_of(line);
  }
  template <int>
  static B value(const Element* line) {
    return line_of(line);
  }
  template <int>
  static X repeat(const void* p) {
    return repeat4(static_cast<const int8_t*>(p));
  }
  static I score(I acc, B key, X query) { return dot8(acc, key, query); }
  static I weigh(I acc, B value, X weight) { return dot_weights(acc, value, weight); }
  static void store_numbers(Number* p, I a) { store_i8(p, a); }
  static void store_weights(Weight* p, I a) { store_weight_bytes(p, a); }
  static X ones() {
    static constexpr int8_t kFour[4] = {1, 1, 1, 1};
    return repeat4(kFour);
  }
  // What a score has too much of, taken away: below 2^22.
  static float shift(const Number* query, int64_t n) {
    int32_t total = 0;
    for (int64_t i = 0; i < n; ++i) total += query[i];
    return static_cast<float>(-128 * total);
  }
#endif

  // The scale takes the mixing of both sides back.
  static float query_numbers(const float* x, int64_t n, Number* out) {
    const float scale = mixed_numbers(x, n, [&](int64_t d, I a) { store_numbers(out + d, a); });
    const int64_t count = mixed_vectors(n);
    return scale / static_cast<float>(count * count);
  }
  static float weight_inverse(float, float peak) { return kWeightTop / peak; }
};
