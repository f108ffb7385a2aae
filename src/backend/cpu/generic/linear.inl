// Products with packed weights: quantized codes times integer activations in two int8 planes, dense values times
// float32 ones.
//
// Included inside an ISA's namespace. For each group of columns y += (scale * xs) * dot + bias * xsum, where dot is an
// exact integer: the float operations of a (row, token) pair are the same, in the same order, in the matrix-vector and
// in the matrix-matrix form, whatever stands beside it. That is why batch neighbours and prompt cuts change no bit
// here.

// ---- codes out of their planes (packed.h); `c` is the chunk 0..7 of a sub-block of 32 columns

template <int Bits, int c>
inline B codes_of(const uint8_t* planes) {
  if constexpr (Bits == 8) {
    const B codes = load_bytes(planes + c * kVector);
    return kSignedCodes ? flip(codes, 0x80) : codes;
  } else if constexpr (Bits >= 4) {
    const B pair = load_bytes(planes + c / 2 * kVector);
    const B low = c % 2 == 0 ? mask(pair, 0x0f) : mask(shift_right<4>(pair), 0x0f);
    if constexpr (Bits == 4) return low;
    const uint8_t* high = planes + 4 * kVector;
    if constexpr (Bits == 5) {
      const B plane = load_bytes(high);
      if constexpr (c <= 4)
        return low | mask(shift_left<4 - c>(plane), 0x10);
      else
        return low | mask(shift_right<c - 4>(plane), 0x10);
    } else {
      const B plane = load_bytes(high + c / 4 * kVector);
      constexpr int at = c % 4 * 2;
      if constexpr (at <= 4)
        return low | mask(shift_left<4 - at>(plane), 0x30);
      else
        return low | mask(shift_right<at - 4>(plane), 0x30);
    }
  } else {
    const B low = mask(shift_right<c % 4 * 2>(load_bytes(planes + c / 4 * kVector)), 0x03);
    if constexpr (Bits == 2) return low;
    const B plane = load_bytes(planes + 2 * kVector);
    if constexpr (c <= 2)
      return low | mask(shift_left<2 - c>(plane), 0x04);
    else
      return low | mask(shift_right<c - 2>(plane), 0x04);
  }
}

template <int Bits>
inline I dot_bits(I acc, B codes, X x) {
  if constexpr (Bits == 8)
    return dot8(acc, codes, x);
  else
    return dot(acc, codes, x);
}

template <bool Wide>
inline F load_scale(const uint8_t* header, int64_t vector) {
  if constexpr (Wide)
    return load(reinterpret_cast<const float*>(header) + vector * 16);
  else
    return load_bf16(reinterpret_cast<const uint16_t*>(header) + vector * 16);
}

// acc + (scale * xs) * dot + bias * xsum. Signed 8-bit codes are code - 128: the bias takes 128 scales more.
template <int Bits>
inline F add_group(F acc, I dots, F scale, F bias, float xs, float xsum) {
  if constexpr (Bits == 8 && kSignedCodes) bias = fma(scale, set1(128.0F), bias);
  acc = fma(scale * set1(xs), to_float(dots), acc);
  return fma(bias, set1(xsum), acc);
}

inline void put_row(float* y, int64_t valid, bool add_to, F value) {
  if (valid >= 16) {
    store(y, add_to ? load(y) + value : value);
    return;
  }
  float lanes[16];
  store(lanes, value);
  for (int64_t i = 0; i < valid; ++i) y[i] = add_to ? y[i] + lanes[i] : lanes[i];
}

// ---- one token: straight from the packed stream

// 128 * high + low: at most 128 columns * 255 * 127.5 * 128, which fits 31 bits.
inline I join_planes(I high, I low) { return add(scale_up<7>(high), low); }

