// The int8 dot products of a matrix product with nothing around them: operands from the first-level cache, as many
// accumulators as linear.inl keeps. What is left of a core's peak when all else is free.

inline constexpr int kPeakRows = 2;
inline constexpr int kPeakTokens = 8;  // chains enough to hide a product's latency

inline int64_t dot_peak(int64_t rounds, int32_t* checksum) {
  alignas(64) uint8_t codes[kPeakRows * 64];
  alignas(64) int8_t activations[kPeakTokens * 4];
  std::memset(codes, 1, sizeof codes);
  std::memset(activations, 1, sizeof activations);
  I acc[kPeakRows][kPeakTokens];
  for (int r = 0; r < kPeakRows; ++r) {
    for (int t = 0; t < kPeakTokens; ++t) acc[r][t] = izero();
  }
  int64_t nowhere = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+r"(nowhere));  // the compiler can't know: operands are read anew in each round
    B w[kPeakRows];
    for (int r = 0; r < kPeakRows; ++r) w[r] = load_bytes(codes + nowhere + 64 * r);
    for (int t = 0; t < kPeakTokens; ++t) {
      const X x = repeat4(activations + nowhere + 4 * t);
      for (int r = 0; r < kPeakRows; ++r) acc[r][t] = dot(acc[r][t], w[r], x);
    }
  }
  *checksum = 0;
  for (int r = 0; r < kPeakRows; ++r) {
    for (int t = 0; t < kPeakTokens; ++t) *checksum += sum(acc[r][t]);
  }
  return rounds * kPeakRows * kPeakTokens * 64;
}
