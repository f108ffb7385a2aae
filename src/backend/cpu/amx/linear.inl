// Products of many tokens with quantized weights on the tile unit (AMX int8).
//
// Included inside the ISA's namespace, after avx512/simd.h and generic/codes.inl. A vector of packed.h, 16 rows x 4
// columns of codes, is one row of the unit's right operand as it stands; 16 of them, unpacked to bytes, are a tile of
// 64 columns. Invariant: the integer sums are exact and enter a row by add_group() in the order of the groups, as in
// generic/linear.inl, so every (row, token) has the bits that the vector kernels give it.

inline constexpr int kTileTokens = 16;         // rows of the left operand
inline constexpr int64_t kTileColumns = 64;    // columns that one tile product takes, at most
inline constexpr int64_t kBlockTokens = 128;   // whose sums wait in the scratch
inline constexpr int64_t kChunkColumns = 512;  // whose unpacked codes stay in the first-level cache

// Tiles 0..3: sums, [parity of the group][plane]; 4, 5: activations, [plane]; 6, 7: codes, [parity].
inline TileShapes product_shapes(int64_t columns, int64_t tokens) {
  TileShapes shapes;
  for (int tile = 0; tile < 6; ++tile) shapes.rows[tile] = static_cast<uint8_t>(tokens);
  for (int tile = 4; tile < 6; ++tile) shapes.row_bytes[tile] = static_cast<uint16_t>(columns);
  for (int tile = 6; tile < 8; ++tile) shapes.rows[tile] = static_cast<uint8_t>(columns / 4);
  return shapes;
}

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

// Operands of the products of a group of columns, half a tile and some tokens.
struct TileGroup {
  const uint8_t* codes;  // [columns / 4][16 rows][4 columns]
  const int8_t* high;    // of the first token
  const int8_t* low;
};

// The sums of the group `Ahead` groups behind `group`, into the tiles of a parity.
template <int Parity, int Ahead, int64_t Columns, int Planes>
PROSA_INLINE inline void multiply(const TileGroup& group, int64_t ldq) {
  each<Planes>([&]<int p>() PROSA_INLINE { zero_tile<2 * Parity + p>(); });
  each<static_cast<int>((Columns + kTileColumns - 1) / kTileColumns)>([&]<int part>() PROSA_INLINE {
    constexpr int64_t kFrom = Ahead * Columns + part * kTileColumns;
    load_tile<6 + Parity, kFrom * kHalfRows>(group.codes, kVector);
    load_tile<4, kFrom>(group.high, ldq);
    if constexpr (Planes == 2) load_tile<5, kFrom>(group.low, ldq);
    multiply_su<2 * Parity, 4, 6 + Parity>();
    if constexpr (Planes == 2) multiply_su<2 * Parity + 1, 5, 6 + Parity>();
  });
}

template <int Parity, int Planes>
PROSA_INLINE inline void store_sums(TileScratch& scratch) {
  constexpr int64_t kSums = offsetof(TileScratch, sums) + Parity * sizeof(scratch.sums[0]);  // no register of its own
  each<Planes>([&]<int p>() PROSA_INLINE { store_tile<2 * Parity + p, kSums + p * kTileBytes>(&scratch, kVector); });
}

template <int Planes>
PROSA_INLINE inline I load_sums(const int32_t (&sums)[2][kTileTokens][kHalfRows], int64_t token) {
  const I high = {_mm512_load_si512(sums[0][token])};
  if constexpr (Planes == 1) return high;
  return join_planes(high, {_mm512_load_si512(sums[1][token])});
}

// What some tokens, 16 or fewer, of half a tile get of a chunk of columns.
struct TileTask {
  TileGroup at;           // its first group, whose products are in the tiles of parity 0 already
  TileGroup then;         // the first group of the next task, whose products are to be there afterwards
  const uint8_t* scales;  // [groups, group_bytes]: of the half's 16 rows, their biases a tile's rows behind them
  const float* x_scales;  // [groups, ldg]
  const float* x_sums;    // [groups, ldg]
  float* sums;            // [tokens][16 rows], kept from chunk to chunk
  bool fresh;             // nothing in the sums yet
  int64_t ahead;          // of the scales: what of every group of the next chunk to ask for, for unpacking only waits,
  int64_t ahead_bytes;    // and how much
};

