// Products of quantized weights with outliers (Activations): a column of a tile at a time, for all tokens that have an
// outlier there, in float32.
//
// Included inside an ISA's namespace, after codes.inl. Trained models have their outliers in the same channels for all
// tokens, so a column is unpacked once for many. Invariant: a row's sums come group by group, column by column,
// whatever tokens stand beside it.

inline constexpr int64_t kOutlierTokens = 64;  // whose values of a column stand on the stack

/// The codes of column `column` of a group (0 <= column < group_size) of half a tile, whose planes these are
/// (packed.h).
inline F column_codes(const uint8_t* planes, int bits, int64_t column) {
  planes += column / 32 * bits * kVector;
  const auto chunk = static_cast<int>(column % 32 / 4);
  const auto lane = static_cast<int>(column % 4 * 8);
  const auto field = [&](int vector, int shift, uint32_t keep, int row) {
    uint32_t word;
    std::memcpy(&word, planes + vector * kVector + row * 4, 4);
    return word >> (lane + shift) & keep;
  };
  float codes[16];
  for (int row = 0; row < 16; ++row) {
    uint32_t code = 0;
    switch (bits) {
      case 8: code = field(chunk, 0, 0xff, row); break;
      case 6: code = field(chunk / 2, chunk % 2 * 4, 15, row) | field(4 + chunk / 4, chunk % 4 * 2, 3, row) << 4; break;
      case 5: code = field(chunk / 2, chunk % 2 * 4, 15, row) | field(4, chunk, 1, row) << 4; break;
      case 4: code = field(chunk / 2, chunk % 2 * 4, 15, row); break;
      case 3: code = field(chunk / 4, chunk % 4 * 2, 3, row) | field(2, chunk, 1, row) << 2; break;
      default: code = field(chunk / 4, chunk % 4 * 2, 3, row); break;
    }
    codes[row] = static_cast<float>(code);
  }
  return load(codes);
}

/// The tokens that have an outlier in a column, and its values there.
struct ColumnValues {
  int64_t count = 0;
  int64_t token[kOutlierTokens];
  float value[kOutlierTokens];
};

template <bool Wide>
inline void add_column(const PackedMatrix& w, Range tiles, int64_t group, int64_t column, const ColumnValues& values,
                       float* y, int64_t ldy) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const uint8_t* at = w.tile(tile) + group * w.group_bytes();
    for (int h = 0; h < kHalves; ++h) {
      const F codes = column_codes(at + w.header_bytes() + h * w.half_bytes(), w.bits, column);
      const F weights = fma(load_scale<Wide>(at, h), codes, load_scale<Wide>(at, 2 + h));
      const int64_t row = tile * kTileRows + h * kHalfRows;
      for (int64_t i = 0; i < values.count; ++i)
        put_row(y + values.token[i] * ldy + row, w.rows - row, true, weights * set1(values.value[i]));
    }
  }
}

/// The columns of a group in which some of the tokens, at most kOutlierTokens, have outliers.
template <bool Wide>
inline void add_group_outliers(const PackedMatrix& w, Range tiles, int64_t group, const Activations& x, int64_t tokens,
                               float* y, int64_t ldy) {
  const uint8_t* counts = x.outliers + group * x.ldg;
  const Outlier* lists = x.outlier + group * x.ldg * kMaxOutliers;
  bool used[128] = {};
  bool any = false;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < counts[t]; ++i) used[lists[t * kMaxOutliers + i].column] = any = true;
  }
  if (!any) return;
  for (int32_t column = 0; column < w.group_size; ++column) {
    if (!used[column]) continue;
    ColumnValues values;
    for (int64_t t = 0; t < tokens; ++t) {
      for (int i = 0; i < counts[t]; ++i) {
        const Outlier& outlier = lists[t * kMaxOutliers + i];
        if (outlier.column != column) continue;
        values.token[values.count] = t;
        values.value[values.count++] = outlier.value;
      }
    }
    add_column<Wide>(w, tiles, group, column, values, y, ldy);
  }
}

inline void add_outliers(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                         int64_t ldy) {
  for (int64_t token = 0; token < tokens; token += kOutlierTokens) {
    const Activations mine = x.from(token);
    const int64_t here = std::min(kOutlierTokens, tokens - token);
    for (int64_t group = 0; group < w.groups(); ++group) {
      if (w.scale_dtype == DType::f32)
        add_group_outliers<true>(w, tiles, group, mine, here, y + token * ldy, ldy);
      else
        add_group_outliers<false>(w, tiles, group, mine, here, y + token * ldy, ldy);
    }
  }
}
