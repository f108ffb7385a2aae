// Checkpoints of one conversation's past: states at positions that later prompts are likely to share.
//
// A checkpoint is {token ids up to it, state}; it serves any token list that begins with exactly those ids. Knows no
// roles and computes nothing. Invariant: byte_size() <= budget after every add(); no two checkpoints hold the same ids.
// Thread safety: byte_size() may be called from any thread, everything else from one at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace prosa::session {

class Checkpoints {
 public:
  explicit Checkpoints(int64_t byte_budget) : budget_(byte_budget) {}

  /// The longest checkpoint that `tokens` begins with and that leaves at least one token to compute; null: none.
  /// Every checkpoint on the way counts as used.
  const backend::Snapshot* find(std::span<const int32_t> tokens);
  [[nodiscard]] bool contains(std::span<const int32_t> tokens) const;

  /// Keeps `snapshot` of the state after `tokens`, and drops the least useful others until the budget is met. One that
  /// exceeds the budget by itself is not kept.
  void add(std::span<const int32_t> tokens, std::unique_ptr<backend::Snapshot> snapshot);
  void clear();

  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] int64_t byte_size() const noexcept { return bytes_; }
  [[nodiscard]] int64_t budget() const noexcept { return budget_; }

 private:
  struct Entry {
    std::vector<int32_t> tokens;
    std::unique_ptr<backend::Snapshot> snapshot;
    uint64_t used = 0;  // tick of the last find() or add() on whose way it lay
    [[nodiscard]] int64_t byte_size() const;
  };
  [[nodiscard]] size_t least_useful() const;
  void drop(size_t index);

  int64_t budget_;
  std::vector<Entry> entries_;  // by position
  std::atomic<int64_t> bytes_ = 0;
  uint64_t tick_ = 0;
};

}  // namespace prosa::session