// Sizes that all tasks of a chunk share.
struct TileSteps {
  int64_t groups;  // at least one
  int64_t group_bytes;
  int64_t ldq;
  int64_t ldg;
};

// Few registers for addresses: one that waits on the stack comes back only after the tile stores before it, which wait
// for their products, and delays the next ones.
template <int Tokens, int64_t Columns, bool Wide, int Planes>
__attribute__((noinline)) void multiply_chunk(const TileTask& task, const TileSteps& steps, TileScratch& scratch) {
  constexpr int64_t kToBias = kTileRows * (Wide ? 4 : 2);
  const int64_t ldq = steps.ldq;
  const int64_t ldg = steps.ldg;
  const int64_t group_bytes = steps.group_bytes;
  TileGroup at = task.at;
  const uint8_t* scales = task.scales;
  const float* x_scales = task.x_scales;
  const float* x_sums = task.x_sums;
  const float* before = task.sums;
  const bool fresh = task.fresh;
  F kept[Tokens];
  each<Tokens>([&]<int t>() PROSA_INLINE { kept[t] = fresh ? zero() : load(before + t * kHalfRows); });
  int64_t left = steps.groups;
  const auto step = [&](int64_t groups) PROSA_INLINE {  // to the group after these, or to the next task's first
    at.codes += groups * Columns * kHalfRows;
    at.high += groups * Columns;
    if constexpr (Planes == 2) at.low += groups * Columns;
    if (left == groups) at = task.then;
  };
  const int64_t ahead = task.ahead;
  const int64_t ahead_bytes = task.ahead_bytes;
  const auto add_sums = [&]<int Parity>() PROSA_INLINE {
    for (int64_t line = 0; line < ahead_bytes; line += kVector) __builtin_prefetch(scales + ahead + line, 0, 2);
    const F scale = load_scale<Wide>(scales, 0);
    const F bias = load_scale<Wide>(scales + kToBias, 0);
    const auto& dots = scratch.sums[Parity];
    static_assert(!kSignedCodes);  // so that any number of bits is added alike
    each<Tokens>([&]<int t>() PROSA_INLINE {
      kept[t] = add_group<4>(kept[t], load_sums<Planes>(dots, t), scale, bias, x_scales[t], x_sums[t]);
    });
    scales += group_bytes;
    x_scales += ldg;
    x_sums += ldg;
  };
  // The next group's products come before the stores of this one's: what lies behind a waiting store waits too.
  if (left % 2 == 1) {
    store_sums<0, Planes>(scratch);
    add_sums.template operator()<0>();
    step(1);
    multiply<0, 0, Columns, Planes>(at, ldq);
    --left;
  }
  for (; left >= 2; left -= 2) {
    multiply<1, 1, Columns, Planes>(at, ldq);
    store_sums<0, Planes>(scratch);
    add_sums.template operator()<0>();
    step(2);
    multiply<0, 0, Columns, Planes>(at, ldq);
    store_sums<1, Planes>(scratch);
    add_sums.template operator()<1>();
  }
  each<Tokens>([&]<int t>() PROSA_INLINE { store(task.sums + t * kHalfRows, kept[t]); });
}

// A product as all tiles of rows see it.
struct TileProducts {
  const PackedMatrix& w;
  const Activations& x;
  int64_t tokens;
  float* y;
  int64_t ldy;
  bool add_to;
};

// A chunk of columns: the groups from `first` on.
struct TileChunk {
  int64_t tile;
  int64_t first;
  int64_t groups;
};

