// Causal attention over the KV cache with a running softmax, several query rows at a time, in integers.
//
// Included inside an ISA's namespace, after kv_numbers.inl, whose two forms of numbers are `Kv` here. A score is exact
// up to the rounding of its inputs. Softmax weights become integers anew for every step of positions. Lanes are
// positions for the scores and head dimensions for the sums. The positions are walked in steps: a row's operations do
// not depend on the rows beside it, because a position behind its limit adds an exact zero, whatever lies there.

inline constexpr int64_t kStep = kKvStep;        // positions per update of the running softmax
static_assert(kKvSpan % kStep == 0);             // a step lies in one block
inline constexpr int64_t kAskAhead = 2 * kStep;  // positions from a step to the one that it asks the memory for

inline F load_scales(const std::byte* p) {
  float scales[16];
  std::memcpy(scales, p, sizeof scales);
  return load(scales);
}

template <typename Kv>
inline void store_key_as(const float* key, const KvLayout& kv, int64_t slot, std::byte* head) {
  auto* const to = reinterpret_cast<typename Kv::Element*>(head);
  const float scale = Kv::key_numbers(key, kv.head_dim, [&](int64_t d, I whole) {
    typename Kv::Element numbers[16];
    Kv::store_elements(numbers, whole);
    for (int64_t i = 0; i < 16; ++i) to[kv.key_at(slot, d + i)] = numbers[i];
  });
  std::memcpy(head + kv.scale_at(slot), &scale, sizeof scale);
}

template <typename Kv>
inline void store_value_as(const float* value, const KvLayout& kv, int64_t slot, std::byte* head) {
  auto* const to = reinterpret_cast<typename Kv::Element*>(head);
  const float scale = Kv::value_numbers(value, kv.head_dim, [&](int64_t d, I whole) {
    typename Kv::Element numbers[16];
    Kv::store_elements(numbers, whole);
    for (int64_t i = 0; i < 16; ++i) to[kv.value_at(slot, d + i)] = numbers[i];
  });
  std::memcpy(head + kv.scale_at(slot), &scale, sizeof scale);
}

inline void store_key(const float* key, const KvLayout& kv, int64_t slot, std::byte* head) {
  kv.bits == 8 ? store_key_as<Kv8>(key, kv, slot, head) : store_key_as<Kv16>(key, kv, slot, head);
}
inline void store_value(const float* value, const KvLayout& kv, int64_t slot, std::byte* head) {
  kv.bits == 8 ? store_value_as<Kv8>(value, kv, slot, head) : store_value_as<Kv16>(value, kv, slot, head);
}

// The query rows of a call: what they carry from step to step, and their weights of the step at hand.
template <typename Kv>
struct AttendRows {
  const int64_t* limits;               // [rows]
  const typename Kv::Number* queries;  // [rows, head_dim]
  float* sums;                         // [head_dim / 16][rows][16]
  float query_scale[kAttendRows];
  float query_shift[kAttendRows];  // what integer scores begin with
  float top[kAttendRows];          // the largest score so far
  float total[kAttendRows];        // the sum of the weights
  float factor[kAttendRows];       // what the sums so far shrink by
  float scale[kAttendRows];        // of the integer weights
  alignas(64) float scores[kAttendRows][kStep];
  alignas(64) typename Kv::Weight weights[kAttendRows][kStep];
};

// Rows that share loaded registers, in one step. They also ask the memory for some dimensions of a step to come, as
// hardware does not foresee where a head goes on: all tiles of a step share it, so that the memory has all of its time.
struct AttendTile {
  int64_t first;           // row
  int64_t reach;           // the rows see nothing from here on
  const std::byte* later;  // a step to come
  Range asked;             // dimensions of it
};

template <typename Kv>
inline const typename Kv::Element* elements(const std::byte* p) {
  return reinterpret_cast<const typename Kv::Element*>(p);
}

