// What host and kernels agree on: packed matrices, the rows of a pass, a layer's small weights. Plain data in device
// memory unless said otherwise; no functions. Shapes stand beside the fields.
//
// Padding: matrices have rows in multiples of 16 and columns in multiples of 64, buffers of rows have strides in
// multiples of 16 floats; what pads is zero or never read.
#pragma once

#include <cstdint>

namespace prosa::backend::cuda {

inline constexpr int kTileRows = 16;      // of a matrix: what one warp multiplies at a time
inline constexpr int kTileCols = 64;      // columns of such a tile
inline constexpr int kMaxRows = 64;       // token rows of a decode pass
inline constexpr int kKvSpan = 64;        // positions of a KV block
inline constexpr int kMaxSpans = 128;     // parts that one query's positions are split into
inline constexpr int kStateColumns = 16;  // value columns of a recurrent matrix that lie together
inline constexpr int kChunk = 64;         // tokens of the chunked delta rule

enum class Format : int { quantized, bf16, f32 };
enum class ScaleType : int { bf16, f16 };

/// Matrices with the same input and format, one below the other.
struct DeviceMatrix {
  Format format = Format::f32;
  int bits = 0;   // quantized: 2, 3, 4, 5, 6, 8
  int group = 0;  // quantized: 32, 64 or 128 columns share a scale
  ScaleType scale_type = ScaleType::bf16;
  int rows = 0;                     // all of them, padded
  int cols = 0;                     // as in the file
  int k_tiles = 0;                  // ceil(cols / 64)
  int slices = 1;                   // parts that the columns of a tile row are summed in; part of the order of its sums
  int per_slice = 1;                // tiles of such a part
  const uint8_t* planes = nullptr;  // quantized: [rows / 16][k_tiles][128 * bits bytes], see pack.cu
  const uint32_t* scales = nullptr;  // quantized: [rows / 16][groups][8][2]: scale low, bias high; rows r and r + 8
  const void* dense = nullptr;       // bf16 or f32 [rows][k_tiles * 64]
  const void* expanded = nullptr;    // f16 [rows][k_tiles * 64] for passes of many rows; null: made when needed
};

/// One token of a decode pass.
struct RowArgs {
  int32_t token = 0;
  int32_t position = 0;
  int32_t item = 0;                     // whose it is
  int32_t first_position = 0;           // of the item's rows
  float* logits = nullptr;              // [vocab], or null: not wanted
  const uint16_t* const* kv = nullptr;  // [position / 64 + 1] KV blocks, see KvLayout
};

/// The rows of one state in a pass.
struct ItemArgs {
  const float* found = nullptr;  // the state's matrices and windows (StateLayout) as the pass finds them
  float* left = nullptr;         // where it leaves them (may be the same); null: nowhere, the rows are tentative
  float* keep = nullptr;         // tentative: the small inputs of the delta rule, [layer][kMaxTentative][stride]
  int32_t first = 0;             // row
  int32_t count = 0;
  int32_t position = 0;
  int32_t pad = 0;
};

struct PassArgs {
  int32_t rows = 0;
  int32_t items = 0;
  int32_t pad[2] = {};
  RowArgs row[kMaxRows];
  ItemArgs item[kMaxRows];
};

/// Small weights of a DeltaNet layer.
struct DeltaLayer {
  const float* conv = nullptr;     // [kernel][conv_dim]
  const float* rate = nullptr;     // [value heads] exp(A_log)
  const float* dt_bias = nullptr;  // [value heads]
  const float* norm = nullptr;     // [value_head_dim]
  int64_t conv_at = 0;             // floats into a state: [kernel slots][conv_dim]; slot p % kernel holds position p
  int64_t matrix_at = 0;           // [value heads][value tiles][key_dim][16]
};

/// Dimensions of DeltaNet layers and where a row of products has its parts.
struct DeltaShape {
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0, kernel = 0;
  int value_tiles = 0;  // ceil(value_dim / 16)
  int conv_dim = 0;
  int z_at = 0, b_at = 0, a_at = 0;  // columns of a row; q, k, v at 0
  int stride = 0;                    // floats of a row
};

struct AttentionShape {
  int heads = 0, kv_heads = 0, head_dim = 0, rotary_dim = 0;
  int k_at = 0, v_at = 0;  // columns of a row; [q | gate] per head at 0
  int stride = 0;
  int64_t layer_stride = 0;  // halves of a block's layer: kv_heads * 2 * 64 * head_dim
  float eps = 0;
};

/// How a row of a product's inputs is made.
enum class Input : int {
  plain,  // x
  norm,   // x / rms(x) * weight
  gated,  // per head of `head` columns: x / rms(x) * weight * silu(y)
  silu,   // silu(x) * y
};

struct InputArgs {
  Input mode = Input::plain;
  const float* x = nullptr;
  const float* y = nullptr;
  const float* weight = nullptr;
  int x_stride = 0, y_stride = 0;
  int width = 0;
  int head = 0;
  float eps = 0;
};

/// What becomes of a product.
enum class Output : int {
  store,   // out[row][n] = y
  add,     // out[row][n] += y
  silu,    // tile rows in pairs (gate, up): out[row][16 * pair + i] = silu(gate) * up
  logits,  // to the row's own logits, where wanted
};

struct OutputArgs {
  Output mode = Output::store;
  float* out = nullptr;
  int stride = 0;
  int limit = 0;  // columns that exist
};

}  // namespace prosa::backend::cuda
