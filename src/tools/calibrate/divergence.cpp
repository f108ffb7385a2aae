// Running maxima: sums shrink when a larger logit comes.
#include "tools/calibrate/divergence.h"

#include <algorithm>
#include <cmath>

namespace prosa::calibrate {

void Divergence::add_row(std::span<const float> expected, std::span<const float> seen, Row& row) {
  const float expected_top = std::max(row.expected_top, std::ranges::max(expected));
  const float seen_top = std::max(row.seen_top, std::ranges::max(seen));
  const double expected_shrink = std::exp(static_cast<double>(row.expected_top) - expected_top);
  row.expected_sum *= expected_shrink;
  row.weighted *= expected_shrink;
  row.seen_sum *= std::exp(static_cast<double>(row.seen_top) - seen_top);
  row.expected_top = expected_top;
  row.seen_top = seen_top;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double weight = std::exp(expected[i] - expected_top);
    row.expected_sum += weight;
    row.weighted += weight * (static_cast<double>(expected[i]) - seen[i]);
    row.seen_sum += std::exp(seen[i] - seen_top);
  }
}

void Divergence::add(std::span<const float> expected, std::span<const float> seen, int64_t outputs, ThreadPool& pool) {
  const auto width = static_cast<size_t>(outputs);
  pool.run([&](int worker) {
    const Range mine = share(std::ssize(rows_), worker, pool.size());
    for (auto row = static_cast<size_t>(mine.begin); row < static_cast<size_t>(mine.end); ++row)
      add_row(expected.subspan(row * width, width), seen.subspan(row * width, width), rows_[row]);
  });
}

double Divergence::mean() const {
  double sum = 0;
  for (const Row& row : rows_) {
    sum += row.weighted / row.expected_sum - (row.expected_top + std::log(row.expected_sum)) +
           (row.seen_top + std::log(row.seen_sum));
  }
  return rows_.empty() ? 0 : sum / static_cast<double>(rows_.size());
}

}  // namespace prosa::calibrate