// Scores of N blocks of positions, `at` within the step. These keys stay in the nearest cache for all tiles.
template <typename Kv, int R>
__attribute__((noinline)) void attend_scores(const AttendArgs& a, int64_t base, int64_t at, const AttendTile& tile,
                                             AttendRows<Kv>& rows) {
  constexpr int N = kAttendWide;
  const int64_t slot = base % kKvSpan + at;
  const std::byte* block = a.blocks[base / kKvSpan] + a.keys;
  const auto* keys = elements<Kv>(block) + slot * a.kv.head_dim;
  const auto* later = elements<Kv>(tile.later + a.keys) + at * a.kv.head_dim;
  const auto* queries = rows.queries + tile.first * a.kv.head_dim;
  I sums[R][N];
  each<R>([&]<int r>() PROSA_INLINE {
    const I start = Kv::kShifts ? round(set1(rows.query_shift[tile.first + r])) : izero();
    each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = start; });
  });
  const auto add_dimensions = [&]<bool Asks>(int64_t begin, int64_t end) PROSA_INLINE {
    for (int64_t d = begin; d < end; d += Kv::kTogether) {
      each<Kv::kParts>([&]<int part>() PROSA_INLINE {
        decltype(Kv::template key<part>(keys)) key[N];
        each<N>([&]<int n>() PROSA_INLINE {
          const int64_t line = n * kKvBlock * a.kv.head_dim + d * kKvBlock;
          if constexpr (Asks && part == 0) __builtin_prefetch(later + line, 0, 2);
          key[n] = Kv::template key<part>(keys + line);
        });
        each<R>([&]<int r>() PROSA_INLINE {
          const auto query = Kv::template repeat<part>(queries + r * a.kv.head_dim + d);
          each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = Kv::score(sums[r][n], key[n], query); });
        });
      });
    }
  };
  add_dimensions.template operator()<false>(0, tile.asked.begin);
  add_dimensions.template operator()<true>(tile.asked.begin, tile.asked.end);
  add_dimensions.template operator()<false>(tile.asked.end, a.kv.head_dim);
  each<N>([&]<int n>() PROSA_INLINE {
    const F scale = load_scales(block + a.kv.scale_at(slot + n * kKvBlock));
    each<R>([&]<int r>() PROSA_INLINE {
      store(rows.scores[tile.first + r] + at + n * kKvBlock,
            to_float(sums[r][n]) * (scale * set1(rows.query_scale[tile.first + r])));
    });
  });
}

// Zeros from `seen` on.
inline void hide(F (&lanes)[kStep / 16], int64_t seen) {
  alignas(64) float all[kStep];
  for (int64_t i = 0; i < kStep; i += 16) store(all + i, lanes[i / 16]);
  std::fill(all + seen, all + kStep, 0.0F);
  for (int64_t i = 0; i < kStep; i += 16) lanes[i / 16] = load(all + i);
}

// Weights as integers whose sum is the sum of the weights: what rounding takes from one is carried on to the next, lane
// by lane. Rounded alone, many weak weights beside a strong one would all become 0 and their share of the total be
// lost. Returns the sum.
inline int32_t carried_weights(const F (&weight)[kStep / 16], float inverse, I (&whole)[kStep / 16]) {
  F lanes = zero();
  for (const F& w : weight) lanes = fma(w, set1(inverse), lanes);
  alignas(64) float before[16];  // the sums of the lanes before
  store(before, lanes);
  float sum_so_far = 0;
  for (float& lane : before) sum_so_far += std::exchange(lane, sum_so_far);
  F reached = load(before);
  I rounded = round(reached);
  I total = izero();
  for (int64_t j = 0; j < kStep / 16; ++j) {
    reached = fma(weight[j], set1(inverse), reached);
    const I next = round(reached);
    whole[j] = sub(next, rounded);
    total = add(total, whole[j]);
    rounded = next;
  }
  return sum(total);
}

// Weights of a row against the maximum `top`, and these times the values' scales as integers. Adds to the row's total.
template <typename Kv>
inline void softmax_row(AttendRows<Kv>& rows, int64_t r, const std::byte* value_scales, int64_t seen) {
  constexpr int kVectors = kStep / 16;
  F weight[kVectors];
  const F top = set1(rows.top[r]);
  for (int j = 0; j < kVectors; ++j) weight[j] = exp_of(load(rows.scores[r] + 16 * j) - top);
  if (seen < kStep) hide(weight, seen);
  F added = weight[0];
  for (int j = 1; j < kVectors; ++j) added = added + weight[j];
  for (int j = 0; j < kVectors; ++j) weight[j] = weight[j] * load_scales(value_scales + 64 * j);
  if (seen < kStep) hide(weight, seen);  // behind the limit the scales may be anything
  F scaled = weight[0];
  F peak = weight[0];
  for (int j = 1; j < kVectors; ++j) scaled = scaled + weight[j];
  for (int j = 1; j < kVectors; ++j) peak = max(peak, weight[j]);
  rows.total[r] = rows.total[r] * rows.factor[r] + sum(added);
  const float together = sum(scaled);
  const bool some = together > 1e-30F;  // less adds nothing to a total of at least 1
  const float inverse = some ? Kv::weight_inverse(together, highest(peak)) : 0.0F;
  rows.scale[r] = some ? 1.0F / inverse : together - together;  // NaN stays NaN
  I whole[kVectors];
  if constexpr (Kv::kCarries) {
    const int32_t total = carried_weights(weight, inverse, whole);
    if (total > 0) rows.scale[r] = together / static_cast<float>(total);
  } else {
    for (int j = 0; j < kVectors; ++j) whole[j] = round(weight[j] * set1(inverse));
  }
  for (int j = 0; j < kVectors; ++j) Kv::store_weights(rows.weights[r] + 16 * j, whole[j]);
}

