// Formats for matrices under one budget: who gets the bits.
//
// Pure: sizes and costs in, choices out. Invariant: the choices never exceed the budget, and each lies on the lower
// convex hull of its item's candidates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace prosa::calibrate {

struct Candidate {
  int64_t size = 0;  // bits
  double cost = 0;   // what is lost with it; costs of items add up
};

/// One candidate of each item, so that the costs' sum is small and the sizes' sum at most `budget`: from the smallest
/// ones on, always the step that saves most for a bit. Error(invalid_argument): the smallest ones exceed the budget.
std::vector<size_t> allocate(std::span<const std::vector<Candidate>> items, int64_t budget);

}  // namespace prosa::calibrate
