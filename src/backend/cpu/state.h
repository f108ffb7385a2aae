// Where a sequence stands on the CPU: KV cache in 8- or 16-bit integers, conv windows and recurrent matrices in
// float32.
//
// Keys and values lie in blocks of kKvSpan positions, all layers together, which states and snapshots share by
// reference. A block only ever gets longer while somebody else holds it: positions up to a snapshot's own never change
// under it, and who wants to write where another has already written gets a copy of the block first. What lies behind
// `position` is never weighed, so it needs no clearing. Conv windows and matrices are shared too: what a snapshot holds
// stays as it is, and the state's next pass reads there and writes to a buffer of its own, so that neither keeping nor
// coming back copies them.
//
// A tentative segment always writes to a buffer of its own and keeps the small inputs of the delta rule beside it, so
// that some of its tokens can be fed again from where it began. Thread safety: byte_size() from any thread; else as
// backend.h.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/state_buffers.h"
#include "base/aligned.h"
#include "base/counted.h"

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
struct KvBlock : Counted {
  explicit KvBlock(int64_t bytes) : data(bytes, "the KV cache") {}
  AlignedBuffer<std::byte> data;
  int64_t filled = 0;  // positions that somebody has written, or is about to; touched by run() alone

 private:
  friend class Ref<KvBlock>;
  ~KvBlock() = default;
  void retire() noexcept { delete this; }
};
using KvBlocks = std::vector<Ref<KvBlock>>;

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
  [[nodiscard]] Ref<KvBlock> copy_of(const KvBlock& block, int64_t positions) const;
  friend bool operator==(const KvShape&, const KvShape&) = default;
};

/// The blocks of one sequence.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int kv_bits, int64_t capacity);

  /// Blocks for the positions from .. from + count - 1, which may then be written. Error(out_of_memory) changes nothing
  /// that was written.
  void make_room(int64_t from, int64_t count);
  /// The first `positions` positions of another cache of the same model.
  void share(const KvBlocks& blocks, int64_t positions);
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
  [[nodiscard]] const KvBlocks& blocks() const { return blocks_; }
  [[nodiscard]] const KvShape& shape() const { return shape_; }
  [[nodiscard]] int64_t byte_size() const noexcept { return bytes_; }

 private:
  void resize(size_t count);

  KvShape shape_;
  KvBlocks blocks_;
  std::vector<std::byte*> table_;  // their data
  std::atomic<int64_t> bytes_ = 0;
};

/// What a tentative segment keeps of each token and DeltaNet layer, so that commit() can feed the token again: one row
/// of [conv inputs: conv_dim][k: key_dim][v: value_dim][log decay: value heads][beta: value heads].
class KeptInputs {
 public:
  explicit KeptInputs(const ModelConfig& config);
  /// Room for so many tokens. Error(out_of_memory).
  void reserve(int64_t tokens);
  [[nodiscard]] float* conv(size_t layer, int64_t token) { return row(layer, token); }
  [[nodiscard]] float* key(size_t layer, int64_t token) { return row(layer, token) + key_at_; }
  [[nodiscard]] float* value(size_t layer, int64_t token) { return row(layer, token) + value_at_; }
  [[nodiscard]] float* log_decay(size_t layer, int64_t token) { return row(layer, token) + decay_at_; }
  [[nodiscard]] float* beta(size_t layer, int64_t token) { return row(layer, token) + beta_at_; }
  void clear() { rows_ = {}; }

 private:
  [[nodiscard]] float* row(size_t layer, int64_t token) {
    return rows_.data() + (static_cast<int64_t>(layer) * tokens_ + token) * width_;
  }
  int64_t layers_, key_at_, value_at_, decay_at_, beta_at_, width_;
  int64_t tokens_ = 0;
  AlignedBuffer<float> rows_;  // [layers, tokens, width]
};