// Scores of R rows become integer weights against the new maximum. A row that sees nothing here keeps what it has.
template <int R, typename Kv>
inline void softmax_step(AttendRows<Kv>& rows, int64_t first, int64_t base, const std::byte* value_scales) {
  alignas(64) float change[16] = {};
  for (int r = 0; r < R; ++r) {
    float* const scores = rows.scores[first + r];
    float& top = rows.top[first + r];
    const int64_t seen = std::clamp<int64_t>(rows.limits[first + r] - base, 0, kStep);
    std::fill(scores + seen, scores + kStep, -1e30F);
    F peak = load(scores);
    for (int64_t i = 16; i < kStep; i += 16) peak = max(peak, load(scores + i));
    const float now = std::max(top, highest(peak));
    change[r] = std::max(top - now, -1e4F);
    top = now;
  }
  static_assert(R <= 16);
  store(change, exp_of(load(change)));
  for (int r = 0; r < R; ++r) {
    rows.factor[first + r] = change[r];
    softmax_row(rows, first + r, value_scales, std::clamp<int64_t>(rows.limits[first + r] - base, 0, kStep));
  }
}

// Adds the weighted values of D x 16 dimensions to the sums: these values, too, stay near for all tiles.
template <typename Kv, int R, int D>
__attribute__((noinline)) void attend_values(const AttendArgs& a, int64_t base, int64_t d, const AttendTile& tile,
                                             AttendRows<Kv>& rows) {
  I sums[R][D];
  I all[D];  // of the values alone, where weights are 128 less
  each<R>([&]<int r>() PROSA_INLINE { each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = izero(); }); });
  each<D>([&]<int j>() PROSA_INLINE { all[j] = izero(); });
  const auto* values = elements<Kv>(a.blocks[base / kKvSpan] + a.values) + base % kKvSpan * a.kv.head_dim + d * kStep;
  const auto* later = elements<Kv>(tile.later + a.values) + d * kStep;
  const auto* weights = rows.weights[tile.first];
  const auto add_positions = [&]<bool Asks>() PROSA_INLINE {
    const int64_t count = std::min(kStep, tile.reach - base);
    for (int64_t i = 0; i < count; i += Kv::kTogether) {
      each<Kv::kParts>([&]<int part>() PROSA_INLINE {
        decltype(Kv::template value<part>(values)) value[D];
        each<D>([&]<int j>() PROSA_INLINE {
          const int64_t line = (j * kStep + i) * kKvBlock;
          if constexpr (Asks && part == 0) __builtin_prefetch(later + line, 0, 2);
          value[j] = Kv::template value<part>(values + line);
          if constexpr (Kv::kLessWeights) all[j] = Kv::weigh(all[j], value[j], Kv::ones());
        });
        each<R>([&]<int r>() PROSA_INLINE {
          const auto weight = Kv::template repeat<part>(weights + r * kStep + i);
          each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = Kv::weigh(sums[r][j], value[j], weight); });
        });
      });
    }
  };
  if (d >= tile.asked.begin && d < tile.asked.end)
    add_positions.template operator()<true>();
  else
    add_positions.template operator()<false>();
  each<D>([&]<int j>() PROSA_INLINE {
    float* out = rows.sums + (d + 16 * j) * a.rows + tile.first * 16;
    each<R>([&]<int r>() PROSA_INLINE {
      if constexpr (Kv::kLessWeights) sums[r][j] = add(sums[r][j], scale_up<7>(all[j]));
      const F shrunk = load(out + 16 * r) * set1(rows.factor[tile.first + r]);
      store(out + 16 * r, fma(to_float(sums[r][j]), set1(rows.scale[tile.first + r]), shrunk));
    });
  });
}

