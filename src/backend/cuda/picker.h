// Questions to rows of logits, answered on the card: no row crosses the bus. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <span>

#include "backend/backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

class Picker {
 public:
  Picker(std::shared_ptr<Device> device, const Queue& queue, int64_t vocab);

  /// rows[i]: the row that asks[i] is about, device memory.
  void pick(std::span<const RowPick> asks, std::span<const float* const> rows, std::span<Candidates> answers);

 private:
  void reserve(int64_t asks, int64_t bytes);
  void from_host(const float* row, const Pick& pick, Candidates& answer);

  std::mutex mutex_;
  std::shared_ptr<Device> device_;
  Queue queue_;
  const int64_t vocab_;
  int64_t asks_room_ = 0;
  MemoryPtr host_asks_;  // pinned: PickArgs, then changes and masks
  MemoryPtr card_asks_;
  MemoryPtr scratch_;
  MemoryPtr card_answers_;  // PickHead [asks], then {logit, id} [asks][256]
  MemoryPtr host_answers_;
};

}  // namespace prosa::backend::cuda
