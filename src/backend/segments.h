// What every backend checks of a call before it touches anything, in one place: the same errors from all of them.
//
// Whether a state is the backend's own is the backend's to know. Pure.
#pragma once

#include <span>

#include "backend/backend.h"

namespace prosa::backend {

/// Errors: invalid_argument, context_exceeded, as Backend::run() says.
void check_segments(std::span<const Segment> segments, const ModelConfig& config);

/// Error(invalid_argument): no such row, k out of range, changes out of order or out of range, a mask of another size.
void check_pick(const RowPick& ask, const ModelConfig& config);

/// Errors: invalid_argument.
void check_row(const State& state, int64_t row);
void check_commit(const State& state, int64_t n);
void check_snapshot(const State& state);
void check_capacity(int64_t capacity);

/// Rows of logits that a segment leaves.
[[nodiscard]] inline int64_t wanted_rows(const Segment& segment) {
  return segment.rows == Rows::none ? 0 : segment.rows == Rows::last ? 1 : static_cast<int64_t>(segment.tokens.size());
}

}  // namespace prosa::backend
