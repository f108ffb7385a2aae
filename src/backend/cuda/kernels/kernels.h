// The kernels as host functions: each puts one kernel on a stream and returns. Errors of a launch are thrown as
// prosa::Error by check_launch() (device.h). Pointers are device memory.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/types.h"

namespace prosa::backend::cuda {

/// Where to launch. `overlap`: the kernel may begin while the one before it still runs (programmatic dependent launch).
struct Queue {
  cudaStream_t stream = nullptr;
  bool overlap = false;
  int processors = 1;   // multiprocessors of the card
  bool hopper = false;  // the kernels of sm_90a are in the module and run here
};

// ---- products of few rows
struct ActBuffers {
  uint8_t* planes = nullptr;  // [row][2][k_tiles * 64], or as batch.h says
  float* scales = nullptr;    // [row][groups][2], or as batch.h says
  float* floats = nullptr;    // [row][k_tiles * 64]
  float* factors = nullptr;   // [row]
};

/// y = W x for the rows of the pass. max_rows: of the pass at most. `act`: scratch for inputs of dense matrices and of
/// more than four rows.
void launch_product(const Queue& queue, const DeviceMatrix& m, const InputArgs& in, const OutputArgs& out,
                    const PassArgs* pass, int max_rows, const ActBuffers& act);
/// Inputs alone -> f16 [rows][stride] in tiles (tiled_at() in common.cuh), zeros behind the width.
void launch_inputs_f16(const Queue& queue, const InputArgs& in, int rows, int stride, void* out);
void launch_gated_norm(const Queue& queue, const InputArgs& in, const PassArgs* pass, int max_rows, float* out,
                       int out_stride);

// ---- weights
/// Raw MLX rows -> tiles. weight: the file's bit stream [rows][cols * bits / 8 bytes]; scales, biases [rows][groups] of
/// 16 bits. first_row, tile_step: matrix row i goes to tile row (first_row / 16 + i / 16 * tile_step).
void launch_pack(cudaStream_t stream, const uint8_t* weight, const uint16_t* scales, const uint16_t* biases, int rows,
                 const DeviceMatrix& m, int first_row, int tile_step);
/// Dense rows, or quantized ones with float32 scales, -> dense rows of m.format.
void launch_pack_dense(cudaStream_t stream, const void* data, int source_type, int rows, const DeviceMatrix& m,
                       int first_row, int tile_step);
void launch_pack_exact(cudaStream_t stream, const uint8_t* weight, const float* scales, const float* biases, int bits,
                       int group, int rows, const DeviceMatrix& m, int first_row, int tile_step);
/// m -> f16 [rows to a multiple of 64][k_tiles * 64] in tiles
void launch_expand(cudaStream_t stream, const DeviceMatrix& m, void* out);

// ---- decode
struct EmbedArgs {
  DeviceMatrix table;
  int row0 = 0;  // of the embedding in `table`
  int hidden = 0, stride = 0;
  float* out = nullptr;               // [row][stride]
  const double* frequency = nullptr;  // [rotary_dim / 2]
  int rotary_dim = 0;
  float* rotary = nullptr;             // [row][rotary_dim]: cosines, sines
  const int32_t* tokens = nullptr;     // [rows] and
  const int32_t* positions = nullptr;  // of a pass of many rows; null: from the pass
};
void launch_embed(const Queue& queue, const EmbedArgs& args, const PassArgs* pass, int max_rows);

struct DeltaArgs {
  DeltaShape shape;
  const DeltaLayer* layers = nullptr;  // device
  int layer = 0;                       // the first of `layer_count`
  int layer_count = 1;
  const float* rows = nullptr;  // [row][stride] products: q, k, v, z, b, a
  float* out = nullptr;         // [row][out_stride]
  int out_stride = 0;
  bool replay = false;  // rows come from what the items kept, nothing goes out
};
void launch_delta_steps(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items);
/// The windows after all rows of the items; for single rows launch_delta_steps has done it.
void launch_windows(const Queue& queue, const DeltaArgs& args, const PassArgs* pass, int max_items);

struct AttentionArgs {
  AttentionShape shape;
  int layer = 0;                  // attention layers counted alone
  const float* rows = nullptr;    // [row][stride] products
  const float* rotary = nullptr;  // [row][rotary_dim]
  const float* q_norm = nullptr;  // [head_dim]
  const float* k_norm = nullptr;
  float* partial = nullptr;  // [row][head][kMaxSpans][head_dim + 2]
  float* out = nullptr;      // [row][out_stride], gated
  int out_stride = 0;
};
void launch_attention(const Queue& queue, const AttentionArgs& args, const PassArgs* pass, int max_rows, int max_spans);

// ---- passes of many rows
struct ManyRow {  // one token of such a pass
  int32_t position = 0;
  int32_t segment = 0;
};
struct ManySegment {
  int32_t first = 0;  // row
  int32_t count = 0;
  int32_t position = 0;
  int32_t pad = 0;
  const float* found = nullptr;
  float* left = nullptr;
  uint16_t* const* kv = nullptr;
};

/// Whether the module was built for sm_90a; what Queue::hopper needs beside the card.
bool hopper_built();

enum class GemmOutput : int { store, add, silu_f16 };
/// x f16 [rows][k], w f16 [n][k], both in tiles; k a multiple of 64, n of 16.
/// store: out float [rows][stride] = x w^T; add: +=; all of it times `factor`. silu_f16: f16 out of gate and up tiles
/// in pairs.
void launch_gemm(const Queue& queue, const void* x, const void* w, int rows, int n, int k, GemmOutput mode, void* out,
                 int stride, int limit, float factor);
void launch_silu_f16(const Queue& queue, const float* gate, const float* up, int stride, int rows, int width, void* out,
                     int out_stride, float factor);

/// Norms and turns queries and keys, stores keys and values.    q: f16 [rows][heads][head_dim], scaled
void launch_heads(const Queue& queue, const AttentionArgs& args, const ManyRow* rows, const ManySegment* segments,
                  int count, void* q);
/// out f16 [rows][out_stride] in tiles = softmax(q k) v * sigmoid(gate)
void launch_flash(const Queue& queue, const AttentionArgs& args, const ManyRow* rows, const ManySegment* segments,
                  int segment_count, int longest, const void* q, void* out, int out_stride);

struct ChunkArgs {
  DeltaShape shape;
  const DeltaLayer* layers = nullptr;
  int layer = 0;
  const float* rows = nullptr;   // [row][stride]
  const int2* chunks = nullptr;  // [chunk count] {segment, first row of the chunk in the pass}
  const ManySegment* segments = nullptr;
  int chunk_count = 0, segment_count = 0, row_count = 0;
  // scratch, [row] of each: f16 unless said otherwise
  void* q = nullptr;  // [row][key heads][128]
  void* k = nullptr;
  void* v = nullptr;       // [row][value heads][128]: later the solved values
  float* decay = nullptr;  // [row][value heads] sum of log decays from the chunk's begin
  float* beta = nullptr;
  void* w = nullptr;     // [row][value heads][128]
  void* p = nullptr;     // [chunk][value heads][64][64]
  float* out = nullptr;  // [row][out_stride]
  int out_stride = 0;
};
/// Whether these dimensions have the chunked form.
bool chunk_supported(const DeltaShape& shape);
void launch_chunks(const Queue& queue, const ChunkArgs& args);

// ---- rows of logits
struct PickArgs {  // a question, device memory
  const float* logits = nullptr;
  const int32_t* change_ids = nullptr;  // [changes] rising
  const float2* changes = nullptr;      // {penalty, add}
  const uint32_t* allowed = nullptr;    // null: all
  int32_t change_count = 0;
  int32_t k = 1;
  int32_t log_sum = 0;
  int32_t pad = 0;
};
inline constexpr int kPickCapacity = 2048;  // tokens that the last step can sort
struct PickHead {
  int32_t count = 0;  // candidates found; -1: too many tie, ask the host
  int32_t pad = 0;
  double log_sum = 0;
};
/// answers: [asks] heads; best: [asks][256] {logit, id}. scratch: 16 bytes for each 256 logits and ask.
void launch_pick(const Queue& queue, const PickArgs* asks, int count, int vocab, void* scratch, PickHead* heads,
                 float2* best);

}  // namespace prosa::backend::cuda
