// Attention of many query rows over a KV cache of 16 bits, on the tile unit (AMX int8).
//
// Included inside the ISA's namespace, after amx/attend_rows.inl. A 16-bit integer is 256 times a signed byte and an
// unsigned one, so a dot product of 16-bit integers is four of bytes: 65536 hh + 256 (hl + lh) + ll, and modulo 2^32
// that is exact whatever the parts come to.

struct alignas(64) AttendPlanes {
  int8_t key_high[kStep * kMaxHeadDim];  // of one step: [tile of 16 positions][head_dim / 4][16 positions][4]
  uint8_t key_low[kStep * kMaxHeadDim];
  int8_t value_high[kKvSpan * kMaxHeadDim];  // [tile of 16 dimensions][step][kStep / 4][16 dimensions][4]
  uint8_t value_low[kKvSpan * kMaxHeadDim];
  int8_t query_high[kAttendRows * kMaxHeadDim];  // [row, head_dim]
  uint8_t query_low[kAttendRows * kMaxHeadDim];
  int8_t weight_high[kStepsTogether][kAttendRows * kStep];  // [step][row][kStep]
  uint8_t weight_low[kStepsTogether][kAttendRows * kStep];
  float scale[kStepsTogether][kAttendRows];   // of the integer weights
  float factor[kStepsTogether][kAttendRows];  // what the sums so far shrink by
  int32_t sums[2][3][kTileRows16][16];        // [set of tiles][hh, hl + lh, ll]
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

// Where the high and the low bytes of the operands begin in AttendPlanes: constants, so that the places in them need
// one register for both.
struct ScorePlanes {
  static constexpr int64_t kLeft[2] = {offsetof(AttendPlanes, query_high), offsetof(AttendPlanes, query_low)};
  static constexpr int64_t kRight[2] = {offsetof(AttendPlanes, key_high), offsetof(AttendPlanes, key_low)};
};
template <int Step>
struct ValuePlanes {
  static constexpr int64_t kWeights = Step * kAttendRows * kStep;
  static constexpr int64_t kValues = Step * kTileBytes;
  static constexpr int64_t kLeft[2] = {offsetof(AttendPlanes, weight_high) + kWeights,
                                       offsetof(AttendPlanes, weight_low) + kWeights};
  static constexpr int64_t kRight[2] = {offsetof(AttendPlanes, value_high) + kValues,
                                        offsetof(AttendPlanes, value_low) + kValues};
};

// `left` and `right` are places in the planes: rows `ld` bytes apart, and `depth` tiles one behind the other. Tiles
// 0..2 or 3..5 are a set of sums; 6 and 7 the operands.
template <int Set, typename Planes>
PROSA_INLINE inline void multiply_bytes(const AttendPlanes& planes, int64_t left, int64_t ld, int64_t right,
                                        int64_t depth) {
  constexpr int kFirst = 3 * Set;
  each<3>([&]<int n>() PROSA_INLINE { zero_tile<kFirst + n>(); });
  const auto* rows = reinterpret_cast<const uint8_t*>(&planes) + left;
  const auto* columns = reinterpret_cast<const uint8_t*>(&planes) + right;
  for (int64_t at = 0; at < depth; ++at, rows += 64, columns += kTileBytes) {
    load_tile<6, Planes::kLeft[0]>(rows, ld);
    load_tile<7, Planes::kRight[0]>(columns, 64);
    multiply_ss<kFirst, 6, 7>();
    load_tile<7, Planes::kRight[1]>(columns, 64);
    multiply_su<kFirst + 1, 6, 7>();
    load_tile<6, Planes::kLeft[1]>(rows, ld);
    multiply_uu<kFirst + 2, 6, 7>();
    load_tile<7, Planes::kRight[0]>(columns, 64);
    multiply_us<kFirst + 1, 6, 7>();
  }
}

template <int Set>
PROSA_INLINE inline void store_byte_sums(AttendPlanes& planes) {
  constexpr int64_t kSums = offsetof(AttendPlanes, sums) + Set * sizeof(planes.sums[0]);
  each<3>([&]<int n>() PROSA_INLINE { store_tile<3 * Set + n, kSums + n * kTileBytes>(&planes, 64); });
}

inline I joined_sums(const int32_t (&sums)[3][kTileRows16][16], int row) {
  const I high = {_mm512_load_si512(sums[0][row])};
  const I middle = {_mm512_load_si512(sums[1][row])};
  const I low = {_mm512_load_si512(sums[2][row])};
  return add(scale_up<8>(add(scale_up<8>(high), middle)), low);
}

// The next 16 positions' products come before the stores of these, which wait for their sums.
inline void tile_scores(const AttendArgs& a, int64_t first, const std::byte* scales, AttendPlanes& planes,
                        AttendRows<Kv16>& rows) {
  static_assert(kStep / 16 % 2 == 0);
  const int64_t dim = a.kv.head_dim;
  const int64_t depth = dim / 64;
  const int64_t left = first * dim;
  const auto use = [&]<int Set>(int64_t n) PROSA_INLINE {
    store_byte_sums<Set>(planes);
    const F scale = load_scales(scales + 64 * n);
    each<kTileRows16>([&]<int r>() PROSA_INLINE {
      store(rows.scores[first + r] + 16 * n,
            to_float(joined_sums(planes.sums[Set], r)) * (scale * set1(rows.query_scale[first + r])));
    });
  };
  multiply_bytes<0, ScorePlanes>(planes, left, dim, 0, depth);
  for (int64_t n = 0; n < kStep / 16; n += 2) {
    multiply_bytes<1, ScorePlanes>(planes, left, dim, (n + 1) * 16 * dim, depth);
    use.template operator()<0>(n);
    if (n + 2 < kStep / 16) multiply_bytes<0, ScorePlanes>(planes, left, dim, (n + 2) * 16 * dim, depth);
    use.template operator()<1>(n + 1);
  }
}

// What the values need of the weights of one step.
inline void keep_weights(const AttendRows<Kv16>& rows, int64_t first, int64_t step, AttendPlanes& planes) {
  split_row(rows.weights[first], kTileRows16 * kStep, planes.weight_high[step] + first * kStep,
            planes.weight_low[step] + first * kStep);
  store(planes.scale[step] + first, load(rows.scale + first));
  store(planes.factor[step] + first, load(rows.factor + first));
}

// Adds the weighted values of one or two steps to the sums in the scratch, [head_dim / 16][count][16 rows][16].
template <int Steps>
inline void tile_values(const AttendArgs& a, int64_t count, AttendPlanes& planes) {
  const int64_t columns = a.kv.head_dim / 16;
  F kept[kTileRows16];
  const auto add_step = [&]<int Set>(int64_t first) PROSA_INLINE {
    store_byte_sums<Set>(planes);
    each<kTileRows16>([&]<int r>() PROSA_INLINE {
      const F shrunk = kept[r] * set1(planes.factor[Set][first + r]);
      kept[r] = fma(to_float(joined_sums(planes.sums[Set], r)), set1(planes.scale[Set][first + r]), shrunk);
    });
  };
  float* sums = a.scratch;
  multiply_bytes<0, ValuePlanes<0>>(planes, 0, kStep, 0, 1);
  for (int64_t column = 0; column < columns; ++column) {
    const int64_t right = column * kStepsTogether * kTileBytes;
    for (int64_t tile = 0; tile < count; ++tile, sums += kTileRows16 * 16) {
      const int64_t first = tile * kTileRows16;
      const bool ends = tile + 1 == count;
      each<kTileRows16>([&]<int r>() PROSA_INLINE { kept[r] = load(sums + 16 * r); });
      if constexpr (Steps == 2) multiply_bytes<1, ValuePlanes<1>>(planes, first * kStep, kStep, right, 1);
      add_step.template operator()<0>(first);
      // The next piece, or behind the last one any.
      multiply_bytes<0, ValuePlanes<0>>(planes, ends ? 0 : (first + kTileRows16) * kStep, kStep,
                                        ends && column + 1 < columns ? right + kStepsTogether * kTileBytes : right, 1);
      if constexpr (Steps == 2) add_step.template operator()<1>(first);
      each<kTileRows16>([&]<int r>() PROSA_INLINE { store(sums + 16 * r, kept[r]); });
    }
  }
}

// The keys or values of a step as right operands.
inline void split_keys(const AttendArgs& a, int64_t base, const ByteSplitter& splitter, AttendPlanes& planes) {
  const int16_t* keys = elements<Kv16>(a.blocks[base / kKvSpan] + a.keys) + base % kKvSpan * a.kv.head_dim;
  for (int64_t at = 0; at < kStep * a.kv.head_dim; at += 64)
    splitter.split(keys + at, 32, planes.key_high + at, planes.key_low + at);
}

inline void split_values(const AttendArgs& a, int64_t base, int64_t step, const ByteSplitter& splitter,
                         AttendPlanes& planes) {
  const int16_t* values = elements<Kv16>(a.blocks[base / kKvSpan] + a.values) + base % kKvSpan * a.kv.head_dim;
  for (int64_t n = 0; n < a.kv.head_dim / 16; ++n) {
    for (int64_t four = 0; four < kStep / 4; ++four) {
      const int64_t at = (n * kStepsTogether + step) * kTileBytes + four * 64;
      splitter.split(values + (n * kStep + 4 * four) * kKvBlock, 32, planes.value_high + at, planes.value_low + at);
    }
  }
}

void tile_attend16(const AttendArgs& a) {
  AttendPlanes planes;
  TiledRows<Kv16> tiled(a);
  const int64_t end = tiled.count * kTileRows16;
  split_row(tiled.queries, end * a.kv.head_dim, planes.query_high, planes.query_low);
  const TileShapes shapes;
  const ByteSplitter splitter;
  configure_tiles(shapes);
  const int64_t reach = *std::max_element(a.limits, a.limits + a.rows);
  for (int64_t base = a.first; base < std::min(reach, a.end); base += kKvSpan) {
    const int64_t steps = base + kStep < reach ? 2 : 1;
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t at = base + step * kStep;
      const std::byte* scales = a.blocks[at / kKvSpan] + a.kv.scale_at(at % kKvSpan);
      split_keys(a, at, splitter, planes);
      for (int64_t first = 0; first < end; first += kTileRows16) {
        tile_scores(a, first, scales + a.keys, planes, tiled.rows);
        softmax_step<kTileRows16>(tiled.rows, first, at, scales + a.values);
        keep_weights(tiled.rows, first, step, planes);
      }
      split_values(a, at, step, splitter, planes);
    }
    if (steps == 2)
      tile_values<2>(a, tiled.count, planes);
    else
      tile_values<1>(a, tiled.count, planes);
  }
  release_tiles();
  tiled.finish(a);
}
