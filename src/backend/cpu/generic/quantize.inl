// Activations -> integers by groups of columns, and the outliers among them.
//
// Included inside an ISA's namespace, after math.inl. Trained models have a few channels of huge activations. One of
// them in a group would set its scale, and the others would become 0 or 1: so it is taken out. What is an outlier is
// told from the group alone, by the token's own numbers. Invariant: without outliers the integers are those of the
// group's peak.

inline constexpr float kCore = 5;  // times the typical magnitude: what no group does without
inline constexpr int kMaxGroup = 128;

/// What is an outlier. A deviation of normal numbers has about 50 steps of one plane; beside the largest number that is
/// none it keeps 16 of them, or 500 steps of two planes, where long tails can therefore stay in the group.
struct Outlying {
  float suspicious;  // times the typical magnitude: a peak below is no outlier
  float deviations;  // of the others
};
template <bool Both>
inline constexpr Outlying kOutlying = Both ? Outlying{36, 32} : Outlying{9, 8};

/// 2 to the mean logarithm of the magnitudes, nearly: exponents are read off the bits. Large ones move it little,
/// however large they are, and sums of integers are the same in any order. Magnitudes far below the peak count as at
/// 2^-16 of it. The group is a power of two.
inline float typical_magnitude(const float* x, int64_t group, float peak) {
  const F least = set1(peak * 0x1p-16F);
  I total = izero();
  for (int64_t i = 0; i < group; i += 16) total = add(total, scale_down<8>(bits_of(max(abs(load(x + i)), least))));
  return std::bit_cast<float>((sum(total) >> std::countr_zero(static_cast<uint64_t>(group))) * 256);
}

/// Magnitudes above are outliers. The deviation is that of the numbers below the limit, which grows with it from the
/// core outwards, so that tails that are long but whole belong to the group.
inline float outlier_limit(const float* x, int64_t group, float typical, float deviations) {
  float limit = kCore * typical;
  for (int round = 0; round < 4; ++round) {
    F squares = zero();
    for (int64_t i = 0; i < group; i += 16) {
      const F magnitude = below(abs(load(x + i)), set1(limit));
      squares = fma(magnitude, magnitude, squares);
    }
    const float next = deviations * std::sqrt(sum(squares) / static_cast<float>(group));
    if (next <= limit) return next;
    limit = next;
  }
  return limit;
}

/// Puts a group's outliers into the list and the rest, 0 in their places, into `kept`; how many there were. More than
/// kMaxOutliers are none.
inline int take_outliers(const float* x, int64_t group, float limit, Outlier* list, float* kept) {
  int count = 0;
  for (int64_t i = 0; i < group; ++i) {
    const bool outlying = std::fabs(x[i]) > limit;
    kept[i] = outlying ? 0.0F : x[i];
    if (!outlying) continue;
    if (count == kMaxOutliers) return 0;
    list[count++] = {x[i], static_cast<int32_t>(i)};
  }
  return count;
}

inline float peak_of(const float* x, int64_t group) {
  F peak = zero();
  for (int64_t i = 0; i < group; i += 16) peak = max(peak, abs(load(x + i)));
  return highest(peak);
}

// Groups are multiples of 32, so whole vectors. A group of zeros gets scale 0 and integers 0. The largest magnitude
// becomes 127 * 128, so that both planes fit int8: high = floor((q + 64) / 128), low = q - 128 high; or 127 in one
// plane.
template <bool Both>
inline void quantize_groups(const float* x, int64_t n, int64_t group, const QuantizedRow& out) {
  constexpr float kTop = Both ? 127.0F * 128.0F : 127.0F;
  const I half = round(set1(64.0F));
  alignas(64) float kept[kMaxGroup];
  for (int64_t g = 0; g * group < n; ++g) {
    const float* in = x + g * group;
    const int64_t at = g * out.step;
    float top = peak_of(in, group);
    if (out.outliers != nullptr) {
      out.outliers[at] = 0;
      const float typical = typical_magnitude(in, group, top);
      if (top > kOutlying<Both>.suspicious * typical) {
        const float limit = outlier_limit(in, group, typical, kOutlying<Both>.deviations);
        // Where one channel is large, others may be that have small numbers just here.
        Outlier* const list = out.outlier + at * kMaxOutliers;
        int count = top > limit ? take_outliers(in, group, limit / 2, list, kept) : 0;
        if (top > limit && count == 0) count = take_outliers(in, group, limit, list, kept);
        if (count > 0) {
          out.outliers[at] = static_cast<uint8_t>(count);
          in = kept;
          top = peak_of(in, group);
        }
      }
    }
    const F inverse = set1(top > 0 ? kTop / top : 0.0F);
    I total = izero();
    for (int64_t i = 0; i < group; i += 16) {
      const I q = round(load(in + i) * inverse);
      if constexpr (Both) {
        const I upper = scale_down<7>(add(q, half));
        store_i8(out.high + g * group + i, upper);
        store_i8(out.low + g * group + i, sub(q, scale_up<7>(upper)));
      } else {
        store_i8(out.high + g * group + i, q);
      }
      total = add(total, q);
    }
    out.scale[at] = top / kTop;
    out.sum[at] = out.scale[at] * static_cast<float>(sum(total));
  }
}

inline void quantize(const float* x, int64_t n, int64_t group, const QuantizedRow& out) {
  out.low != nullptr ? quantize_groups<true>(x, n, group, out) : quantize_groups<false>(x, n, group, out);
}
