// A model's weights as MLX arrays.
//
// Codes stay where the loader mapped them: MLX reads its own layout, and on a device of unified memory nothing is
// copied where the pages allow it. Scales and biases of affine matrices become float32 once, since the activations are
// float32 and MLX would convert them in every product. Dense matrices stay as they are and are converted in the
// product.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "model/weights.h"

namespace prosa::backend::mlx {

namespace mx = ::mlx::core;

/// W of y = x W^T.
struct MlxMatrix {
  mx::array data;                   // dense [rows, cols]; quantized [rows, cols * bits / 32], uint32
  std::optional<mx::array> scales;  // [rows, groups], float32 or, of small floats, uint8
  std::optional<mx::array> biases;  // [rows, groups], float32; affine only
  int bits = 0;
  int group_size = 0;
  std::string mode;  // as MLX names it; "": dense

  /// x [n, cols] -> [n, rows], float32
  [[nodiscard]] mx::array product(const mx::array& x) const;
  /// Rows of W: ids [n] -> [n, cols], float32
  [[nodiscard]] mx::array rows(const mx::array& ids) const;
};

struct MlxDelta {
  MlxMatrix qkv, z, a, b, out;
  std::vector<mx::array> taps;  // [kernel] of [conv_dim]; the last one meets the newest token
  mx::array decay;              // [num_value_heads], -exp(a_log)
  mx::array dt_bias;            // [num_value_heads]
  mx::array norm;               // [value_head_dim]
};

struct MlxAttention {
  MlxMatrix q, k, v, o;
  mx::array q_norm, k_norm;  // [head_dim]
};

struct MlxLayerWeights {
  mx::array input_norm, post_norm;  // [hidden]
  std::optional<MlxDelta> delta;
  std::optional<MlxAttention> attention;
  MlxMatrix gate, up, down;
};

struct MlxModel {
  MlxMatrix embed;
  std::vector<MlxLayerWeights> layers;
  mx::array norm;  // [hidden]
  MlxMatrix head;
  int64_t own_bytes = 0;  // of arrays beside the mapped file
};

/// On the thread that uses it. Throws what MLX throws.
[[nodiscard]] MlxModel load_model(const std::shared_ptr<const Weights>& weights);

/// A copy of these numbers as an array.
[[nodiscard]] mx::array float_array(const float* values, mx::Shape shape);

}  // namespace prosa::backend::mlx
