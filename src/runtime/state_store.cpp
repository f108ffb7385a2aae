// Which stored states stay, and what they weigh. There are tens to hundreds of entries: scans over them are cheap, over
// their tokens they are not, so a hash decides first.
#include "runtime/state_store.h"

#include <algorithm>
#include <new>

#include "base/check.h"

namespace prosa::runtime {
namespace {

constexpr size_t kMaxEntries = 1024;  // tiny models: the bytes allow more than a scan should meet

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

/// A use by another than the owner makes a state everybody's: what the owner forgets stays for the others.
void StateStore::use(Entry& entry, uint64_t owner) {
  entry.used = tick_;
  if (!entry.in_slot() && owner != entry.slot.owner) entry.slot.owner = 0;
}

StateStore::Found StateStore::find(std::span<const int32_t> tokens, int64_t longest, Finder finder) {
  const std::lock_guard lock(mutex_);
  ++tick_;
  const Entry* own = nullptr;
  const Entry* shared = nullptr;
  Entry* entry = longest < 0 ? nullptr : longest_prefix(tokens, static_cast<size_t>(longest), finder.domain);
  for (; entry != nullptr; entry = entry->before) {
    if (entry->is_own(finder.owner, finder.family)) {
      use(*entry, finder.owner);
      if (own == nullptr) own = entry;
    } else if (entry->is_shared()) {
      use(*entry, finder.owner);
      if (shared == nullptr && !finder.own_only) shared = entry;
    }
  }
  if (own != nullptr) return {own->state, false};
  return shared != nullptr ? Found{shared->state, true} : Found{};
}

StateStore::Entry* StateStore::longest_prefix(std::span<const int32_t> tokens, size_t longest, uint64_t domain) const {
  Entry* best = nullptr;
  uint64_t hash = hash_of({});
  size_t hashed = 0;
  for (const auto& entry : entries_) {  // by length: the last hit is the longest
    if (entry->length() > tokens.size() || entry->length() > longest) break;
    while (hashed < entry->length()) hash = mixed(hash, tokens[hashed++]);
    const bool may_be = hash == entry->hash && entry->slot.domain == domain;
    if (may_be && begins_with(tokens, entry->tokens())) best = entry.get();
  }
  return best;
}

std::vector<std::shared_ptr<const StoredState>> StateStore::on_the_way(std::span<const int32_t> tokens, size_t limit,
                                                                       Finder finder) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const StoredState>> found;
  if (tokens.empty()) return found;
  for (const Entry* entry = longest_prefix(tokens, tokens.size() - 1, finder.domain);
       entry != nullptr && found.size() < limit; entry = entry->before) {
    const bool may_have = entry->is_shared() || entry->is_own(finder.owner, finder.family);
    const bool alike = !found.empty() && found.back()->tokens.size() == entry->length();
    if (may_have && !entry->in_slot() && !alike) found.push_back(entry->state);
  }
  std::ranges::reverse(found);
  return found;
}

/// The state of these ids that serves `slot`: an own one, or, for what everybody may have, one of everybody's.
StateStore::Entry* StateStore::exact(std::span<const int32_t> tokens, uint64_t hash, const Slot& slot) const {
  const bool for_all = slot.number == Slot::kKept && slot.family == 0;
  auto entry = std::ranges::lower_bound(entries_, tokens.size(), {}, [](const auto& each) { return each->length(); });
  for (; entry != entries_.end() && (*entry)->length() == tokens.size(); ++entry) {
    const bool serves = (*entry)->is_own(slot.owner, slot.family) || (for_all && (*entry)->is_shared());
    if (serves && (*entry)->slot.domain == slot.domain && (*entry)->hash == hash &&
        begins_with(tokens, (*entry)->tokens()))
      return entry->get();
  }
  return nullptr;
}

bool StateStore::contains(std::span<const int32_t> tokens) const {
  const std::lock_guard lock(mutex_);
  return exact(tokens, hash_of(tokens), {}) != nullptr;
}

bool StateStore::touch(std::span<const int32_t> tokens, Slot slot) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = exact(tokens, hash_of(tokens), slot);
  if (entry == nullptr) return false;
  if (slot.number == Slot::kKept && entry->in_slot()) entry->slot = slot;  // from now on it stays
  use(*entry, slot.owner);
  return true;
}