template <int Bits, int R>
inline void dot_group(const uint8_t* const (&planes)[R], const int8_t* x_high, const int8_t* x_low, int64_t group_size,
                      I (&total)[R]) {
  I high[R][2];  // even and odd chunks apart: two chains of additions instead of one
  I low[R][2];
  for (int r = 0; r < R; ++r) high[r][0] = high[r][1] = low[r][0] = low[r][1] = izero();
  for (int64_t block = 0; block < group_size / 32; ++block) {
    const int64_t at = block * Bits * kVector;
    const auto chunk = [&]<int c>() {
      const X xh = repeat4(x_high + block * 32 + 4 * c);
      const X xl = repeat4(x_low + block * 32 + 4 * c);
      for (int r = 0; r < R; ++r) {
        const B codes = codes_of<Bits, c>(planes[r] + at);
        high[r][c % 2] = dot_bits<Bits>(high[r][c % 2], codes, xh);
        low[r][c % 2] = dot_bits<Bits>(low[r][c % 2], codes, xl);
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
  for (int r = 0; r < R; ++r) total[r] = join_planes(add(high[r][0], high[r][1]), add(low[r][0], low[r][1]));
}

template <int Bits, bool Wide, int R>
inline void vector_tiles(const PackedMatrix& w, int64_t tile, const Activations& x, float* y, bool add_to) {
  const uint8_t* at[R];
  F acc[R];
  for (int r = 0; r < R; ++r) {
    at[r] = w.tile(tile + r);
    acc[r] = zero();
  }
  const int64_t header = w.header_bytes();
  const int64_t step = w.group_bytes();
  for (int64_t g = 0; g < w.groups(); ++g) {
    const uint8_t* planes[R];
    for (int r = 0; r < R; ++r) planes[r] = at[r] + header;
    I dots[R];
    dot_group<Bits, R>(planes, x.high + g * w.group_size, x.low + g * w.group_size, w.group_size, dots);
    for (int r = 0; r < R; ++r) {
      acc[r] = add_group<Bits>(acc[r], dots[r], load_scale<Wide>(at[r], 0), load_scale<Wide>(at[r], 1), x.scale[g],
                               x.sum[g]);
      at[r] += step;
    }
  }
  for (int r = 0; r < R; ++r) put_row(y + (tile + r) * 16, w.rows - (tile + r) * 16, add_to, acc[r]);
}

// ---- several tokens: the tiles' codes unpacked once into a panel, then reused by every block of tokens

// Panel of one tile: [cols / 4] vectors of codes, then [groups][2][16] float32 scales and biases.
template <int Bits, bool Wide>
inline void unpack_tile(const PackedMatrix& w, int64_t tile, uint8_t* codes, float* scales) {
  const uint8_t* at = w.tile(tile);
  for (int64_t g = 0; g < w.groups(); ++g) {
    store(scales, load_scale<Wide>(at, 0));
    store(scales + 16, load_scale<Wide>(at, 1));
    scales += 32;
    const uint8_t* planes = at + w.header_bytes();
    for (int64_t block = 0; block < w.group_size / 32; ++block, planes += Bits * kVector, codes += 8 * kVector) {
      store_bytes(codes + 0 * kVector, codes_of<Bits, 0>(planes));
      store_bytes(codes + 1 * kVector, codes_of<Bits, 1>(planes));
      store_bytes(codes + 2 * kVector, codes_of<Bits, 2>(planes));
      store_bytes(codes + 3 * kVector, codes_of<Bits, 3>(planes));
      store_bytes(codes + 4 * kVector, codes_of<Bits, 4>(planes));
      store_bytes(codes + 5 * kVector, codes_of<Bits, 5>(planes));
      store_bytes(codes + 6 * kVector, codes_of<Bits, 6>(planes));
      store_bytes(codes + 7 * kVector, codes_of<Bits, 7>(planes));
    }
    at += w.group_bytes();
  }
}

// R tiles x T tokens over all groups; Byte: the codes have 8 bits.
template <bool Byte, int R, int T>
inline void panel_block(const PackedMatrix& w, const uint8_t* const (&codes)[R], const float* const (&scales)[R],
                        const Activations& x, int64_t token, F (&acc)[R][T]) {
  constexpr int kBits = Byte ? 8 : 4;
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = zero();
  }
  const int64_t chunks = w.group_size / 4;
  for (int64_t g = 0; g < w.groups(); ++g) {
    I high[R][T];
    I low[R][T];
    for (int r = 0; r < R; ++r) {
      for (int t = 0; t < T; ++t) high[r][t] = low[r][t] = izero();
    }
    for (int64_t c = g * chunks; c < (g + 1) * chunks; ++c) {
      B b[R];
      for (int r = 0; r < R; ++r) b[r] = load_bytes(codes[r] + c * kVector);
      for (int t = 0; t < T; ++t) {
        const int64_t at = (token + t) * x.ldq + 4 * c;
        const X xh = repeat4(x.high + at);
        const X xl = repeat4(x.low + at);
        for (int r = 0; r < R; ++r) {
          high[r][t] = dot_bits<kBits>(high[r][t], b[r], xh);
          low[r][t] = dot_bits<kBits>(low[r][t], b[r], xl);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      const F scale = load(scales[r] + g * 32);
      const F bias = load(scales[r] + g * 32 + 16);
      for (int t = 0; t < T; ++t) {
        const int64_t at = (token + t) * x.ldg + g;
        acc[r][t] =
            add_group<kBits>(acc[r][t], join_planes(high[r][t], low[r][t]), scale, bias, x.scale[at], x.sum[at]);
      }
    }
  }
}

template <bool Byte, int R, int T>
inline void panel_tokens(const PackedMatrix& w, int64_t tile, const uint8_t* const (&codes)[R],
                         const float* const (&scales)[R], const Activations& x, int64_t token, float* y, int64_t ldy,
                         bool add_to) {
  F acc[R][T];
  panel_block<Byte, R, T>(w, codes, scales, x, token, acc);
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      put_row(y + (token + t) * ldy + (tile + r) * 16, w.rows - (tile + r) * 16, add_to, acc[r][t]);
    }
  }
}

template <int Bits, bool Wide, int R>
inline void panel_tiles(const PackedMatrix& w, int64_t tile, const Activations& x, int64_t tokens, float* y,
                        int64_t ldy, bool add_to, uint8_t* panel) {
  const uint8_t* codes[R];
  const float* scales[R];
  for (int r = 0; r < R; ++r) {
    uint8_t* tile_codes = panel + r * w.cols * 16;
    float* tile_scales = reinterpret_cast<float*>(panel + R * w.cols * 16) + r * w.groups() * 32;
    unpack_tile<Bits, Wide>(w, tile + r, tile_codes, tile_scales);
    codes[r] = tile_codes;
    scales[r] = tile_scales;
  }
  int64_t token = 0;
  const auto run = [&]<int T>() {
    for (; token + T <= tokens; token += T)
      panel_tokens<Bits == 8, R, T>(w, tile, codes, scales, x, token, y, ldy, add_to);
  };
  run.template operator()<kDotTokens>();
  if constexpr (kDotTokens > 2) run.template operator()<2>();
  run.template operator()<1>();
}

template <int Bits, bool Wide>
inline void quantized_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                             int64_t ldy, bool add_to, uint8_t* panel) {
  int64_t tile = tiles.begin;
  if (tokens == 1) {
    for (; tile + 2 <= tiles.end; tile += 2) vector_tiles<Bits, Wide, 2>(w, tile, x, y, add_to);
    for (; tile < tiles.end; ++tile) vector_tiles<Bits, Wide, 1>(w, tile, x, y, add_to);
    return;
  }
  if constexpr (kRowTiles > 1) {
    for (; tile + kRowTiles <= tiles.end; tile += kRowTiles) {
      panel_tiles<Bits, Wide, kRowTiles>(w, tile, x, tokens, y, ldy, add_to, panel);
    }
  }
  for (; tile < tiles.end; ++tile) panel_tiles<Bits, Wide, 1>(w, tile, x, tokens, y, ldy, add_to, panel);
}

// ---- dense weights

template <DType Type>
inline F dense_row(const uint8_t* tile, int64_t column) {
  if constexpr (Type == DType::f32)
    return load(reinterpret_cast<const float*>(tile) + column * 16);
  else if constexpr (Type == DType::bf16)
    return load_bf16(reinterpret_cast<const uint16_t*>(tile) + column * 16);
  else
    return load_f16(reinterpret_cast<const uint16_t*>(tile) + column * 16);
}

template <DType Type, int R, int T>
inline void dense_block(const PackedMatrix& w, int64_t tile, const Activations& x, int64_t token, float* y, int64_t ldy,
                        bool add_to) {
  F acc[R][T];
  const uint8_t* at[R];
  const float* in[T];
  for (int r = 0; r < R; ++r) at[r] = w.tile(tile + r);
  for (int t = 0; t < T; ++t) in[t] = x.x + (token + t) * x.ldx;
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = zero();
  }
  for (int64_t column = 0; column < w.cols; ++column) {
    F row[R];
    for (int r = 0; r < R; ++r) row[r] = dense_row<Type>(at[r], column);
    for (int t = 0; t < T; ++t) {
      const F value = set1(in[t][column]);
      for (int r = 0; r < R; ++r) acc[r][t] = fma(row[r], value, acc[r][t]);
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      put_row(y + (token + t) * ldy + (tile + r) * 16, w.rows - (tile + r) * 16, add_to, acc[r][t]);
    }
  }
}

