// Attention of many query rows on the tile unit (AMX int8).
//
// Included inside the ISA's namespace, after generic/attend.inl. A 16-bit integer is 256 times a signed byte and an
// unsigned one, so a dot product of 16-bit integers is four of bytes: 65536 hh + 256 (hl + lh) + ll, and modulo 2^32
// that is exact whatever the parts come to. Invariant: scores and sums are the integers of generic/attend.inl, and all
// that is done with them is done by its functions, so every row has the bits that the vector kernels give it.

inline constexpr int64_t kTileRows16 = 16;  // query rows of a tile
inline constexpr int64_t kMostHeadDim = 256;
inline constexpr int64_t kLeastTileRows = 9;  // so few, the vector kernels take less time than a tile

struct alignas(64) AttendPlanes {
  // Of the right operands of one step: [tile of 16 positions or dimensions][64 dimensions or positions][...]
  int8_t high[kStep * kMostHeadDim];
  uint8_t low[kStep * kMostHeadDim];
  int8_t query_high[kAttendRows * kMostHeadDim];
  uint8_t query_low[kAttendRows * kMostHeadDim];
  int8_t weight_high[kTileRows16 * kStep];
  uint8_t weight_low[kTileRows16 * kStep];
  int32_t sums[2][3][kTileRows16][16];  // [set of tiles][hh, hl + lh, ll]
};

// Bytes of two vectors of pairs as four columns each: from lane i of both, the odd (high) or the even (low) ones.
inline __m512i pick_bytes(bool high) {
  alignas(64) uint8_t from[64];
  for (int lane = 0; lane < 16; ++lane) {
    for (int i = 0; i < 4; ++i)
      from[4 * lane + i] = static_cast<uint8_t>(64 * (i / 2) + 4 * lane + 2 * (i % 2) + (high ? 1 : 0));
  }
  return _mm512_load_si512(from);
}

// Two vectors of pairs, `step` elements apart -> a row of a right operand in each plane.
struct ByteSplitter {
  __m512i high;
  __m512i low;

  ByteSplitter() : high(pick_bytes(true)), low(pick_bytes(false)) {}
  void split(const int16_t* pairs, int64_t step, int8_t* high_row, uint8_t* low_row) const {
    const __m512i first = _mm512_loadu_si512(pairs);
    const __m512i second = _mm512_loadu_si512(pairs + step);
    _mm512_store_si512(high_row, _mm512_permutex2var_epi8(first, high, second));
    _mm512_store_si512(low_row, _mm512_permutex2var_epi8(first, low, second));
  }
};

