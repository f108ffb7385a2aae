// Finding the warm Chat of a history (conversations.h).
#include "server/conversations.h"

#include <algorithm>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

namespace prosa::server {
namespace {

/// A retry takes the last reply back, an edit the question with it: such a Chat is still the right one.
constexpr size_t kMaxTakenBack = 2;

uint64_t mix(uint64_t seed, std::string_view text) { return XXH3_64bits_withSeed(text.data(), text.size(), seed); }

}  // namespace

Trail::Trail(const std::vector<Tool>& tools) : tools_(0) {
  for (const Tool& tool : tools) tools_ = mix(tools_ + 1, tool.json);
}

/// Thoughts are left out: clients do not send them back.
void Trail::add(const Message& message) {
  uint64_t hash = hashes_.empty() ? tools_ : hashes_.back();
  hash = mix(hash + static_cast<uint64_t>(message.role) + 1, message.content);
  for (const ToolCall& call : message.tool_calls) hash = mix(mix(hash, call.name), call.arguments);
  hashes_.push_back(hash);
}

size_t Trail::common(const Trail& other) const noexcept {
  if (tools_ != other.tools_) return 0;
  const auto parted = std::ranges::mismatch(hashes_, other.hashes_);
  return static_cast<size_t>(parted.in1 - hashes_.begin());
}

struct Conversations::Entry {
  Chat chat;
  size_t domain = 0;
  Trail trail = Trail();
  bool lent = false;
  int64_t bytes = 0;  // of its state, when it was given back
};

Conversations::Conversations(Model model, size_t most, int64_t bytes)
    : model_(std::move(model)), most_(most), bytes_(bytes) {}

Conversations::~Conversations() = default;

Chat& Conversations::Lent::chat() const { return entry_->chat; }

void Conversations::Lent::stands_at(Trail trail) {
  entry_->trail = std::move(trail);
  keeps_ = true;
}

std::unique_ptr<Conversations::Lent> Conversations::lend(size_t domain, const Trail& trail) {
  std::list<Entry> dropped;  // their Chats end outside of the lock
  std::unique_lock lock(mutex_);
  auto best = entries_.end();
  size_t best_common = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->lent || entry->domain != domain) continue;
    const size_t common = entry->trail.common(trail);
    if (common > best_common && common + kMaxTakenBack >= entry->trail.size()) {
      best = entry;
      best_common = common;
    }
  }
  if (best == entries_.end()) {
    while (entries_.size() >= most_) {
      const auto idle = std::find_if(entries_.rbegin(), entries_.rend(), [](const Entry& each) { return !each.lent; });
      PROSA_CHECK(idle != entries_.rend());
      dropped.splice(dropped.begin(), entries_, std::prev(idle.base()));
    }
    lock.unlock();
    std::list<Entry> made;
    made.push_back({Chat(model_, ChatOptions{.sharing = domain}), domain});
    lock.lock();
    entries_.splice(entries_.begin(), made);
    best = entries_.begin();
  } else {
    entries_.splice(entries_.begin(), entries_, best);
  }
  best->lent = true;
  return std::make_unique<Lent>(*this, best);
}

void Conversations::make_room(std::list<Entry>& dropped) {
  int64_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.lent ? 0 : entry.bytes;
  for (auto entry = entries_.end(); sum > bytes_ && entry != entries_.begin();) {
    --entry;
    if (entry->lent) continue;
    sum -= entry->bytes;
    const auto victim = entry++;
    dropped.splice(dropped.begin(), entries_, victim);
  }
}

void Conversations::give_back(std::list<Entry>::iterator entry, bool keep) noexcept {
  std::list<Entry> dropped;
  const MemoryFootprint memory = keep ? entry->chat.memory_footprint() : MemoryFootprint{};
  const std::lock_guard lock(mutex_);
  entry->lent = false;
  entry->bytes = memory.kv + memory.state;
  if (keep) {
    make_room(dropped);
  } else {
    dropped.splice(dropped.begin(), entries_, entry);
  }
}

void Conversations::forget(size_t domain) {
  std::list<Entry> dropped;
  const std::lock_guard lock(mutex_);
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto at = entry++;
    if (!at->lent && at->domain == domain) dropped.splice(dropped.begin(), entries_, at);
  }
}

size_t Conversations::common(size_t domain, const Trail& trail) const {
  const std::lock_guard lock(mutex_);
  size_t best = 0;
  for (const Entry& entry : entries_) {
    if (!entry.lent && entry.domain == domain) best = std::max(best, entry.trail.common(trail));
  }
  return best;
}

std::vector<Conversations::Idle> Conversations::idle_of(size_t domain) const {
  std::vector<Idle> idle;
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (!entry.lent && entry.domain == domain) idle.push_back({entry.trail.size(), entry.bytes});
  }
  return idle;
}

size_t Conversations::count() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

int64_t Conversations::idle_bytes() const {
  const std::lock_guard lock(mutex_);
  int64_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.lent ? 0 : entry.bytes;
  return sum;
}

}  // namespace prosa::server
