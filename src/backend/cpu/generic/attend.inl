// Causal attention over the half-precision KV cache with a running softmax, several query rows at a time.
//
// Included inside an ISA's namespace. Lanes are positions for the scores and head dimensions for the sums. The
// positions are walked in steps of 64 from 0: a row's operations do not depend on the rows beside it, because a
// position behind its limit adds an exact zero.

inline constexpr int64_t kStep = 64;  // positions per update of the running softmax
static_assert(kKvSpan % kStep == 0);  // a step lies in one block

template <int R>
__attribute__((noinline)) void attend_scores(const AttendArgs& a, int64_t base, float (&weights)[R][kStep]) {
  const uint16_t* step_keys = a.blocks[base / kKvSpan] + a.keys + base % kKvSpan * a.head_dim;
  const uint16_t* step_values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim;
  for (int64_t block = 0; block < kStep / kKvBlock; ++block) {
    const uint16_t* keys = step_keys + block * kKvBlock * a.head_dim;
    const uint16_t* values = step_values + block * kKvBlock * a.head_dim;
    F score[R];
    each<R>([&]<int r>() PROSA_INLINE { score[r] = zero(); });
    for (int64_t d = 0; d < a.head_dim; ++d) {
      __builtin_prefetch(keys + (a.head_dim + d) * kKvBlock);  // the block after this one
      __builtin_prefetch(values + d * kKvBlock);               // read next, in strides that hardware does not foresee
      const F key = load_f16(keys + d * kKvBlock);
      each<R>([&]<int r>() PROSA_INLINE { score[r] = fma(key, set1(a.q[r][d]), score[r]); });
    }
    each<R>([&]<int r>() PROSA_INLINE { store(weights[r] + block * kKvBlock, score[r]); });
  }
}

// Scores become weights against the new maximum; returns the factor that old sums shrink by.
inline float softmax_step(float* scores, int64_t visible, float& top, float& total) {
  for (int64_t i = std::max<int64_t>(visible, 0); i < kStep; ++i) scores[i] = -1e30F;
  F peak = load(scores);
  for (int64_t i = 16; i < kStep; i += 16) peak = max(peak, load(scores + i));
  const float now = std::max(top, highest(peak));
  const float factor = std::exp(top - now);
  for (int64_t i = 0; i < kStep; i += 16) store(scores + i, exp_of(load(scores + i) - set1(now)));
  for (int64_t i = std::max<int64_t>(visible, 0); i < kStep; ++i) scores[i] = 0;
  F added = zero();
  for (int64_t i = 0; i < kStep; i += 16) added = added + load(scores + i);
  total = total * factor + sum(added);
  top = now;
  return factor;
}

template <int R, int D>
__attribute__((noinline)) void attend_values(const AttendArgs& a, int64_t base, int64_t count, int64_t d,
                                             const float (&weights)[R][kStep], const float (&factor)[R], float* sums) {
  F acc[R][D];
  each<R>([&]<int r>() PROSA_INLINE {
    each<D>([&]<int j>() PROSA_INLINE { acc[r][j] = load(sums + r * a.head_dim + d + 16 * j) * set1(factor[r]); });
  });
  const uint16_t* step_values = a.blocks[base / kKvSpan] + a.values + base % kKvSpan * a.head_dim + d;
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t* value = step_values + i * a.head_dim;
    F v[D];
    each<D>([&]<int j>() PROSA_INLINE { v[j] = load_f16(value + 16 * j); });
    each<R>([&]<int r>() PROSA_INLINE {
      const F w = set1(weights[r][i]);
      each<D>([&]<int j>() PROSA_INLINE { acc[r][j] = fma(v[j], w, acc[r][j]); });
    });
  }
  each<R>([&]<int r>() PROSA_INLINE {
    each<D>([&]<int j>() PROSA_INLINE { store(sums + r * a.head_dim + d + 16 * j, acc[r][j]); });
  });
}

template <int R>
inline void attend_rows(const AttendArgs& a) {
  float top[R];
  float total[R];
  int64_t reach = 0;
  for (int r = 0; r < R; ++r) {
    top[r] = -1e30F;
    total[r] = 0;
    reach = std::max(reach, a.limits[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.scratch + r * a.head_dim + d, zero());
  }
  alignas(64) float weights[R][kStep];
  float factor[R];
  for (int64_t base = 0; base < reach; base += kStep) {
    attend_scores<R>(a, base, weights);
    for (int r = 0; r < R; ++r) factor[r] = softmax_step(weights[r], a.limits[r] - base, top[r], total[r]);
    const int64_t count = std::min(kStep, reach - base);
    int64_t d = 0;
    for (; d + 32 <= a.head_dim; d += 32) attend_values<R, 2>(a, base, count, d, weights, factor, a.scratch);
    for (; d < a.head_dim; d += 16) attend_values<R, 1>(a, base, count, d, weights, factor, a.scratch);
  }
  for (int r = 0; r < R; ++r) {
    const F scale = set1(1.0F / total[r]);
    for (int64_t d = 0; d < a.head_dim; d += 16) store(a.out[r] + d, load(a.scratch + r * a.head_dim + d) * scale);
  }
}

inline void attend(const AttendArgs& args) {
  AttendArgs a = args;
  while (a.rows > 0) {
    const int64_t rows = a.rows >= 8 ? 8 : a.rows >= 4 ? 4 : a.rows >= 2 ? 2 : 1;
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
