// Products of 9 to 24 tokens with quantized weights on the tile unit: the turn of a talk, which waits for its prompt.
// Groups of 64 columns and scales of 16 bits only, as models come; all else is linear.inl's.
//
// Included inside the ISA's namespace, after linear.inl. There the codes of a chunk are unpacked and then many tokens
// take them; with few, unpacking would be half of the work and stand between the products. Here half a tile's groups
// are walked once for all tokens, whose sums stay in registers, and codes are unpacked between the products, two groups
// before their own. Invariant: that of linear.inl.

inline constexpr int64_t kFewTokens = 24;
inline constexpr int64_t kCodesAhead = 2;  // groups from the products at hand to the codes that are unpacked
inline constexpr int64_t kCodeSlots = 4;   // groups of unpacked codes: at hand, next, being unpacked; a power of two

struct alignas(64) FewScratch {
  uint8_t codes[kCodeSlots][kTileColumns * kHalfRows];  // [column / 4][16 rows][4 columns]
  int32_t sums[2][2][kTileTokens][kHalfRows];           // [parity of the unit][plane]
  float out[kFewTokens][kHalfRows];
};

// The products of half a tile in units: a group of columns times the tokens of a task, one or two of `Tokens` each.
// A unit's sums are in the tiles of its parity, then in the scratch, then in the tokens' registers; three units are on
// that way at a time, so that none waits for another.
template <int Bits, int Planes, int Tokens, int Tasks>
class FewUnits {
 public:
  // PackedMatrix's header_bytes(), half_bytes() and group_bytes(), known to the compiler.
  static constexpr int64_t kHeader = 2 * kTileRows * 2;
  static constexpr int64_t kHalf = kTileColumns / 32 * Bits * kVector;
  static constexpr int64_t kGroup = kHeader + kHalves * kHalf;
  static constexpr int kVectors = kTileColumns / 4;          // of a group's codes
  static constexpr int kLines = kGroup / kHalves / kVector;  // of the half of a group that is asked for with them

  PROSA_INLINE FewUnits(const TileProducts& p, int64_t tile, int64_t half, FewScratch& scratch)
      : groups_(p.w.groups()),
        ldq_(p.x.ldq),
        ldg_(p.x.ldg),
        high_(p.x.high),
        low_(p.x.low),
        x_scales_(p.x.scale),
        x_sums_(p.x.sum),
        scales_(p.w.tile(tile) + half * kHalfRows * 2),
        planes_(p.w.tile(tile) + kHeader + half * kHalf),
        to_later_(p.w.tile_bytes - kHeader + half * kVector),
        scratch_(scratch) {
    each<Tasks * Tokens>([&]<int t>() PROSA_INLINE { kept_[t] = zero(); });
  }

  PROSA_INLINE void compute() {
    for (int64_t group = 0; group < std::min(kCodesAhead, groups_); ++group, planes_ += kGroup)
      unpack<0, kVectors>(group);
    products<0, 0>(0);
    unit<0, true>(0);
    const int64_t units = groups_ * Tasks;
    int64_t at = 1;
    for (; at + 2 <= units; at += 2) {
      unit<1>(at);
      unit<0>(at + 1);
    }
    if (at < units) {
      unit<1>(at);
      add<1>();
    } else {
      add<0>();
    }
  }

  PROSA_INLINE void leave(const TileProducts& p, int64_t row) {
    each<Tasks * Tokens>([&]<int t>() PROSA_INLINE { store(scratch_.out[t], kept_[t]); });
    for (int64_t t = 0; t < p.tokens; ++t)
      put_row(p.y + t * p.ldy + row, p.w.rows - row, p.add_to, load(scratch_.out[t]));
  }

 private:
  template <int Parity>
  static constexpr int kTask = Tasks == 2 ? Parity : 0;

  // The tiles of linear.inl, but for one of codes, which two tasks share.
  template <int Parity, int Task>
  PROSA_INLINE void products(int64_t group) {
    const uint8_t* codes = scratch_.codes[group % kCodeSlots];
    const int64_t from = Task * Tokens * ldq_ + group * kTileColumns;
    each<Planes>([&]<int p>() PROSA_INLINE { zero_tile<2 * Parity + p>(); });
    if constexpr (Task == 0) load_tile<6>(codes, kVector);
    load_tile<4>(high_ + from, ldq_);
    multiply_su<2 * Parity, 4, 6>();
    if constexpr (Planes == 2) {
      load_tile<5>(low_ + from, ldq_);
      multiply_su<2 * Parity + 1, 5, 6>();
    }
  }

  template <int Parity>
  PROSA_INLINE void save() {
    constexpr int64_t kSums = offsetof(FewScratch, sums) + Parity * sizeof(scratch_.sums[0]);
    each<Planes>([&]<int p>() PROSA_INLINE { store_tile<2 * Parity + p, kSums + p * kTileBytes>(&scratch_, kVector); });
  }

