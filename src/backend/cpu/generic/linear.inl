// Products with packed weights: quantized codes times integer activations in one or two int8 planes, dense values times
// float32 ones, straight from the packed stream. Codes: codes.inl.
//
// Included inside an ISA's namespace. For each group of columns y += (scale * xs) * dot + bias * xsum, where dot is an
// exact integer: the float operations of a (row, token) pair are the same, in the same order, for any number of tokens.
// That is why batch neighbours change no bit.

// ---- quantized weights

template <int Bits>
inline I dot_bits(I acc, B codes, X x) {
  if constexpr (Bits == 8)
    return dot8(acc, codes, x);
  else
    return dot(acc, codes, x);
}

// The integer sums of one group of columns for H halves of a tile, from `first` on, and T tokens.
template <int Bits, int Planes, int T, int H>
PROSA_INLINE inline void dot_halves(const PackedMatrix& w, const uint8_t* planes, const Activations& x, int64_t column,
                                    I (&total)[T][2], int first) {
  constexpr bool kShort = kShortSums && Bits <= 6;
  constexpr int kRun = kShortChunks<Bits>;
  constexpr int kChains = T == 1 && !kShort ? 2 : 1;  // a lone token takes even and odd chunks apart: shorter chains
  I sums[T][H][Planes][kChains];
  S few[T][H][Planes];
  each<T>([&]<int t>() PROSA_INLINE {
    each<H * Planes * kChains>(
        [&]<int n>() PROSA_INLINE { sums[t][n / (Planes * kChains)][n / kChains % Planes][n % kChains] = izero(); });
  });
  const int64_t half = w.half_bytes();
  planes += first * half;
  for (int64_t block = 0; block < w.group_size / 32; ++block, planes += Bits * kVector, column += 32) {
    // A lone token's tile is read once, from memory: between its products, so that asking costs no time of its own.
    if constexpr (T == 1) {
      each<H * Bits>([&]<int n>() PROSA_INLINE { ask_ahead(planes + n / Bits * half + n % Bits * kVector); });
    }
    each<8>([&]<int c>() PROSA_INLINE {
      B codes[H];
      each<H>([&]<int h>() PROSA_INLINE { codes[h] = codes_of<Bits, c>(planes + h * half); });
      each<T>([&]<int t>() PROSA_INLINE {
        each<Planes>([&]<int p>() PROSA_INLINE {
          const X in = repeat4((p == 0 ? x.high : x.low) + t * x.ldq + column + 4 * c);
          each<H>([&]<int h>() PROSA_INLINE {
            if constexpr (!kShort) {
              I& sum = sums[t][h][p][c % kChains];
              sum = dot_bits<Bits>(sum, codes[h], in);
            } else {
              if constexpr (c % kRun == 0) few[t][h][p] = short_zero();
              few[t][h][p] = dot_short(few[t][h][p], codes[h], in);
              if constexpr (c % kRun == kRun - 1) sums[t][h][p][0] = widen(sums[t][h][p][0], few[t][h][p]);
            }
          });
        });
      });
    });
  }
  each<T>([&]<int t>() PROSA_INLINE {
    each<H>([&]<int h>() PROSA_INLINE {
      I plane[Planes];
      each<Planes>([&]<int p>() PROSA_INLINE {
        plane[p] = sums[t][h][p][0];
        if constexpr (kChains == 2) plane[p] = add(plane[p], sums[t][h][p][1]);
      });
      if constexpr (Planes == 2)
        total[t][first + h] = join_planes(plane[0], plane[1]);
      else
        total[t][first + h] = plane[0];
    });
  });
}

template <int Bits, int Planes, int T>
PROSA_INLINE inline void dot_group(const PackedMatrix& w, const uint8_t* planes, const Activations& x, int64_t column,
                                   I (&total)[T][2]) {
  static_assert(kHalves == 2);
  if constexpr (kHalvesTogether == 2) {
    dot_halves<Bits, Planes, T, 2>(w, planes, x, column, total, 0);
  } else {
    dot_halves<Bits, Planes, T, 1>(w, planes, x, column, total, 0);
    dot_halves<Bits, Planes, T, 1>(w, planes, x, column, total, 1);
  }
}

// T tokens from `token` on. `ahead`: the tile comes from memory and not from a cache (of one token it is taken so). A
// function of its own: its registers are full.
template <int Bits, bool Wide, int Planes, int T>
__attribute__((noinline)) void stream_tile(const PackedMatrix& w, int64_t tile, const Activations& x, int64_t token,
                                           bool ahead, float* y, int64_t ldy, bool add_to) {
  const uint8_t* at = w.tile(tile);
  const int64_t step = w.group_bytes();
  const Activations mine = x.from(token);
  F acc[T][2];
  each<T>([&]<int t>() PROSA_INLINE { acc[t][0] = acc[t][1] = zero(); });
  for (int64_t g = 0; g < w.groups(); ++g, at += step) {
    if constexpr (T == 1)
      read_ahead(at, w.header_bytes());  // the codes: dot_halves()
    else if (ahead)
      read_ahead(at, step);
    I dots[T][2];
    dot_group<Bits, Planes, T>(w, at + w.header_bytes(), mine, g * w.group_size, dots);
    each<2>([&]<int h>() PROSA_INLINE {
      const F scale = load_scale<Wide>(at, h);
      const F bias = load_scale<Wide>(at, 2 + h);
      each<T>([&]<int t>() PROSA_INLINE {
        const int64_t of = g * mine.ldg + t;
        acc[t][h] = add_group<Bits>(acc[t][h], dots[t][h], scale, bias, mine.scale[of], mine.sum[of]);
      });
    });
  }
  each<T>([&]<int t>() PROSA_INLINE {
    each<2>([&]<int h>() PROSA_INLINE {
      const int64_t row = tile * kTileRows + h * kHalfRows;
      put_row(y + (token + t) * ldy + row, w.rows - row, add_to, acc[t][h]);
    });
  });
}

