// Products of quantized weights with several tokens whose 15-bit integers stand as they are, in 16 bits: for ISAs where
// a product of 16-bit pairs does as much as two of bytes (PROSA_PAIR_PRODUCTS). Not a format: the integers come from
// the two planes of Activations, and the sums are the same, so are the bits.
//
// Included inside an ISA's namespace, after codes.inl.

inline constexpr int64_t kPairColumns = 8192;  // as many stand on the stack

/// [columns / 4][kPairs][4]: the integers of four columns of each token, in the order of even_pairs() and odd_pairs():
/// columns 0, 2, 1, 3.
struct PairRows {
  alignas(64) int16_t at[kPairColumns * kPairs];
};

inline void gather_pairs(const Activations& x, int64_t columns, PairRows& rows) {
  for (int64_t column = 0; column < columns; column += 16) {
    for (int t = 0; t < kPairs; ++t) {
      const int64_t from = t * x.ldq + column;
      store_joined(x.high + from, x.low + from, rows.at + column * kPairs + t * 4, kPairs * 4);
    }
  }
}

// The integer sums of one group of columns for one half of a tile and all tokens; x: from the group's first column on.
template <int Bits>
PROSA_INLINE inline void dot_pair_group(const uint8_t* planes, int64_t group_size, const int16_t* x,
                                        I (&total)[kPairs]) {
  constexpr bool kSigned = Bits == 8 && kSignedCodes;
  each<kPairs>([&]<int t>() PROSA_INLINE { total[t] = izero(); });
  for (int64_t block = 0; block < group_size / 32; ++block, planes += Bits * kVector, x += 32 * kPairs) {
    each<8>([&]<int c>() PROSA_INLINE {
      const B codes = codes_of<Bits, c>(planes);
      const P even = even_pairs<kSigned>(codes);
      each<kPairs>([&]<int t>()
                       PROSA_INLINE { total[t] = dot_pairs(total[t], even, repeat_pair(x + (c * kPairs + t) * 4)); });
      const P odd = odd_pairs<kSigned>(codes);
      each<kPairs>([&]<int t>() PROSA_INLINE {
        total[t] = dot_pairs(total[t], odd, repeat_pair(x + (c * kPairs + t) * 4 + 2));
      });
    });
  }
}

// A function of its own: its registers are full. `x`: the rows of these tokens.
template <int Bits, bool Wide>
__attribute__((noinline)) void pair_tile(const PackedMatrix& w, int64_t tile, const PairRows& rows,
                                         const Activations& x, bool ahead, float* y, int64_t ldy, bool add_to) {
  const uint8_t* at = w.tile(tile);
  const int64_t step = w.group_bytes();
  F acc[kPairs][2];
  each<kPairs>([&]<int t>() PROSA_INLINE { acc[t][0] = acc[t][1] = zero(); });
  for (int64_t g = 0; g < w.groups(); ++g, at += step) {
    if (ahead) read_ahead(at, step);
    each<2>([&]<int h>() PROSA_INLINE {
      I dots[kPairs];
      dot_pair_group<Bits>(at + w.header_bytes() + h * w.half_bytes(), w.group_size,
                           rows.at + g * w.group_size * kPairs, dots);
      const F scale = load_scale<Wide>(at, h);
      const F bias = load_scale<Wide>(at, 2 + h);
      each<kPairs>([&]<int t>() PROSA_INLINE {
        const int64_t of = g * x.ldg + t;
        acc[t][h] = add_group<Bits>(acc[t][h], dots[t], scale, bias, x.scale[of], x.sum[of]);
      });
    });
  }
  each<kPairs>([&]<int t>() PROSA_INLINE {
    each<2>([&]<int h>() PROSA_INLINE {
      const int64_t row = tile * kTileRows + h * kHalfRows;
      put_row(y + t * ldy + row, w.rows - row, add_to, acc[t][h]);
    });
  });
}

// As many tokens as there are whole kPairs of, from `token` on, which then stands behind them.
template <int Bits, bool Wide>
inline void pair_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, int64_t& token,
                        float* y, int64_t ldy, bool add_to) {
  if (w.cols > kPairColumns) return;
  PairRows rows;
  for (; token + kPairs <= tokens; token += kPairs) {
    const Activations mine = x.from(token);
    gather_pairs(mine, w.cols, rows);
    for (int64_t tile = tiles.begin; tile < tiles.end; ++tile)
      pair_tile<Bits, Wide>(w, tile, rows, mine, token == 0, y + token * ldy, ldy, add_to);
  }
}
