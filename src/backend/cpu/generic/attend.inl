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

// What a bundle of R rows carries from step to step.
template <int R>
struct Rows {
  float top[R];     // the largest score so far
  float total[R];   // the sum of the weights
  float factor[R];  // what the sums so far shrink by
  float scale[R];   // of the integer weights of this step
  float query_scale[R];
  const int16_t* queries;  // [R, head_dim]
  float* sums;             // [R, head_dim]
  alignas(64) float scores[R][kStep];
  alignas(64) int16_t weights[R][kStep];
};

template <int R>
__attribute__((noinline)) void attend_scores(const AttendArgs& a, int64_t base, Rows<R>& rows) {
  constexpr int N = kAttendWide;
  const int64_t slot = base % kKvSpan;
  const int16_t* block = a.blocks[base / kKvSpan];
  const int16_t* scales = block + a.keys + kv_scale_at(slot, a.head_dim);
  for (int64_t at = 0; at < kStep; at += N * kKvBlock) {
    const int16_t* keys = block + a.keys + (slot + at) * a.head_dim;
    const int16_t* values = block + a.values + (slot + at) * a.head_dim;
    I sums[R][N];
    each<R>([&]<int r>() PROSA_INLINE { each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = izero(); }); });
    for (int64_t d = 0; d < a.head_dim; d += 2) {
      P key[N];
      each<N>([&]<int n>() PROSA_INLINE {
        const int64_t line = n * kKvBlock * a.head_dim + d * kKvBlock;
        __builtin_prefetch(keys + N * kKvBlock * a.head_dim + line);  // the group after this one
        __builtin_prefetch(values + line);  // read next, in strides that hardware does not foresee
        key[n] = load_pairs(keys + line);
      });
      each<R>([&]<int r>() PROSA_INLINE {
        const P query = repeat_pair(rows.queries + r * a.head_dim + d);
        each<N>([&]<int n>() PROSA_INLINE { sums[r][n] = dot_pairs(sums[r][n], key[n], query); });
      });
    }
    each<N>([&]<int n>() PROSA_INLINE {
      const int64_t first = at + n * kKvBlock;
      const F scale = load_scales(scales + 2 * first);
      each<R>([&]<int r>() PROSA_INLINE {
        store(rows.scores[r] + first, to_float(sums[r][n]) * (scale * set1(rows.query_scale[r])));
      });
    });
  }
}

// Scores become weights against the new maximum, and these times the values' scales integers. A row that sees nothing
// here keeps what it has.
template <int R>
inline void softmax_step(Rows<R>& rows, int r, const int16_t* value_scales, int64_t visible) {
  float* scores = rows.scores[r];
  const int64_t seen = std::clamp<int64_t>(visible, 0, kStep);
  for (int64_t i = seen; i < kStep; ++i) scores[i] = -1e30F;
  F peak = load(scores);
  for (int64_t i = 16; i < kStep; i += 16) peak = max(peak, load(scores + i));
  const float now = std::max(rows.top[r], highest(peak));
  rows.factor[r] = std::exp(rows.top[r] - now);
  for (int64_t i = 0; i < kStep; i += 16) store(scores + i, exp_of(load(scores + i) - set1(now)));
  for (int64_t i = seen; i < kStep; ++i) scores[i] = 0;
  F added = zero();
  for (int64_t i = 0; i < kStep; i += 16) {
    added = added + load(scores + i);
    store(scores + i, load(scores + i) * load_scales(value_scales + 2 * i));
  }
  for (int64_t i = seen; i < kStep; ++i) scores[i] = 0;  // behind the limit the scales may be anything
  F scaled_sum = zero();
  F scaled_peak = zero();
  for (int64_t i = 0; i < kStep; i += 16) {
    scaled_sum = scaled_sum + load(scores + i);
    scaled_peak = max(scaled_peak, load(scores + i));
  }
  rows.total[r] = rows.total[r] * rows.factor[r] + sum(added);
  rows.top[r] = now;
  // Rounding may add half a unit to each weight: the sum stays within 2^16, and 2^16 times 2^15 within 32 bits.
  constexpr float kMostTogether = 65535.0F - kStep;
  const float together = sum(scaled_sum);
  const bool some = together > 1e-30F;  // less adds nothing to a total of at least 1
  const float inverse = some ? std::min(kMostTogether / together, kInt16Top / highest(scaled_peak)) : 0.0F;
  rows.scale[r] = some ? 1.0F / inverse : together - together;  // NaN stays NaN
  for (int64_t i = 0; i < kStep; i += 16) store_i16(rows.weights[r] + i, round(load(scores + i) * set1(inverse)));
}

