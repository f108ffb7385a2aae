// Products with packed weights and few tokens (decode): quantized codes times integer activations in two int8 planes,
// dense values times float32 ones, straight from the packed stream. Many tokens: panel.inl. Codes: codes.inl.
//
// Included inside an ISA's namespace. For each group of columns y += (scale * xs) * dot + bias * xsum, where dot is an
// exact integer: the float operations of a (row, token) pair are the same, in the same order, for any number of tokens.
// That is why batch neighbours change no bit.

// ---- few tokens: straight from the packed stream

// One thread reads one stream at half of what the memory can give unless lines are asked for well ahead: the hardware's
// own prefetching stops at 4 KiB pages.
inline constexpr int64_t kReadAhead = 4096;

inline void read_ahead(const uint8_t* at, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(at + kReadAhead + line, 0, 3);
}

// 128 * high + low: at most 128 columns * 255 * 127.5 * 128, which fits 31 bits.
inline I join_planes(I high, I low) { return add(scale_up<7>(high), low); }

// The integer sums of one group of columns for both halves of a tile and T tokens from `x_high`, `x_low` on.
template <int Bits, int T>
inline void dot_group(const PackedMatrix& w, const uint8_t* planes, const Activations& x, int64_t column,
                      I (&total)[T][2]) {
  constexpr int kChains = T == 1 ? 2 : 1;  // a lone token takes even and odd chunks apart: shorter chains of additions
  I high[T][2][kChains];
  I low[T][2][kChains];
  for (int t = 0; t < T; ++t) {
    for (int h = 0; h < 2; ++h) {
      for (int c = 0; c < kChains; ++c) high[t][h][c] = low[t][h][c] = izero();
    }
  }
  const uint8_t* const half[2] = {planes, planes + w.half_bytes()};
  for (int64_t block = 0; block < w.group_size / 32; ++block) {
    const int64_t at = block * Bits * kVector;
    const auto chunk = [&]<int c>() {
      const B codes[2] = {codes_of<Bits, c>(half[0] + at), codes_of<Bits, c>(half[1] + at)};
      for (int t = 0; t < T; ++t) {
        const X xh = repeat4(x.high + t * x.ldq + column + block * 32 + 4 * c);
        const X xl = repeat4(x.low + t * x.ldq + column + block * 32 + 4 * c);
        for (int h = 0; h < 2; ++h) {
          high[t][h][c % kChains] = dot_bits<Bits>(high[t][h][c % kChains], codes[h], xh);
          low[t][h][c % kChains] = dot_bits<Bits>(low[t][h][c % kChains], codes[h], xl);
        }
      }
    };
    chunk.template operator()<0>();
    chunk.template operator()<1>();
    chunk.template operator()<2>();
    chunk.template operator()<3>();
    chunk.template operator()<4>();
    chunk.template operator()<5>();
    chunk.template operator()<6>();
    chunk.template operator()<7>();
  }
  for (int t = 0; t < T; ++t) {
    for (int h = 0; h < 2; ++h) {
      total[t][h] = kChains == 1 ? join_planes(high[t][h][0], low[t][h][0])
                                 : join_planes(add(high[t][h][0], high[t][h][kChains - 1]),
                                               add(low[t][h][0], low[t][h][kChains - 1]));
    }
  }
}

template <int Bits, bool Wide, int T>
inline void stream_tile(const PackedMatrix& w, int64_t tile, const Activations& x, float* y, int64_t ldy, bool add_to) {
  const uint8_t* at = w.tile(tile);
  F acc[T][2];
  for (int t = 0; t < T; ++t) acc[t][0] = acc[t][1] = zero();
  const int64_t step = w.group_bytes();
  for (int64_t g = 0; g < w.groups(); ++g, at += step) {
    read_ahead(at, step);
    I dots[T][2];
    dot_group<Bits, T>(w, at + w.header_bytes(), x, g * w.group_size, dots);
    for (int h = 0; h < 2; ++h) {
      const F scale = load_scale<Wide>(at, h);
      const F bias = load_scale<Wide>(at, 2 + h);
      for (int t = 0; t < T; ++t) {
        acc[t][h] = add_group<Bits>(acc[t][h], dots[t][h], scale, bias, x.scale[t * x.ldg + g], x.sum[t * x.ldg + g]);
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int h = 0; h < 2; ++h) {
      const int64_t row = tile * kTileRows + h * kHalfRows;
      put_row(y + t * ldy + row, w.rows - row, add_to, acc[t][h]);
    }
  }
}

template <int Bits, bool Wide, int T>
inline void stream_tiles(const PackedMatrix& w, Range tiles, const Activations& x, float* y, int64_t ldy, bool add_to) {
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) stream_tile<Bits, Wide, T>(w, tile, x, y, ldy, add_to);
}

template <int Bits, bool Wide>
inline void quantized_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                             int64_t ldy, bool add_to, uint8_t* scratch) {
  if (x.lookups != nullptr) return panel_linear<Bits, Wide, true>(w, tiles, x, tokens, y, ldy, add_to, scratch);
  switch (tokens) {
    case 1: return stream_tiles<Bits, Wide, 1>(w, tiles, x, y, ldy, add_to);
    case 2: return stream_tiles<Bits, Wide, 2>(w, tiles, x, y, ldy, add_to);
    case 3: return stream_tiles<Bits, Wide, 3>(w, tiles, x, y, ldy, add_to);
    case 4: return stream_tiles<Bits, Wide, 4>(w, tiles, x, y, ldy, add_to);
    default: return panel_linear<Bits, Wide, false>(w, tiles, x, tokens, y, ldy, add_to, scratch);
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

template <int Bits>
inline void linear_bits(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                        bool add_to, uint8_t* scratch) {
  if (w.scale_dtype == DType::f32)
    quantized_linear<Bits, true>(w, tiles, x, tokens, y, ldy, add_to, scratch);
  else
    quantized_linear<Bits, false>(w, tiles, x, tokens, y, ldy, add_to, scratch);
}

inline void linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                   bool add_to, uint8_t* scratch) {
  switch (w.bits) {
    case 2: return linear_bits<2>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    case 3: return linear_bits<3>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    case 4: return linear_bits<4>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    case 5: return linear_bits<5>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    case 6: return linear_bits<6>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    case 8: return linear_bits<8>(w, tiles, x, tokens, y, ldy, add_to, scratch);
    default: break;
  }
  switch (w.dtype) {
    case DType::bf16: return dense_linear<DType::bf16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f16: return dense_linear<DType::f16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f32: return dense_linear<DType::f32>(w, tiles, x, tokens, y, ldy, add_to);
  }
}