template <DType Type, int R>
inline void dense_tiles(const PackedMatrix& w, int64_t tile, const Activations& x, int64_t tokens, float* y,
                        int64_t ldy, bool add_to) {
  int64_t token = 0;
  for (; token + kTokenTile <= tokens; token += kTokenTile)
    dense_block<Type, R, kTokenTile>(w, tile, x, token, y, ldy, add_to);
  for (; token < tokens; ++token) dense_block<Type, R, 1>(w, tile, x, token, y, ldy, add_to);
}

template <DType Type>
inline void dense_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                         int64_t ldy, bool add_to) {
  int64_t tile = tiles.begin;
  if (tokens == 1) {
    for (; tile + 4 <= tiles.end; tile += 4) dense_block<Type, 4, 1>(w, tile, x, 0, y, ldy, add_to);
  }
  if constexpr (kRowTiles > 1) {
    for (; tile + kRowTiles <= tiles.end; tile += kRowTiles)
      dense_tiles<Type, kRowTiles>(w, tile, x, tokens, y, ldy, add_to);
  }
  for (; tile < tiles.end; ++tile) dense_tiles<Type, 1>(w, tile, x, tokens, y, ldy, add_to);
}

// ---- dispatch

template <int Bits>
inline void linear_bits(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                        bool add_to, uint8_t* panel) {
  if (w.scale_dtype == DType::f32)
    quantized_linear<Bits, true>(w, tiles, x, tokens, y, ldy, add_to, panel);
  else
    quantized_linear<Bits, false>(w, tiles, x, tokens, y, ldy, add_to, panel);
}

inline void linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                   bool add_to, uint8_t* panel) {
  switch (w.bits) {
    case 2: return linear_bits<2>(w, tiles, x, tokens, y, ldy, add_to, panel);
    case 3: return linear_bits<3>(w, tiles, x, tokens, y, ldy, add_to, panel);
    case 4: return linear_bits<4>(w, tiles, x, tokens, y, ldy, add_to, panel);
    case 5: return linear_bits<5>(w, tiles, x, tokens, y, ldy, add_to, panel);
    case 6: return linear_bits<6>(w, tiles, x, tokens, y, ldy, add_to, panel);
    case 8: return linear_bits<8>(w, tiles, x, tokens, y, ldy, add_to, panel);
    default: break;
  }
  switch (w.dtype) {
    case DType::bf16: return dense_linear<DType::bf16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f16: return dense_linear<DType::f16>(w, tiles, x, tokens, y, ldy, add_to);
    case DType::f32: return dense_linear<DType::f32>(w, tiles, x, tokens, y, ldy, add_to);
  }
}