bool StateStore::add(std::span<const int32_t> tokens, std::unique_ptr<const backend::Snapshot> snapshot, Slot slot) {
  PROSA_CHECK(snapshot != nullptr && snapshot->position() == static_cast<int64_t>(tokens.size()));
  if (touch(tokens, slot)) return false;
  const std::lock_guard lock(mutex_);
  const uint64_t hash = hash_of(tokens);
  if (exact(tokens, hash, slot) != nullptr) return false;  // somebody was faster
  if (slot.number != Slot::kKept) {
    drop_if([&](const Entry& entry) { return entry.slot.owner == slot.owner && entry.slot.number == slot.number; });
  }
  const int64_t all = snapshot->byte_size() + static_cast<int64_t>(tokens.size_bytes());
  if (all > budget_) return false;
  // All memory is taken before anything is changed.
  std::vector<backend::SharedBlock> shared = snapshot->shared();
  auto state = std::make_shared<StoredState>(StoredState{{tokens.begin(), tokens.end()}, std::move(snapshot)});
  int64_t own = all;
  for (const backend::SharedBlock& block : shared) own -= block.bytes;
  auto entry = std::make_unique<Entry>(Entry{std::move(state), hash, slot, tick_, own, std::move(shared)});
  if (entries_.size() == entries_.capacity()) entries_.reserve(2 * entries_.size() + 1);
  try {
    for (const backend::SharedBlock& block : entry->blocks) blocks_.try_emplace(block.id);
  } catch (const std::bad_alloc&) {
    std::erase_if(blocks_, [](const auto& each) { return each.second.holders == 0; });
    throw;
  }

  bytes_ += own;
  for (const backend::SharedBlock& block : entry->blocks) {
    Block& held = blocks_.find(block.id)->second;
    if (held.holders++ == 0) bytes_ += block.bytes;
    held.bytes = block.bytes;
  }
  while (!entries_.empty() && (bytes_ > budget_ || entries_.size() >= kMaxEntries)) drop(least_useful());
  insert(std::move(entry));
  return true;
}

/// Puts an entry into the order and the tree. There is room for it.
void StateStore::insert(std::unique_ptr<Entry> entry) {
  entry->before = longest_prefix(entry->tokens(), entry->length(), entry->slot.domain);
  for (const auto& other : entries_) {  // those between which and their `before` it stands
    if (other->length() > entry->length() && other->before == entry->before &&
        other->slot.domain == entry->slot.domain && begins_with(other->tokens(), entry->tokens())) {
      other->before = entry.get();
    }
  }
  const auto place =
      std::ranges::upper_bound(entries_, entry->length(), {}, [](const auto& each) { return each->length(); });
  entries_.insert(place, std::move(entry));
}

/// Of the entries unused for longest, the one whose loss costs least: the fewest tokens after the entry before it. The
/// first on a path goes last: it is what other conversations share. So old conversations go first, and a long one thins
/// out in its middle.
size_t StateStore::least_useful() const {
  PROSA_CHECK(!entries_.empty());
  uint64_t oldest = entries_.front()->used;
  for (const auto& entry : entries_) oldest = std::min(oldest, entry->used);
  size_t best = entries_.size();
  size_t best_loss = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = *entries_[i];
    if (entry.used != oldest) continue;
    const size_t loss = entry.before == nullptr ? SIZE_MAX : entry.length() - entry.before->length();
    if (best == entries_.size() || loss < best_loss) {
      best = i;
      best_loss = loss;
    }
  }
  return best;
}

void StateStore::drop(size_t index) {
  const std::unique_ptr<Entry> entry = std::move(entries_[index]);
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
  for (const auto& other : entries_) {
    if (other->before == entry.get()) other->before = entry->before;
  }
  bytes_ -= entry->own_bytes;
  for (const backend::SharedBlock& block : entry->blocks) {
    const auto held = blocks_.find(block.id);
    if (--held->second.holders > 0) continue;
    bytes_ -= held->second.bytes;
    blocks_.erase(held);
  }
}

template <typename Condition>
void StateStore::drop_if(Condition condition) {
  for (size_t i = entries_.size(); i-- > 0;) {
    if (condition(*entries_[i])) drop(i);
  }
}

void StateStore::drop_slots(uint64_t owner) {
  const std::lock_guard lock(mutex_);
  drop_if([&](const Entry& entry) { return entry.slot.owner == owner && entry.slot.number != Slot::kKept; });
}

void StateStore::forget(uint64_t owner) {
  const std::lock_guard lock(mutex_);
  drop_if([&](const Entry& entry) { return owner != 0 && entry.slot.owner == owner; });
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
