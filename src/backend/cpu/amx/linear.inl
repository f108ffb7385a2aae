// Products of many tokens with quantized weights on the tile unit (AMX int8).
//
// Included inside the ISA's namespace, after avx512/simd.h and generic/codes.inl. A vector of packed.h, 16 rows x 4
// columns of codes, is one row of the unit's right operand as it stands; 16 of them, unpacked to bytes, are a tile of
// 64 columns. Invariant: the integer sums are exact and enter a row by add_group() in the order of the groups, as in
// generic/linear.inl, so every (row, token) has the bits that the vector kernels give it.

inline constexpr int64_t kTileTokens = 16;     // rows of the left operand
inline constexpr int64_t kTileColumns = 64;    // columns that one tile product takes, at most
inline constexpr int64_t kBlockTokens = 128;   // whose sums wait in the scratch
inline constexpr int64_t kChunkColumns = 512;  // whose unpacked codes stay in the first-level cache

// Numbers of the tiles, which the instructions take as literals only. 0..3: sums, [parity of the group][plane]; 4, 5:
// activations, [plane]; 6, 7: codes, [parity].
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  explicit TileShapes(int64_t columns) {
    for (int tile = 0; tile < 8; ++tile) row_bytes[tile] = 64;
    for (int tile = 0; tile < 6; ++tile) rows[tile] = kTileTokens;
    for (int tile = 4; tile < 6; ++tile) row_bytes[tile] = static_cast<uint16_t>(columns);
    for (int tile = 6; tile < 8; ++tile) rows[tile] = static_cast<uint8_t>(columns / 4);
  }
};

struct alignas(64) TileScratch {
  uint8_t codes[2][kChunkColumns * kHalfRows];  // [half][column / 4][16 rows][4 columns]
  int32_t sums[2][2][kTileTokens][kHalfRows];   // [parity of the group][plane]
  float acc[2][kBlockTokens][kHalfRows];        // [half]
};

template <int Bits>
inline void unpack_chunk(const PackedMatrix& w, const uint8_t* group, int64_t groups, TileScratch& scratch) {
  for (int64_t g = 0; g < groups; ++g, group += w.group_bytes()) {
    for (int h = 0; h < 2; ++h) {
      const uint8_t* planes = group + w.header_bytes() + h * w.half_bytes();
      uint8_t* out = scratch.codes[h] + g * w.group_size * kHalfRows;
      for (int64_t block = 0; block < w.group_size / 32; ++block, planes += Bits * kVector, out += 8 * kVector)
        each<8>([&]<int c>() PROSA_INLINE { store_bytes(out + c * kVector, codes_of<Bits, c>(planes)); });
    }
  }
}

// A group of columns of half a tile and of 16 tokens.
struct TileGroup {
  const uint8_t* codes;
  const int8_t* high;  // of the first token
  const int8_t* low;
  int64_t ldq;
  int64_t columns;
};

template <int Parity, int Planes>
PROSA_INLINE inline void multiply(const TileGroup& group) {
  asm volatile("" ::: "memory");  // g++ 12's _tile_loadd doesn't say that it reads memory
  if constexpr (Parity == 0) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t at = 0; at < group.columns; at += kTileColumns) {
    const uint8_t* codes = group.codes + at * kHalfRows;
    _tile_loadd(4, group.high + at, group.ldq);
    if constexpr (Planes == 2) _tile_loadd(5, group.low + at, group.ldq);
    if constexpr (Parity == 0) {
      _tile_loadd(6, codes, kVector);
      _tile_dpbsud(0, 4, 6);
      if constexpr (Planes == 2) _tile_dpbsud(1, 5, 6);
    } else {
      _tile_loadd(7, codes, kVector);
      _tile_dpbsud(2, 4, 7);
      if constexpr (Planes == 2) _tile_dpbsud(3, 5, 7);
    }
  }
}

template <int Parity, int Planes>
PROSA_INLINE inline void store_sums(TileScratch& scratch) {
  if constexpr (Parity == 0) {
    _tile_stored(0, scratch.sums[0][0], kVector);
    if constexpr (Planes == 2) _tile_stored(1, scratch.sums[0][1], kVector);
  } else {
    _tile_stored(2, scratch.sums[1][0], kVector);
    if constexpr (Planes == 2) _tile_stored(3, scratch.sums[1][1], kVector);
  }
}

template <int Planes>
PROSA_INLINE inline I load_sums(const int32_t (&sums)[2][kTileTokens][kHalfRows], int64_t token) {
  const I high = {_mm512_load_si512(sums[0][token])};
  if constexpr (Planes == 1) return high;
  return join_planes(high, {_mm512_load_si512(sums[1][token])});
}

