// Products with packed weights and many tokens (prefill): codes unpacked into a panel that stays in the first-level
// cache, then reused by every token.
//
// Included inside an ISA's namespace. Order of the loops: blocks of rows, blocks of columns, panels of kPanelHalves x
// 16 rows, tokens. The float sums of a panel wait in a buffer between blocks of columns.
//
// Two forms. The exact one computes what linear.inl computes, bit for bit. The other one ("lookups") is prefill's: the
// high plane of the activations by dot products as ever; the low plane, an error of one int8 plane, with the two
// highest bits of each code, which is enough to take 16/17 of its noise away. For two columns these are four bits: an
// index into a table of 16 sums made once per token (Activations in kernels.h), found by a byte shuffle that runs
// beside the dot products instead of after them. With c = 2^s * code (s left-justifies codes where the ISA has room),
// the two highest bits t of c, S = 2^(s + bits - 2) and (c - centre) = S/2 (2t - 3) + (a remainder that is left out):
//   sum c (128 h + l)  ~  128 (sum c h + K sum u) + centre sum l,    u = round(sum of (2t - 3) l over two columns /
//   32), K = 32 S / 2 / 128 = 2^(s + bits - 5)

inline constexpr int64_t kStepCols = 8;     // columns of a step: two chunks, four pairs
inline constexpr int64_t kLookupCols = 64;  // columns whose table entries (each at most 12) add up in int8
static_assert(kPanelHalves <= kMaxPanelHalves && kPanelHalves % kHalves == 0);

template <int Bits>
inline constexpr int kShift = panel_shift(Bits);
template <int Bits>
inline constexpr bool kOffset = Bits == 8 && kSignedCodes;  // codes lie as code - 128

// One block of columns of R halves, ready for the tokens.
struct Panel {
  uint8_t* vectors;  // [cols / 8][half][chunk 0, chunk 1, (pair indices)][64]
  float* scales;     // [groups][half][scale, bias][16]
};

template <int Bits, int c, bool Lookup>
inline uint8_t* put_step(uint8_t* out, const uint8_t* planes) {
  const B first = codes_of<Bits, c>(planes);
  const B second = codes_of<Bits, c + 1>(planes);
  if constexpr (kShift<Bits> == 0) {
    store_bytes(out, first);
    store_bytes(out + kVector, second);
  } else {  // raw codes leave the shifted-in bits free
    store_bytes(out, shift_left<kShift<Bits>>(first));
    store_bytes(out + kVector, shift_left<kShift<Bits>>(second));
  }
  if constexpr (!Lookup) return out + 2 * kVector;
  const auto top = [](B codes) {
    if constexpr (kOffset<Bits>) codes = flip(codes, 0x80);
    return Bits > 2 ? mask(shift_right<Bits - 2>(codes), 0x03) : codes;
  };
  store_bytes(out + 2 * kVector, pair_indices(top(first), top(second)));
  return out + 3 * kVector;
}

// Columns [group, group + groups) of R halves from `tile` on.
template <int Bits, bool Wide, bool Lookup, int R>
inline void unpack_panel(const PackedMatrix& w, int64_t tile, int64_t group, int64_t groups, const Panel& panel) {
  constexpr int64_t kStepBytes = (Lookup ? 3 : 2) * kVector;
  constexpr float kUnshift = 1.0F / static_cast<float>(1 << kShift<Bits>);
  for (int64_t half = 0; half < R; ++half) {
    const uint8_t* at = w.tile(tile + half / kHalves) + group * w.group_bytes();
    uint8_t* out = panel.vectors + half * kStepBytes;
    const int64_t skip = (R - 1) * kStepBytes;
    for (int64_t g = 0; g < groups; ++g, at += w.group_bytes()) {
      const F scale = load_scale<Wide>(at, half % kHalves);
      F bias = load_scale<Wide>(at, kHalves + half % kHalves);
      if constexpr (kOffset<Bits>) bias = fma(scale, set1(128.0F), bias);
      float* scales = panel.scales + (g * R + half) * 32;
      store(scales, scale * set1(kUnshift));
      store(scales + 16, bias);
      const uint8_t* planes = at + w.header_bytes() + half % kHalves * w.half_bytes();
      for (int64_t block = 0; block < w.group_size / 32; ++block, planes += Bits * kVector) {
        out = put_step<Bits, 0, Lookup>(out, planes) + skip;
        out = put_step<Bits, 2, Lookup>(out, planes) + skip;
        out = put_step<Bits, 4, Lookup>(out, planes) + skip;
        out = put_step<Bits, 6, Lookup>(out, planes) + skip;
      }
    }
  }
}

