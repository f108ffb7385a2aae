// Sums in the order given.
#include "tools/eval/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace prosa::eval {
namespace {

constexpr int64_t kLowestPower = -9;    // of the histogram
constexpr int64_t kHighestPower = 300;  // whatever the values are

double edge(int64_t bin) {
  return std::pow(10.0, static_cast<double>(kLowestPower) + static_cast<double>(bin) / static_cast<double>(kBinsOfTen));
}

}  // namespace

Mean mean_of(std::span<const double> values) {
  PROSA_CHECK(!values.empty());
  const auto count = static_cast<double>(values.size());
  Mean mean;
  for (const double value : values) mean.value += value;
  mean.value /= count;
  if (values.size() < 2) return mean;
  double squares = 0;
  for (const double value : values) squares += (value - mean.value) * (value - mean.value);
  mean.standard_error = std::sqrt(squares / (count - 1) / count);
  return mean;
}

double quantile(std::span<const double> sorted, double q) {
  PROSA_CHECK(!sorted.empty() && q >= 0 && q <= 1);
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  if (sorted[below] == sorted[above]) return sorted[below];  // two infinities, too
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<PositionBin> by_position(std::span<const int32_t> places, std::span<const double> nll,
                                     std::span<const double> kl, int64_t bins) {
  PROSA_CHECK(places.size() == nll.size() && (kl.empty() || kl.size() == nll.size()) && bins > 0);
  if (places.empty()) return {};
  const int64_t length = int64_t{*std::ranges::max_element(places)} + 1;
  const int64_t width = (length + bins - 1) / bins;
  std::vector<PositionBin> all(static_cast<size_t>((length + width - 1) / width));
  for (size_t i = 0; i < places.size(); ++i) {
    PositionBin& bin = all[static_cast<size_t>(places[i] / width)];
    ++bin.tokens;
    bin.nll += nll[i];
    if (!kl.empty()) bin.kl += kl[i];
  }
  std::vector<PositionBin> used;
  for (size_t i = 0; i < all.size(); ++i) {
    PositionBin& bin = all[i];
    if (bin.tokens == 0) continue;
    bin.begin = static_cast<int64_t>(i) * width;
    bin.end = std::min(bin.begin + width, length);
    bin.nll /= static_cast<double>(bin.tokens);
    bin.kl /= static_cast<double>(bin.tokens);
    used.push_back(bin);
  }
  return used;
}

std::vector<HistogramBin> log_histogram(std::span<const double> values) {
  const auto bin_of = [](double value) {
    if (!(value > edge(0))) return int64_t{0};
    const double power = std::min(std::log10(value), static_cast<double>(kHighestPower));
    auto bin = static_cast<int64_t>((power - static_cast<double>(kLowestPower)) * static_cast<double>(kBinsOfTen));
    if (value < edge(bin)) --bin;  // the logarithm's rounding
    if (value >= edge(bin + 1) && power < static_cast<double>(kHighestPower)) ++bin;
    return bin;
  };
  std::vector<HistogramBin> bins;
  for (const double value : values) {
    const auto bin = static_cast<size_t>(bin_of(value));
    while (bins.size() <= bin) {
      const auto next = static_cast<int64_t>(bins.size());
      bins.push_back({edge(next), edge(next + 1), 0});
    }
    ++bins[bin].count;
  }
  return bins;
}

}  // namespace prosa::eval
