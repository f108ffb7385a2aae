// CpuState, KvCache and CpuSnapshot: allocation, sharing and copying.
#include "backend/cpu/state.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/model.h"
#include "base/check.h"
#include "prosa/error.h"

namespace prosa::backend::cpu {
namespace {

// Beyond any machine's memory, but far from where sizes overflow.
int64_t checked(int64_t capacity) {
  constexpr int64_t kMost = int64_t{1} << 32;
  if (capacity <= kMost) return capacity;
  throw Error(ErrorCode::out_of_memory, "a KV cache for " + std::to_string(capacity) + " tokens", "context",
              "choose a smaller context");
}

size_t blocks_for(int64_t positions) { return static_cast<size_t>((positions + kKvSpan - 1) / kKvSpan); }

int64_t conv_elements(const ModelConfig& config) { return (config.linear_conv_kernel_dim - 1) * config.conv_dim(); }
int64_t recurrent_elements(const ModelConfig& config) { return config.value_dim() * config.linear_key_head_dim; }

std::vector<SharedBlock> listed(const std::vector<std::shared_ptr<KvBlock>>& blocks) {
  std::vector<SharedBlock> list;
  list.reserve(blocks.size());
  for (const auto& block : blocks) list.push_back({block.get(), block->data.byte_size()});
  return list;
}

}  // namespace

// ---- the KV cache

KvCache::KvCache(const ModelConfig& config, int64_t capacity)
    : kv_heads_(config.num_key_value_heads), head_dim_(config.head_dim), head_elements_(kKvSpan * config.head_dim) {
  const int64_t layers = std::count(config.layer_types.begin(), config.layer_types.end(), LayerType::full_attention);
  block_elements_ = layers * 2 * kv_heads_ * head_elements_;
  const size_t most = blocks_for(checked(capacity));
  constexpr size_t kAhead = 1024;  // the tables are small; of an absurd capacity only the beginning is reserved
  blocks_.reserve(std::min(most, kAhead));
  table_.reserve(std::min(most, kAhead));
}

void KvCache::make_room(int64_t from, int64_t count) {
  PROSA_CHECK(count > 0 && from <= static_cast<int64_t>(blocks_.size()) * kKvSpan);
  if (block_elements_ == 0) return;
  for (int64_t position = from; position < from + count;) {
    const auto index = static_cast<size_t>(position / kKvSpan);
    const int64_t slot = position % kKvSpan;
    if (index == blocks_.size()) {
      blocks_.push_back(std::make_shared<KvBlock>(block_elements_));
      table_.push_back(blocks_.back()->data.data());
      bytes_ += blocks_.back()->data.byte_size();
    } else if (blocks_[index]->filled > slot && blocks_[index].use_count() > 1) {
      blocks_[index] = copy_of(*blocks_[index], slot);
      table_[index] = blocks_[index]->data.data();
    }
    const int64_t end = std::min(kKvSpan, slot + from + count - position);
    blocks_[index]->filled = end;
    position += end - slot;
  }
}

void KvCache::share(const std::vector<std::shared_ptr<KvBlock>>& blocks, int64_t positions) {
  const size_t count = block_elements_ == 0 ? 0 : blocks_for(positions);
  PROSA_CHECK(count <= blocks.size());
  resize(0);
  blocks_.assign(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(count));
  for (const auto& block : blocks_) {
    table_.push_back(block->data.data());
    bytes_ += block->data.byte_size();
  }
}

void KvCache::resize(size_t count) {
  while (blocks_.size() > count) {
    bytes_ -= blocks_.back()->data.byte_size();
    blocks_.pop_back();
    table_.pop_back();
  }
}

std::shared_ptr<KvBlock> KvCache::copy_of(const KvBlock& block, int64_t positions) const {
  auto copy = std::make_shared<KvBlock>(block_elements_);
  const int64_t keys = (positions + kKvBlock - 1) / kKvBlock * kKvBlock * head_dim_;
  const int64_t values = positions * head_dim_;
  for (int64_t at = 0; at < block_elements_; at += 2 * kv_heads_ * head_elements_) {
    for (int64_t part = 0; part < 2 * kv_heads_; ++part) {
      const int64_t begin = at + part * head_elements_;
      std::copy_n(block.data.data() + begin, part < kv_heads_ ? keys : values, copy->data.data() + begin);
    }
  }
  copy->filled = positions;
  return copy;
}

// ---- the state

CpuState::CpuState(const ModelConfig& config, int64_t capacity) : State(capacity), kv(config, capacity) {
  const int64_t layers = std::count(config.layer_types.begin(), config.layer_types.end(), LayerType::linear_attention);
  const auto conv = static_cast<size_t>(padded(conv_elements(config), 16));  // whole cache lines
  const auto recurrent = static_cast<size_t>(recurrent_elements(config));
  fixed_ = AlignedBuffer<float>(layers * static_cast<int64_t>(conv + recurrent), "the recurrent state");
  for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer) {
    const std::span<float> mine = fixed_.span().subspan(layer * (conv + recurrent), conv + recurrent);
    delta.push_back({mine.first(conv), mine.last(recurrent)});
  }
}

std::vector<SharedBlock> CpuState::shared() const { return listed(kv.blocks()); }

void CpuState::reset() {
  std::ranges::fill(fixed_.span(), 0.0F);
  kv.clear();
  position_ = 0;
  valid_ = true;
}

// ---- the snapshot

CpuSnapshot::CpuSnapshot(const CpuState& state)
    : Snapshot(state.position()), fixed_(state.fixed_.size(), "a checkpoint"), blocks_(state.kv.blocks()) {
  blocks_.resize(std::min(blocks_.size(), blocks_for(position_)));
  std::copy_n(state.fixed_.data(), state.fixed_.size(), fixed_.data());
}

int64_t CpuSnapshot::byte_size() const noexcept {
  int64_t total = fixed_.byte_size();
  for (const auto& block : blocks_) total += block->data.byte_size();
  return total;
}

std::vector<SharedBlock> CpuSnapshot::shared() const { return listed(blocks_); }

void CpuSnapshot::restore(CpuState& state) const {
  if (state.capacity() < position_) {
    throw Error(ErrorCode::context_exceeded,
                "a checkpoint at " + std::to_string(position_) + " tokens does not fit a state for " +
                    std::to_string(state.capacity()),
                "restore", "use a larger context");
  }
  PROSA_CHECK(state.fixed_.size() == fixed_.size());
  std::copy_n(fixed_.data(), fixed_.size(), state.fixed_.data());
  state.kv.share(blocks_, position_);
  state.position_ = position_;
  state.valid_ = true;
}

}  // namespace prosa::backend::cpu
