// Where a sequence stands on the CPU: KV cache in half precision, conv windows and recurrent matrices in float32.
//
// Everything is reserved at construction; the pages of the KV cache are touched as the sequence grows. What lies behind
// `position` is never weighed, so it needs no clearing.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "base/aligned.h"

namespace prosa::backend::cpu {

struct DeltaState {
  AlignedBuffer<float> conv;       // [kernel - 1, conv_dim]: the newest inputs, oldest first
  AlignedBuffer<float> recurrent;  // [num_value_heads][value_dim / 16][key_dim][16]
};

struct KvCache {
  AlignedBuffer<uint16_t> keys;    // [kv_heads][capacity / 16][head_dim][16], IEEE half
  AlignedBuffer<uint16_t> values;  // [kv_heads][capacity][head_dim]
};

class CpuState final : public State {
 public:
  CpuState(const ModelConfig& config, int64_t capacity);

  [[nodiscard]] int64_t byte_size() const noexcept override;
  [[nodiscard]] int64_t padded_capacity() const noexcept { return padded_capacity_; }
  void reset();
  void advance(int64_t tokens) { position_ += tokens; }
  void set_valid(bool valid) { valid_ = valid; }

  std::vector<DeltaState> delta;   // [number of DeltaNet layers]
  std::vector<KvCache> attention;  // [number of attention layers]

 private:
  friend class CpuSnapshot;
  int64_t padded_capacity_;  // a multiple of 64 positions
};

class CpuSnapshot final : public Snapshot {
 public:
  CpuSnapshot(const CpuState& state, const ModelConfig& config);
  [[nodiscard]] int64_t byte_size() const noexcept override;
  /// Error(context_exceeded) when the state has no room for the snapshot's position.
  void restore(CpuState& state) const;

 private:
  int64_t kv_heads_;
  int64_t head_dim_;
  std::vector<AlignedBuffer<float>> delta_;         // conv and recurrent of each DeltaNet layer in turn
  std::vector<AlignedBuffer<uint16_t>> attention_;  // keys and values of each attention layer in turn, cut at position
};

}  // namespace prosa::backend::cpu
