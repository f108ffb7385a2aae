// Which checkpoints stay, and what they weigh. There are tens to hundreds of entries: scans over them are cheap, over
// their tokens they are not, so a hash decides first.
#include "runtime/state_store.h"

#include <algorithm>

#include "base/check.h"

namespace prosa::runtime {
namespace {

constexpr size_t kMostEntries = 1024;  // tiny models: the bytes allow more than a scan should meet

uint64_t mixed(uint64_t hash, int32_t token) {
  hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 29);
}

uint64_t hash_of(std::span<const int32_t> tokens) {
  uint64_t hash = 1;
  for (const int32_t token : tokens) hash = mixed(hash, token);
  return hash;
}

bool begins_with(std::span<const int32_t> tokens, std::span<const int32_t> prefix) {
  return prefix.size() <= tokens.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
}

}  // namespace

std::shared_ptr<const StoredState> StateStore::find(std::span<const int32_t> tokens, int64_t longest) {
  const std::lock_guard lock(mutex_);
  ++tick_;
  std::shared_ptr<const StoredState> best;
  uint64_t hash = hash_of({});
  size_t hashed = 0;
  for (Entry& entry : entries_) {  // by position: the last hit is the longest
    if (entry.length() > tokens.size() || static_cast<int64_t>(entry.length()) > longest) break;
    while (hashed < entry.length()) hash = mixed(hash, tokens[hashed++]);
    if (hash != entry.hash || !begins_with(tokens, entry.checkpoint->tokens)) continue;
    entry.used = tick_;
    best = entry.checkpoint;
  }
  return best;
}

std::vector<std::shared_ptr<const StoredState>> StateStore::on_the_way(std::span<const int32_t> tokens,
                                                                       size_t most) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const StoredState>> found;
  for (const Entry& entry : entries_) {
    if (entry.length() >= tokens.size()) break;
    if (entry.slot.owner == 0 && begins_with(tokens, entry.checkpoint->tokens)) found.push_back(entry.checkpoint);
  }
  if (found.size() > most) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(most));
  return found;
}

size_t StateStore::index_of(std::span<const int32_t> tokens, uint64_t hash) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].hash == hash && entries_[i].length() == tokens.size() &&
        begins_with(tokens, entries_[i].checkpoint->tokens)) {
      return i;
    }
  }
  return entries_.size();
}

bool StateStore::holds(std::span<const int32_t> tokens, Slot slot) {
  const std::lock_guard lock(mutex_);
  return touch(tokens, hash_of(tokens), slot);
}

bool StateStore::touch(std::span<const int32_t> tokens, uint64_t hash, Slot slot) {
  const size_t held = index_of(tokens, hash);
  if (held == entries_.size()) return false;
  entries_[held].used = tick_;
  if (slot.owner == 0) entries_[held].slot = {};  // from now on it stays
  return true;
}

bool StateStore::add(std::span<const int32_t> tokens, std::unique_ptr<const backend::Snapshot> snapshot, Slot slot) {
  PROSA_CHECK(snapshot != nullptr && snapshot->position() == static_cast<int64_t>(tokens.size()));
  const std::lock_guard lock(mutex_);
  const uint64_t hash = hash_of(tokens);
  if (touch(tokens, hash, slot)) return false;
  if (slot.owner != 0) {
    for (size_t i = entries_.size(); i-- > 0;) {
      if (entries_[i].slot.owner == slot.owner && entries_[i].slot.number == slot.number) drop(i);
    }
  }
  const std::vector<backend::SharedBlock> shared = snapshot->shared();
  const int64_t all = snapshot->byte_size() + static_cast<int64_t>(tokens.size_bytes());
  if (all > budget_) return false;
  int64_t own = all;
  for (const backend::SharedBlock& block : shared) own -= block.bytes;
  bytes_ += own;
  for (const backend::SharedBlock& block : shared) {
    Block& held = blocks_[block.id];
    if (held.holders++ == 0) bytes_ += block.bytes;
    held.bytes = block.bytes;
  }
  while (!entries_.empty() && (bytes_ > budget_ || entries_.size() >= kMostEntries)) drop(least_useful());

  auto checkpoint = std::make_shared<StoredState>(StoredState{{tokens.begin(), tokens.end()}, std::move(snapshot)});
  const auto place = std::upper_bound(entries_.begin(), entries_.end(), tokens.size(),
                                      [](size_t size, const Entry& other) { return size < other.length(); });
  entries_.insert(place, Entry{std::move(checkpoint), hash, slot, tick_, own});
  return true;
}

/// Of the entries unused for longest, the one whose loss costs least: the fewest tokens after the entry before it. The
/// first on a path goes last: it is what other conversations share. So old conversations go first, and a long one thins
/// out in its middle.
size_t StateStore::least_useful() const {
  PROSA_CHECK(!entries_.empty());
  uint64_t oldest = entries_.front().used;
  for (const Entry& entry : entries_) oldest = std::min(oldest, entry.used);
  size_t best = entries_.size();
  size_t best_loss = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].used != oldest) continue;
    size_t before = 0;
    for (size_t j = 0; j < i; ++j) {
      if (begins_with(entries_[i].checkpoint->tokens, entries_[j].checkpoint->tokens)) before = entries_[j].length();
    }
    const size_t loss = before == 0 ? SIZE_MAX : entries_[i].length() - before;
    if (best == entries_.size() || loss < best_loss) {
      best = i;
      best_loss = loss;
    }
  }
  return best;
}

void StateStore::drop(size_t index) {
  const Entry& entry = entries_[index];
  bytes_ -= entry.own_bytes;
  for (const backend::SharedBlock& block : entry.checkpoint->snapshot->shared()) {
    const auto held = blocks_.find(block.id);
    if (--held->second.holders > 0) continue;
    bytes_ -= held->second.bytes;
    blocks_.erase(held);
  }
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
}

void StateStore::drop_slots(uint64_t owner) {
  const std::lock_guard lock(mutex_);
  for (size_t i = entries_.size(); i-- > 0;) {
    if (entries_[i].slot.owner == owner && owner != 0) drop(i);
  }
}

void StateStore::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  blocks_.clear();
  bytes_ = 0;
}

size_t StateStore::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

int64_t StateStore::byte_size() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

int64_t StateStore::byte_size_without(std::span<const backend::SharedBlock> others) const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = bytes_;
  for (const backend::SharedBlock& block : others) {
    if (const auto held = blocks_.find(block.id); held != blocks_.end()) bytes -= held->second.bytes;
  }
  return bytes;
}

}  // namespace prosa::runtime