  template <int Parity>
  PROSA_INLINE void add() {
    const F scale = load_scale<false>(scales_, 0);
    const F bias = load_scale<false>(scales_, 2);
    constexpr int kFirst = kTask<Parity> * Tokens;
    each<Tokens>([&]<int t>() PROSA_INLINE {
      kept_[kFirst + t] = add_group<4>(kept_[kFirst + t], load_sums<Planes>(scratch_.sums[Parity], t), scale, bias,
                                       x_scales_[kFirst + t], x_sums_[kFirst + t]);
    });
    if constexpr (kTask<Parity> == Tasks - 1) {
      scales_ += kGroup;
      x_scales_ += ldg_;
      x_sums_ += ldg_;
    }
  }

  // Vectors of the codes of this group, which planes_ points to. The same part of the next tile is asked for: each half
  // of a tile asks for half of every group.
  template <int From, int To>
  PROSA_INLINE void unpack(int64_t group) {
    constexpr int kBegin = From * kLines / kVectors;
    constexpr int kEnd = To * kLines / kVectors;
    const uint8_t* later = planes_ + to_later_ + kBegin * kVector;
    each<kEnd - kBegin>([&]<int n>() PROSA_INLINE { __builtin_prefetch(later + n * kVector, 0, 2); });
    uint8_t* out = scratch_.codes[group % kCodeSlots];
    each<To - From>([&]<int n>() PROSA_INLINE {
      constexpr int v = From + n;
      store_bytes(out + v * kVector, codes_of<Bits, v % 8>(planes_ + v / 8 * Bits * kVector));
    });
  }

  template <int Parity, bool First = false>
  PROSA_INLINE void unit(int64_t index) {
    constexpr int kPart = kVectors / Tasks;
    constexpr int kMine = kTask<Parity>;
    const int64_t group = index / Tasks;
    const int64_t next = (index + 1) / Tasks;
    if (next < groups_) products<1 - Parity, kTask<1 - Parity>>(next);
    if (group + kCodesAhead < groups_) unpack<kMine * kPart, (kMine + 1) * kPart>(group + kCodesAhead);
    if constexpr (kMine == Tasks - 1) planes_ += kGroup;
    if constexpr (!First) add<1 - Parity>();
    save<Parity>();
  }

  const int64_t groups_;
  const int64_t ldq_;
  const int64_t ldg_;
  const int8_t* const high_;  // [tokens, ldq]
  const int8_t* const low_;   // [tokens, ldq], or null
  const float* x_scales_;     // [groups, ldg], from the group on that is added next
  const float* x_sums_;       // [groups, ldg], the same
  const uint8_t* scales_;     // of that group: [32 rows] scales, [32 rows] biases, from this half's on
  const uint8_t* planes_;     // of the group to be unpacked next
  const int64_t to_later_;    // from there to what is asked for
  FewScratch& scratch_;
  F kept_[Tasks * Tokens];  // [tokens], 16 rows each
};

// A function of its own: its registers are full.
template <int Bits, int Planes, int Tokens, int Tasks>
__attribute__((noinline)) void few_half(const TileProducts& p, int64_t tile, int64_t half, FewScratch& scratch) {
  FewUnits<Bits, Planes, Tokens, Tasks> units(p, tile, half, scratch);
  units.compute();
  units.leave(p, tile * kTileRows + half * kHalfRows);
}

template <int Bits, int Planes, int Tokens, int Tasks>
inline void few_tiles(Range tiles, const TileProducts& p) {
  FewScratch scratch;
  configure_tiles(product_shapes(kTileColumns, Tokens));
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    for (int64_t half = 0; half < kHalves; ++half) few_half<Bits, Planes, Tokens, Tasks>(p, tile, half, scratch);
  }
  release_tiles();
}

inline bool takes_few(const PackedMatrix& w, int64_t tokens) {
  return tokens <= kFewTokens && w.group_size == kTileColumns && w.scale_dtype == DType::bf16;
}

template <int Bits, int Planes>
inline void few_planes(Range tiles, const TileProducts& p) {
  if (p.tokens <= 12) return few_tiles<Bits, Planes, 12, 1>(tiles, p);
  if (p.tokens <= 16) return few_tiles<Bits, Planes, 16, 1>(tiles, p);
  if (p.tokens <= 20) return few_tiles<Bits, Planes, 10, 2>(tiles, p);
  return few_tiles<Bits, Planes, 12, 2>(tiles, p);
}

template <int Bits>
inline void few_linear(Range tiles, const TileProducts& p) {
  p.x.low != nullptr ? few_planes<Bits, 2>(tiles, p) : few_planes<Bits, 1>(tiles, p);
}
