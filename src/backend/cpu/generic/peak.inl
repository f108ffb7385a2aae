// The int8 dot products of a matrix product with nothing around them: operands from the first-level cache, as many
// accumulators as linear.inl keeps. What is left of a core's peak when all else is free.

inline int64_t dot_peak(int64_t rounds, int32_t* checksum) {
  alignas(64) uint8_t codes[kRowTiles * 64];
  alignas(64) int8_t activations[kTokenTile * 4];
  std::memset(codes, 1, sizeof codes);
  std::memset(activations, 1, sizeof activations);
  I acc[kRowTiles][kTokenTile];
  for (auto& row : acc) {
    for (I& a : row) a = izero();
  }
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" ::: "memory");  // operands are read anew, so that no product moves out of the loop
    B w[kRowTiles];
    for (int r = 0; r < kRowTiles; ++r) w[r] = load_bytes(codes + 64 * r);
    for (int t = 0; t < kTokenTile; ++t) {
      const X x = repeat4(activations + 4 * t);
      for (int r = 0; r < kRowTiles; ++r) acc[r][t] = dot(acc[r][t], w[r], x);
    }
  }
  *checksum = 0;
  for (const auto& row : acc) {
    for (const I& a : row) *checksum += sum(a);
  }
  return rounds * kRowTiles * kTokenTile * 64;
}
