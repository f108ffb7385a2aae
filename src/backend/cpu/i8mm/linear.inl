// Products of quantized weights with several tokens by smmla: two rows x eight columns times two tokens x eight columns
// in one instruction, as many multiply-adds as two dot products.
//
// Included behind bytes.h and codes.inl. A unit is 8 rows x 4 tokens: 16 registers of sums in two planes, 4 of codes, 4
// of activations. The sums are the integers that dot products give, and what is done with them has the same order: the
// bits are those of neon/.

inline constexpr int kTokens = 4;
inline constexpr int kTokenPairs = kTokens / 2;
inline constexpr int kRowPairs = 4;
inline constexpr int64_t kStep = 8;           // columns of an smmla
inline constexpr int64_t kMaxColumns = 8192;  // as many stand on the stack

/// [columns / 8][token pair][plane][2 tokens][8 columns] of four tokens.
template <int Planes>
struct TokenRows {
  static constexpr int64_t kStepBytes = kTokens * Planes * kStep;
  alignas(64) int8_t at[kMaxColumns / kStep * kStepBytes];

  void gather(const Activations& x, int64_t columns) {
    int8_t* to = at;
    for (int64_t column = 0; column < columns; column += kStep) {
      for (int pair = 0; pair < kTokenPairs; ++pair) {
        for (int plane = 0; plane < Planes; ++plane, to += 2 * kStep) {
          const int8_t* from = (plane == 0 ? x.high : x.low) + 2 * pair * x.ldq + column;
          vst1q_s8(to, vcombine_s8(vld1_s8(from), vld1_s8(from + x.ldq)));
        }
      }
    }
  }
};

// Two rows x eight columns each, out of the codes of two chunks.
PROSA_INLINE inline void pair_rows(B first, B second, int8x16_t (&rows)[kRowPairs]) {
  each<2>([&]<int v>() PROSA_INLINE {
    const int32x4_t left = vreinterpretq_s32_u8(first.v[v]);
    const int32x4_t right = vreinterpretq_s32_u8(second.v[v]);
    rows[2 * v] = vreinterpretq_s8_s32(vzip1q_s32(left, right));
    rows[2 * v + 1] = vreinterpretq_s8_s32(vzip2q_s32(left, right));
  });
}

// The integer sums of one group of columns for eight rows and four tokens, into vectors `first` and first + 1 of the
// tokens' totals. x: from the group's first column on.
template <int Bits, int Planes>
PROSA_INLINE inline void dot_eight_rows(const uint8_t* planes, int64_t group_size, const int8_t* x, I (&total)[kTokens],
                                        int first) {
  int32x4_t sums[kRowPairs][kTokenPairs][Planes];  // [2 rows][2 tokens] each
  each<kRowPairs * kTokenPairs * Planes>([&]<int n>() PROSA_INLINE {
    sums[n / (kTokenPairs * Planes)][n / Planes % kTokenPairs][n % Planes] = vdupq_n_s32(0);
  });
  for (int64_t block = 0; block < group_size / 32; ++block, planes += Bits * kVector) {
    each<4>([&]<int s>() PROSA_INLINE {
      int8x16_t rows[kRowPairs];
      pair_rows(codes_of<Bits, 2 * s>(planes), codes_of<Bits, 2 * s + 1>(planes), rows);
      each<kTokenPairs * Planes>([&]<int n>() PROSA_INLINE {
        const int8x16_t tokens = vld1q_s8(x + n * 2 * kStep);
        each<kRowPairs>([&]<int r>() PROSA_INLINE {
          int32x4_t& sum = sums[r][n / Planes][n % Planes];
          sum = vmmlaq_s32(sum, rows[r], tokens);
        });
      });
      x += TokenRows<Planes>::kStepBytes;
    });
  }
  each<kTokenPairs>([&]<int pair>() PROSA_INLINE {
    int32x4_t joined[kRowPairs];
    each<kRowPairs>([&]<int r>() PROSA_INLINE {
      joined[r] = sums[r][pair][0];
      if constexpr (Planes == 2) joined[r] = vaddq_s32(vshlq_n_s32(joined[r], 7), sums[r][pair][1]);
    });
    each<2>([&]<int v>() PROSA_INLINE {
      total[2 * pair].v[first + v] = vuzp1q_s32(joined[2 * v], joined[2 * v + 1]);
      total[2 * pair + 1].v[first + v] = vuzp2q_s32(joined[2 * v], joined[2 * v + 1]);
    });
  });
}

