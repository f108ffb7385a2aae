// How far two sets of logits are apart: largest difference, top-1 agreement, mean Kullback-Leibler divergence.
//
// The measures of docs/reference/numerics.md, used by every test that compares backends. Rows are [vocab]; sums in
// double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <ostream>
#include <span>

namespace prosa::test {

/// Infinite when sizes differ or one value is not a number, so that no bound is met by accident.
inline double max_abs_diff(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

/// Index of the largest value, the first one of equals.
inline size_t argmax(std::span<const float> row) {
  return static_cast<size_t>(std::ranges::max_element(row) - row.begin());
}

/// log sum e^x
inline double log_sum_exp(std::span<const float> row) {
  const double largest = std::ranges::max(row);
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - largest);
  return largest + std::log(sum);
}

/// KL(softmax(p) || softmax(q)) in nats.
inline double kl_divergence(std::span<const float> p, std::span<const float> q) {
  const double norm_p = log_sum_exp(p);
  const double norm_q = log_sum_exp(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = static_cast<double>(p[i]) - norm_p;
    sum += std::exp(log_p) * (log_p - (static_cast<double>(q[i]) - norm_q));
  }
  return sum;
}

/// Sums over rows; what add() was given is never kept.
struct Agreement {
  size_t rows = 0;
  size_t same_top1 = 0;
  double kl_sum = 0;
  double max_diff = 0;

  [[nodiscard]] double top1() const { return static_cast<double>(same_top1) / static_cast<double>(rows); }
  [[nodiscard]] double mean_kl() const { return kl_sum / static_cast<double>(rows); }

  /// Logits [rows, vocab]; `expected` is the P of KL(P || Q).
  void add(std::span<const float> expected, std::span<const float> actual, size_t vocab) {
    max_diff = std::max(max_diff, max_abs_diff(expected, actual));
    if (expected.size() != actual.size()) return;  // max_diff is infinite: no bound holds
    for (size_t at = 0; at < expected.size(); at += vocab) {
      const std::span<const float> p = expected.subspan(at, vocab);
      const std::span<const float> q = actual.subspan(at, vocab);
      ++rows;
      same_top1 += argmax(p) == argmax(q) ? 1 : 0;
      kl_sum += kl_divergence(p, q);
    }
  }

  friend std::ostream& operator<<(std::ostream& out, const Agreement& a) {
    return out << a.rows << " rows, top-1 " << 100 * a.top1() << " %, mean KL " << a.mean_kl() << " nats, max diff "
               << a.max_diff;
  }
};

/// The bounds of docs/reference/numerics.md for the synthetic models, whose logits are flat. NaN fails them.
inline bool within_synthetic_bounds(const Agreement& a) {
  return a.rows > 0 && std::isfinite(a.max_diff) && a.top1() >= 0.93 && a.mean_kl() <= 5e-3;
}

/// The same with 8-bit activations, on the small models: what passes a gate must not be among them (KL 1.8e-3 if it
/// is). NaN fails it.
inline bool within_int8_bounds(const Agreement& a) {
  return a.rows > 0 && std::isfinite(a.max_diff) && a.top1() >= 0.85 && a.mean_kl() <= 1e-3;
}

}  // namespace prosa::test
