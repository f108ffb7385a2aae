// Merging, twice: a scan over small arrays for words, a heap over linked symbols for long pieces. Both give the same
// ids.
#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"

namespace prosa {

MergeTable::MergeTable(std::span<const Merge> merges)
    : slots_(std::bit_ceil(merges.size() * 3 / 2 + 16)),
      shift_(64 - std::countr_zero(slots_.size())),
      hash_key_(HashKey::of_process()) {
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const uint64_t pair = pair_of(merge.left, merge.right);
    size_t at = home(pair);
    while (slots_[at].pair != pair && slots_[at].pair != kEmpty) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {pair, static_cast<uint32_t>(rank), merge.result};
  }
}

Bpe::Bpe(const StringPool& tokens, std::span<const Merge> merges, const std::array<int32_t, 256>& byte_ids,
         const std::vector<bool>& unmerged)
    : tokens_(&tokens), byte_ids_(byte_ids), merges_(merges), whole_(tokens.size()) {
  if (!unmerged.empty()) {
    for (size_t id = 0; id < tokens.size(); ++id) {
      if (unmerged[id]) whole_.insert(tokens, static_cast<int32_t>(id));
    }
    return;
  }
  Scratch scratch;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < tokens.size(); ++id) {
    ids.clear();
    if (tokens[id].size() <= kSmall) {
      merge_small(tokens[id], ids);
    } else {
      merge_large(tokens[id], scratch, ids);
    }
    if (ids.size() == 1 && ids[0] == static_cast<int32_t>(id)) whole_.insert(tokens, ids[0]);
  }
}

void Bpe::encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const {
  if (const int32_t id = whole(piece); id != StringIndex::kNone) {
    out.push_back(id);
  } else if (piece.size() <= kSmall) {
    merge_small(piece, out);
  } else {
    merge_large(piece, scratch, out);
  }
}

void Bpe::merge_small(std::string_view piece, std::vector<int32_t>& out) const {
  PROSA_CHECK(piece.size() <= kSmall);
  std::array<int32_t, kSmall> ids;
  std::array<uint32_t, kSmall> ranks;  // of the pair (i, i + 1)
  std::array<int32_t, kSmall> results;
  size_t count = piece.size();
  const auto look = [&](size_t i) {
    const MergeTable::Entry& entry = merges_.find(ids[i], ids[i + 1]);
    ranks[i] = entry.rank;
    results[i] = entry.result;
  };
  for (size_t i = 0; i < count; ++i) ids[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == MergeTable::kNever) break;
    ids[best] = results[best];
    std::copy(ids.begin() + best + 2, ids.begin() + count, ids.begin() + best + 1);
    std::copy(ranks.begin() + best + 1, ranks.begin() + count - 1, ranks.begin() + best);
    std::copy(results.begin() + best + 1, results.begin() + count - 1, results.begin() + best);
    --count;
    if (best + 1 < count) look(best);
    if (best > 0) look(best - 1);
  }
  out.insert(out.end(), ids.begin(), ids.begin() + count);
}

void Bpe::merge_large(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const {
  PROSA_CHECK(piece.size() < UINT32_MAX);
  const auto count = static_cast<uint32_t>(piece.size());
  std::vector<int32_t>& ids = scratch.ids;
  std::vector<uint32_t>& ranks = scratch.ranks;
  std::vector<uint32_t>& next = scratch.next;
  std::vector<uint32_t>& before = scratch.before;
  std::vector<uint64_t>& heap = scratch.heap;
  ids.resize(count);
  ranks.resize(count);
  next.resize(count);
  before.resize(count);
  heap.clear();
  const auto look = [&](uint32_t at) {
    ranks[at] = next[at] == count ? MergeTable::kNever : merges_.find(ids[at], ids[next[at]]).rank;
    return ranks[at] != MergeTable::kNever;
  };
  const auto entry_of = [&](uint32_t at) { return (uint64_t{ranks[at]} << 32) | at; };
  for (uint32_t i = 0; i < count; ++i) {
    ids[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
    next[i] = i + 1;
    before[i] = i - 1;  // of the first: never read
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (look(i)) heap.push_back(entry_of(i));
  }
  std::ranges::make_heap(heap, std::greater<>());
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::greater<>());
    const auto at = static_cast<uint32_t>(heap.back());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32);
    heap.pop_back();
    if (ranks[at] != rank) continue;  // one of the two has merged otherwise since
    const uint32_t gone = next[at];
    ids[at] = merges_.find(ids[at], ids[gone]).result;
    ranks[gone] = MergeTable::kNever;
    next[at] = next[gone];
    if (next[at] != count) before[next[at]] = at;
    for (const uint32_t changed : {at, at == 0 ? at : before[at]}) {
      if (!look(changed)) continue;
      heap.push_back(entry_of(changed));
      std::ranges::push_heap(heap, std::greater<>());
    }
  }
  for (uint32_t at = 0; at != count; at = next[at]) out.push_back(ids[at]);
}

}  // namespace prosa
