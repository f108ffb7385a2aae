// The activations of one pass: allocated once for the largest number of token rows, shared by prefill and decode.
//
// Rows are [max_rows][width], widths those of pitch(). The two kinds of mixers and the MLP never run at the same time:
// what is theirs alone lies in the same memory, and what a buffer held before its stage wrote it is not to be read.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "backend/cpu/attend_parts.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"

namespace prosa::backend::cpu {

/// The forms in which quantized weights may ask for their inputs.
inline constexpr std::array<InputForm, 6> kInputForms{{{32, 1}, {64, 1}, {128, 1}, {32, 2}, {64, 2}, {128, 2}}};
constexpr size_t form_index(InputForm form) {
  return static_cast<size_t>(std::ranges::find(kInputForms, form) - kInputForms.begin());
}

/// Floats from one row to the next of `n`: an odd number of cache lines, so that a column of rows spreads over the sets
/// of a cache instead of meeting in a few.
constexpr int64_t pitch(int64_t n) { return (padded(n) / 16 | 1) * 16; }

/// A product's inputs: float32 rows and, for each form that some matrix asks for, their integers and outliers.
class InputRows {
 public:
  InputRows() = default;
  /// Of up to `width` columns. row() has `floats` columns, which may be none.
  InputRows(int64_t rows, int64_t width, int64_t floats, std::span<const InputForm> forms);
  [[nodiscard]] float* row(int64_t index) { return x_.data() + index * x_pitch_; }
  /// The first n columns of row(index).
  void quantize(const Kernels& kernels, int64_t index, int64_t n, InputForm form) {
    quantize(kernels, index, 0, {row(index), static_cast<size_t>(n)}, form);
  }
  /// Columns from `first` on, whole groups of them, whose floats are elsewhere.
  void quantize(const Kernels& kernels, int64_t index, int64_t first, std::span<const float> x, InputForm form);
  /// As seen by a matrix that asks for this form (dense ones: {}), from row `first` on.
  [[nodiscard]] Activations view(InputForm form, int64_t first = 0) const;
  [[nodiscard]] int64_t byte_size() const;

 private:
  struct Quantized {
    AlignedBuffer<int8_t> high;       // [rows, pitch]
    AlignedBuffer<int8_t> low;        // [rows, pitch], or empty
    AlignedBuffer<float> scale;       // [width / group, rows]
    AlignedBuffer<float> sum;         // [width / group, rows]
    AlignedBuffer<uint8_t> outliers;  // [width / group, rows]
    // [width / group, rows, kMaxOutliers]: pages that nothing is written to cost nothing
    AlignedBuffer<Outlier> outlier;
  };
  int64_t rows_ = 0;        // a multiple of 16, or few
  int64_t width_ = 0;       // a multiple of every group
  int64_t pitch_ = 0;       // of the integers: an odd number of cache lines, as pitch()
  int64_t x_pitch_ = 0;     // of x
  AlignedBuffer<float> x_;  // [rows, x_pitch]
  std::array<Quantized, kInputForms.size()> quantized_;
};

struct Workspace {
  Workspace(const PackedModel& model, int64_t max_rows, int workers);

  int64_t max_rows;
  int64_t hidden_width;        // pitch(hidden_size)
  int64_t intermediate_width;  // pitch(intermediate_size)
  int64_t head_width;          // pitch(linear_num_value_heads)
  int64_t conv_width;          // pitch(conv_dim)
  int64_t channels_width;      // pitch of a key head's q, k and the v of the value heads it serves
  int64_t value_width;         // pitch(value_dim)
  int64_t mixed_width;         // pitch(max(value_dim, query_dim))
  int64_t query_width;         // pitch(2 * query_dim)
  int64_t kv_width;            // pitch(kv_dim)

  AlignedBuffer<float> hidden;  // [rows, hidden]: the residual stream; its padding stays zero
  AlignedBuffer<float> mixed;   // [rows, mixed]: the mixer's output before out_proj
  AlignedBuffer<float> z;  // [rows, value_width]: of Gated DeltaNet; in `stage` the 0.8B's would touch a huge page more
  AlignedBuffer<float> rotary;  // [rows, rotary_dim]: cosines, then sines, of the row's position
  AlignedBuffer<float> stage;   // of what follows: Gated DeltaNet, or gated attention, or the MLP

  std::span<float> qkv;  // [rows, conv_width]: before the convolution
  std::span<float> b;    // [rows, head_width]: beta after the sigmoid
  std::span<float> a;    // [rows, head_width]: log decay g after its formula

  std::span<float> query;  // [rows, query_width]: per head [q | gate]
  std::span<float> key;    // [rows, kv_width]
  std::span<float> value;  // [rows, kv_width]

  std::span<float> gate;  // [rows, intermediate_width]
  std::span<float> up;    // [rows, intermediate_width]

  InputRows shared;                           // inputs of products over many rows, filled by all workers
  InputRows inner;                            // the same for quantized down_proj: integers only
  std::vector<InputRows> own;                 // [workers]: inputs of kOwnRows rows, filled by each worker for itself
  std::vector<AlignedBuffer<float>> scratch;  // [workers]: of the mixers, or gate and up of kInnerColumns
  // [workers]: [rows, channels_width], a key head after the convolution; or [kAttendRows, head_dim], a span's attention
  std::vector<AlignedBuffer<float>> channels;
  AttendParts parts;  // of spans, where they are pieces of work

  [[nodiscard]] int64_t byte_size() const;
};

/// Columns of the MLP's inner activations that one worker takes from the products of gate_proj and up_proj to the
/// integers for down_proj, so that their floats stay in its second-level cache. A multiple of every group and tile.
inline constexpr int64_t kInnerColumns = 128;

/// Whether what computes so many columns of many rows at a time leaves them as integers for `weights`: their floats are
/// still in a cache then, and nothing else is to be prepared.
[[nodiscard]] inline bool hands_over(const PackedMatrix& weights, int64_t columns) {
  return weights.bits != 0 && columns % weights.group_size == 0;
}

/// Up to so many rows every worker prepares inputs for itself: cheaper than waiting for the others.
inline constexpr int64_t kOwnRows = 4;

}  // namespace prosa::backend::cpu