template <int R, int D>
__attribute__((noinline)) void attend_values(const AttendArgs& a, int64_t base, int64_t count, int64_t d,
                                             const Rows<R>& rows) {
  I sums[R][D];
  each<R>([&]<int r>() PROSA_INLINE { each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = izero(); }); });
  const int16_t* values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim + 2 * d;
  for (int64_t i = 0; i < count; i += 2) {
    P value[D];
    each<D>([&]<int j>() PROSA_INLINE { value[j] = load_pairs(values + i * a.head_dim + 32 * j); });
    each<R>([&]<int r>() PROSA_INLINE {
      const P weight = repeat_pair(rows.weights[r] + i);
      each<D>([&]<int j>() PROSA_INLINE { sums[r][j] = dot_pairs(sums[r][j], value[j], weight); });
    });
  }
  each<R>([&]<int r>() PROSA_INLINE {
    each<D>([&]<int j>() PROSA_INLINE {
      float* out = rows.sums + r * a.head_dim + d + 16 * j;
      store(out, fma(to_float(sums[r][j]), set1(rows.scale[r]), load(out) * set1(rows.factor[r])));
    });
  });
}

template <int R>
inline void attend_rows(const AttendArgs& a) {
  Rows<R> rows;
  auto* queries = reinterpret_cast<int16_t*>(a.scratch + kAttendRows * a.head_dim);
  rows.queries = queries;
  rows.sums = a.scratch;
  int64_t reach = 0;
  for (int r = 0; r < R; ++r) {
    rows.top[r] = -1e30F;
    rows.total[r] = 0;
    rows.query_scale[r] = whole_numbers(a.q[r], a.head_dim, length(a.q[r], a.head_dim), queries + r * a.head_dim);
    reach = std::max(reach, a.limits[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(rows.sums + r * a.head_dim + d, zero());
  }
  for (int64_t base = 0; base < reach; base += kStep) {
    attend_scores<R>(a, base, rows);
    const int16_t* scales = a.blocks[base / kKvSpan] + a.values + kv_scale_at(base % kKvSpan, a.head_dim);
    for (int r = 0; r < R; ++r) softmax_step<R>(rows, r, scales, a.limits[r] - base);
    const int64_t count = std::min(kStep, reach - base);
    constexpr int D = kAttendWide;
    int64_t d = 0;
    for (; d + 16 * D <= a.head_dim; d += 16 * D) attend_values<R, D>(a, base, count, d, rows);
    for (; d < a.head_dim; d += 16) attend_values<R, 1>(a, base, count, d, rows);
  }
  for (int r = 0; r < R; ++r) {
    const F scale = set1(1.0F / rows.total[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.out[r] + d, load(rows.sums + r * a.head_dim + d) * scale);
  }
}

inline void attend(const AttendArgs& args) {
  AttendArgs a = args;
  while (a.rows > 0) {
    const int64_t rows = a.rows >= kAttendTile ? kAttendTile : a.rows >= 4 ? 4 : a.rows >= 2 ? 2 : 1;
    switch (rows) {
      case 8: attend_rows<8>(a); break;
      case 4: attend_rows<4>(a); break;
      case 2: attend_rows<2>(a); break;
      default: attend_rows<1>(a); break;
    }
    a.q += rows;
    a.out += rows;
    a.limits += rows;
    a.rows -= rows;
  }
}
