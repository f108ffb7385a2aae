// CpuState, KvCache and CpuSnapshot: allocation, sharing and copying.
#include "backend/cpu/state.h"

#include <algorithm>
#include <cstring>
#include <utility>

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

int64_t count_of(const ModelConfig& config, LayerType type) {
  return std::count(config.layer_types.begin(), config.layer_types.end(), type);
}

// Floats of a layer's conv window, in whole cache lines, and of its recurrent matrices.
int64_t conv_elements(const ModelConfig& config) {
  return padded((config.linear_conv_kernel_dim - 1) * config.conv_dim(), 16);
}
int64_t recurrent_elements(const ModelConfig& config) { return config.value_dim() * config.linear_key_head_dim; }

std::vector<SharedBlock> listed(const StateBuffer& fixed, const KvBlocks& blocks) {
  std::vector<SharedBlock> list;
  list.reserve(blocks.size() + 1);
  list.push_back({fixed.get(), fixed->byte_size()});
  for (const auto& block : blocks) list.push_back({block.get(), block->data.byte_size()});
  return list;
}

}  // namespace

// ---- the KV cache

KvShape::KvShape(const ModelConfig& config, int kv_bits)
    : kv_heads(config.num_key_value_heads),
      head{config.head_dim, kv_bits},
      block_bytes(count_of(config, LayerType::full_attention) * 2 * kv_heads * head.head_bytes()) {}

// What lies behind may be written by others meanwhile: whole groups of interleaved positions lie together, of the last
// one only runs.
Ref<KvBlock> KvShape::copy_of(const KvBlock& block, int64_t positions) const {
  Ref<KvBlock> copy(new KvBlock(block_bytes));
  const int64_t bytes = head.number_bytes();
  const int64_t together = head.together();
  const int64_t whole_keys = positions / kKvBlock * kKvBlock;
  const int64_t whole_values = positions / kKvStep * kKvStep;
  const int64_t pairs = positions / together * together;  // or fours
  for (int64_t part = 0; part * head.head_bytes() < block_bytes; ++part) {
    const std::byte* from = block.data.data() + part * head.head_bytes();
    std::byte* to = copy->data.data() + part * head.head_bytes();
    const auto copy_run = [&](int64_t at, int64_t numbers) {
      std::copy_n(from + at * bytes, numbers * bytes, to + at * bytes);
    };
    if (part % (2 * kv_heads) < kv_heads) {
      copy_run(0, whole_keys * head.head_dim);
      for (int64_t d = 0; d < head.head_dim && whole_keys < positions; d += together)
        copy_run(head.key_at(whole_keys, d), (positions - whole_keys) * together);
    } else {
      copy_run(0, whole_values * head.head_dim);
      for (int64_t d = 0; d < head.head_dim && whole_values < pairs; d += kKvBlock)
        copy_run(head.value_at(whole_values, d), (pairs - whole_values) * kKvBlock);
      for (int64_t d = 0; d < head.head_dim && pairs < positions; ++d)
        copy_run(head.value_at(pairs, d), positions - pairs);
    }
    std::copy_n(from + head.scale_at(0), head.scale_at(positions) - head.scale_at(0), to + head.scale_at(0));
  }
  copy->filled = positions;
  return copy;
}

KvCache::KvCache(const ModelConfig& config, int kv_bits, int64_t capacity) : shape_(config, kv_bits) {
  // The tables are small; of an absurd capacity only the beginning is reserved.
  const size_t most = std::min<size_t>(shape_.blocks_for(checked(capacity)), 1024);
  blocks_.reserve(most);
  table_.reserve(most);
}

void KvCache::make_room(int64_t from, int64_t count) {
  if (shape_.block_bytes == 0) return;
  PROSA_CHECK(count > 0 && from <= static_cast<int64_t>(blocks_.size()) * kKvSpan);
  for (int64_t position = from; position < from + count;) {
    const auto index = static_cast<size_t>(position / kKvSpan);
    const int64_t slot = position % kKvSpan;
    if (index == blocks_.size()) {
      if (index == table_.capacity()) table_.reserve(2 * index + 1);  // both grow, or neither
      blocks_.push_back(Ref<KvBlock>(new KvBlock(shape_.block_bytes)));
      table_.push_back(blocks_.back()->data.data());
      bytes_ += blocks_.back()->data.byte_size();
    } else if (blocks_[index]->filled > slot && !blocks_[index].alone()) {
      blocks_[index] = shape_.copy_of(*blocks_[index], slot);
      table_[index] = blocks_[index]->data.data();
    }
    const int64_t end = std::min(kKvSpan, slot + from + count - position);
    blocks_[index]->filled = end;
    position += end - slot;
  }
}

