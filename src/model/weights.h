// The weights of one model in the converted convention, as views into memory that the loader keeps alive.
//
// Every difference between files is gone here: RMSNorm weights have their 1 added, conv1d is [channels, kernel], vision
// tensors are skipped, MTP tensors stand apart, names don't matter any more. Small vectors are float32; matrices stay
// as they are in the file (a backend packs them its own way). Nothing here knows a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weight_format.h"

namespace prosa {

/// A matrix W [rows, cols] of y = W x, dense or quantized as MLX does. A view: copying copies no data.
///
/// Dense: `data` points at row-major values of format.type.
/// Affine: each row of `data` is one little-endian bit stream of cols * bits / 32 words; group g of a row covers the
/// columns [g * group_size, (g+1) * group_size) and has scales[row, g] and biases[row, g] of format.type.
/// Small floats (mxfp4, mxfp8, nvfp4): the same stream and groups; scales[row, g] are bytes, and there are no biases.
/// Pointers may be unaligned for their type: read through memcpy.
struct Matrix {
  std::string name;  // as in the file, for messages
  int64_t rows = 0;
  int64_t cols = 0;
  WeightFormat format;
  const std::byte* data = nullptr;
  const std::byte* scales = nullptr;  // [rows, cols / group_size]
  const std::byte* biases = nullptr;  // [rows, cols / group_size]; affine only

  [[nodiscard]] bool quantized() const noexcept { return format.quantized(); }
  [[nodiscard]] int64_t groups() const noexcept { return format.groups(cols); }
  /// Bytes of data, scales and biases in the file.
  [[nodiscard]] int64_t byte_size() const noexcept { return format.bytes(rows, cols); }
};

struct DeltaNetWeights {
  Matrix in_proj_qkv;          // [2 * key_dim + value_dim, hidden]: q heads, k heads, v heads
  Matrix in_proj_z;            // [value_dim, hidden]
  Matrix in_proj_b;            // [num_value_heads, hidden]
  Matrix in_proj_a;            // [num_value_heads, hidden]
  Matrix out_proj;             // [hidden, value_dim]
  std::vector<float> conv1d;   // [conv_dim, kernel]; tap kernel-1 meets the newest token
  std::vector<float> a_log;    // [num_value_heads]
  std::vector<float> dt_bias;  // [num_value_heads]
  std::vector<float> norm;     // [value_head_dim]
};

struct AttentionWeights {
  Matrix q_proj;              // [num_heads * 2 * head_dim, hidden]: per head [q | gate]
  Matrix k_proj;              // [kv_dim, hidden]
  Matrix v_proj;              // [kv_dim, hidden]
  Matrix o_proj;              // [hidden, query_dim]
  std::vector<float> q_norm;  // [head_dim], 1 added
  std::vector<float> k_norm;  // [head_dim], 1 added
};

struct MlpWeights {
  Matrix gate_proj;  // [intermediate, hidden]
  Matrix up_proj;    // [intermediate, hidden]
  Matrix down_proj;  // [hidden, intermediate]
};

/// Exactly one of `delta` and `attention` is set, as config.layer_types says.
struct LayerWeights {
  std::vector<float> input_norm;  // [hidden], 1 added
  std::optional<DeltaNetWeights> delta;
  std::optional<AttentionWeights> attention;
  std::vector<float> post_attention_norm;  // [hidden], 1 added
  MlpWeights mlp;
};

/// The multi-token-prediction head: norm(layers(fc([rms(embed), rms(hidden)]))) -> the shared head.
struct MtpWeights {
  Matrix fc;                                 // [hidden, 2 * hidden]: columns [embedding | hidden state]
  std::vector<float> pre_fc_norm_embedding;  // [hidden], 1 added
  std::vector<float> pre_fc_norm_hidden;     // [hidden], 1 added
  std::vector<LayerWeights> layers;          // attention layers
  std::vector<float> norm;                   // [hidden], 1 added
};

/// What the matrices of a Weights view: it keeps it alive, and knows whether it still is what was loaded.
class WeightStorage {
 public:
  virtual ~WeightStorage() = default;
  /// Error(io) when the files behind it were cut off or could not be read meanwhile.
  virtual void require_intact() const = 0;

 protected:
  WeightStorage() = default;
  WeightStorage(const WeightStorage&) = default;
  WeightStorage(WeightStorage&&) = default;
  WeightStorage& operator=(const WeightStorage&) = default;
  WeightStorage& operator=(WeightStorage&&) = default;
};

struct Weights {
  ModelConfig config;
  Matrix embed_tokens;               // [vocab, hidden]
  std::vector<LayerWeights> layers;  // [num_layers]
  std::vector<float> norm;           // [hidden], 1 added
  Matrix lm_head;                    // [vocab, hidden]; the same view as embed_tokens when tied
  std::optional<MtpWeights> mtp;     // kept aside; not part of the main model

  int64_t vector_bytes = 0;                      // what the float vectors of the main model take in the file
  std::shared_ptr<const WeightStorage> storage;  // the mapped files; null: the matrices view what others own

  /// Whether the head is the embedding: one matrix, read twice in a pass.
  [[nodiscard]] bool tied_head() const noexcept { return lm_head.data == embed_tokens.data; }
  /// Whoever has read from matrices calls it before the result is used. Error(io): a mapped file broke.
  void require_intact() const {
    if (storage != nullptr) storage->require_intact();
  }
  /// Bytes of the main model in the file: every tensor once, a tied head once.
  [[nodiscard]] int64_t byte_size() const;
  /// Parameters of the main model (a quantized weight counts as one; a tied head once).
  [[nodiscard]] int64_t parameter_count() const;
};

}  // namespace prosa
