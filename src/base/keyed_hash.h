// Hashes for tables whose keys come from outside: keyed with a random number that each process draws for itself.
//
// Who knows the hash function of a table can make keys that all fall on one place, and then every look-up walks along
// all of them. With a key that nobody else knows, such keys cannot be made in advance. Strings take XXH3 with the key
// as its seed, numbers a folded product of 128 bits. Neither is a cryptographic hash, and no hash may be stored or
// shown: another process gives another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace prosa {

/// Random, and the same until the process ends.
struct HashKey {
  uint64_t add = 0;
  uint64_t times = 0;  // odd

  /// Error(io) when the system gives no random numbers.
  static const HashKey& of_process();
};

inline uint64_t keyed_hash(uint64_t number, const HashKey& key) noexcept {
  __extension__ using Product = unsigned __int128;
  const Product product = static_cast<Product>(number ^ key.add) * key.times;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
uint64_t keyed_hash(std::string_view text, const HashKey& key) noexcept;

/// The hash of the standard containers; looks up std::string_view without a copy.
struct KeyedStringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const {
    return static_cast<size_t>(keyed_hash(text, HashKey::of_process()));
  }
};
template <typename Value>
using KeyedMap = std::unordered_map<std::string, Value, KeyedStringHash, std::equal_to<>>;
using KeyedSet = std::unordered_set<std::string, KeyedStringHash, std::equal_to<>>;

}  // namespace prosa
