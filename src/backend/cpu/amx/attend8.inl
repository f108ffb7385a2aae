// Attention of many query rows over a KV cache of 8 bits, on the tile unit (AMX int8).
//
// Included inside the ISA's namespace, after amx/attend_rows.inl. Keys and values lie in the cache as the right
// operands of tiles: [16 columns][4 bytes] a row. Queries and weights are left operands as they are.

struct alignas(64) AttendBytes {
  uint8_t weights[kStepsTogether][kAttendRows * kStep];  // [step][row][kStep]
  float scale[kStepsTogether][kAttendRows];              // of the integer weights
  float factor[kStepsTogether][kAttendRows];             // what the sums so far shrink by
  int32_t sums[2][2][kTileRows16][16];                   // [set of tiles][tile]
};

// Tiles 0, 1 or 2, 3 are a set of sums; 4 to 7 the operands.
template <int Set>
PROSA_INLINE inline void store_sums(AttendBytes& bytes) {
  constexpr int64_t kSums = offsetof(AttendBytes, sums) + Set * sizeof(bytes.sums[0]);
  each<2>([&]<int n>() PROSA_INLINE { store_tile<2 * Set + n, kSums + n * kTileBytes>(&bytes, 64); });
}

// A step's scores of all row tiles, and what follows from them. Products come before the stores of those before them,
// which wait for their sums.
inline void score_step(const AttendArgs& a, int64_t base, int64_t step, TiledRows<Kv8>& tiled, AttendBytes& bytes) {
  static_assert(kStep == 64);
  const int64_t dim = a.kv.head_dim;
  const std::byte* block = a.blocks[base / kKvSpan];
  const int64_t slot = base % kKvSpan;
  const std::byte* keys = block + a.keys + slot * dim;
  const std::byte* scales = block + a.keys + a.kv.scale_at(slot);
  AttendRows<Kv8>& rows = tiled.rows;
  const auto multiply = [&]<int Set>(int64_t first) PROSA_INLINE {  // 32 positions
    const int8_t* query = tiled.queries + first * dim;
    const std::byte* key = keys + Set * 32 * dim;
    each<2>([&]<int n>() PROSA_INLINE { zero_tile<2 * Set + n>(); });
    for (int64_t d = 0; d < dim; d += 64) {
      load_tile<4>(query + d, dim);
      load_tile<6>(key + d * 16, 64);
      multiply_ss<2 * Set, 4, 6>();
      load_tile<7>(key + (dim + d) * 16, 64);
      multiply_ss<2 * Set + 1, 4, 7>();
    }
  };
  const auto use = [&]<int Set>(int64_t first) PROSA_INLINE {
    store_sums<Set>(bytes);
    each<2>([&]<int n>() PROSA_INLINE {
      constexpr int kBlock = 2 * Set + n;
      const F scale = load_scales(scales + 64 * kBlock);
      each<kTileRows16>([&]<int r>() PROSA_INLINE {
        const I sums = {_mm512_load_si512(bytes.sums[Set][n][r])};
        store(rows.scores[first + r] + 16 * kBlock, to_float(sums) * (scale * set1(rows.query_scale[first + r])));
      });
    });
  };
  const int64_t end = tiled.count * kTileRows16;
  multiply.template operator()<0>(0);
  for (int64_t first = 0; first < end; first += kTileRows16) {
    multiply.template operator()<1>(first);
    use.template operator()<0>(first);
    if (first + kTileRows16 < end) multiply.template operator()<0>(first + kTileRows16);
    use.template operator()<1>(first);
    softmax_step<kTileRows16>(rows, first, base, block + a.values + a.kv.scale_at(slot));
    std::copy_n(rows.weights[first], kTileRows16 * kStep, bytes.weights[step] + first * kStep);
    store(bytes.scale[step] + first, load(rows.scale + first));
    store(bytes.factor[step] + first, load(rows.factor + first));
  }
}

// A tile of rows and 16 dimensions, in the order in which their sums lie.
struct ValuePiece {
  int64_t column = 0;
  int64_t tile = 0;
  void advance(int64_t count) {
    if (++tile < count) return;
    tile = 0;
    ++column;
  }
};

// Adds the weighted values of one or two steps to the sums.
template <int Steps>
inline void add_values(const AttendArgs& a, int64_t base, const TiledRows<Kv8>& tiled, AttendBytes& bytes) {
  const int64_t columns = a.kv.head_dim / 16;
  const std::byte* values = a.blocks[base / kKvSpan] + a.values;
  const int64_t second = kStep * a.kv.head_dim;  // from a step's values to those of the next
  const auto multiply = [&]<int Set>(ValuePiece piece) PROSA_INLINE {
    if (piece.column == columns) return;
    if (piece.tile == 0) {
      load_tile<6>(values + piece.column * kTileBytes, 64);
      if constexpr (Steps == 2) load_tile<7>(values + second + piece.column * kTileBytes, 64);
    }
    zero_tile<2 * Set>();
    load_tile<4>(bytes.weights[0] + piece.tile * kTileBytes, 64);
    multiply_us<2 * Set, 4, 6>();
    if constexpr (Steps == 1) return;
    zero_tile<2 * Set + 1>();
    load_tile<5>(bytes.weights[1] + piece.tile * kTileBytes, 64);
    multiply_us<2 * Set + 1, 5, 7>();
  };
  const auto add = [&]<int Set>(ValuePiece piece) PROSA_INLINE {
    if (piece.column == columns) return;
    store_sums<Set>(bytes);
    float* sums = tiled.rows.sums + (piece.column * tiled.count + piece.tile) * kTileRows16 * 16;
    const int64_t first = piece.tile * kTileRows16;
    each<kTileRows16>([&]<int r>() PROSA_INLINE {
      F kept = load(sums + 16 * r);
      each<Steps>([&]<int step>() PROSA_INLINE {
        const I more = {_mm512_load_si512(bytes.sums[Set][step][r])};
        const F shrunk = kept * set1(bytes.factor[step][first + r]);
        kept = fma(to_float(more), set1(bytes.scale[step][first + r]), shrunk);
      });
      store(sums + 16 * r, kept);
    });
  };
  static_assert(kTileRows16 * kStep == kTileBytes);
  ValuePiece piece;
  multiply.template operator()<0>(piece);
  while (piece.column < columns) {
    ValuePiece next = piece;
    next.advance(tiled.count);
    multiply.template operator()<1>(next);
    add.template operator()<0>(piece);
    piece = next;
    piece.advance(tiled.count);
    multiply.template operator()<0>(piece);
    add.template operator()<1>(next);
  }
}

void tile_attend8(const AttendArgs& a) {
  AttendBytes bytes;
  TiledRows<Kv8> tiled(a);
  const TileShapes shapes;
  configure_tiles(shapes);
  const int64_t reach = *std::max_element(a.limits, a.limits + a.rows);
  for (int64_t base = a.first; base < std::min(reach, a.end); base += kKvSpan) {
    score_step(a, base, 0, tiled, bytes);
    if (base + kStep >= reach) {
      add_values<1>(a, base, tiled, bytes);
      continue;
    }
    score_step(a, base + kStep, 1, tiled, bytes);
    add_values<2>(a, base, tiled, bytes);
  }
  release_tiles();
  tiled.finish(a);
}
