// The activations of one pass: allocated once for the largest number of token rows, shared by prefill and decode.
//
// Rows are [max_rows][width], widths padded to 16. The two kinds of mixers and the MLP never run at the same time: what
// is theirs alone lies in the same memory, and what a buffer held before its stage wrote it is not to be read.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"

namespace prosa::backend::cpu {

inline constexpr std::array<int64_t, 3> kGroupSizes{32, 64, 128};
constexpr size_t group_index(int64_t group_size) { return group_size == 32 ? 0 : group_size == 64 ? 1 : 2; }

/// A product's inputs: float32 rows and, per group size some matrix asks for, their integer planes.
class InputRows {
 public:
  InputRows() = default;
  /// `planes`: 2 for 15-bit integers, 1 for 8-bit ones.
  InputRows(int64_t rows, int64_t width, int planes);
  [[nodiscard]] float* row(int64_t index) { return x_.data() + index * width_; }
  void quantize(const Kernels& kernels, int64_t index, int64_t n, int64_t group_size);
  /// As seen by a matrix of this group size (any for dense ones), from row `first` on.
  [[nodiscard]] Activations view(int64_t group_size, int64_t first = 0) const;
  [[nodiscard]] int64_t byte_size() const;

 private:
  struct Quantized {
    AlignedBuffer<int8_t> high;  // [rows, pitch]
    AlignedBuffer<int8_t> low;   // [rows, pitch], or empty
    AlignedBuffer<float> scale;  // [width / group, rows]
    AlignedBuffer<float> sum;    // [width / group, rows]
  };
  int64_t rows_ = 0;   // a multiple of 16, or few
  int64_t width_ = 0;  // of x
  int64_t pitch_ = 0;  // of the integers: an odd number of cache lines, so that a column of rows spreads over the cache
  AlignedBuffer<float> x_;  // [rows, width]
  std::array<Quantized, kGroupSizes.size()> quantized_;
};

struct Workspace {
  Workspace(const ModelConfig& config, int64_t max_rows, int workers, int planes);

  int64_t max_rows;
  int64_t hidden_width;        // padded hidden_size
  int64_t intermediate_width;  // padded intermediate_size
  int64_t head_width;          // padded linear_num_value_heads

  AlignedBuffer<float> hidden;  // [rows, hidden]: the residual stream; its padding stays zero
  AlignedBuffer<float> mixed;   // [rows, max(value_dim, query_dim)]: the mixer's output before out_proj
  AlignedBuffer<float> stage;   // of what follows: Gated DeltaNet, or gated attention, or the MLP

  std::span<float> qkv;   // [rows, conv_dim]: before the convolution
  std::span<float> conv;  // [rows, conv_dim]: after it
  std::span<float> z;     // [rows, value_dim]
  std::span<float> b;     // [rows, head_width]: beta after the sigmoid
  std::span<float> a;     // [rows, head_width]: log decay g after its formula

  std::span<float> query;  // [rows, 2 * query_dim]: per head [q | gate]
  std::span<float> key;    // [rows, kv_dim]
  std::span<float> value;  // [rows, kv_dim]

  std::span<float> gate;  // [rows, intermediate]
  std::span<float> up;    // [rows, intermediate]

  InputRows shared;                           // inputs of products over many rows, filled by all workers
  std::vector<InputRows> own;                 // [workers]: inputs of kOwnRows rows, filled by each worker for itself
  std::vector<AlignedBuffer<float>> scratch;  // [workers]: scratch of the mixers

  [[nodiscard]] int64_t byte_size() const;
};

/// Up to so many rows every worker prepares inputs for itself: cheaper than waiting for the others.
inline constexpr int64_t kOwnRows = 4;

}  // namespace prosa::backend::cpu