// The sums of 16 tokens of half a tile, on their way through the chunks.
struct TileSums {
  float* begin;  // [16 tokens][16 rows]
  bool fresh;    // nothing in them yet
  bool reading;  // these are the first tokens: asks for the next chunk while it multiplies, for unpacking only waits
};

// The groups of a chunk for half a tile and 16 tokens.
template <int Bits, bool Wide, int Planes>
__attribute__((noinline)) void multiply_chunk(const PackedMatrix& w, const uint8_t* packed, int half, int64_t first,
                                              int64_t groups, const Activations& x, TileScratch& scratch,
                                              TileSums sums) {
  // Copies: what lies in memory would be read again after every tile instruction.
  const int64_t group_size = w.group_size;
  const int64_t group_bytes = w.group_bytes();
  const int64_t ldg = x.ldg;
  const int64_t ldq = x.ldq;
  const uint8_t* const codes = scratch.codes[half];
  const int8_t* const high = x.high + first * group_size;
  const int8_t* const low = Planes == 2 ? x.low + first * group_size : nullptr;
  const float* scales = x.scale + first;
  const float* biases = x.sum + first;
  const auto group = [=](int64_t g) PROSA_INLINE {
    return TileGroup{codes + g * group_size * kHalfRows, high + g * group_size,
                     Planes == 2 ? low + g * group_size : nullptr, ldq, group_size};
  };
  F kept[kTileTokens];
  each<kTileTokens>([&]<int t>() PROSA_INLINE { kept[t] = sums.fresh ? zero() : load(sums.begin + t * kHalfRows); });
  const int64_t share = sums.reading ? group_bytes / 2 : 0;
  const uint8_t* ahead = packed + kChunkColumns / group_size * group_bytes + half * share;
  const auto add_sums = [&]<int Parity>() PROSA_INLINE {
    for (int64_t line = 0; line < share; line += 64) __builtin_prefetch(ahead + line, 0, 2);
    ahead += group_bytes;
    const F scale = load_scale<Wide>(packed, half);
    const F bias = load_scale<Wide>(packed, 2 + half);
    const auto& dots = scratch.sums[Parity];
    each<kTileTokens>([&]<int t>() PROSA_INLINE {
      kept[t] = add_group<Bits>(kept[t], load_sums<Planes>(dots, t), scale, bias, scales[t * ldg], biases[t * ldg]);
    });
    packed += group_bytes;
    ++scales;
    ++biases;
  };
  // The next group's products come before the stores of this one's: those wait for their sums, and what lies behind a
  // waiting store waits too.
  multiply<0, Planes>(group(0));
  for (int64_t g = 0; g < groups; g += 2) {
    if (g + 1 < groups) multiply<1, Planes>(group(g + 1));
    store_sums<0, Planes>(scratch);
    add_sums.template operator()<0>();
    if (g + 1 == groups) break;
    if (g + 2 < groups) multiply<0, Planes>(group(g + 2));
    store_sums<1, Planes>(scratch);
    add_sums.template operator()<1>();
  }
  each<kTileTokens>([&]<int t>() PROSA_INLINE { store(sums.begin + t * kHalfRows, kept[t]); });
}

template <int Bits, bool Wide, int Planes>
inline void tile_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                        bool add_to) {
  TileScratch scratch;
  const int64_t chunk = kChunkColumns / w.group_size;  // in groups
  const TileShapes shapes(std::min<int64_t>(w.group_size, kTileColumns));
  _tile_loadconfig(&shapes);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    for (int64_t first = 0; first < w.groups(); first += chunk) {
      const int64_t groups = std::min(chunk, w.groups() - first);
      const uint8_t* packed = w.tile(tile) + first * w.group_bytes();
      unpack_chunk<Bits>(w, packed, groups, scratch);
      for (int64_t token = 0; token < tokens; token += kTileTokens) {
        for (int h = 0; h < 2; ++h)
          multiply_chunk<Bits, Wide, Planes>(w, packed, h, first, groups, x.from(token), scratch,
                                             {scratch.acc[h][token], first == 0, token == 0});
      }
    }
    for (int64_t t = 0; t < tokens; ++t) {
      for (int h = 0; h < 2; ++h) {
        const int64_t row = tile * kTileRows + h * kHalfRows;
        put_row(y + t * ldy + row, w.rows - row, add_to, load(scratch.acc[h][t]));
      }
    }
  }
  _tile_release();
}
