// The instructions of the tile unit, by numbers of tiles that templates can compute.
//
// Included inside the ISA's namespace. Not the compiler's intrinsics: those of g++ 12 take literals for the numbers,
// put every address into a register of its own, and don't say that a load reads memory. Invariant: in the order of the
// program among themselves, and loads and stores also with what it does to memory.
#pragma once

inline constexpr int64_t kTileBytes = 1024;  // 16 rows of 64 bytes

/// Of the 8 tiles: rows and bytes of a row.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

PROSA_INLINE inline void configure_tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes)); }
PROSA_INLINE inline void release_tiles() { asm volatile("tilerelease"); }

template <int Tile>
PROSA_INLINE inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
}

/// Rows `step` bytes apart, from `Offset` bytes behind `from` on.
template <int Tile, int64_t Offset = 0>
PROSA_INLINE inline void load_tile(const void* from, int64_t step) {
  asm volatile("tileloadd %c2(%0,%1,1), %%tmm%c3" : : "r"(from), "r"(step), "i"(Offset), "i"(Tile) : "memory");
}
template <int Tile, int64_t Offset = 0>
PROSA_INLINE inline void store_tile(void* to, int64_t step) {
  asm volatile("tilestored %%tmm%c3, %c2(%0,%1,1)" : : "r"(to), "r"(step), "i"(Offset), "i"(Tile) : "memory");
}

/// sum += left x right: rows of bytes times columns of four bytes. The letters: signed or unsigned, left and right.
template <int Sum, int Left, int Right>
PROSA_INLINE inline void multiply_ss() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}
template <int Sum, int Left, int Right>
PROSA_INLINE inline void multiply_su() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}
template <int Sum, int Left, int Right>
PROSA_INLINE inline void multiply_us() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}
template <int Sum, int Left, int Right>
PROSA_INLINE inline void multiply_uu() {
  asm volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(Left), "i"(Right));
}
