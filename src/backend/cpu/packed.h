// Weights in the order in which the kernels read them: tiles of 32 rows, one sequential stream through a matrix.
//
// A tile is two halves of 16 rows (the lanes of a vector). Quantized tile, per group of columns: 32 scales, 32 biases,
// then for either half and every 32 columns `bits` vectors of 64 bytes. A vector lane (row, j) stands for row `row` of
// the half and column 4c + j of chunk c (4 columns):
//   4-bit plane   vector i: low nibble chunk 2i, high nibble chunk 2i+1   (4, 5, 6 bits: the low four)
//   2-bit plane   vector i: bits 2j..2j+1 chunk 4i+j                      (2, 3 bits: the low two; 6: the high two)
//   1-bit plane   bit c: chunk c                                          (3, 5 bits: the highest)
//   8 bits        vector c: chunk c
// Dense tile: [cols][32 rows] in the file's dtype.
// One form for every ISA; it takes no more bytes than the file (rows are padded to 32), but for MLX's small floats:
// those of mxfp4 become codes of 5 bits, those of mxfp8 and nvfp4 bfloat16, both with the very same numbers. Invariant:
// padding rows have scale, bias and code 0.
#pragma once

#include <cstdint>
#include <string>

#include "base/aligned.h"
#include "base/thread_pool.h"
#include "model/weights.h"

namespace prosa::backend::cpu {

inline constexpr int64_t kHalfRows = 16;  // rows of a vector
inline constexpr int64_t kHalves = 2;
inline constexpr int64_t kTileRows = kHalves * kHalfRows;
inline constexpr int64_t kVector = 64;  // bytes of one plane vector: 16 rows x 4 columns

/// What quantized weights are multiplied with: integers of 8 bits in one int8 plane, or of 15 bits in two, with a scale
/// for each group of columns. Dense weights take float32: no planes.
struct InputForm {
  int64_t group_size = 0;
  int planes = 0;
  friend bool operator==(const InputForm&, const InputForm&) = default;
};

struct PackedMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  int bits = 0;                     // 0: dense
  int group_size = 0;               // columns that share a scale and a bias
  int planes = 2;                   // of the activations; quantized weights
  DType dtype = DType::bf16;        // dense values
  DType scale_dtype = DType::bf16;  // bf16 or f32
  int64_t tile_bytes = 0;
  const uint8_t* data = nullptr;  // [tiles][tile_bytes], in `own` or in the model's one buffer
  AlignedBuffer<uint8_t> own;

  [[nodiscard]] int64_t tiles() const { return (rows + kTileRows - 1) / kTileRows; }
  [[nodiscard]] int64_t groups() const { return bits == 0 ? 0 : cols / group_size; }
  [[nodiscard]] int64_t header_bytes() const { return 2 * kTileRows * static_cast<int64_t>(dtype_size(scale_dtype)); }
  /// Bytes of the planes of one group of one half of a tile.
  [[nodiscard]] int64_t half_bytes() const { return group_size / 32 * bits * kVector; }
  /// Bytes of one group of one tile: scales, biases, planes of both halves.
  [[nodiscard]] int64_t group_bytes() const { return header_bytes() + kHalves * half_bytes(); }
  [[nodiscard]] int64_t byte_size() const { return tiles() * tile_bytes; }
  [[nodiscard]] InputForm input() const { return bits == 0 ? InputForm{} : InputForm{group_size, planes}; }
  [[nodiscard]] const uint8_t* tile(int64_t index) const { return data + index * tile_bytes; }
  /// The rows of these tiles, in the same memory.
  [[nodiscard]] PackedMatrix part(Range of_tiles) const;
};

/// Packs on all workers of the pool, into `place` (zeroed, packed_bytes(matrix) there) or a buffer of its own.
/// Not thread-safe against other uses of the pool.
PackedMatrix pack(const Matrix& matrix, ThreadPool& pool, uint8_t* place = nullptr);

/// Bytes that a matrix takes when packed, a multiple of kVector.
int64_t packed_bytes(const Matrix& matrix);

/// One row as float32 [cols]: the embedding look-up.
void unpack_row(const PackedMatrix& matrix, int64_t row, float* out);

}  // namespace prosa::backend::cpu
