// States and snapshots: sharing, copying before writing, and the way to host memory and back.
#include "backend/cuda/state.h"

#include <cstring>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::backend::cuda {
namespace {

std::vector<SharedBlock> listed(const MemoryPtr& fixed, const std::vector<KvBlockPtr>& blocks) {
  std::vector<SharedBlock> all{{fixed->as(), fixed->bytes()}};
  for (const KvBlockPtr& block : blocks) all.push_back({block->memory->as(), block->memory->bytes()});
  return all;
}

}  // namespace

// ---- the state

CudaState::CudaState(std::shared_ptr<Device> device, std::shared_ptr<const void> owner, const StateShape& shape,
                     MemoryPtr zeros, int64_t capacity)
    : State(capacity), device_(std::move(device)), owner_(std::move(owner)), shape_(shape), fixed_(std::move(zeros)) {
  if (shape_.kv_block_bytes > 0) {
    table_ = device_->allocate(static_cast<int64_t>(shape_.blocks_for(capacity) * sizeof(void*)), "a state");
  }
  count_bytes();
}

void CudaState::count_bytes() {
  int64_t total = fixed_->bytes();
  for (const KvBlockPtr& block : blocks_) total += block->memory->bytes();
  bytes_.store(total, std::memory_order_relaxed);
}

std::vector<SharedBlock> CudaState::shared() const { return listed(fixed_, blocks_); }

void CudaState::reset(const MemoryPtr& zeros) {
  fixed_ = zeros;
  left_.reset();
  blocks_.clear();
  position_ = 0;
  pending_ = 0;
  rows_ = 0;
  valid_ = true;
  count_bytes();
}

void CudaState::set_block(size_t index, KvBlockPtr block) {
  void* const address = block->memory->as();
  device_->copy(table_->as<void*>() + index, &address, sizeof address);
  if (index == blocks_.size()) {
    blocks_.push_back(std::move(block));
  } else {
    blocks_[index] = std::move(block);
  }
}

void CudaState::make_room(int64_t from, int64_t count) {
  const size_t wanted = shape_.blocks_for(from + count);
  const auto first = static_cast<size_t>(from / kKvSpan);
  for (size_t i = first; i < wanted; ++i) {
    const auto begin = static_cast<int64_t>(i) * kKvSpan;
    if (i >= blocks_.size()) {
      auto block = std::make_shared<KvBlock>();
      block->memory = device_->allocate(shape_.kv_block_bytes, "the KV cache");
      set_block(i, std::move(block));
    } else if (blocks_[i].use_count() > 1 && blocks_[i]->filled > std::max<int64_t>(from - begin, 0)) {
      auto block = std::make_shared<KvBlock>();
      block->memory = device_->allocate(shape_.kv_block_bytes, "the KV cache");
      device_->copy(block->memory->as(), blocks_[i]->memory->as(), shape_.kv_block_bytes);
      set_block(i, std::move(block));
    }
    blocks_[i]->filled = std::max(blocks_[i]->filled, std::min<int64_t>(from + count - begin, kKvSpan));
  }
  count_bytes();
}

float* CudaState::make_left() {
  if (fixed_.use_count() == 1) return fixed_->as<float>();
  left_ = device_->allocate(shape_.state_bytes, "a state");
  return left_->as<float>();
}

void CudaState::moved() {
  if (left_) fixed_ = std::move(left_);
  left_.reset();
}

void CudaState::make_rows(int64_t count) {
  const int64_t bytes = count * shape_.vocab * static_cast<int64_t>(sizeof(float));
  next_rows_ = rows_memory_;
  if (count > 0 && (!rows_memory_ || rows_memory_->bytes() < bytes || rows_memory_->bytes() > 4 * bytes))
    next_rows_ = device_->allocate(bytes, "a row of logits");
}

void CudaState::take_rows() {
  rows_memory_ = std::move(next_rows_);
  next_rows_.reset();
  row_bytes_.store(rows_memory_ ? rows_memory_->bytes() : 0, std::memory_order_relaxed);
}

float* CudaState::make_keep() {
  if (!keep_) keep_ = device_->allocate(shape_.keep_bytes, "tokens that run ahead");
  return keep();
}

// ---- the snapshot

MemoryPtr CudaSnapshot::moved(const MemoryPtr& memory, bool to_host) const {
  MemoryPtr to = to_host ? device_->allocate_pinned(memory->bytes(), "a snapshot")
                         : device_->allocate(memory->bytes(), "a snapshot");
  device_->copy(to->as(), memory->as(), memory->bytes());
  return to;
}

CudaSnapshot::CudaSnapshot(const CudaState& state, Place place)
    : Snapshot(state.position()),
      device_(state.device_),
      shape_(state.shape_),
      place_(place == Place::device ? Place::device : Place::pinned_host),
      fixed_(state.fixed_),
      blocks_(state.blocks_) {
  blocks_.resize(std::min(blocks_.size(), shape_.blocks_for(position_)));
  if (place_ == Place::device) return;
  device_->use();
  fixed_ = moved(fixed_, true);
  for (KvBlockPtr& block : blocks_) {
    auto copy = std::make_shared<KvBlock>();
    copy->memory = moved(block->memory, true);
    copy->filled = block->filled;
    block = std::move(copy);
  }
  device_->finish();
}

