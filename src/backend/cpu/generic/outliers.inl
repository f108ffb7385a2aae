// Products of quantized weights with outliers (Activations): a column of a tile at a time, for all tokens that have an
// outlier there, in float32.
//
// Included inside an ISA's namespace, after codes.inl. Trained models have their outliers in the same channels for all
// tokens, so a column is unpacked once for many. Invariant: a row's sums come group by group, column by column,
// whatever tokens stand beside it.

inline constexpr int64_t kOutlierTokens = 64;  // whose outliers of a group stand on the stack

/// The codes of column `column` of a group (0 <= column < group_size) of half a tile, whose planes these are
/// (packed.h). A column is a byte of every word of a vector, or some bits of it.
inline F column_codes(const uint8_t* planes, int bits, int64_t column) {
  planes += column / 32 * bits * kVector;
  const auto chunk = static_cast<int>(column % 32 / 4);
  const auto byte = static_cast<int>(column % 4 * 8);
  const auto field = [&](int vector, int shift, int32_t keep) {
    return words(planes + vector * kVector, byte + shift, keep);
  };
  const auto low_four = [&] { return field(chunk / 2, chunk % 2 * 4, 15); };
  const auto low_two = [&] { return field(chunk / 4, chunk % 4 * 2, 3); };
  switch (bits) {
    case 8: return to_float(field(chunk, 0, 255));
    case 6: return to_float(add(low_four(), scale_up<4>(field(4 + chunk / 4, chunk % 4 * 2, 3))));
    case 5: return to_float(add(low_four(), scale_up<4>(field(4, chunk, 1))));
    case 4: return to_float(low_four());
    case 3: return to_float(add(low_two(), scale_up<2>(field(2, chunk, 1))));
    default: return to_float(low_two());
  }
}

/// The outliers of some tokens in one group.
struct GroupOutliers {
  struct Entry {
    int64_t token;
    Outlier outlier;
  };
  int count = 0;
  Entry entries[kOutlierTokens * kMaxOutliers];  // token by token
  bool used[kMaxGroup] = {};                     // columns
};

/// Tokens and values of one column.
struct ColumnValues {
  int count = 0;
  int64_t token[kOutlierTokens];
  float value[kOutlierTokens];
};

inline bool any(const uint8_t* counts, int64_t n) {
  uint64_t together = 0;
  for (; n >= 8; n -= 8, counts += 8) {
    uint64_t eight;
    std::memcpy(&eight, counts, 8);
    together |= eight;
  }
  for (int64_t i = 0; i < n; ++i) together |= counts[i];
  return together != 0;
}

/// Of at most kOutlierTokens tokens.
inline void gather(const uint8_t* counts, const Outlier* lists, int64_t tokens, GroupOutliers& found) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < counts[t]; ++i) {
      const Outlier& outlier = lists[t * kMaxOutliers + i];
      found.used[outlier.column] = true;
      found.entries[found.count++] = {t, outlier};
    }
  }
}

template <bool Wide>
inline void add_column(const PackedMatrix& w, Range tiles, int64_t group, int64_t column, const ColumnValues& values,
                       float* y, int64_t ldy) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const uint8_t* at = w.tile(tile) + group * w.group_bytes();
    for (int h = 0; h < kHalves; ++h) {
      const F codes = column_codes(at + w.header_bytes() + h * w.half_bytes(), w.bits, column);
      const F weights = fma(load_scale<Wide>(at, h), codes, load_scale<Wide>(at, 2 + h));
      const int64_t row = tile * kTileRows + h * kHalfRows;
      for (int i = 0; i < values.count; ++i)
        put_row(y + values.token[i] * ldy + row, w.rows - row, true, weights * set1(values.value[i]));
    }
  }
}

// The columns of a group in which some of the tokens have outliers. A function of its own, since it is seldom called.
template <bool Wide>
__attribute__((noinline)) void add_group_outliers(const PackedMatrix& w, Range tiles, int64_t group,
                                                  const Activations& x, int64_t tokens, float* y, int64_t ldy) {
  GroupOutliers found;
  gather(x.outliers + group * x.ldg, x.outlier + group * x.ldg * kMaxOutliers, tokens, found);
  for (int32_t column = 0; column < w.group_size; ++column) {
    if (!found.used[column]) continue;
    ColumnValues values;
    for (int i = 0; i < found.count; ++i) {
      if (found.entries[i].outlier.column != column) continue;
      values.token[values.count] = found.entries[i].token;
      values.value[values.count++] = found.entries[i].outlier.value;
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
      if (!any(mine.outliers + group * mine.ldg, here)) continue;
      if (w.scale_dtype == DType::f32)
        add_group_outliers<true>(w, tiles, group, mine, here, y + token * ldy, ldy);
      else
        add_group_outliers<false>(w, tiles, group, mine, here, y + token * ldy, ldy);
    }
  }
}
