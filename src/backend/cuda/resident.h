// Decode steps of one row as one kernel that holds the whole card (kernels/resident.cuh): what it needs beside the
// model, and whether this card and this model can have it.
//
// Not thread-safe but for check_passes(): the backend's lock.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/kernels/resident.h"
#include "backend/cuda/model.h"

namespace prosa::backend::cuda {

class Resident {
 public:
  /// Why it cannot run; empty: it can.
  static std::string obstacle(const Device& device, const Model& model);

  /// Where there is no obstacle.
  Resident(std::shared_ptr<Device> device, const Model& model);

  /// Puts the step on the stream: one token of a state that moves.
  void run(const RowArgs& row, const ItemArgs& item);
  /// Error(io) when a pass gave up waiting. What it was to compute is lost; later passes are not.
  void check_passes();
  /// Time by stage since the last call, which measures from the first on.
  std::vector<StageTime> take_profile();
  [[nodiscard]] int64_t scratch_bytes() const { return scratch_bytes_; }

 private:
  /// Which stage reads and writes which rows of words.
  void connect();
  template <typename T>
  T* scratch(int64_t elements);

  std::shared_ptr<Device> device_;
  std::vector<MemoryPtr> memory_;
  MemoryPtr times_;
  MemoryPtr failure_;  // pinned: the first mark of a pass that gave up
  int64_t scratch_bytes_ = 0;
  int bits_ = 0;
  int blocks_ = 0;
  uint32_t next_mark_ = 1;
  ResidentArgs args_;
};

}  // namespace prosa::backend::cuda