// A few tokens take some tiles in turn, which wait in the second-level cache, while the tokens' integers stay in the
// first: so the other way round than where a tile comes from memory.
template <int Bits, bool Wide, int Planes>
inline void stream_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                          int64_t ldy, bool add_to) {
  const int64_t few = std::max<int64_t>(kWaitingBytes / w.tile_bytes, 1);
  for (int64_t begin = tiles.begin; begin < tiles.end; begin += few) {
    const int64_t end = std::min(begin + few, tiles.end);
    int64_t token = 0;
#ifdef PROSA_PAIR_PRODUCTS
    if constexpr (Planes == 2) pair_linear<Bits, Wide>(w, {begin, end}, x, tokens, token, y, ldy, add_to);
#endif
    const auto take = [&]<int T>() PROSA_INLINE {
      for (; token + T <= tokens; token += T) {
        for (int64_t tile = begin; tile < end; ++tile)
          stream_tile<Bits, Wide, Planes, T>(w, tile, x, token, token == 0, y, ldy, add_to);
      }
    };
    constexpr int kMaxTokens = Planes == 2 ? kStreamTokens : kPlaneTokens;
    take.template operator()<kMaxTokens>();
    if constexpr (kMaxTokens > 4) take.template operator()<4>();
    if constexpr (kMaxTokens > 2) take.template operator()<2>();
    if constexpr (kMaxTokens > 1) take.template operator()<1>();
  }
}

// ---- dense weights

template <DType Type>
inline F dense_row(const uint8_t* tile, int64_t vector) {
  if constexpr (Type == DType::f32)
    return load(reinterpret_cast<const float*>(tile) + vector * 16);
  else if constexpr (Type == DType::bf16)
    return load_bf16(reinterpret_cast<const uint16_t*>(tile) + vector * 16);
  else
    return load_f16(reinterpret_cast<const uint16_t*>(tile) + vector * 16);
}

// One tile x T tokens; even and odd columns apart, so that the chains of additions are half as long.
template <DType Type, int T>
inline void dense_block(const PackedMatrix& w, int64_t tile, const Activations& x, int64_t token, float* y, int64_t ldy,
                        bool add_to) {
  F acc[T][2][2];  // [token][half][column parity]
  const float* in[T];
  for (int t = 0; t < T; ++t) in[t] = x.x + (token + t) * x.ldx;
  for (int t = 0; t < T; ++t) {
    for (int h = 0; h < 2; ++h) acc[t][h][0] = acc[t][h][1] = zero();
  }
  const uint8_t* at = w.tile(tile);
  constexpr int64_t kColumn = kTileRows * static_cast<int64_t>(dtype_size(Type));
  const auto column = [&]<int parity>(int64_t c) {
    for (int h = 0; h < 2; ++h) {
      const F row = dense_row<Type>(at + c * kColumn, h);
      for (int t = 0; t < T; ++t) acc[t][h][parity] = fma(row, set1(in[t][c]), acc[t][h][parity]);
    }
  };
  int64_t c = 0;
  for (; c + 2 <= w.cols; c += 2) {
    read_ahead(at + c * kColumn, 2 * kColumn);
    column.template operator()<0>(c);
    column.template operator()<1>(c + 1);
  }
  if (c < w.cols) column.template operator()<0>(c);
  for (int t = 0; t < T; ++t) {
    for (int h = 0; h < 2; ++h) {
      const int64_t row = tile * kTileRows + h * kHalfRows;
      put_row(y + (token + t) * ldy + row, w.rows - row, add_to, acc[t][h][0] + acc[t][h][1]);
    }
  }
}

template <DType Type>
inline void dense_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                         int64_t ldy, bool add_to) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    int64_t token = 0;
    for (; token + kDenseTokens <= tokens; token += kDenseTokens)
      dense_block<Type, kDenseTokens>(w, tile, x, token, y, ldy, add_to);
    for (; token < tokens; ++token) dense_block<Type, 1>(w, tile, x, token, y, ldy, add_to);
  }
}

// ---- dispatch

template <int Bits, int Planes>
inline void linear_planes(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                          int64_t ldy, bool add_to) {
  if (w.scale_dtype == DType::f32)
    stream_linear<Bits, true, Planes>(w, tiles, x, tokens, y, ldy, add_to);
  else
    stream_linear<Bits, false, Planes>(w, tiles, x, tokens, y, ldy, add_to);
}

template <int Bits>
inline void linear_bits(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                        bool add_to) {
  if (x.low != nullptr)
    linear_planes<Bits, 2>(w, tiles, x, tokens, y, ldy, add_to);
  else
    linear_planes<Bits, 1>(w, tiles, x, tokens, y, ldy, add_to);
}

inline void linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                   bool add_to) {
  switch (w.bits) {
    case 2: return linear_bits<2>(w, tiles, x, tokens, y, ldy, add_to);
    case 3: return linear_bits<3>(w, tiles, x, tokens, y, ldy, add_to);
    case 4: return linear_bits<4>(w, tiles, x, tokens, y, ldy, add_to);
    case 5: return linear_bits<5>(w, tiles, x, tokens, y, ldy, add_to);
    case 6: return linear_bits<6>(w, tiles, x, tokens, y, ldy, add_to);
    case 8: return linear_bits<8>(w, tiles, x, tokens, y, ldy, add_to);
    default: break;
  }
  switch (w.dtype) {
    case DType::bf16: return dense_linear<DType::bf16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f16: return dense_linear<DType::f16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f32: return dense_linear<DType::f32>(w, tiles, x, tokens, y, ldy, add_to);
  }
}