// Calls f<0>(), f<1>(), … f<N - 1>(): a loop that is unrolled before the compiler decides what lives in registers.
// All of it is inlined at once: later, arrays of accumulators would already be memory.
#define PROSA_INLINE __attribute__((always_inline))
template <int N, typename Function>
PROSA_INLINE inline void each(const Function& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) PROSA_INLINE { (f.template operator()<i>(), ...); }
  (std::make_integer_sequence<int, N>{});
}

// One group of columns, exact: total = sum c (128 h + l).
template <int Bits, int R, int T>
PROSA_INLINE inline const uint8_t* exact_group(const uint8_t* v, const Activations& x, int64_t token, int64_t column,
                                               int64_t cols, I (&total)[R][T]) {
  I low[R][T];
  each<R>([&]<int r>() PROSA_INLINE { each<T>([&]<int t>() PROSA_INLINE { total[r][t] = low[r][t] = izero(); }); });
  const int8_t* high_row = x.high + token * x.ldq + column;
  const int8_t* low_row = x.low + token * x.ldq + column;
  for (int64_t c = 0; c < cols; c += 4) {
    X xh[T];
    X xl[T];
    each<T>([&]<int t>() PROSA_INLINE {
      xh[t] = repeat4(high_row + t * x.ldq + c);
      xl[t] = repeat4(low_row + t * x.ldq + c);
    });
    each<R>([&]<int r>() PROSA_INLINE {
      const B codes = load_once(v + 2 * r * kVector);
      each<T>([&]<int t>() PROSA_INLINE {
        total[r][t] = dot_bits<Bits>(total[r][t], codes, xh[t]);
        low[r][t] = dot_bits<Bits>(low[r][t], codes, xl[t]);
      });
    });
    v += c % kStepCols == 0 ? kVector : (2 * R - 1) * kVector;
  }
  each<R>([&]<int r>() PROSA_INLINE {
    each<T>([&]<int t>() PROSA_INLINE { total[r][t] = join_planes(total[r][t], low[r][t]); });
  });
  return v;
}

// One group of columns with lookups: total = sum c h + K sum u.
template <int Bits, int R, int T>
PROSA_INLINE inline const uint8_t* lookup_group(const uint8_t* v, const Activations& x, int64_t token, int64_t column,
                                                int64_t cols, I (&total)[R][T]) {
  constexpr int kWeight = kShift<Bits> + Bits - 5;  // log2 K
  each<R>([&]<int r>() PROSA_INLINE { each<T>([&]<int t>() PROSA_INLINE { total[r][t] = izero(); }); });
  const int8_t* high = x.high + token * x.ldq + column;
  const uint8_t* tables = x.lookups + token * x.ldl + column * kLookupBytes;
  for (int64_t part = 0; part < cols; part += kLookupCols) {
    const int64_t end = std::min(cols, part + kLookupCols);
    B found[R][T];
    each<R>([&]<int r>() PROSA_INLINE { each<T>([&]<int t>() PROSA_INLINE { found[r][t] = bzero(); }); });
    for (int64_t c = part; c < end; c += kStepCols, v += R * 3 * kVector) {
      X x0[T];
      X x1[T];
      B table[T];
      each<T>([&]<int t>() PROSA_INLINE {
        x0[t] = repeat4(high + t * x.ldq + c);
        x1[t] = repeat4(high + t * x.ldq + c + 4);
        table[t] = load_once(tables + t * x.ldl + c * kLookupBytes);
        __builtin_prefetch(tables + (t + T) * x.ldl + c * kLookupBytes);
      });
      each<R>([&]<int r>() PROSA_INLINE {  // a load of codes serves all tokens: loads are the scarcest here
        const B first = load_once(v + 3 * r * kVector);
        const B second = load_once(v + (3 * r + 1) * kVector);
        const B index = load_once(v + (3 * r + 2) * kVector);
        each<T>([&]<int t>() PROSA_INLINE {
          total[r][t] = dot_bits<Bits>(total[r][t], first, x0[t]);
          found[r][t] = lookup_add(found[r][t], table[t], index);
        });
        each<T>([&]<int t>() PROSA_INLINE { total[r][t] = dot_bits<Bits>(total[r][t], second, x1[t]); });
      });
    }
    each<R>([&]<int r>() PROSA_INLINE {
      each<T>([&]<int t>() PROSA_INLINE { total[r][t] = add_lookups<kWeight>(total[r][t], found[r][t]); });
    });
  }
  return v;
}