// The tokens of the range, `Tokens` at a time; behind the last groups their sums leave for y.
template <int Tokens, int64_t Columns, bool Wide, int Planes>
inline void tile_chunk(const TileProducts& p, const TileChunk& chunk, Range tokens, TileScratch& scratch) {
  const Activations x = p.x.from(tokens.begin);
  const int64_t count = tokens.end - tokens.begin;
  const TileSteps steps{chunk.groups, p.w.group_bytes(), x.ldq, x.ldg};
  const uint8_t* packed = p.w.tile(chunk.tile) + chunk.first * steps.group_bytes;
  const int64_t tasks = (count + Tokens - 1) / Tokens * kHalves;
  const bool last = chunk.first + chunk.groups == p.w.groups();
  const auto operands = [&](int64_t index) {  // of a task: both halves of some tokens, then of the next ones
    const int64_t at = index / kHalves * Tokens * x.ldq + chunk.first * Columns;
    return TileGroup{scratch.codes[index % kHalves], x.high + at, Planes == 2 ? x.low + at : nullptr};
  };
  TileTask task{};
  task.at = operands(0);
  task.fresh = chunk.first == 0;
  multiply<0, 0, Columns, Planes>(task.at, x.ldq);
  for (int64_t index = 0; index < tasks; ++index, task.at = task.then) {
    const int64_t half = index % kHalves;
    const int64_t token = index / kHalves * Tokens;
    const int64_t row = chunk.tile * kTileRows + half * kHalfRows;
    float* out = p.y + (tokens.begin + token) * p.ldy + row;
    const int64_t leaving = last ? std::min<int64_t>(Tokens, count - token) : 0;
    for (int64_t t = 0; t < leaving; ++t) __builtin_prefetch(out + t * p.ldy, 1, 3);
    task.then = operands(std::min(index + 1, tasks - 1));
    task.scales = packed + half * kHalfRows * (Wide ? 4 : 2);
    task.x_scales = x.scale + chunk.first * x.ldg + token;
    task.x_sums = x.sum + chunk.first * x.ldg + token;
    task.sums = scratch.acc[half][tokens.begin + token];
    task.ahead = chunk.groups * steps.group_bytes + half * steps.group_bytes / kHalves;
    task.ahead_bytes = tokens.begin == 0 && index < kHalves ? steps.group_bytes / kHalves : 0;
    multiply_chunk<Tokens, Columns, Wide, Planes>(task, steps, scratch);
    for (int64_t t = 0; t < leaving; ++t)
      put_row(out + t * p.ldy, p.w.rows - row, p.add_to, load(task.sums + t * kHalfRows));
  }
}

// Sixteen tokens at a time; a few that are left over take tiles of fewer rows, which are faster.
template <int Bits, int64_t Columns, bool Wide, int Planes>
inline void tile_linear(Range tiles, const TileProducts& p) {
  constexpr int64_t kChunk = kChunkColumns / Columns;  // in groups
  constexpr int64_t kDeep = std::min(Columns, kTileColumns);
  const int64_t rest = p.tokens % kTileTokens;
  const int64_t few = rest > 8 ? 0 : rest > 4 ? 8 : rest > 0 ? 4 : 0;
  const int64_t many = few == 0 ? p.tokens : p.tokens - rest;
  const TileShapes shapes = product_shapes(kDeep, kTileTokens);
  const TileShapes few_shapes = product_shapes(kDeep, few);
  TileScratch scratch;
  if (few == 0) configure_tiles(shapes);
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    for (int64_t first = 0; first < p.w.groups(); first += kChunk) {
      const TileChunk chunk{tile, first, std::min(kChunk, p.w.groups() - first)};
      unpack_chunk<Bits>(p.w, p.w.tile(tile) + first * p.w.group_bytes(), chunk.groups, scratch);
      if (few > 0) configure_tiles(shapes);
      tile_chunk<kTileTokens, Columns, Wide, Planes>(p, chunk, {0, many}, scratch);
      if (few > 0) configure_tiles(few_shapes);
      if (few == 4) tile_chunk<4, Columns, Wide, Planes>(p, chunk, {many, p.tokens}, scratch);
      if (few == 8) tile_chunk<8, Columns, Wide, Planes>(p, chunk, {many, p.tokens}, scratch);
    }
  }
  release_tiles();
}
