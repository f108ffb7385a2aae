// Many short byte strings in one block, and a hash index over them.
//
// Insert-only. Lookup reads one table line for strings of up to 8 bytes, which lie in the table themselves; a word of
// text finds its token without touching the block. The hash is keyed (base/keyed_hash.h): no file can make all its
// tokens meet in one place. Not synchronized; const use is thread-safe.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/keyed_hash.h"

namespace prosa {

class StringPool {
 public:
  void add(std::string_view text) {
    PROSA_CHECK(text.size() <= std::numeric_limits<uint32_t>::max() - bytes_.size());
    bytes_ += text;
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
  }
  [[nodiscard]] size_t size() const noexcept { return ends_.size() - 1; }
  [[nodiscard]] std::string_view operator[](size_t index) const noexcept {
    return std::string_view(bytes_).substr(ends_[index], ends_[index + 1] - ends_[index]);
  }

 private:
  std::string bytes_;
  std::vector<uint32_t> ends_ = {0};
};

/// string -> its index in the pool that every call names.
class StringIndex {
 public:
  static constexpr int32_t kNone = -1;

  explicit StringIndex(size_t capacity)
      : slots_(std::bit_ceil(capacity * 3 / 2 + 16)),
        shift_(64 - std::countr_zero(slots_.size())),
        hash_key_(HashKey::of_process()) {}

  /// False if an equal string is there already. No more than `capacity` strings.
  bool insert(const StringPool& pool, int32_t index) {
    const std::string_view text = pool[static_cast<size_t>(index)];
    Slot& slot = slots_[find_slot(pool, text)];
    if (slot.index != kNone) return false;
    slot = {key_of(text, hash_key_), static_cast<uint32_t>(text.size()), index};
    return true;
  }
  [[nodiscard]] int32_t find(const StringPool& pool, std::string_view text) const noexcept {
    return slots_[find_slot(pool, text)].index;
  }

 private:
  struct Slot {
    uint64_t key = 0;  // the bytes themselves up to 8 of them, else a hash
    uint32_t size = 0;
    int32_t index = kNone;
  };

  static uint64_t key_of(std::string_view text, const HashKey& hash_key) noexcept {
    if (text.size() > 8) return keyed_hash(text, hash_key);
    if (text.size() >= 4) {  // two halves that may overlap, which tells as much as the bytes in a row
      uint32_t halves[2];
      std::memcpy(&halves[0], text.data(), 4);
      std::memcpy(&halves[1], text.data() + text.size() - 4, 4);
      return halves[0] | (uint64_t{halves[1]} << 32);
    }
    uint64_t key = 0;
    for (const char byte : text) key = (key << 8) | static_cast<unsigned char>(byte);
    return key;
  }
  [[nodiscard]] size_t find_slot(const StringPool& pool, std::string_view text) const noexcept {
    const uint64_t key = key_of(text, hash_key_);
    const uint64_t mixed = keyed_hash(key ^ text.size(), hash_key_);
    for (size_t at = static_cast<size_t>(mixed >> shift_);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.index == kNone) return at;
      if (slot.key != key || slot.size != text.size()) continue;
      if (text.size() <= 8 || pool[static_cast<size_t>(slot.index)] == text) return at;
    }
  }

  std::vector<Slot> slots_;
  int shift_;
  HashKey hash_key_;
};

}  // namespace prosa
