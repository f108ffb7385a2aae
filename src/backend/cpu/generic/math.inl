// Vector functions shared by the kernels: exp, sigmoid, SiLU and the row operations on activations.
//
// Included inside an ISA's namespace, after its simd.h. Relative error of exp_of: below 2e-7 in [-87, 88].

// e^x = 2^n * e^r with n = round(x / ln 2), |r| <= ln(2) / 2; a Taylor polynomial of degree 7 covers r to float
// accuracy.
inline F exp_of(F x) {
  x = max(min(x, set1(88.0F)), set1(-87.0F));
  const I n = round(x * set1(1.44269504F));
  const F nf = to_float(n);
  F r = fma(nf, set1(-0.693359375F), x);
  r = fma(nf, set1(2.12194440e-4F), r);
  F p = set1(1.9841270e-4F);
  p = fma(p, r, set1(1.3888889e-3F));
  p = fma(p, r, set1(8.3333333e-3F));
  p = fma(p, r, set1(4.1666667e-2F));
  p = fma(p, r, set1(1.6666667e-1F));
  p = fma(p, r, set1(0.5F));
  p = fma(p, r, set1(1.0F));
  p = fma(p, r, set1(1.0F));
  return p * pow2(n);
}

inline F sigmoid_of(F x) { return set1(1.0F) / (set1(1.0F) + exp_of(zero() - x)); }
inline F silu_of(F x) { return x * sigmoid_of(x); }

inline float sum_of_squares(const float* x, int64_t n) {
  F total = zero();
  for (int64_t i = 0; i < n; i += 16) {
    const F a = load(x + i);
    total = fma(a, a, total);
  }
  return sum(total);
}

inline void rms_norm(const float* x, const float* w, int64_t n, float eps, float* out) {
  const F factor = set1(1.0F / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += 16) store(out + i, load(x + i) * factor * load(w + i));
}

inline void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 16) store(out + i, silu_of(load(gate + i)) * load(up + i));
}

inline void sigmoid_mul(float* x, const float* gate, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) store(x + i, load(x + i) * sigmoid_of(load(gate + i)));
}

inline void gated_norm(float* x, const float* w, const float* z, int64_t n, float eps) {
  const F factor = set1(1.0F / std::sqrt(sum_of_squares(x, n) / static_cast<float>(n) + eps));
  for (int64_t i = 0; i < n; i += 16) store(x + i, load(x + i) * factor * load(w + i) * silu_of(load(z + i)));
}

inline void l2_norm(float* x, int64_t n, float factor) {
  const F scale = set1(factor / std::sqrt(sum_of_squares(x, n) + 1e-6F));
  for (int64_t i = 0; i < n; i += 16) store(x + i, load(x + i) * scale);
}

inline void conv_silu(const float* w, int64_t ld, const float* const* rows, int64_t taps, int64_t n, float* out) {
  for (int64_t c = 0; c < n; c += 16) {
    F total = zero();
    for (int64_t tap = 0; tap < taps; ++tap) total = fma(load(w + tap * ld + c), load(rows[tap] + c), total);
    store(out + c, silu_of(total));
  }
}
