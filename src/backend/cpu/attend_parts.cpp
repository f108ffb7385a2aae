// Plain loops: a joint costs a few operations for each dimension, a span some hundred times as many.
#include "backend/cpu/attend_parts.h"

#include <algorithm>
#include <cmath>

namespace prosa::backend::cpu {

void join(AttendPart& sum, float* out, const AttendPart& more, const float* more_out, int64_t n) {
  if (more.total == 0) return;  // it sees none of those positions
  const float top = std::max(sum.top, more.top);
  const float before = sum.total * std::exp(sum.top - top);
  const float behind = more.total * std::exp(more.top - top);
  const float total = before + behind;
  const float first = before / total;
  const float second = behind / total;
  for (int64_t i = 0; i < n; ++i) out[i] = out[i] * first + more_out[i] * second;
  sum = {top, total};
}

void AttendParts::reserve(int64_t spans, int64_t rows, int64_t head_dim) {
  const int64_t size = spans * rows * head_dim;
  if (size > outs_.size()) {
    outs_ = {};
    outs_ = AlignedBuffer<float>(size, "attention's parts", Pages::small);
  }
  if (const auto count = static_cast<size_t>(spans * rows); count > parts_.size()) parts_.resize(count);
  bytes_.store(outs_.byte_size() + static_cast<int64_t>(parts_.capacity() * sizeof(AttendPart)),
               std::memory_order_relaxed);
}

bool AttendParts::arrange(int64_t spans, int64_t rows, int64_t head_dim) {
  rows_ = rows;
  head_dim_ = head_dim;
  return spans * rows * head_dim <= outs_.size() && static_cast<size_t>(spans * rows) <= parts_.size();
}

}  // namespace prosa::backend::cpu
