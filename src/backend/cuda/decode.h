// A pass over single rows: one row of a token each, up to 64, every stage one kernel, the whole a CUDA graph a size.
//
// Rows that run ahead of their state take the same kernels, which is why they have the bits of decoding. Graphs are
// made when a size is first met. Not thread-safe: the backend's lock.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>

#include "backend/backend.h"
#include "backend/cuda/model.h"

namespace prosa::backend::cuda {

/// How many kernels a graph is made for; the smallest that fits is taken.
struct PassSize {
  int rows = 1;
  int items = 1;
  int spans = 1;
  bool head = true;
  friend auto operator<=>(const PassSize&, const PassSize&) = default;
};

class Decoder {
 public:
  Decoder(std::shared_ptr<Device> device, const Model& model, const CudaOptions& options);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Puts the pass on the stream.
  void run(const PassArgs& pass);
  /// The head alone for rows of hidden states [rows][hidden_stride], before the last norm.
  void run_head(const float* hidden, const PassArgs& pass);
  /// Moves the items' states by the rows they kept.
  void replay(const PassArgs& pass);
  /// `pass` on the card, for kernels of other passes.
  const PassArgs* upload(const PassArgs& pass);

  [[nodiscard]] int hidden_stride() const { return hidden_stride_; }
  [[nodiscard]] int64_t scratch_bytes() const { return scratch_bytes_; }
  [[nodiscard]] Queue queue() const { return queue_; }

 private:
  void layers(const Queue& queue, const PassSize& size);
  cudaGraphExec_t captured(const PassSize& size);
  void head(const Queue& queue, int rows);
  void stage(const Queue& queue, const Stage& stage, const InputArgs& in, Output mode, float* out, int stride,
             int limit, int rows);
  void delta_mixer(const Queue& queue, const ModelLayer& layer, const PassSize& size);
  void attention_mixer(const Queue& queue, const ModelLayer& layer, const PassSize& size);
  void mlp(const Queue& queue, const ModelLayer& layer, int rows);
  InputArgs norm_of(const float* weight) const;
  template <typename T>
  T* scratch(int64_t elements);

  std::shared_ptr<Device> device_;
  const Model& model_;
  const bool graphs_;
  Queue queue_;
  int hidden_stride_;
  int mixed_stride_;
  int inner_stride_;
  int64_t scratch_bytes_ = 0;
  std::vector<MemoryPtr> memory_;
  PassArgs* pass_ = nullptr;  // device
  float* hidden_ = nullptr;   // [64][hidden_stride]
  float* rotary_ = nullptr;   // [64][rotary_dim]
  float* rows_ = nullptr;     // [64][max_width]
  float* mixed_ = nullptr;    // [64][mixed_stride]
  float* inner_ = nullptr;    // [64][inner_stride]
  float* partial_ = nullptr;  // see AttentionArgs
  ActBuffers act_;

  static constexpr int kSlots = 4;  // passes that may be on their way
  MemoryPtr staging_;               // pinned, [kSlots] PassArgs
  cudaEvent_t copied_[kSlots] = {};
  unsigned next_ = 0;
  std::map<PassSize, cudaGraphExec_t> made_;
};

}  // namespace prosa::backend::cuda