CudaSnapshot::CudaSnapshot(std::shared_ptr<Device> device, const StateShape& shape, int64_t position,
                           const Backend::FindPart& find, const CudaSnapshot* longer)
    : Snapshot(position), device_(std::move(device)), shape_(shape), place_(Place::device) {
  device_->use();
  const auto read = [&](const std::string& name, int64_t bytes) {
    const std::span<const std::byte> part = find(name);
    if (static_cast<int64_t>(part.size()) != bytes) {
      throw Error(ErrorCode::bad_session,
                  "has " + std::to_string(part.size()) + " bytes instead of " + std::to_string(bytes), name,
                  "the file is of another model, or damaged");
    }
    MemoryPtr memory = device_->allocate(bytes, "a snapshot");
    device_->copy(memory->as(), part.data(), bytes);
    return memory;
  };
  fixed_ = read("state", shape_.state_bytes);
  for (size_t i = 0; i < shape_.blocks_for(position); ++i) {
    const std::string name = "kv." + std::to_string(i);
    const int64_t end = (static_cast<int64_t>(i) + 1) * kKvSpan;
    auto block = std::make_shared<KvBlock>();
    if (longer != nullptr && end <= std::min(position, longer->position()) && find(name).empty()) {
      if (longer->place_ == Place::device) {
        blocks_.push_back(longer->blocks_[i]);
        continue;
      }
      block->memory = moved(longer->blocks_[i]->memory, false);
    } else {
      block->memory = read(name, shape_.kv_block_bytes);
    }
    block->filled = std::min<int64_t>(kKvSpan, position - static_cast<int64_t>(i) * kKvSpan);
    blocks_.push_back(std::move(block));
  }
  device_->finish();
}

int64_t CudaSnapshot::byte_size() const noexcept {
  int64_t total = fixed_->bytes();
  for (const KvBlockPtr& block : blocks_) total += block->memory->bytes();
  return total;
}

std::vector<SharedBlock> CudaSnapshot::shared() const { return listed(fixed_, blocks_); }

std::vector<SnapshotPart> CudaSnapshot::parts() const {
  device_->use();
  std::vector<SnapshotPart> parts;
  const auto add = [&](std::string name, PartType type, const MemoryPtr& memory, int64_t bytes, int64_t used) {
    const auto host = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(bytes));
    device_->copy(host->data(), memory->as(), bytes);
    device_->finish();
    if (used < kKvSpan) {  // nothing behind the position leaves the card
      const int64_t run = kKvSpan * shape_.kv_row_bytes;
      for (int64_t i = 0; i < shape_.kv_rows; ++i) {
        std::memset(host->data() + i * run + used * shape_.kv_row_bytes, 0,
                    static_cast<size_t>((kKvSpan - used) * shape_.kv_row_bytes));
      }
    }
    parts.push_back({std::move(name), type, *host, host});
  };
  add("state", PartType::f32, fixed_, shape_.state_bytes, kKvSpan);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t used = std::min<int64_t>(kKvSpan, position_ - static_cast<int64_t>(i) * kKvSpan);
    add("kv." + std::to_string(i), PartType::f16, blocks_[i]->memory, shape_.kv_block_bytes, used);
  }
  return parts;
}

void CudaSnapshot::restore(CudaState& state) const {
  if (state.capacity() < position_) {
    throw Error(ErrorCode::context_exceeded,
                "a snapshot at " + std::to_string(position_) + " tokens does not fit a state for " +
                    std::to_string(state.capacity()),
                "restore", "use a larger context");
  }
  device_->use();
  const bool on_card = place_ == Place::device;
  std::vector<KvBlockPtr> blocks = blocks_;
  MemoryPtr fixed = fixed_;
  if (!on_card) {
    fixed = moved(fixed_, false);
    for (KvBlockPtr& block : blocks) {
      auto copy = std::make_shared<KvBlock>();
      copy->memory = moved(block->memory, false);
      copy->filled = block->filled;
      block = std::move(copy);
    }
  }
  std::vector<void*> addresses;
  for (const KvBlockPtr& block : blocks) addresses.push_back(block->memory->as());
  if (!addresses.empty())
    device_->copy(state.table_->as(), addresses.data(), static_cast<int64_t>(addresses.size() * sizeof(void*)));
  state.fixed_ = std::move(fixed);
  state.left_.reset();
  state.blocks_ = std::move(blocks);
  state.position_ = position_;
  state.pending_ = 0;
  state.rows_ = 0;
  state.valid_ = true;
  state.count_bytes();
}

}  // namespace prosa::backend::cuda
