// Causal attention over the KV cache with a running softmax, several query rows at a time, in 16-bit integers.
//
// Included inside an ISA's namespace. A key, a value and a query are integers times one scale each. Keys and queries
// are scaled to a length of 2^15: by the inequality of Cauchy and Schwarz neither a score nor any part of its sum then
// leaves 32 bits, and a score is exact up to the rounding of its inputs. Softmax weights become integers anew for every
// step of positions, so that their sum times the largest value just fits. Lanes are positions for the scores and head
// dimensions for the sums. The positions are walked in steps from 0: a row's operations do not depend on the rows
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

// What the rows carry from step to step.
struct AttendRows {
  float top[kAttendRows];
  float total[kAttendRows];
  float query_scale[kAttendRows];
  const int16_t* queries;  // [rows, head_dim]
  float* sums;             // [rows, head_dim]
};

// Up to kAttendTile rows that share loaded registers, in one step.
template <int R>
struct Tile {
  const int64_t* limits;     // [R]
  const int16_t* queries;    // [R, head_dim]
  const float* query_scale;  // [R]
  float* top;                // [R]: the largest score so far
  float* total;              // [R]: the sum of the weights
  float* sums;               // [R, head_dim]
  float factor[R];           // what the sums so far shrink by
  float scale[R];            // of the integer weights of this step
  // What this tile asks the memory for: of the step to come, as hardware does not foresee where a head goes on, the
  // lines of some dimensions, so that the tiles of a step share it and the memory has all of its time.
  const int16_t* later = nullptr;
  Range asked{0, 0};
  [[nodiscard]] bool asks(int64_t d) const { return d >= asked.begin && d < asked.end; }
  alignas(64) float scores[R][kStep];
  alignas(64) int16_t weights[R][kStep];
};

template <int R>
__attribute__((noinline)) void attend_scores(const AttendArgs& a, int64_t base, Tile<R>& tile) {
  constexpr int N = kAttendWide;
  const int64_t slot = base % kKvSpan;
  const int16_t* block = a.blocks[base / kKvSpan];
  const int16_t* scales = block + a.keys + kv_scale_at(slot, a.head_dim);
  for (int64_t at = 0; at < kStep; at += N * kKvBlock) {
    const int16_t* keys = block + a.keys + (slot + at) * a.head_dim;
    I sums[R][N];
    each<R>([&]<int r>() PROSA_INLINE { each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = izero(); }); });
    for (int64_t d = 0; d < a.head_dim; d += 2) {
      P key[N];
      each<N>([&]<int n>() PROSA_INLINE {
        const int64_t line = n * kKvBlock * a.head_dim + d * kKvBlock;
        if (tile.asks(d)) __builtin_prefetch(tile.later + a.keys + at * a.head_dim + line, 0, 2);
        key[n] = load_pairs(keys + line);
      });
      each<R>([&]<int r>() PROSA_INLINE {
        const P query = repeat_pair(tile.queries + r * a.head_dim + d);
        each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = dot_pairs(sums[r][n], key[n], query); });
      });
    }
    each<N>([&]<int n>() PROSA_INLINE {
      const int64_t first = at + n * kKvBlock;
      const F scale = load_scales(scales + 2 * first);
      each<R>([&]<int r>() PROSA_INLINE {
        store(tile.scores[r] + first, to_float(sums[r][n]) * (scale * set1(tile.query_scale[r])));
      });
    });
  }
}

// Zeros from `seen` on.
inline void hide(F (&lanes)[kStep / 16], int64_t seen) {
  alignas(64) float all[kStep];
  for (int64_t i = 0; i < kStep; i += 16) store(all + i, lanes[i / 16]);
  std::fill(all + seen, all + kStep, 0.0F);
  for (int64_t i = 0; i < kStep; i += 16) lanes[i / 16] = load(all + i);
}

// Weights of a row against the maximum `top`, and these times the values' scales as integers. Adds to the row's total.
template <int R>
inline void softmax_row(Tile<R>& tile, int r, const int16_t* value_scales, int64_t seen) {
  constexpr int kVectors = kStep / 16;
  F weight[kVectors];
  const F top = set1(tile.top[r]);
  for (int j = 0; j < kVectors; ++j) weight[j] = exp_of(load(tile.scores[r] + 16 * j) - top);
  if (seen < kStep) hide(weight, seen);
  F added = weight[0];
  for (int j = 1; j < kVectors; ++j) added = added + weight[j];
  for (int j = 0; j < kVectors; ++j) weight[j] = weight[j] * load_scales(value_scales + 32 * j);
  if (seen < kStep) hide(weight, seen);  // behind the limit the scales may be anything
  F scaled = weight[0];
  F peak = weight[0];
  for (int j = 1; j < kVectors; ++j) scaled = scaled + weight[j];
  for (int j = 1; j < kVectors; ++j) peak = max(peak, weight[j]);
  tile.total[r] = tile.total[r] * tile.factor[r] + sum(added);
  // Rounding may add half a unit to each weight: the sum stays within 2^16, and 2^16 times 2^15 within 32 bits.
  constexpr float kMostTogether = 65535.0F - kStep;
  const float together = sum(scaled);
  const bool some = together > 1e-30F;  // less adds nothing to a total of at least 1
  const float inverse = some ? std::min(kMostTogether / together, kInt16Top / highest(peak)) : 0.0F;
  tile.scale[r] = some ? 1.0F / inverse : together - together;  // NaN stays NaN
  for (int j = 0; j < kVectors; ++j) store_i16(tile.weights[r] + 16 * j, round(weight[j] * set1(inverse)));
}

