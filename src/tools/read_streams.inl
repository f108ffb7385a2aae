// Reading memory in several streams at once: included by read_streams.cpp once per instruction set, inside its own
// namespace and target region, because a 64-byte vector becomes one load only where the instruction set is known when
// the loop itself is compiled.

using Line = uint64_t __attribute__((vector_size(64)));

/// Sum of the 64-bit words of Streams * lines * 64 bytes. Stream s starts at data + s * lines * 64; the streams advance
/// together, `Ahead` bytes of each being asked for early (0: left to the hardware). `lines` a multiple of kStep.
template <int Streams, int Ahead>
inline uint64_t read_streams(const uint8_t* data, int64_t lines) {
  Line sums[2] = {};  // two chains of additions: one alone would be slower than a core's loads
  for (int64_t line = 0; line < lines; line += kStep) {
    for (int stream = 0; stream < Streams; ++stream) {
      const uint8_t* from = data + (stream * lines + line) * kLineBytes;
      for (int i = 0; i < kStep; ++i) {
        if constexpr (Ahead > 0) __builtin_prefetch(from + i * kLineBytes + Ahead);
        sums[i % 2] += *reinterpret_cast<const Line*>(from + i * kLineBytes);
      }
    }
  }
  uint64_t total = 0;
  for (int lane = 0; lane < 8; ++lane) total += sums[0][lane] + sums[1][lane];
  return total;
}

inline constexpr ReadWay kWays[] = {
    {1, 0, read_streams<1, 0>},       {2, 0, read_streams<2, 0>},       {4, 0, read_streams<4, 0>},
    {1, 2048, read_streams<1, 2048>}, {2, 2048, read_streams<2, 2048>}, {4, 2048, read_streams<4, 2048>},
    {1, 4096, read_streams<1, 4096>}, {2, 4096, read_streams<2, 4096>}, {4, 4096, read_streams<4, 4096>},
};