// How a group's integer sum of a token enters a row, besides the row's own scale and bias.
struct GroupFactors {
  float scale;   // exact: of the activations; lookups: 128 times that
  float centre;  // lookups: what the centre of the codes adds
  float sum;     // the factor of the bias
};

template <int Bits, bool Lookup>
inline void group_factors(const Activations& x, int64_t tokens, int64_t groups, GroupFactors* out) {
  constexpr float kCentre =
      0.5F * static_cast<float>(((1 << Bits) - 1) << kShift<Bits>) - (kOffset<Bits> ? 128.0F : 0.0F);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = t * x.ldg + g;
      *out++ = {Lookup ? 128.0F * x.scale[at] : x.scale[at], kCentre * x.low_sum[at], x.sum[at]};
    }
  }
}

// Asks for what the next T tokens read: their rows lie far apart, where the hardware does not look ahead. Behind the
// last token this asks for memory that nobody reads, which does nothing.
template <bool Lookup, int R, int T>
inline void ask_for_next(const Activations& x, int64_t token, int64_t column, int64_t cols, const float* sums) {
  const auto lines = [](const void* at, int64_t bytes) {
    for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(static_cast<const char*>(at) + line);
  };
  for (int64_t t = token; t < token + T; ++t) {
    lines(x.high + t * x.ldq + column, cols);
    if constexpr (!Lookup) lines(x.low + t * x.ldq + column, cols);
  }
  lines(sums, R * T * 64);
}

// R halves x T tokens over the groups of a panel; factors [token][all groups], sums [token][R * 16]. A function of its
// own: its registers are full.
template <int Bits, bool Lookup, int R, int T>
__attribute__((noinline)) void panel_tokens(const PackedMatrix& w, const Panel& panel, int64_t group, int64_t groups,
                                            const Activations& x, int64_t token, const GroupFactors* factors,
                                            float* sums) {
  const int64_t all_groups = w.groups();
  if (group == 0) {
    for (int64_t i = 0; i < R * T; ++i) store(sums + i * 16, zero());
  }
  ask_for_next<Lookup, R, T>(x, token + T, group * w.group_size, groups * w.group_size, sums + R * T * 16);
  const uint8_t* v = panel.vectors;
  for (int64_t g = 0; g < groups; ++g) {
    I total[R][T];
    const int64_t column = (group + g) * w.group_size;
    if constexpr (Lookup)
      v = lookup_group<Bits, R, T>(v, x, token, column, w.group_size, total);
    else
      v = exact_group<Bits, R, T>(v, x, token, column, w.group_size, total);
    const float* scales = panel.scales + g * R * 32;
    each<T>([&]<int t>() PROSA_INLINE {
      const GroupFactors& factor = factors[(token + t) * all_groups + group + g];
      const F of_scale = set1(factor.scale);
      const F centre = set1(factor.centre);
      const F of_bias = set1(factor.sum);
      each<R>([&]<int r>() PROSA_INLINE {
        float* at = sums + (t * R + r) * 16;
        const F scale = load(scales + r * 32);
        F acc = load(at);
        if constexpr (Lookup)
          acc = fma(scale, fma(of_scale, to_float(total[r][t]), centre), acc);
        else
          acc = fma(scale * of_scale, to_float(total[r][t]), acc);
        store(at, fma(load(scales + r * 32 + 16), of_bias, acc));
      });
    });
  }
}