// Scores become integer weights against the new maximum. A row that sees nothing here keeps what it has.
template <int R>
inline void softmax_step(Tile<R>& tile, int64_t base, const int16_t* value_scales) {
  alignas(64) float change[16] = {};
  for (int r = 0; r < R; ++r) {
    const int64_t seen = std::clamp<int64_t>(tile.limits[r] - base, 0, kStep);
    std::fill(tile.scores[r] + seen, tile.scores[r] + kStep, -1e30F);
    F peak = load(tile.scores[r]);
    for (int64_t i = 16; i < kStep; i += 16) peak = max(peak, load(tile.scores[r] + i));
    const float now = std::max(tile.top[r], highest(peak));
    change[r] = std::max(tile.top[r] - now, -1e4F);
    tile.top[r] = now;
  }
  static_assert(R <= 16);
  store(change, exp_of(load(change)));
  for (int r = 0; r < R; ++r) {
    tile.factor[r] = change[r];
    softmax_row<R>(tile, r, value_scales, std::clamp<int64_t>(tile.limits[r] - base, 0, kStep));
  }
}

template <int R, int D>
__attribute__((noinline)) void attend_values(const AttendArgs& a, int64_t base, int64_t count, int64_t d,
                                             const Tile<R>& tile) {
  I sums[R][D];
  each<R>([&]<int r>() PROSA_INLINE { each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = izero(); }); });
  const int16_t* values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim + 2 * d;
  const bool asks = tile.asks(d);
  for (int64_t i = 0; i < count; i += 2) {
    P value[D];
    each<D>([&]<int j>() PROSA_INLINE {
      const int64_t line = i * a.head_dim + 32 * j;
      if (asks) __builtin_prefetch(tile.later + a.values + 2 * d + line, 0, 2);
      value[j] = load_pairs(values + line);
    });
    each<R>([&]<int r>() PROSA_INLINE {
      const P weight = repeat_pair(tile.weights[r] + i);
      each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = dot_pairs(sums[r][j], value[j], weight); });
    });
  }
  each<R>([&]<int r>() PROSA_INLINE {
    each<D>([&]<int j>() PROSA_INLINE {
      float* out = tile.sums + r * a.head_dim + d + 16 * j;
      store(out, fma(to_float(sums[r][j]), set1(tile.scale[r]), load(out) * set1(tile.factor[r])));
    });
  });
}

// One step of R rows from `first` on, of which none may see anything of it.
template <int R>
inline void attend_tile(const AttendArgs& a, int64_t base, int64_t first, AttendRows& rows) {
  Tile<R> tile;
  tile.limits = a.limits + first;
  const int64_t reach = *std::max_element(tile.limits, tile.limits + R);
  if (reach <= base) return;
  tile.queries = rows.queries + first * a.head_dim;
  tile.query_scale = rows.query_scale + first;
  tile.top = rows.top + first;
  tile.total = rows.total + first;
  tile.sums = rows.sums + first * a.head_dim;
  const int64_t next = base + kStep;
  if (next < reach) {
    tile.later = a.blocks[next / kKvSpan] + next % kKvSpan * a.head_dim;
    tile.asked = {first * a.head_dim / a.rows, (first + R) * a.head_dim / a.rows};
  }
  attend_scores<R>(a, base, tile);
  const int16_t* scales = a.blocks[base / kKvSpan] + a.values + kv_scale_at(base % kKvSpan, a.head_dim);
  softmax_step<R>(tile, base, scales);
  const int64_t count = std::min(kStep, reach - base);
  constexpr int D = kAttendWide;
  int64_t d = 0;
  for (; d + 16 * D <= a.head_dim; d += 16 * D) attend_values<R, D>(a, base, count, d, tile);
  for (; d < a.head_dim; d += 16) attend_values<R, 1>(a, base, count, d, tile);
}

// All rows go through a step before the next one, so that it is read once and then lies in the nearest caches.
inline void attend(const AttendArgs& a) {
  AttendRows rows;
  auto* queries = reinterpret_cast<int16_t*>(a.scratch + kAttendRows * a.head_dim);
  rows.queries = queries;
  rows.sums = a.scratch;
  for (int64_t r = 0; r < a.rows; ++r) {
    rows.top[r] = -1e30F;
    rows.total[r] = 0;
    rows.query_scale[r] = whole_numbers(a.q[r], a.head_dim, length(a.q[r], a.head_dim), queries + r * a.head_dim);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(rows.sums + r * a.head_dim + d, zero());
  }
  const int64_t reach = *std::max_element(a.limits, a.limits + a.rows);
  for (int64_t base = 0; base < reach; base += kStep) {
    int64_t first = 0;
    for (; first + kAttendTile <= a.rows; first += kAttendTile) attend_tile<kAttendTile>(a, base, first, rows);
    if (kAttendTile > 4 && first + 4 <= a.rows) attend_tile<4>(a, base, std::exchange(first, first + 4), rows);
    if (first + 2 <= a.rows) attend_tile<2>(a, base, std::exchange(first, first + 2), rows);
    if (first < a.rows) attend_tile<1>(a, base, first, rows);
  }
  for (int64_t r = 0; r < a.rows; ++r) {
    const F scale = set1(1.0F / rows.total[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.out[r] + d, load(rows.sums + r * a.head_dim + d) * scale);
  }
}
