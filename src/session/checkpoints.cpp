// Which checkpoints stay. Lists are short (tens of entries), so everything is a plain scan.
#include "session/checkpoints.h"

#include <algorithm>

#include "base/check.h"

namespace prosa::session {
namespace {

bool begins_with(std::span<const int32_t> tokens, std::span<const int32_t> prefix) {
  return prefix.size() <= tokens.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
}

}  // namespace

int64_t Checkpoints::Entry::byte_size() const {
  return snapshot->byte_size() + static_cast<int64_t>(tokens.size() * sizeof(int32_t));
}

const backend::Snapshot* Checkpoints::find(std::span<const int32_t> tokens) {
  ++tick_;
  const backend::Snapshot* best = nullptr;
  for (Entry& entry : entries_) {  // by position: the last hit is the longest
    if (entry.tokens.size() >= tokens.size() || !begins_with(tokens, entry.tokens)) continue;
    entry.used = tick_;
    best = entry.snapshot.get();
  }
  return best;
}

bool Checkpoints::contains(std::span<const int32_t> tokens) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.tokens.size() == tokens.size() && begins_with(tokens, entry.tokens);
  });
}

void Checkpoints::add(std::span<const int32_t> tokens, std::unique_ptr<backend::Snapshot> snapshot) {
  PROSA_CHECK(snapshot != nullptr && snapshot->position() == static_cast<int64_t>(tokens.size()));
  if (contains(tokens)) return;
  Entry entry{{tokens.begin(), tokens.end()}, std::move(snapshot), tick_};
  const int64_t bytes = entry.byte_size();
  if (bytes > budget_) return;
  while (bytes_ + bytes > budget_) drop(least_useful());
  const auto place = std::upper_bound(entries_.begin(), entries_.end(), tokens.size(),
                                      [](size_t size, const Entry& other) { return size < other.tokens.size(); });
  entries_.insert(place, std::move(entry));
  bytes_ += bytes;
}

/// Of the entries unused for longest, the one whose loss costs least: the fewest tokens after the entry before it. The
/// first on a path goes last: it is what other conversations share. So old conversations go first, and a long one thins
/// out in its middle.
size_t Checkpoints::least_useful() const {
  PROSA_CHECK(!entries_.empty());
  uint64_t oldest = entries_.front().used;
  for (const Entry& entry : entries_) oldest = std::min(oldest, entry.used);
  size_t best = entries_.size();
  size_t best_loss = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].used != oldest) continue;
    size_t before = 0;
    for (size_t j = 0; j < i; ++j) {
      if (begins_with(entries_[i].tokens, entries_[j].tokens)) before = entries_[j].tokens.size();
    }
    const size_t loss = before == 0 ? SIZE_MAX : entries_[i].tokens.size() - before;
    if (best == entries_.size() || loss < best_loss) {
      best = i;
      best_loss = loss;
    }
  }
  return best;
}

void Checkpoints::drop(size_t index) {
  bytes_ -= entries_[index].byte_size();
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
}

void Checkpoints::clear() {
  entries_.clear();
  bytes_ = 0;
}

}  // namespace prosa::session
