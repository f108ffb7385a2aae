// Many short byte strings in one block, and a hash index over them.
//
// Insert-only. Lookup reads one table line for strings of up to 8 bytes, which lie in the table themselves; a word of
// text finds its token without touching the block. Not synchronized; const use is thread-safe.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"

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
      : slots_(std::bit_ceil(capacity * 3 / 2 + 16)), shift_(64 - std::countr_zero(slots_.size())) {}

  /// False if an equal string is there already. No more than `capacity` strings.
  bool insert(const StringPool& pool, int32_t index) {
    const std::string_view text = pool[static_cast<size_t>(index)];
    Slot& slot = slots_[find_slot(pool, text)];
    if (slot.index != kNone) return false;
    slot = {key_of(text), static_cast<uint32_t>(text.size()), index};
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

  static uint64_t key_of(std::string_view text) noexcept {
    uint64_t key = 0;
    if (text.size() <= 8) {
      if (text.size() >= 4) {  // two halves that may overlap, which tells as much as the bytes in a row
        uint32_t halves[2];
        std::memcpy(&halves[0], text.data(), 4);
        std::memcpy(&halves[1], text.data() + text.size() - 4, 4);
        return halves[0] | (uint64_t{halves[1]} << 32);
      }
      for (const char byte : text) key = (key << 8) | static_cast<unsigned char>(byte);
      return key;
    }
    uint64_t word = 0;
    for (size_t i = 0; i < text.size(); i += 8) {
      const size_t from = i + 8 <= text.size() ? i : text.size() - 8;  // the last word overlaps
      std::memcpy(&word, text.data() + from, 8);
      key = (std::rotl(key, 29) ^ word) * 0x9e3779b97f4a7c15U;
    }
    return key;
  }
  [[nodiscard]] size_t find_slot(const StringPool& pool, std::string_view text) const noexcept {
    const uint64_t key = key_of(text);
    const uint64_t mixed = (key ^ (key >> 32) ^ text.size()) * 0x9e3779b97f4a7c15U;
    for (size_t at = static_cast<size_t>(mixed >> shift_);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.index == kNone) return at;
      if (slot.key != key || slot.size != text.size()) continue;
      if (text.size() <= 8 || pool[static_cast<size_t>(slot.index)] == text) return at;
    }
  }

  std::vector<Slot> slots_;
  int shift_;
};

}  // namespace prosa
