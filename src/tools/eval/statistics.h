// Numbers over many tokens: means with their standard errors, quantiles, means by position, a histogram.
//
// Knows nothing of models. Sums are in double and in the order given, so that the result does not depend on threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace prosa::eval {

struct Mean {
  double value = 0;
  double standard_error = 0;  // sample deviation / sqrt(n), values taken as independent; 0 for fewer than two
};

/// Of at least one value.
Mean mean_of(std::span<const double> values);

/// The q-quantile, q in [0, 1], between the two nearest of the `sorted` values (at least one).
double quantile(std::span<const double> sorted, double q);

/// Predictions at the places [begin, end) of a window; place 0 predicts the second token.
struct PositionBin {
  int64_t begin = 0, end = 0;
  int64_t tokens = 0;
  double nll = 0;  // means over `tokens`
  double kl = 0;
};

/// At most `bins` bins of equal width over the places up to the last; those without tokens are left out. `kl` may be
/// empty.
std::vector<PositionBin> by_position(std::span<const int32_t> places, std::span<const double> nll,
                                     std::span<const double> kl, int64_t bins);

struct HistogramBin {
  double low = 0, high = 0;  // values in [low, high); the first also holds everything below
  int64_t count = 0;
};

inline constexpr int64_t kBinsOfTen = 5;  // bins of the histogram a power of ten

/// Bins of a fifth of a power of ten, from 1e-9 up to the largest value.
std::vector<HistogramBin> log_histogram(std::span<const double> values);

}  // namespace prosa::eval
