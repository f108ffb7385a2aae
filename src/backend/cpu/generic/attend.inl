// Causal attention over the KV cache with a running softmax, several query rows at a time, in 16-bit integers.
//
// Included inside an ISA's namespace. A key, a value and a query are integers times one scale each. Keys and queries
// are scaled to a length of 2^15: by the inequality of Cauchy and Schwarz neither a score nor any part of its sum then
// leaves 32 bits, and a score is exact up to the rounding of its inputs. Softmax weights become integers anew for every
// step of positions, so that their sum times the largest value just fits. Lanes are positions for the scores and head
// dimensions for the sums. The positions are walked in steps: a row's operations do not depend on the rows
// beside it, because a position behind its limit adds an exact zero, whatever lies there.

inline constexpr int64_t kStep = 64;  // positions per update of the running softmax
static_assert(kKvSpan % kStep == 0);  // a step lies in one block
inline constexpr float kInt16Top = 32767.0F;

inline F load_scales(const int16_t* p) {
  float scales[16];
  std::memcpy(scales, p, sizeof scales);
  return load(scales);
}

// x / scale as integers; returns the scale. `size` is what becomes 32767: the length or the largest magnitude.
inline float whole_numbers(const float* x, int64_t n, float size, int16_t* out) {
  const F inverse = set1(size > 0 ? kInt16Top / size : 0.0F);
  for (int64_t i = 0; i < n; i += 16) store_i16(out + i, round(load(x + i) * inverse));
  return size / kInt16Top;
}

inline float length(const float* x, int64_t n) { return std::sqrt(sum_of_squares(x, n)); }

inline void store_scale(float scale, int64_t head_dim, int64_t slot, int16_t* head) {
  std::memcpy(head + kv_scale_at(slot, head_dim), &scale, sizeof scale);
}

inline void store_key(const float* key, int64_t head_dim, int64_t slot, int16_t* head) {
  const float size = length(key, head_dim);
  int16_t whole[16];
  float scale = 0;
  for (int64_t d = 0; d < head_dim; d += 16) {
    scale = whole_numbers(key + d, 16, size, whole);
    for (int64_t i = 0; i < 16; ++i) head[kv_key_at(slot, d + i, head_dim)] = whole[i];
  }
  store_scale(scale, head_dim, slot, head);
}

inline void store_value(const float* value, int64_t head_dim, int64_t slot, int16_t* head) {
  F peak = zero();
  for (int64_t d = 0; d < head_dim; d += 16) peak = max(peak, abs(load(value + d)));
  const float size = highest(peak);
  int16_t whole[16];
  float scale = 0;
  for (int64_t d = 0; d < head_dim; d += 16) {
    scale = whole_numbers(value + d, 16, size, whole);
    for (int64_t i = 0; i < 16; ++i) head[kv_value_at(slot, d + i, head_dim)] = whole[i];
  }
  store_scale(scale, head_dim, slot, head);
}

// The query rows of a call: what they carry from step to step, and their weights of the step at hand.
struct AttendRows {
  const int64_t* limits;   // [rows]
  const int16_t* queries;  // [rows, head_dim]
  float* sums;             // [head_dim / 16][rows][16]
  float query_scale[kAttendRows];
  float top[kAttendRows];     // the largest score so far
  float total[kAttendRows];   // the sum of the weights
  float factor[kAttendRows];  // what the sums so far shrink by
  float scale[kAttendRows];   // of the integer weights
  alignas(64) float scores[kAttendRows][kStep];
  alignas(64) int16_t weights[kAttendRows][kStep];
};

// Rows that share loaded registers, in one step. They also ask the memory for some dimensions of the step to come, as
// hardware does not foresee where a head goes on: all tiles of a step share it, so that the memory has all of its time.
struct AttendTile {
  int64_t first;         // row
  int64_t reach;         // the rows see nothing from here on
  const int16_t* later;  // the step to come
  Range asked;           // dimensions of it
};