// Calls use.operator()<R>(first row) for tiles that cover all rows.
template <typename Use>
PROSA_INLINE inline void each_tile(int64_t rows, Use use) {
  int64_t first = 0;
  for (; first + kAttendTile <= rows; first += kAttendTile) use.template operator()<kAttendTile>(first);
  if (kAttendTile > 4 && first + 4 <= rows) use.template operator()<4>(std::exchange(first, first + 4));
  if (first + 2 <= rows) use.template operator()<2>(std::exchange(first, first + 2));
  if (first < rows) use.template operator()<1>(first);
}

// A step of all rows, one phase after the other: what a phase reads of the cache is then read once by all rows.
template <typename Kv>
inline void attend_step(const AttendArgs& a, int64_t base, int64_t reach, AttendRows<Kv>& rows) {
  const bool last = base + kAskAhead >= reach;
  const int64_t next = last ? base : base + kAskAhead;
  const std::byte* later = a.blocks[next / kKvSpan] + next % kKvSpan * a.kv.head_dim * a.kv.number_bytes();
  const auto asked_before = [&](int64_t row) {
    return last ? 0 : row * a.kv.head_dim / a.rows / Kv::kTogether * Kv::kTogether;
  };
  const auto each_seeing = [&](auto use) PROSA_INLINE {
    each_tile(a.rows, [&]<int R>(int64_t first) PROSA_INLINE {
      const int64_t seen = *std::max_element(rows.limits + first, rows.limits + first + R);
      if (seen <= base) return;
      use.template operator()<R>(AttendTile{first, seen, later, {asked_before(first), asked_before(first + R)}});
    });
  };
  for (int64_t at = 0; at < kStep; at += kAttendWide * kKvBlock)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_scores<Kv, R>(a, base, at, tile, rows); });
  const std::byte* scales = a.blocks[base / kKvSpan] + a.values + a.kv.scale_at(base % kKvSpan);
  each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { softmax_step<R>(rows, tile.first, base, scales); });
  constexpr int D = kAttendWide;
  int64_t d = 0;
  for (; d + 16 * D <= a.kv.head_dim; d += 16 * D)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_values<Kv, R, D>(a, base, d, tile, rows); });
  for (; d < a.kv.head_dim; d += 16)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_values<Kv, R, 1>(a, base, d, tile, rows); });
}

// Of a row's weights; leaves its part.
template <typename Kv>
inline float inverse_total(const AttendArgs& a, const AttendRows<Kv>& rows, int64_t r) {
  if (a.parts != nullptr) a.parts[r] = {rows.top[r], rows.total[r]};
  return rows.total[r] == 0 ? 0.0F : 1.0F / rows.total[r];
}

template <typename Kv>
inline void attend_as(const AttendArgs& a) {
  AttendRows<Kv> rows;
  auto* queries = reinterpret_cast<typename Kv::Number*>(a.scratch + kAttendRows * a.kv.head_dim);
  rows.limits = a.limits;
  rows.queries = queries;
  rows.sums = a.scratch;
  for (int64_t r = 0; r < a.rows; ++r) {
    rows.top[r] = -1e30F;
    rows.total[r] = 0;
    rows.query_scale[r] = Kv::query_numbers(a.q[r], a.kv.head_dim, queries + r * a.kv.head_dim);
    rows.query_shift[r] = Kv::shift(queries + r * a.kv.head_dim, a.kv.head_dim);
  }
  std::fill_n(rows.sums, a.rows * a.kv.head_dim, 0.0F);
  const int64_t reach = *std::max_element(a.limits, a.limits + a.rows);
  for (int64_t base = a.first; base < std::min(reach, a.end); base += kStep) attend_step(a, base, reach, rows);
  for (int64_t r = 0; r < a.rows; ++r) {
    const F scale = set1(inverse_total(a, rows, r));
    for (int64_t d = 0; d < a.kv.head_dim; d += 16) store(a.out[r] + d, load(rows.sums + d * a.rows + 16 * r) * scale);
  }
}

inline void attend(const AttendArgs& a) { a.kv.bits == 8 ? attend_as<Kv8>(a) : attend_as<Kv16>(a); }
