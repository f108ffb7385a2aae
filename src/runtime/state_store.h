// StateStore of token lists: states at positions that later lists are likely to share. One store serves every session
// of a model, so that what two conversations begin with is computed once.
//
// A checkpoint is {token ids up to it, state}; it serves any token list that begins with exactly those ids. Knows no
// roles and computes nothing. The tree that the lists form lies in their KV blocks, which checkpoints share; the lists
// themselves are found by the hash of their ids and then compared. Invariants: byte_size() <= budget after every add(),
// shared memory counted once; no two checkpoints hold the same ids. Thread safety: all of it from any thread; the
// snapshots given out are used under the backend's own rule.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"

namespace prosa::runtime {

struct StoredState {
  std::vector<int32_t> tokens;
  std::unique_ptr<const backend::Snapshot> snapshot;
};

/// A place that holds one checkpoint, the newest put there: for positions that are soon passed (a sentence being
/// spoken).
struct Slot {
  uint64_t owner = 0;  // 0: none, the checkpoint stays until it is the least useful
  int number = 0;
};

class StateStore {
 public:
  explicit StateStore(int64_t byte_budget) : budget_(byte_budget) {}

  /// The longest checkpoint that `tokens` begins with, of at most `longest` tokens; null: none. Every checkpoint on the
  /// way counts as used. It lives as long as it is held, even when it is dropped here.
  std::shared_ptr<const StoredState> find(std::span<const int32_t> tokens, int64_t longest);
  /// The longest `most` checkpoints that `tokens` begins with and goes beyond, the shortest of them first; none of
  /// those in slots.
  [[nodiscard]] std::vector<std::shared_ptr<const StoredState>> on_the_way(std::span<const int32_t> tokens,
                                                                           size_t most) const;
  /// True where a checkpoint of exactly these ids stands; one in a slot is then kept as if it had been added to `slot`.
  bool holds(std::span<const int32_t> tokens, Slot slot = {});

  /// Keeps `snapshot` of the state after `tokens`, and drops the least useful others until the budget is met. One that
  /// exceeds the budget by itself is not kept. False: it was not kept, or stood there already.
  bool add(std::span<const int32_t> tokens, std::unique_ptr<const backend::Snapshot> snapshot, Slot slot = {});
  /// Empties an owner's slots.
  void drop_slots(uint64_t owner);
  void clear();

  [[nodiscard]] size_t size() const;
  [[nodiscard]] int64_t byte_size() const;
  /// Bytes that would stay held here if the blocks of `others` were not counted.
  [[nodiscard]] int64_t byte_size_without(std::span<const backend::SharedBlock> others) const;
  [[nodiscard]] int64_t budget() const noexcept { return budget_; }

 private:
  struct Entry {
    std::shared_ptr<const StoredState> checkpoint;
    uint64_t hash = 0;  // of the tokens
    Slot slot;
    uint64_t used = 0;      // tick of the last find() or add() on whose way it lay
    int64_t own_bytes = 0;  // without shared blocks
    [[nodiscard]] size_t length() const { return checkpoint->tokens.size(); }
  };
  struct Block {
    int64_t bytes = 0;
    int64_t holders = 0;
  };
  bool touch(std::span<const int32_t> tokens, uint64_t hash, Slot slot);
  [[nodiscard]] size_t index_of(std::span<const int32_t> tokens, uint64_t hash) const;
  [[nodiscard]] size_t least_useful() const;
  void drop(size_t index);

  const int64_t budget_;
  mutable std::mutex mutex_;                       // guards what follows
  std::vector<Entry> entries_;                     // by position
  std::unordered_map<const void*, Block> blocks_;  // that entries share
  int64_t bytes_ = 0;
  uint64_t tick_ = 0;
};

}  // namespace prosa::runtime
