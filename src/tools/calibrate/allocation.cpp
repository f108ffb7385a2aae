// Lagrange's multiplier as a queue: steps along the hulls, steepest first.
#include "tools/calibrate/allocation.h"

#include <algorithm>
#include <numeric>
#include <queue>
#include <string>

#include "prosa/error.h"

namespace prosa::calibrate {
namespace {

/// Indices of the lower convex hull, by size; costs fall along it, ever slower.
std::vector<size_t> hull_of(std::span<const Candidate> candidates) {
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const Candidate& left = candidates[a];
    const Candidate& right = candidates[b];
    return left.size != right.size ? left.size < right.size : left.cost < right.cost;
  });
  const auto slope = [&](size_t from, size_t to) {
    return (candidates[from].cost - candidates[to].cost) /
           static_cast<double>(candidates[to].size - candidates[from].size);
  };
  std::vector<size_t> hull;
  for (const size_t next : order) {
    if (!hull.empty() && candidates[next].cost >= candidates[hull.back()].cost) continue;
    while (hull.size() >= 2 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), next)) hull.pop_back();
    hull.push_back(next);
  }
  return hull;
}

struct Step {
  double gain = 0;  // cost saved for a bit
  size_t item = 0;
  size_t to = 0;  // place in the item's hull

  bool operator<(const Step& other) const { return gain != other.gain ? gain < other.gain : item > other.item; }
};

}  // namespace

std::vector<size_t> allocate(std::span<const std::vector<Candidate>> items, int64_t budget) {
  std::vector<std::vector<size_t>> hulls;
  std::vector<size_t> places(items.size(), 0);
  int64_t used = 0;
  std::priority_queue<Step> steps;
  const auto candidate = [&](size_t item, size_t place) -> const Candidate& { return items[item][hulls[item][place]]; };
  const auto offer = [&](size_t item, size_t to) {
    if (to >= hulls[item].size()) return;
    const Candidate& from = candidate(item, to - 1);
    const Candidate& next = candidate(item, to);
    steps.push({(from.cost - next.cost) / static_cast<double>(next.size - from.size), item, to});
  };
  for (size_t item = 0; item < items.size(); ++item) {
    hulls.push_back(hull_of(items[item]));
    used += candidate(item, 0).size;
    offer(item, 1);
  }
  if (used > budget) {
    throw Error(ErrorCode::invalid_argument,
                "the smallest formats take " + std::to_string(used / 8) + " bytes, the budget allows " +
                    std::to_string(budget / 8),
                "budget", "allow more bits");
  }
  while (!steps.empty()) {
    const Step step = steps.top();
    steps.pop();
    const int64_t more = candidate(step.item, step.to).size - candidate(step.item, step.to - 1).size;
    if (used + more > budget) continue;  // smaller items may still have room
    used += more;
    places[step.item] = step.to;
    offer(step.item, step.to + 1);
  }
  std::vector<size_t> chosen;
  for (size_t item = 0; item < items.size(); ++item) chosen.push_back(hulls[item][places[item]]);
  return chosen;
}

}  // namespace prosa::calibrate