// A panel of R halves from `tile` on, one block of columns, all tokens.
template <int Bits, bool Wide, bool Lookup, int R>
inline void panel_block(const PackedMatrix& w, int64_t tile, int64_t group, int64_t groups, const Activations& x,
                        int64_t tokens, const Panel& panel, const GroupFactors* factors, float* sums) {
  unpack_panel<Bits, Wide, Lookup, R>(w, tile, group, groups, panel);
  int64_t token = 0;
  for (; token + kPanelTokens <= tokens; token += kPanelTokens) {
    panel_tokens<Bits, Lookup, R, kPanelTokens>(w, panel, group, groups, x, token, factors, sums + token * R * 16);
  }
  for (; token < tokens; ++token)
    panel_tokens<Bits, Lookup, R, 1>(w, panel, group, groups, x, token, factors, sums + token * R * 16);
}

template <int R>
inline void put_sums(const PackedMatrix& w, int64_t tile, int64_t tokens, const float* sums, float* y, int64_t ldy,
                     bool add_to) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t half = 0; half < R; ++half, sums += 16) {
      const int64_t row = tile * kTileRows + half * kHalfRows;
      put_row(y + t * ldy + row, w.rows - row, add_to, load(sums));
    }
  }
}

template <int Bits, bool Wide, bool Lookup>
inline void panel_linear(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y,
                         int64_t ldy, bool add_to, uint8_t* scratch) {
  constexpr int64_t kTiles = kPanelHalves / kHalves;  // tiles of a panel; a last tile may stand alone
  const Panel panel{scratch, reinterpret_cast<float*>(scratch + kPanelBytes)};
  float* sums = panel.scales + kPanelScales;
  auto* factors = reinterpret_cast<GroupFactors*>(sums + kChunkPanels * kMaxPanelHalves * kHalfRows * tokens);
  group_factors<Bits, Lookup>(x, tokens, w.groups(), factors);
  const int64_t step = kPanelCols / w.group_size;
  for (int64_t begin = tiles.begin; begin < tiles.end; begin += kChunkPanels * kTiles) {
    const int64_t end = std::min(begin + kChunkPanels * kTiles, tiles.end);
    const auto each_panel = [&](const auto& whole, const auto& single) {
      int64_t tile = begin;
      for (; tile + kTiles <= end; tile += kTiles) whole(tile, sums + (tile - begin) * kTileRows * tokens);
      for (; tile < end; ++tile) single(tile, sums + (tile - begin) * kTileRows * tokens);
    };
    for (int64_t group = 0; group < w.groups(); group += step) {
      const int64_t groups = std::min(step, w.groups() - group);
      each_panel(
          [&](int64_t tile, float* at) {
            panel_block<Bits, Wide, Lookup, kPanelHalves>(w, tile, group, groups, x, tokens, panel, factors, at);
          },
          [&](int64_t tile, float* at) {
            panel_block<Bits, Wide, Lookup, kHalves>(w, tile, group, groups, x, tokens, panel, factors, at);
          });
    }
    each_panel([&](int64_t tile, float* at) { put_sums<kPanelHalves>(w, tile, tokens, at, y, ldy, add_to); },
               [&](int64_t tile, float* at) { put_sums<kHalves>(w, tile, tokens, at, y, ldy, add_to); });
  }
}

#undef PROSA_INLINE
