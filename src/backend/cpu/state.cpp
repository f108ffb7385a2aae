// CpuState and CpuSnapshot: allocation and copying.
#include "backend/cpu/state.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"
#include "prosa/error.h"

namespace prosa::backend::cpu {
namespace {

constexpr int64_t kPositionStep = 64;  // the attention kernel looks at 64 positions at a time

// Beyond any machine's memory, but far from where sizes overflow.
int64_t checked(int64_t capacity) {
  constexpr int64_t kMost = int64_t{1} << 32;
  if (capacity <= kMost) return capacity;
  throw Error(ErrorCode::out_of_memory, "a KV cache for " + std::to_string(capacity) + " tokens", "context",
              "choose a smaller context");
}

AlignedBuffer<float> copy_of(const AlignedBuffer<float>& source) {
  AlignedBuffer<float> copy(source.size(), "a checkpoint");
  std::copy_n(source.data(), source.size(), copy.data());
  return copy;
}

// The first `used` elements of each of `heads` blocks of `stride` elements.
AlignedBuffer<uint16_t> cut(const AlignedBuffer<uint16_t>& source, int64_t heads, int64_t stride, int64_t used) {
  AlignedBuffer<uint16_t> copy(heads * used, "a checkpoint");
  for (int64_t head = 0; head < heads; ++head)
    std::copy_n(source.data() + head * stride, used, copy.data() + head * used);
  return copy;
}

void paste(const AlignedBuffer<uint16_t>& source, AlignedBuffer<uint16_t>& target, int64_t heads, int64_t stride) {
  const int64_t used = source.size() / heads;
  for (int64_t head = 0; head < heads; ++head)
    std::copy_n(source.data() + head * used, used, target.data() + head * stride);
}

}  // namespace

CpuState::CpuState(const ModelConfig& config, int64_t capacity)
    : State(capacity), padded_capacity_(padded(checked(capacity), kPositionStep)) {
  for (LayerType type : config.layer_types) {
    if (type == LayerType::linear_attention) {
      DeltaState layer;
      layer.conv = AlignedBuffer<float>((config.linear_conv_kernel_dim - 1) * config.conv_dim(), "the conv state");
      layer.recurrent = AlignedBuffer<float>(config.value_dim() * config.linear_key_head_dim, "the recurrent state");
      delta.push_back(std::move(layer));
    } else {
      const int64_t elements = config.kv_dim() * padded_capacity_;
      KvCache layer;
      layer.keys = AlignedBuffer<uint16_t>(elements, "the KV cache");
      layer.values = AlignedBuffer<uint16_t>(elements, "the KV cache");
      attention.push_back(std::move(layer));
    }
  }
}

int64_t CpuState::byte_size() const noexcept {
  int64_t total = 0;
  for (const DeltaState& layer : delta) total += layer.conv.byte_size() + layer.recurrent.byte_size();
  for (const KvCache& layer : attention) total += layer.keys.byte_size() + layer.values.byte_size();
  return total;
}

void CpuState::reset() {
  for (DeltaState& layer : delta) {
    std::ranges::fill(layer.conv.span(), 0.0F);
    std::ranges::fill(layer.recurrent.span(), 0.0F);
  }
  position_ = 0;
  valid_ = true;
}

CpuSnapshot::CpuSnapshot(const CpuState& state, const ModelConfig& config)
    : Snapshot(state.position()), kv_heads_(config.num_key_value_heads), head_dim_(config.head_dim) {
  for (const DeltaState& layer : state.delta) {
    delta_.push_back(copy_of(layer.conv));
    delta_.push_back(copy_of(layer.recurrent));
  }
  const int64_t stride = state.padded_capacity() * head_dim_;
  for (const KvCache& layer : state.attention) {
    attention_.push_back(cut(layer.keys, kv_heads_, stride, padded(position_, kKvBlock) * head_dim_));
    attention_.push_back(cut(layer.values, kv_heads_, stride, position_ * head_dim_));
  }
}

int64_t CpuSnapshot::byte_size() const noexcept {
  int64_t total = 0;
  for (const auto& buffer : delta_) total += buffer.byte_size();
  for (const auto& buffer : attention_) total += buffer.byte_size();
  return total;
}

void CpuSnapshot::restore(CpuState& state) const {
  if (state.capacity() < position_) {
    throw Error(ErrorCode::context_exceeded,
                "a checkpoint at " + std::to_string(position_) + " tokens does not fit a state for " +
                    std::to_string(state.capacity()),
                "restore", "use a larger context");
  }
  for (size_t i = 0; i < state.delta.size(); ++i) {
    std::copy_n(delta_[2 * i].data(), delta_[2 * i].size(), state.delta[i].conv.data());
    std::copy_n(delta_[2 * i + 1].data(), delta_[2 * i + 1].size(), state.delta[i].recurrent.data());
  }
  const int64_t stride = state.padded_capacity() * head_dim_;
  for (size_t i = 0; i < state.attention.size(); ++i) {
    paste(attention_[2 * i], state.attention[i].keys, kv_heads_, stride);
    paste(attention_[2 * i + 1], state.attention[i].values, kv_heads_, stride);
  }
  state.position_ = position_;
  state.valid_ = true;
}

}  // namespace prosa::backend::cpu