void KvCache::share(const KvBlocks& blocks, int64_t positions) {
  const size_t count = shape_.blocks_for(positions);
  PROSA_CHECK(count <= blocks.size());
  blocks_.reserve(count);
  table_.reserve(count);  // from here on nothing allocates
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

// ---- the state

int64_t CpuState::fixed_elements(const ModelConfig& config) {
  return count_of(config, LayerType::linear_attention) * (conv_elements(config) + recurrent_elements(config));
}

KeptInputs::KeptInputs(const ModelConfig& config)
    : layers_(count_of(config, LayerType::linear_attention)),
      key_at_(config.conv_dim()),
      value_at_(key_at_ + config.key_dim()),
      decay_at_(value_at_ + config.value_dim()),
      beta_at_(decay_at_ + config.linear_num_value_heads),
      width_(padded(beta_at_ + config.linear_num_value_heads)) {}

void KeptInputs::reserve(int64_t tokens) {
  if (rows_.size() < layers_ * tokens * width_)
    rows_ = AlignedBuffer<float>(layers_ * tokens * width_, "the inputs of a tentative segment", Pages::small);
  tokens_ = tokens;
}

CpuState::CpuState(const ModelConfig& config, int kv_bits, int64_t capacity, std::shared_ptr<StateBuffers> buffers)
    : State(capacity),
      delta(static_cast<size_t>(count_of(config, LayerType::linear_attention))),
      kv(config, kv_bits, capacity),
      kept(config),
      buffers_(std::move(buffers)),
      vocab_(config.vocab_size),
      fixed_bytes_(fixed_elements(config) * static_cast<int64_t>(sizeof(float))),
      conv_elements_(static_cast<size_t>(conv_elements(config))),
      fixed_(buffers_->make()) {
  point();
}

// Gives each layer its part of what is read and of what is written.
void CpuState::point() {
  std::span<const float> found = fixed_->span();
  std::span<float> left = (next_ ? next_ : fixed_)->span();
  for (size_t i = 0; i < delta.size(); ++i) {
    const size_t layer = left.size() / (delta.size() - i);
    delta[i] = {found.first(conv_elements_), found.subspan(conv_elements_, layer - conv_elements_),
                left.first(conv_elements_), left.subspan(conv_elements_, layer - conv_elements_)};
    found = found.subspan(layer);
    left = left.subspan(layer);
  }
}

void CpuState::make_room(int64_t tokens, int64_t rows, bool tentative) {
  kv.make_room(position_, tokens);
  if (tentative) kept.reserve(tokens);
  reserve_rows(rows);
  if (next_ || (fixed_.alone() && !tentative)) return;
  next_ = buffers_->take();
  point();
}

// A prompt's rows may be many megabytes: they are let go where a reply's single ones follow.
void CpuState::reserve_rows(int64_t rows) {
  const int64_t wanted = rows * vocab_;
  const auto will_do = [&](const AlignedBuffer<float>& buffer) {
    return buffer.size() >= wanted && buffer.size() <= std::max(wanted, kMaxTentative * vocab_);
  };
  if (rows > 0 && will_do(coming_rows_)) return;
  coming_rows_ = {};
  if (rows > 0 && !will_do(row_data_)) coming_rows_ = AlignedBuffer<float>(wanted, "rows of logits", Pages::small);
  row_bytes_ = row_data_.byte_size() + coming_rows_.byte_size();
}

void CpuState::drop_rows() {
  rows_ = 0;
  if (coming_rows_.size() == 0) return;
  row_data_ = std::move(coming_rows_);
  coming_rows_ = {};
  row_bytes_ = row_data_.byte_size();
}

void CpuState::advance(int64_t tokens) {
  position_ += tokens;
  if (!next_) return;
  fixed_ = std::move(next_);
  point();
}

void CpuState::settle(int64_t tokens) {
  pending_ = 0;
  if (tokens > 0) return advance(tokens);
  next_.reset();
  point();
}

void CpuState::invalidate() {
  valid_ = false;
  pending_ = 0;
  rows_ = 0;
}

std::vector<SharedBlock> CpuState::shared() const { return listed(fixed_, kv.blocks()); }

void CpuState::reset() {
  if (!fixed_.alone()) fixed_ = next_ ? std::move(next_) : buffers_->take();
  next_.reset();
  std::ranges::fill(fixed_->span(), 0.0F);
  point();
  kv.clear();
  position_ = 0;
  pending_ = 0;
  rows_ = 0;
  valid_ = true;
}

// ---- the snapshot

CpuSnapshot::CpuSnapshot(const CpuState& state, std::string made_as)
    : Snapshot(state.position()),
      made_as_(std::move(made_as)),
      shape_(state.kv.shape()),
      fixed_(state.fixed_),
      blocks_(state.kv.blocks()) {
  blocks_.resize(std::min(blocks_.size(), shape_.blocks_for(position_)));
}

CpuSnapshot::CpuSnapshot(const ModelConfig& config, int kv_bits, int64_t position, const Backend::FindPart& find,
                         const CpuSnapshot* longer, StateBuffers& buffers, std::string made_as)
    : Snapshot(position), made_as_(std::move(made_as)), shape_(config, kv_bits) {
  const auto read = [&](const std::string& name, int64_t bytes) {
    const std::span<const std::byte> part = find(name);
    if (static_cast<int64_t>(part.size()) == bytes) return part;
    throw Error(ErrorCode::bad_session,
                "has " + std::to_string(part.size()) + " bytes instead of " + std::to_string(bytes), name,
                "the file is of another model, or damaged");
  };
  const int64_t fixed = CpuState::fixed_elements(config);
  const std::span<const std::byte> state = read("state", fixed * static_cast<int64_t>(sizeof(float)));
  fixed_ = buffers.take();
  if (!state.empty()) std::memcpy(fixed_->span().data(), state.data(), state.size());
  for (size_t i = 0; i < shape_.blocks_for(position); ++i) {
    const int64_t end = (static_cast<int64_t>(i) + 1) * kKvSpan;
    if (longer != nullptr && end <= std::min(position, longer->position()) && find("kv." + std::to_string(i)).empty()) {
      blocks_.push_back(longer->blocks_[i]);
      continue;
    }
    const auto part = read("kv." + std::to_string(i), shape_.block_bytes);
    blocks_.push_back(Ref<KvBlock>(new KvBlock(shape_.block_bytes)));
    std::memcpy(blocks_.back()->data.data(), part.data(), part.size());
    blocks_.back()->filled = std::min(kKvSpan, position - static_cast<int64_t>(i) * kKvSpan);
  }
}

std::vector<SnapshotPart> CpuSnapshot::parts() const {
  std::vector<SnapshotPart> parts{
      {"state", PartType::f32, std::as_bytes(fixed_->span()), std::make_shared<StateBuffer>(fixed_)}};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const int64_t used = std::min(kKvSpan, position_ - static_cast<int64_t>(i) * kKvSpan);
    const auto block = std::make_shared<Ref<KvBlock>>(used == kKvSpan ? blocks_[i] : shape_.copy_of(*blocks_[i], used));
    // Integers and the float32 scales of their vectors: bytes, to whoever does not know the layout.
    parts.push_back({"kv." + std::to_string(i), PartType::u8, (*block)->data.span(), block});
  }
  return parts;
}

int64_t CpuSnapshot::byte_size() const noexcept {
  int64_t total = fixed_->byte_size();
  for (const auto& block : blocks_) total += block->data.byte_size();
  return total;
}

std::vector<SharedBlock> CpuSnapshot::shared() const { return listed(fixed_, blocks_); }

void CpuSnapshot::restore(CpuState& state, std::string_view made_as) const {
  if (made_as_ != made_as || state.fixed_->size() != fixed_->size() || state.kv.shape() != shape_) {
    throw Error(ErrorCode::invalid_argument, "the snapshot is of another model or of other options: " + made_as_,
                "restore", "restore snapshots of the same model and options only");
  }
  if (state.capacity() < position_) {
    throw Error(ErrorCode::context_exceeded,
                "a snapshot at " + std::to_string(position_) + " tokens does not fit a state for " +
                    std::to_string(state.capacity()),
                "restore", "use a larger context");
  }
  state.kv.share(blocks_, position_);  // first: it may find no memory
  state.next_.reset();
  state.fixed_ = fixed_;
  state.point();
  state.position_ = position_;
  state.pending_ = 0;
  state.rows_ = 0;
  state.valid_ = true;
}

}  // namespace prosa::backend::cpu