// Scores of N blocks of positions, `at` within the step. These keys stay in the nearest cache for all tiles.
template <int R>
__attribute__((noinline)) void attend_scores(const AttendArgs& a, int64_t base, int64_t at, const AttendTile& tile,
                                             AttendRows& rows) {
  constexpr int N = kAttendWide;
  const int64_t slot = base % kKvSpan + at;
  const int16_t* block = a.blocks[base / kKvSpan] + a.keys;
  const int16_t* keys = block + slot * a.head_dim;
  const int16_t* later = tile.later + a.keys + at * a.head_dim;
  const int16_t* queries = rows.queries + tile.first * a.head_dim;
  I sums[R][N];
  each<R>([&]<int r>() PROSA_INLINE { each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = izero(); }); });
  const auto add_dimensions = [&]<bool Asks>(int64_t begin, int64_t end) PROSA_INLINE {
    for (int64_t d = begin; d < end; d += 2) {
      P key[N];
      each<N>([&]<int n>() PROSA_INLINE {
        const int64_t line = n * kKvBlock * a.head_dim + d * kKvBlock;
        if constexpr (Asks) __builtin_prefetch(later + line, 0, 2);
        key[n] = load_pairs(keys + line);
      });
      each<R>([&]<int r>() PROSA_INLINE {
        const P query = repeat_pair(queries + r * a.head_dim + d);
        each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = dot_pairs(sums[r][n], key[n], query); });
      });
    }
  };
  add_dimensions.template operator()<false>(0, tile.asked.begin);
  add_dimensions.template operator()<true>(tile.asked.begin, tile.asked.end);
  add_dimensions.template operator()<false>(tile.asked.end, a.head_dim);
  each<N>([&]<int n>() PROSA_INLINE {
    const F scale = load_scales(block + kv_scale_at(slot + n * kKvBlock, a.head_dim));
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

// Weights of a row against the maximum `top`, and these times the values' scales as integers. Adds to the row's total.
inline void softmax_row(AttendRows& rows, int64_t r, const int16_t* value_scales, int64_t seen) {
  constexpr int kVectors = kStep / 16;
  F weight[kVectors];
  const F top = set1(rows.top[r]);
  for (int j = 0; j < kVectors; ++j) weight[j] = exp_of(load(rows.scores[r] + 16 * j) - top);
  if (seen < kStep) hide(weight, seen);
  F added = weight[0];
  for (int j = 1; j < kVectors; ++j) added = added + weight[j];
  for (int j = 0; j < kVectors; ++j) weight[j] = weight[j] * load_scales(value_scales + 32 * j);
  if (seen < kStep) hide(weight, seen);  // behind the limit the scales may be anything
  F scaled = weight[0];
  F peak = weight[0];
  for (int j = 1; j < kVectors; ++j) scaled = scaled + weight[j];
  for (int j = 1; j < kVectors; ++j) peak = max(peak, weight[j]);
  rows.total[r] = rows.total[r] * rows.factor[r] + sum(added);
  // Rounding may add half a unit to each weight: the sum stays within 2^16, and 2^16 times 2^15 within 32 bits.
  constexpr float kMostTogether = 65535.0F - kStep;
  const float together = sum(scaled);
  const bool some = together > 1e-30F;  // less adds nothing to a total of at least 1
  const float inverse = some ? std::min(kMostTogether / together, kInt16Top / highest(peak)) : 0.0F;
  rows.scale[r] = some ? 1.0F / inverse : together - together;  // NaN stays NaN
  for (int j = 0; j < kVectors; ++j) store_i16(rows.weights[r] + 16 * j, round(weight[j] * set1(inverse)));
}

// Scores of R rows become integer weights against the new maximum. A row that sees nothing here keeps what it has.
template <int R>
inline void softmax_step(AttendRows& rows, int64_t first, int64_t base, const int16_t* value_scales) {
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
template <int R, int D>
__attribute__((noinline)) void attend_values(const AttendArgs& a, int64_t base, int64_t d, const AttendTile& tile,
                                             AttendRows& rows) {
  I sums[R][D];
  each<R>([&]<int r>() PROSA_INLINE { each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = izero(); }); });
  const int16_t* values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim + 2 * d;
  const int16_t* later = tile.later + a.values + 2 * d;
  const int16_t* weights = rows.weights[tile.first];
  const auto add_positions = [&]<bool Asks>() PROSA_INLINE {
    const int64_t count = std::min(kStep, tile.reach - base);
    for (int64_t i = 0; i < count; i += 2) {
      P value[D];
      each<D>([&]<int j>() PROSA_INLINE {
        const int64_t line = i * a.head_dim + 32 * j;
        if constexpr (Asks) __builtin_prefetch(later + line, 0, 2);
        value[j] = load_pairs(values + line);
      });
      each<R>([&]<int r>() PROSA_INLINE {
        const P weight = repeat_pair(weights + r * kStep + i);
        each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = dot_pairs(sums[r][j], value[j], weight); });
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
inline void attend_step(const AttendArgs& a, int64_t base, int64_t reach, AttendRows& rows) {
  const bool last = base + kStep >= reach;
  const int64_t next = last ? base : base + kStep;
  const int16_t* later = a.blocks[next / kKvSpan] + next % kKvSpan * a.head_dim;
  const auto asked_before = [&](int64_t row) { return last ? 0 : row * a.head_dim / a.rows / 2 * 2; };
  const auto each_seeing = [&](auto use) PROSA_INLINE {
    each_tile(a.rows, [&]<int R>(int64_t first) PROSA_INLINE {
      const int64_t seen = *std::max_element(rows.limits + first, rows.limits + first + R);
      if (seen <= base) return;
      use.template operator()<R>(AttendTile{first, seen, later, {asked_before(first), asked_before(first + R)}});
    });
  };
  for (int64_t at = 0; at < kStep; at += kAttendWide * kKvBlock)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_scores<R>(a, base, at, tile, rows); });
  const int16_t* scales = a.blocks[base / kKvSpan] + a.values + kv_scale_at(base % kKvSpan, a.head_dim);
  each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { softmax_step<R>(rows, tile.first, base, scales); });
  constexpr int D = kAttendWide;
  int64_t d = 0;
  for (; d + 16 * D <= a.head_dim; d += 16 * D)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_values<R, D>(a, base, d, tile, rows); });
  for (; d < a.head_dim; d += 16)
    each_seeing([&]<int R>(const AttendTile& tile) PROSA_INLINE { attend_values<R, 1>(a, base, d, tile, rows); });
}