// Left operands: the bytes of n integers in their order.
inline void split_row(const int16_t* whole, int64_t n, int8_t* high, uint8_t* low) {
  for (int64_t i = 0; i < n; i += 32) {
    const __m512i x = _mm512_loadu_si512(whole + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(high + i), _mm512_cvtepi16_epi8(_mm512_srai_epi16(x, 8)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(low + i), _mm512_cvtepi16_epi8(x));
  }
}

// A right operand of `depth` tiles, one behind the other, and the left one with its rows `ld` bytes apart.
struct TileProduct {
  const int8_t* left_high;
  const uint8_t* left_low;
  int64_t ld;
  const int8_t* right_high;
  const uint8_t* right_low;
  int64_t depth;
};

// Tiles 0..2 or 3..5 are a set of sums; 6 and 7 the operands.
template <int Set>
PROSA_INLINE inline void multiply_bytes(const TileProduct& p) {
  constexpr int kFirst = 3 * Set;
  zero_tile<kFirst>();
  zero_tile<kFirst + 1>();
  zero_tile<kFirst + 2>();
  for (int64_t at = 0; at < p.depth; ++at) {
    load_tile<6>(p.left_high + 64 * at, p.ld);
    load_tile<7>(p.right_high + kTileBytes * at, 64);
    multiply_ss<kFirst, 6, 7>();
    load_tile<7>(p.right_low + kTileBytes * at, 64);
    multiply_su<kFirst + 1, 6, 7>();
    load_tile<6>(p.left_low + 64 * at, p.ld);
    multiply_uu<kFirst + 2, 6, 7>();
    load_tile<7>(p.right_high + kTileBytes * at, 64);
    multiply_us<kFirst + 1, 6, 7>();
  }
}

template <int Set>
PROSA_INLINE inline void store_byte_sums(AttendPlanes& planes) {
  each<3>([&]<int n>() PROSA_INLINE { store_tile<3 * Set + n, n * kTileBytes>(planes.sums[Set], 64); });
}

inline I joined_sums(const int32_t (&sums)[3][kTileRows16][16], int row) {
  const I high = {_mm512_load_si512(sums[0][row])};
  const I middle = {_mm512_load_si512(sums[1][row])};
  const I low = {_mm512_load_si512(sums[2][row])};
  return add(scale_up<8>(add(scale_up<8>(high), middle)), low);
}

// product(n) for n in 0 .. count - 1, each with use(n, sums) behind it; the next one's products come before the stores
// of this one's, which wait for their sums.
template <typename Product, typename Use>
PROSA_INLINE inline void multiply_in_turn(int64_t count, AttendPlanes& planes, const Product& product, const Use& use) {
  multiply_bytes<0>(product(0));
  for (int64_t n = 0; n < count; n += 2) {
    if (n + 1 < count) multiply_bytes<1>(product(n + 1));
    store_byte_sums<0>(planes);
    use(n, planes.sums[0]);
    if (n + 1 == count) break;
    if (n + 2 < count) multiply_bytes<0>(product(n + 2));
    store_byte_sums<1>(planes);
    use(n + 1, planes.sums[1]);
  }
}

using RowTile = Tile<kTileRows16>;

inline void tile_scores(const AttendArgs& a, int64_t first, const int16_t* scales, AttendPlanes& planes,
                        RowTile& tile) {
  const auto product = [&](int64_t n) PROSA_INLINE {
    return TileProduct{planes.query_high + first * a.head_dim, planes.query_low + first * a.head_dim, a.head_dim,
                       planes.high + n * 16 * a.head_dim,      planes.low + n * 16 * a.head_dim,      a.head_dim / 64};
  };
  multiply_in_turn(kStep / 16, planes, product, [&](int64_t n, const auto& sums) PROSA_INLINE {
    const F scale = load_scales(scales + 32 * n);
    each<kTileRows16>([&]<int r>() PROSA_INLINE {
      store(tile.scores[r] + 16 * n, to_float(joined_sums(sums, r)) * (scale * set1(tile.query_scale[r])));
    });
  });
}

inline void tile_values(const AttendArgs& a, AttendPlanes& planes, const RowTile& tile) {
  for (int64_t r = 0; r < kTileRows16; ++r)
    split_row(tile.weights[r], kStep, planes.weight_high + r * kStep, planes.weight_low + r * kStep);
  const auto product = [&](int64_t n) PROSA_INLINE {
    return TileProduct{planes.weight_high,           planes.weight_low,           kStep,
                       planes.high + n * kTileBytes, planes.low + n * kTileBytes, 1};
  };
  multiply_in_turn(a.head_dim / 16, planes, product, [&](int64_t n, const auto& sums) PROSA_INLINE {
    each<kTileRows16>([&]<int r>() PROSA_INLINE {
      float* out = tile.sums + r * a.head_dim + 16 * n;
      store(out, fma(to_float(joined_sums(sums, r)), set1(tile.scale[r]), load(out) * set1(tile.factor[r])));
    });
  });
}

// The keys or values of a step as right operands.
inline void split_keys(const AttendArgs& a, int64_t base, const ByteSplitter& splitter, AttendPlanes& planes) {
  const int16_t* keys = a.blocks[base / kKvSpan] + a.keys + base % kKvSpan * a.head_dim;
  for (int64_t at = 0; at < kStep * a.head_dim; at += 64)
    splitter.split(keys + at, 32, planes.high + at, planes.low + at);
}

inline void split_values(const AttendArgs& a, int64_t base, const ByteSplitter& splitter, AttendPlanes& planes) {
  const int16_t* values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim;
  for (int64_t four = 0; four < kStep / 4; ++four) {
    for (int64_t n = 0; n < a.head_dim / 16; ++n) {
      const int64_t at = n * kTileBytes + four * 64;
      splitter.split(values + 4 * four * a.head_dim + 32 * n, 2 * a.head_dim, planes.high + at, planes.low + at);
    }
  }
}

void tile_attend(const AttendArgs& a) {
  constexpr int64_t kTiles = kAttendRows / kTileRows16;
  static_assert(kAttendRows % kTileRows16 == 0);
  AttendPlanes planes;
  RowTile tiles[kTiles];
  AttendRows rows = {};
  int64_t limits[kAttendRows] = {};  // rows that are not there see nothing
  auto* queries = reinterpret_cast<int16_t*>(a.scratch + kAttendRows * a.head_dim);
  const int64_t count = (a.rows + kTileRows16 - 1) / kTileRows16;
  for (int64_t r = 0; r < count * kTileRows16; ++r) {
    rows.top[r] = -1e30F;
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.scratch + r * a.head_dim + d, zero());
    int16_t* query = queries + r * a.head_dim;
    if (r < a.rows) {
      limits[r] = a.limits[r];
      rows.query_scale[r] = whole_numbers(a.q[r], a.head_dim, length(a.q[r], a.head_dim), query);
    } else {
      std::fill_n(query, a.head_dim, int16_t{0});
    }
    split_row(query, a.head_dim, planes.query_high + r * a.head_dim, planes.query_low + r * a.head_dim);
  }
  for (int64_t t = 0; t < count; ++t) {
    const int64_t first = t * kTileRows16;
    tiles[t].limits = limits + first;
    tiles[t].query_scale = rows.query_scale + first;
    tiles[t].top = rows.top + first;
    tiles[t].total = rows.total + first;
    tiles[t].sums = a.scratch + first * a.head_dim;
  }
  const TileShapes shapes;
  const ByteSplitter splitter;
  configure_tiles(shapes);
  const int64_t reach = *std::max_element(limits, limits + a.rows);
  for (int64_t base = 0; base < reach; base += kStep) {
    const int16_t* scales = a.blocks[base / kKvSpan] + kv_scale_at(base % kKvSpan, a.head_dim);
    split_keys(a, base, splitter, planes);
    for (int64_t t = 0; t < count; ++t) {
      tile_scores(a, t * kTileRows16, scales + a.keys, planes, tiles[t]);
      softmax_step<kTileRows16>(tiles[t], base, scales + a.values);
    }
    split_values(a, base, splitter, planes);
    for (int64_t t = 0; t < count; ++t) tile_values(a, planes, tiles[t]);
  }
  release_tiles();
  for (int64_t r = 0; r < a.rows; ++r) {
    const F scale = set1(1.0F / rows.total[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.out[r] + d, load(a.scratch + r * a.head_dim + d) * scale);
  }
}