class CpuState final : public State {
 public:
  CpuState(const ModelConfig& config, int kv_bits, int64_t capacity, std::shared_ptr<StateBuffers> buffers);
  /// Of conv and recurrent, all DeltaNet layers.
  static int64_t fixed_elements(const ModelConfig& config);

  [[nodiscard]] int64_t byte_size() const noexcept override { return fixed_bytes_ + kv.byte_size(); }
  [[nodiscard]] int64_t row_bytes() const noexcept override { return row_bytes_; }
  [[nodiscard]] std::vector<SharedBlock> shared() const override;
  [[nodiscard]] bool made_with(const std::shared_ptr<StateBuffers>& buffers) const { return buffers_ == buffers; }
  void reset();
  /// Before `tokens` more are fed, for which `rows` rows will be kept. Error(out_of_memory): nothing has changed.
  void make_room(int64_t tokens, int64_t rows, bool tentative);
  /// After a pass over all layers.
  void advance(int64_t tokens);
  /// The same for a tentative segment.
  void await(int64_t tokens) { pending_ = tokens; }
  /// Ends the waiting, after the first `tokens` of those pending have been brought into `conv` and `recurrent`.
  void settle(int64_t tokens);
  void invalidate();

  /// Room for rows; those that are there stay until drop_rows(). Error(out_of_memory).
  void reserve_rows(int64_t rows);
  /// No row is there, and the room is the one reserved last.
  void drop_rows();
  [[nodiscard]] float* row(int64_t index) { return row_data_.data() + index * vocab_; }
  [[nodiscard]] const float* row(int64_t index) const { return row_data_.data() + index * vocab_; }
  void set_rows(int64_t rows) { rows_ = rows; }

  std::vector<DeltaState> delta;  // [number of DeltaNet layers], parts of fixed_ and of next_
  KvCache kv;
  KeptInputs kept;

 private:
  friend class CpuSnapshot;
  void point();

  const std::shared_ptr<StateBuffers> buffers_;
  const int64_t vocab_;
  const int64_t fixed_bytes_;
  const size_t conv_elements_;  // of a layer
  StateBuffer fixed_;           // conv and recurrent of each DeltaNet layer in turn; not written while others hold it
  StateBuffer next_;            // where the coming pass writes, or null: in place
  AlignedBuffer<float> row_data_;     // [rows, vocab]
  AlignedBuffer<float> coming_rows_;  // the same for the coming pass, or empty: row_data_ will do
  std::atomic<int64_t> row_bytes_ = 0;
};

class CpuSnapshot final : public Snapshot {
 public:
  // Changes with the form of the parts and with the rules that make their numbers, as when outliers came to be taken
  // out (5); cpu.cpp adds the options that the numbers depend on.
  static constexpr std::string_view layout = "cpu 5";

  /// `made_as`: the backend's snapshot_layout() and model.
  CpuSnapshot(const CpuState& state, std::string made_as);
  /// From a file's parts; whole blocks that are not among them are those of `longer` (may be null).
  CpuSnapshot(const ModelConfig& config, int kv_bits, int64_t position, const Backend::FindPart& find,
              const CpuSnapshot* longer, StateBuffers& buffers, std::string made_as);
  [[nodiscard]] Place place() const noexcept override { return Place::host; }
  [[nodiscard]] int64_t byte_size() const noexcept override;
  [[nodiscard]] std::vector<SharedBlock> shared() const override;
  /// "state" and "kv.0", "kv.1", …; of the last block only what is in use.
  [[nodiscard]] std::vector<SnapshotPart> parts() const override;
  /// Errors: invalid_argument (of another model or layout), context_exceeded (no room for the snapshot's position).
  void restore(CpuState& state, std::string_view made_as) const;

 private:
  const std::string made_as_;  // it may outlive its backend
  KvShape shape_;
  StateBuffer fixed_;  // as in CpuState
  KvBlocks blocks_;    // [(position + kKvSpan - 1) / kKvSpan]
};

}  // namespace prosa::backend::cpu
