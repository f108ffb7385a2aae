// A pass over many rows: whole prompts or slices of them, products on f16 weights, the delta rule in chunks of 64,
// attention in tiles. Rows of several segments stand one below the other; products see them all at once.
//
// A segment has at least two tokens here and begins where its state stands. Not thread-safe: the backend's lock.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backend/cuda/decode.h"
#include "backend/cuda/model.h"

namespace prosa::backend::cuda {

/// Tokens of one state in a pass.
struct ManyTokens {
  const int32_t* tokens = nullptr;
  int32_t count = 0;
  int32_t position = 0;
  const float* found = nullptr;
  float* left = nullptr;
  uint16_t** kv = nullptr;
};

class ManyRows {
 public:
  ManyRows(std::shared_ptr<Device> device, const Model& model, Decoder& decoder, int64_t max_rows);
  ~ManyRows();
  ManyRows(const ManyRows&) = delete;
  ManyRows& operator=(const ManyRows&) = delete;

  /// Puts the pass on the stream. `given_up` (may be null) is asked between layers while the card works; when it says
  /// true the pass ends, and so does this function with false.
  bool run(const std::vector<ManyTokens>& segments, const std::function<bool()>& given_up);
  /// Row i after the last layer, [hidden_stride of the Decoder].
  [[nodiscard]] const float* hidden(int64_t row) const { return hidden_ + row * hidden_stride_; }
  [[nodiscard]] int64_t max_rows() const { return max_rows_; }
  [[nodiscard]] int64_t scratch_bytes() const { return scratch_bytes_; }
  [[nodiscard]] bool chunked() const { return chunked_; }

 private:
  void upload(const std::vector<ManyTokens>& segments);
  void layer(const ModelLayer& layer);
  void product(const Stage& stage, const void* x, GemmOutput mode, void* out, int stride, int limit, float factor = 1);
  void delta_mixer(const ModelLayer& layer);
  void attention_mixer(const ModelLayer& layer);
  void mlp(const ModelLayer& layer);
  template <typename T>
  T* scratch(int64_t elements);

  std::shared_ptr<Device> device_;
  const Model& model_;
  Decoder& decoder_;
  Queue queue_;
  const int64_t max_rows_;
  const bool chunked_;
  int64_t hidden_stride_;
  int mixed_stride_;
  int inner_stride_;  // of f16 rows that down_proj reads
  int mixed_half_stride_;
  int64_t scratch_bytes_ = 0;
  std::vector<MemoryPtr> memory_;

  // What a pass reads, uploaded in one piece.
  MemoryPtr staging_;
  MemoryPtr args_;
  cudaEvent_t copied_ = nullptr;
  cudaEvent_t layer_done_[2] = {};
  int rows_now_ = 0;
  int segments_now_ = 0;
  int chunks_now_ = 0;
  int longest_ = 0;
  const int32_t* tokens_ = nullptr;  // device, [rows]
  const int32_t* positions_ = nullptr;
  const ManyRow* row_args_ = nullptr;
  const ManySegment* segment_args_ = nullptr;
  const int2* chunk_args_ = nullptr;
  const PassArgs* pass_ = nullptr;

  float* hidden_ = nullptr;   // [row][hidden_stride]
  float* rotary_ = nullptr;   // [row][rotary_dim]
  void* inputs_ = nullptr;    // f16 [row][padded columns of any input]
  float* rows_ = nullptr;     // [row][max_width]
  float* mixed_ = nullptr;    // [row][mixed_stride]
  void* inner_ = nullptr;     // f16 [row][inner_stride]
  void* q_ = nullptr;         // f16 [row][heads][head_dim]
  void* expanded_ = nullptr;  // f16 of one stage part, when the model does not keep them
  ChunkArgs chunk_;
};

}  // namespace prosa::backend::cuda