// A function of its own: its registers are full. `x`: the rows of these tokens, from the first on.
template <int Bits, bool Wide, int Planes>
__attribute__((noinline)) void product_tile(const PackedMatrix& w, int64_t tile, const TokenRows<Planes>& rows,
                                            const Activations& x, bool ahead, float* y, int64_t ldy, bool add_to) {
  const uint8_t* at = w.tile(tile);
  const int64_t step = w.group_bytes();
  const int8_t* in = rows.at;
  F acc[kTokens][2];
  each<kTokens>([&]<int t>() PROSA_INLINE { acc[t][0] = acc[t][1] = zero(); });
  for (int64_t g = 0; g < w.groups(); ++g, at += step, in += w.group_size / kStep * TokenRows<Planes>::kStepBytes) {
    if (ahead) read_ahead(at, step);
    each<2>([&]<int h>() PROSA_INLINE {
      I dots[kTokens];
      const uint8_t* planes = at + w.header_bytes() + h * w.half_bytes();
      dot_eight_rows<Bits, Planes>(planes, w.group_size, in, dots, 0);
      dot_eight_rows<Bits, Planes>(planes + kRowsBytes, w.group_size, in, dots, 2);
      const F scale = load_scale<Wide>(at, h);
      const F bias = load_scale<Wide>(at, 2 + h);
      each<kTokens>([&]<int t>() PROSA_INLINE {
        const int64_t of = g * x.ldg + t;
        acc[t][h] = add_group<Bits>(acc[t][h], dots[t], scale, bias, x.scale[of], x.sum[of]);
      });
    });
  }
  each<kTokens>([&]<int t>() PROSA_INLINE {
    each<2>([&]<int h>() PROSA_INLINE {
      const int64_t row = tile * kTileRows + h * kHalfRows;
      put_row(y + t * ldy + row, w.rows - row, add_to, acc[t][h]);
    });
  });
}

// As many tokens as there are whole fours of; some tiles wait in a cache for all of them.
template <int Bits, bool Wide, int Planes>
void product_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                    bool add_to) {
  TokenRows<Planes> rows;
  const int64_t few = std::max<int64_t>(kWaitingBytes / w.tile_bytes, 1);
  for (int64_t begin = tiles.begin; begin < tiles.end; begin += few) {
    const int64_t end = std::min(begin + few, tiles.end);
    for (int64_t token = 0; token + kTokens <= tokens; token += kTokens) {
      const Activations mine = x.from(token);
      rows.gather(mine, w.cols);
      for (int64_t tile = begin; tile < end; ++tile)
        product_tile<Bits, Wide, Planes>(w, tile, rows, mine, token == 0, y + token * ldy, ldy, add_to);
    }
  }
}

template <int Bits>
void linear_bits(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                 bool add_to) {
  const bool wide = w.scale_dtype == DType::f32;
  if (x.low != nullptr && wide) product_linear<Bits, true, 2>(w, tiles, x, tokens, y, ldy, add_to);
  if (x.low != nullptr && !wide) product_linear<Bits, false, 2>(w, tiles, x, tokens, y, ldy, add_to);
  if (x.low == nullptr && wide) product_linear<Bits, true, 1>(w, tiles, x, tokens, y, ldy, add_to);
  if (x.low == nullptr && !wide) product_linear<Bits, false, 1>(w, tiles, x, tokens, y, ldy, add_to);
}

inline void linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                   bool add_to) {
  const bool fits = w.bits != 0 && w.cols <= kMaxColumns;
  const int64_t whole = fits ? tokens / kTokens * kTokens : 0;
  if (whole > 0) {
    switch (w.bits) {
      case 2: linear_bits<2>(w, tiles, x, whole, y, ldy, add_to); break;
      case 3: linear_bits<3>(w, tiles, x, whole, y, ldy, add_to); break;
      case 4: linear_bits<4>(w, tiles, x, whole, y, ldy, add_to); break;
      case 5: linear_bits<5>(w, tiles, x, whole, y, ldy, add_to); break;
      case 6: linear_bits<6>(w, tiles, x, whole, y, ldy, add_to); break;
      default: linear_bits<8>(w, tiles, x, whole, y, ldy, add_to); break;
    }
  }
  if (whole == tokens) return;
  neon_kernels()->linear(w, tiles, x.from(whole), tokens - whole, y + whole * ldy, ldy, add_to);
}
