// Stored states of token lists: snapshots at positions that later lists are likely to share. One store serves every
// conversation of a model, so that what two of them begin with is computed once.
//
// A stored state is {token ids up to it, snapshot}; it serves any token list that begins with exactly those ids. Knows
// no roles and computes nothing. The tree that the lists form lies in their KV blocks, which snapshots share; the lists
// themselves are found by the hash of their ids and then compared. Invariants: byte_size() <= budget after every add(),
// shared memory counted once; no two stored states that
// one conversation may have are alike. Thread safety: all of it from any thread.
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

/// Who puts a state there, and as what.
struct Slot {
  uint64_t owner = 0;  // a conversation; 0: nobody, the state is everybody's
  /// A place of the owner that holds one state, the newest put there: for positions that are soon passed (a sentence
  /// being spoken), which nobody else finds. kKept: no such place, the state stays until it is the least useful.
  static constexpr int kKept = -1;
  int number = kKept;
  /// Not 0: the state has been fed in other pieces than a conversation that only shares its tokens would feed them, so
  /// it is found by the owner and by the forks of its family alone. Whoever else found it would go on with other bits
  /// than alone.
  uint64_t family = 0;
  /// States of one domain are never met from another, whoever looks: "everybody" is everybody of the domain.
  uint64_t domain = 0;
};

/// Who looks for a state.
struct Finder {
  uint64_t owner = 0;
  uint64_t family = 0;
  bool own_only = false;  // nothing that everybody may have
  uint64_t domain = 0;
};

class StateStore {
 public:
  explicit StateStore(int64_t byte_budget) : budget_(byte_budget) {}

  struct Found {
    std::shared_ptr<const StoredState> state;  // null: none
    bool shared = true;                        // false: of the finder's slots or family
    explicit operator bool() const { return state != nullptr; }
    const StoredState* operator->() const { return state.get(); }
  };
  /// The longest stored state that `tokens` begins with and `finder` may have, of at most `longest` tokens. Every one
  /// on the way counts as used, and becomes everybody's when its owner is another. It lives as long as it is held, even
  /// when it is dropped here.
  Found find(std::span<const int32_t> tokens, int64_t longest, Finder finder = {});
  /// The longest `limit` stored states that `tokens` begins with and goes beyond and that `finder` may have, the
  /// shortest of them first, one a position; none of those in slots.
  [[nodiscard]] std::vector<std::shared_ptr<const StoredState>> on_the_way(std::span<const int32_t> tokens,
                                                                           size_t limit, Finder finder = {}) const;
  /// Whether a state of exactly these ids is there for everybody (of domain 0).
  [[nodiscard]] bool contains(std::span<const int32_t> tokens) const;
  /// Uses the state of exactly these ids, if it is there, as if it had been added to `slot`: one in a slot then stays.
  bool touch(std::span<const int32_t> tokens, Slot slot = {});

  /// Keeps `snapshot` of the state after `tokens`, and drops the least useful others until the budget is met. One that
  /// exceeds the budget by itself is not kept. False: it was not kept, or stood there already.
  bool add(std::span<const int32_t> tokens, std::unique_ptr<const backend::Snapshot> snapshot, Slot slot = {});
  /// Empties an owner's slots.
  void drop_slots(uint64_t owner);
  /// Drops what only this owner has put there and used.
  void forget(uint64_t owner);
  void clear();

  [[nodiscard]] size_t size() const;
  [[nodiscard]] int64_t byte_size() const;
  /// Bytes that would stay held here if the blocks of `others` were not counted.
  [[nodiscard]] int64_t byte_size_without(std::span<const backend::SharedBlock> others) const;
  [[nodiscard]] int64_t budget() const noexcept { return budget_; }

 private:
  struct Entry {
    std::shared_ptr<const StoredState> state;
    uint64_t hash = 0;  // of the tokens
    Slot slot;
    uint64_t used = 0;                              // tick of the last find() or add() on whose way it lay
    int64_t own_bytes = 0;                          // without shared blocks
    std::vector<backend::SharedBlock> blocks = {};  // of the snapshot
    Entry* before = nullptr;                        // the longest other of its domain that its tokens begin with
    [[nodiscard]] size_t length() const { return state->tokens.size(); }
    [[nodiscard]] bool in_slot() const { return slot.number != Slot::kKept; }
    [[nodiscard]] bool is_own(uint64_t owner, uint64_t family) const {
      return in_slot() ? slot.owner == owner : slot.family != 0 && slot.family == family;
    }
    [[nodiscard]] bool is_shared() const { return !in_slot() && slot.family == 0; }
    [[nodiscard]] const std::vector<int32_t>& tokens() const { return state->tokens; }
  };
  struct Block {
    int64_t bytes = 0;
    int64_t holders = 0;
  };
  void use(Entry& entry, uint64_t owner);
  [[nodiscard]] Entry* exact(std::span<const int32_t> tokens, uint64_t hash, const Slot& slot) const;
  [[nodiscard]] Entry* longest_prefix(std::span<const int32_t> tokens, size_t longest, uint64_t domain) const;
  void insert(std::unique_ptr<Entry> entry);
  [[nodiscard]] size_t least_useful() const;
  void drop(size_t index);
  template <typename Condition>
  void drop_if(Condition condition);

  const int64_t budget_;
  mutable std::mutex mutex_;                       // guards what follows
  std::vector<std::unique_ptr<Entry>> entries_;    // by length
  std::unordered_map<const void*, Block> blocks_;  // that entries share
  int64_t bytes_ = 0;
  uint64_t tick_ = 0;
};

}  // namespace prosa::runtime
