// Where a sequence stands on the CPU: KV cache in 8- or 16-bit integers, conv windows and recurrent matrices in
// float32.
//
// Keys and values lie in blocks of kKvSpan positions, all layers together, which states and snapshots share by
// reference. A block only ever gets longer while somebody else holds it: positions up to a snapshot's own never change
// under it, and who wants to write where another has already written gets a copy of the block first. What lies behind
// `position` is never weighed, so it needs no clearing. Conv windows and matrices are shared too: what a snapshot holds
// stays as it is, and the state's next pass reads there and writes to a buffer of its own, so that neither keeping nor
// coming back copies them. Thread safety: byte_size() from any thread; else as backend.h.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/state_buffers.h"
#include "base/aligned.h"

namespace prosa::backend::cpu {

/// A DeltaNet layer's part of a state, where a pass finds it and where it leaves it: the same memory unless a snapshot
/// holds what was found.
struct DeltaState {
  std::span<const float> conv_found;       // [kernel - 1, conv_dim]: the newest inputs, oldest first
  std::span<const float> recurrent_found;  // [num_value_heads][value_dim / 16][key_dim][16]
  std::span<float> conv;
  std::span<float> recurrent;
  [[nodiscard]] bool moves() const { return conv_found.data() != conv.data(); }
};

/// kKvSpan positions of every attention layer: [attention layers][keys, values][kv_heads][KvLayout::head_bytes()].
struct KvBlock {
  explicit KvBlock(int64_t bytes) : data(bytes, "the KV cache") {}
  AlignedBuffer<std::byte> data;
  int64_t filled = 0;  // positions that somebody has written
};

/// How a block is laid out.
struct KvShape {
  KvShape(const ModelConfig& config, int kv_bits);
  int64_t kv_heads;
  KvLayout head;        // of one head's keys or values
  int64_t block_bytes;  // of all layers; 0 for a model without attention layers
  [[nodiscard]] size_t blocks_for(int64_t positions) const {
    return block_bytes == 0 ? 0 : static_cast<size_t>((positions + kKvSpan - 1) / kKvSpan);
  }
  /// A block with the first `positions` positions of another, and zeros.
  [[nodiscard]] std::shared_ptr<KvBlock> copy_of(const KvBlock& block, int64_t positions) const;
};

/// The blocks of one sequence.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int kv_bits, int64_t capacity);

  /// Blocks for the positions from .. from + count - 1, which may then be written. Error(out_of_memory) changes nothing
  /// that was written.
  void make_room(int64_t from, int64_t count);
  /// The first `positions` positions of another cache of the same model.
  void share(const std::vector<std::shared_ptr<KvBlock>>& blocks, int64_t positions);
  void clear() { resize(0); }

  [[nodiscard]] std::byte* data(int64_t position) { return table_[static_cast<size_t>(position / kKvSpan)]; }
  [[nodiscard]] const std::byte* const* table() const { return table_.data(); }
  [[nodiscard]] const KvLayout& layout() const { return shape_.head; }
  /// In bytes.
  [[nodiscard]] int64_t keys_at(size_t layer, int64_t kv_head) const {
    return (static_cast<int64_t>(layer) * 2 * shape_.kv_heads + kv_head) * shape_.head.head_bytes();
  }
  [[nodiscard]] int64_t values_at(size_t layer, int64_t kv_head) const {
    return keys_at(layer, kv_head) + shape_.kv_heads * shape_.head.head_bytes();
  }
  [[nodiscard]] const std::vector<std::shared_ptr<KvBlock>>& blocks() const { return blocks_; }
  [[nodiscard]] const KvShape& shape() const { return shape_; }
  [[nodiscard]] int64_t byte_size() const noexcept { return bytes_; }

 private:
  void resize(size_t count);

  KvShape shape_;
  std::vector<std::shared_ptr<KvBlock>> blocks_;
  std::vector<std::byte*> table_;  // their data
  std::atomic<int64_t> bytes_ = 0;
};

class CpuState final : public State {
 public:
  CpuState(const ModelConfig& config, int kv_bits, int64_t capacity, std::shared_ptr<StateBuffers> buffers);
  /// Of conv and recurrent, all DeltaNet layers.
  static int64_t fixed_elements(const ModelConfig& config);

  [[nodiscard]] int64_t byte_size() const noexcept override { return fixed_bytes_ + kv.byte_size(); }
  [[nodiscard]] std::vector<SharedBlock> shared() const override;
  void reset();
  /// Before `tokens` more are fed.
  void make_room(int64_t tokens);
  /// After a pass over all layers.
  void advance(int64_t tokens);
  void set_valid(bool valid) { valid_ = valid; }

  std::vector<DeltaState> delta;  // [number of DeltaNet layers], parts of fixed_ and of next_
  KvCache kv;

 private:
  friend class CpuSnapshot;
  void point();

  const std::shared_ptr<StateBuffers> buffers_;
  const int64_t fixed_bytes_;
  const size_t conv_elements_;  // of a layer
  StateBuffer fixed_;           // conv and recurrent of each DeltaNet layer in turn; not written while others hold it
  StateBuffer next_;            // where the coming pass writes, or null: in place
};

class CpuSnapshot final : public Snapshot {
 public:
  // Changes with the form of the parts; cpu.cpp adds what the numbers in them depend on.
  static constexpr std::string_view layout = "cpu 3";

  explicit CpuSnapshot(const CpuState& state);
  /// From a file's parts; whole blocks that are not among them are those of `longer` (may be null).
  CpuSnapshot(const ModelConfig& config, int kv_bits, int64_t position, const Backend::FindPart& find,
              const CpuSnapshot* longer, StateBuffers& buffers);
  [[nodiscard]] int64_t byte_size() const noexcept override;
  [[nodiscard]] std::vector<SharedBlock> shared() const override;
  /// "state" and "kv.0", "kv.1", …; of the last block only what is in use.
  [[nodiscard]] std::vector<SnapshotPart> parts() const override;
  /// Error(context_exceeded) when the state has no room for the snapshot's position.
  void restore(CpuState& state) const;

 private:
  KvShape shape_;
  StateBuffer fixed_;                             // as in CpuState
  std::vector<std::shared_ptr<KvBlock>> blocks_;  // [(position + kKvSpan - 1) / kKvSpan]
};

}  // namespace prosa::backend::cpu
