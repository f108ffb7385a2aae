// Attention by spans of positions: what each leaves behind, and how it joins with the others.
//
// Softmax over all positions is the mean of those over its spans, weighted by their sums of weights. Invariant: spans
// join in their order, so the bits don't depend on who computed them.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "backend/cpu/kernels.h"
#include "base/aligned.h"

namespace prosa::backend::cpu {

/// Positions that a row's softmax walks at once.
inline constexpr int64_t kAttendSpan = 4 * kKvSpan;

/// `out`, [n], becomes the attention over what it stood for and over the positions of `more`. sum.total is not 0.
void join(AttendPart& sum, float* out, const AttendPart& more, const float* more_out, int64_t n);

/// What workers leave of spans that each of them computed for itself.
class AttendParts {
 public:
  /// Room for a pass, among others of the same call. Error(out_of_memory).
  void reserve(int64_t spans, int64_t rows, int64_t head_dim);
  /// Before the workers of a pass run: lays the parts out for it. False where nobody reserved as much.
  [[nodiscard]] bool arrange(int64_t spans, int64_t rows, int64_t head_dim);

  [[nodiscard]] float* out(int64_t span, int64_t row) { return outs_.data() + (span * rows_ + row) * head_dim_; }
  [[nodiscard]] AttendPart* parts(int64_t span) { return parts_.data() + span * rows_; }  // [rows]
  /// From any thread, also while reserve() runs.
  [[nodiscard]] int64_t byte_size() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  int64_t rows_ = 0;
  int64_t head_dim_ = 0;
  AlignedBuffer<float> outs_;      // [spans, rows, head_dim] of this pass, and more
  std::vector<AttendPart> parts_;  // [spans, rows] of this pass, and more
  std::atomic<int64_t> bytes_{0};
};

}  // namespace prosa::backend::cpu
