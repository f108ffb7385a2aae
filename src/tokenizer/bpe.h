// Byte-pair merging of one piece of text.
//
// Starting from single bytes, the neighbours whose merge has the lowest rank (the leftmost among equals) become one,
// until none is left that merges. Immutable after construction, so shared without locks; there is no cache: a piece
// that is a token as a whole is found by one lookup, and which tokens merging really arrives at was tried out at load.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/keyed_hash.h"
#include "tokenizer/string_pool.h"
#include "tokenizer/tokenizer_file.h"

namespace prosa {

/// (left, right) -> rank and result, by open addressing with a keyed hash. Of equal pairs the last one counts, as in
/// the official library.
class MergeTable {
 public:
  struct Entry {
    uint64_t pair = kEmpty;
    uint32_t rank = kNever;
    int32_t result = 0;
  };
  static constexpr uint32_t kNever = UINT32_MAX;  // the rank of a pair that does not merge

  explicit MergeTable(std::span<const Merge> merges);
  [[nodiscard]] const Entry& find(int32_t left, int32_t right) const noexcept {
    const uint64_t pair = pair_of(left, right);
    size_t at = home(pair);
    while (slots_[at].pair != pair && slots_[at].pair != kEmpty) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  static uint64_t pair_of(int32_t left, int32_t right) noexcept {
    return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
  }
  [[nodiscard]] size_t home(uint64_t pair) const noexcept {
    return static_cast<size_t>(keyed_hash(pair, hash_key_) >> shift_);
  }
  std::vector<Entry> slots_;
  int shift_;
  HashKey hash_key_;
};

class Bpe {
 public:
  /// Working memory of one caller, kept between pieces.
  struct Scratch {
    std::vector<int32_t> ids;      // [symbols]
    std::vector<uint32_t> ranks;   // [symbols] of the pair that begins here
    std::vector<uint32_t> next;    // [symbols] links of the living symbols
    std::vector<uint32_t> before;  // [symbols]
    std::vector<uint64_t> heap;    // rank << 32 | position
  };

  /// `tokens`: [vocab], must outlive this. `unmerged`: [vocab] of the tokens that a piece is as a whole, whatever the
  /// merges say; empty: those that merging arrives at, and no others.
  Bpe(const StringPool& tokens, std::span<const Merge> merges, const std::array<int32_t, 256>& byte_ids,
      const std::vector<bool>& unmerged = {});

  /// Appends the ids of `piece`, which has fewer than 2^32 bytes.
  void encode(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const;
  /// The token that a piece with these bytes is as a whole, or StringIndex::kNone.
  [[nodiscard]] int32_t whole(std::string_view piece) const noexcept { return whole_.find(*tokens_, piece); }

 private:
  static constexpr size_t kSmall = 48;  // up to here a scan for the lowest rank beats the heap
  void merge_small(std::string_view piece, std::vector<int32_t>& out) const;
  void merge_large(std::string_view piece, Scratch& scratch, std::vector<int32_t>& out) const;

  const StringPool* tokens_;
  std::array<int32_t, 256> byte_ids_;
  MergeTable merges_;
  StringIndex whole_;
};

}  // namespace prosa
