// Where a sequence stands on the card: KV in f16 blocks of 64 positions, conv windows and recurrent matrices in
// float32.
//
// Blocks, and the buffer of windows and matrices, are shared by reference between states and snapshots. A block only
// ever gets longer while somebody else holds it; who wants to write where another has written gets a copy first. A
// buffer that others hold stays as it is: the next pass reads there and writes to another one. So a snapshot on the
// card, and coming back to it, copy nothing. Thread safety: byte_size() and row_bytes() from any thread; else as
// backend.h.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device.h"
#include "backend/cuda/model.h"

namespace prosa::backend::cuda {

struct KvBlock {
  MemoryPtr memory;    // device or pinned host: [attention layer][kv head][keys, values][64][head_dim] f16
  int64_t filled = 0;  // positions that somebody has written
};
using KvBlockPtr = std::shared_ptr<KvBlock>;

/// Sizes that states and snapshots need of the model; they may outlive it.
struct StateShape {
  int64_t state_bytes = 0;
  int64_t kv_block_bytes = 0;  // 0: no attention layers
  int64_t kv_rows = 0;         // attention layers * kv heads * 2: runs of 64 * head_dim halves in a block
  int64_t kv_row_bytes = 0;    // of one position in a run
  int64_t keep_bytes = 0;      // of a tentative segment's kept inputs
  int64_t vocab = 0;
  uint64_t model = 0;  // fingerprint of the weights
  friend bool operator==(const StateShape&, const StateShape&) = default;
  [[nodiscard]] size_t blocks_for(int64_t positions) const {
    return kv_block_bytes == 0 ? 0 : static_cast<size_t>((positions + kKvSpan - 1) / kKvSpan);
  }
};

class CudaState final : public State {
 public:
  /// zeros: a state's buffer before the first token, never written. owner: the backend's identity.
  CudaState(std::shared_ptr<Device> device, std::shared_ptr<const void> owner, const StateShape& shape, MemoryPtr zeros,
            int64_t capacity);

  [[nodiscard]] int64_t byte_size() const noexcept override { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] int64_t row_bytes() const noexcept override { return row_bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::vector<SharedBlock> shared() const override;

  void reset(const MemoryPtr& zeros);
  /// Blocks for the positions from .. from + count - 1, which may then be written.
  void make_room(int64_t from, int64_t count);
  /// Where a pass over tokens finds the matrices, and where it leaves them.
  const float* found() const { return fixed_->as<float>(); }
  float* make_left();
  /// The pass is on the stream: what it leaves is what the next one finds.
  void moved();
  /// Room for `count` rows of logits; take_rows() then lets go of the old ones.
  void make_rows(int64_t count);
  void take_rows();
  float* row(int64_t index) { return rows_memory_->as<float>() + index * shape_.vocab; }
  [[nodiscard]] const float* row(int64_t index) const { return rows_memory_->as<float>() + index * shape_.vocab; }
  float* make_keep();
  float* keep() { return keep_->as<float>(); }
  uint16_t** kv_table() { return table_ ? table_->as<uint16_t*>() : nullptr; }

  void set_position(int64_t position) { position_ = position; }
  void set_pending(int64_t pending) { pending_ = pending; }
  void set_rows(int64_t rows) { rows_ = rows; }
  void set_valid(bool valid) { valid_ = valid; }
  [[nodiscard]] const void* owner() const { return owner_.get(); }

 private:
  friend class CudaSnapshot;
  void set_block(size_t index, KvBlockPtr block);
  void count_bytes();

  std::shared_ptr<Device> device_;
  std::shared_ptr<const void> owner_;
  StateShape shape_;
  MemoryPtr fixed_;  // [state_elements]; not written while others hold it
  MemoryPtr left_;   // where the pass under way writes, or null: in place
  std::vector<KvBlockPtr> blocks_;
  MemoryPtr table_;  // device: the blocks' addresses, [blocks_for(capacity)]
  MemoryPtr rows_memory_;
  MemoryPtr next_rows_;
  MemoryPtr keep_;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<int64_t> row_bytes_ = 0;
};

class CudaSnapshot final : public Snapshot {
 public:
  static constexpr std::string_view layout = "cuda 1";

  CudaSnapshot(const CudaState& state, Place place);
  /// From a file's parts; whole blocks that are not among them are those of `longer` (may be null).
  CudaSnapshot(std::shared_ptr<Device> device, const StateShape& shape, int64_t position, const Backend::FindPart& find,
               const CudaSnapshot* longer);

  [[nodiscard]] Place place() const noexcept override { return place_; }
  [[nodiscard]] int64_t byte_size() const noexcept override;
  [[nodiscard]] std::vector<SharedBlock> shared() const override;
  /// "state", and "kv.0", "kv.1", … of 64 positions each.
  [[nodiscard]] std::vector<SnapshotPart> parts() const override;
  void restore(CudaState& state) const;
  [[nodiscard]] bool fits(const StateShape& shape) const { return shape_ == shape; }

 private:
  [[nodiscard]] MemoryPtr moved(const MemoryPtr& memory, bool to_host) const;

  std::shared_ptr<Device> device_;
  StateShape shape_;
  Place place_;
  MemoryPtr fixed_;
  std::vector<KvBlockPtr> blocks_;
};

}  // namespace prosa::backend::cuda