// Of a row's weights; leaves its part.
inline float inverse_total(const AttendArgs& a, const AttendRows& rows, int64_t r) {
  if (a.parts != nullptr) a.parts[r] = {rows.top[r], rows.total[r]};
  return rows.total[r] == 0 ? 0.0F : 1.0F / rows.total[r];
}

inline void attend(const AttendArgs& a) {
  AttendRows rows;
  auto* queries = reinterpret_cast<int16_t*>(a.scratch + kAttendRows * a.head_dim);
  rows.limits = a.limits;
  rows.queries = queries;
  rows.sums = a.scratch;
  for (int64_t r = 0; r < a.rows; ++r) {
    rows.top[r] = -1e30F;
    rows.total[r] = 0;
    rows.query_scale[r] = whole_numbers(a.q[r], a.head_dim, length(a.q[r], a.head_dim), queries + r * a.head_dim);
  }
  std::fill_n(rows.sums, a.rows * a.head_dim, 0.0F);
  const int64_t reach = *std::max_element(a.limits, a.limits + a.rows);
  for (int64_t base = a.first; base < std::min(reach, a.end); base += kStep) attend_step(a, base, reach, rows);
  for (int64_t r = 0; r < a.rows; ++r) {
    const F scale = set1(inverse_total(a, rows, r));
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.out[r] + d, load(rows.sums + d * a.rows + 16 * r) * scale);
  }
}
