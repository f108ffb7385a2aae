// How a head's keys and values lie in the KV cache.
//
// Not who holds them (state.h). Invariant: the same on every ISA, so that what one has written another continues.
#pragma once

#include <cstdint>

namespace prosa::backend::cpu {

inline constexpr int64_t kKvBlock = 16;  // positions whose keys lie interleaved, dimensions whose values do
inline constexpr int64_t kKvStep = 64;   // positions whose values of kKvBlock dimensions lie together
inline constexpr int64_t kKvSpan = 128;  // positions of a KV block, the unit that states and snapshots share

/// One head's keys or values of a KV block: kKvSpan vectors of head_dim integers, then their float32 scales. Integers
/// lie as dot products of pairs of 16 bits or of four bytes take them (together(), below t): keys as [kKvSpan / 16]
/// [head_dim / t][16 positions][t], values as [kKvSpan / 64][head_dim / 16][64 / t][16 dimensions][t positions].
struct KvLayout {
  int64_t head_dim = 0;  // multiple of 16
  int bits = 8;          // 8 or 16

  [[nodiscard]] constexpr int64_t together() const { return bits == 8 ? 4 : 2; }
  [[nodiscard]] constexpr int64_t number_bytes() const { return bits / 8; }
  [[nodiscard]] constexpr int64_t vector_bytes() const { return head_dim * number_bytes() + 4; }
  [[nodiscard]] constexpr int64_t head_bytes() const { return kKvSpan * vector_bytes(); }
  /// The place of a number, counted in numbers.
  [[nodiscard]] constexpr int64_t key_at(int64_t slot, int64_t d) const {
    const int64_t t = together();
    return slot / kKvBlock * kKvBlock * head_dim + d / t * t * kKvBlock + slot % kKvBlock * t + d % t;
  }
  [[nodiscard]] constexpr int64_t value_at(int64_t slot, int64_t d) const {
    const int64_t t = together();
    return slot / kKvStep * kKvStep * head_dim + d / kKvBlock * kKvBlock * kKvStep + slot % kKvStep / t * t * kKvBlock +
           d % kKvBlock * t + slot % t;
  }
  /// The place of a vector's scale, in bytes.
  [[nodiscard]] constexpr int64_t scale_at(int64_t slot) const {
    return kKvSpan * head_dim * number_bytes() + 4 * slot;
  }
  friend constexpr bool operator==(const KvLayout&, const KvLayout&) = default;
};

}  // namespace prosa::backend::cpu
