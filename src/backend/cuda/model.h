// A model's weights on the card, in the order in which the kernels read them, and the dimensions of every stage.
//
// Matrices that meet the same input stand one below the other in one DeviceMatrix where their formats agree; where a
// layer mixes formats, a stage has several. Invariant after the constructor: all of it is on its way to the card in
// the stream's order; nothing here changes any more.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/kernels/kernels.h"
#include "model/weights.h"

namespace prosa::backend::cuda {

/// Products with the same input: [sum of padded rows] columns of a row.
struct Stage {
  struct Part {
    DeviceMatrix matrix;
    int at = 0;  // its first column in the row of products
  };
  std::vector<Part> parts;
  std::vector<int> at;  // [matrices] first column of each
  int width = 0;        // of a row, all parts
  int inputs = 0;       // columns of the input
};

struct ModelLayer {
  const float* input_norm = nullptr;
  const float* post_norm = nullptr;
  int mixer = 0;  // its number among the layers of its kind
  bool delta = false;
  Stage in;   // qkv, z, b, a or q, k, v
  Stage out;  // out_proj or o_proj
  Stage gate_up;
  bool pairs = false;  // gate_up: tiles of gate and up in turn; else one below the other
  Stage down;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  const float* delta_norm = nullptr;
};

class Model {
 public:
  /// Error(out_of_memory). progress: of packing, 0..1.
  Model(std::shared_ptr<Device> device, const Weights& weights, const std::function<void(double)>& progress);

  ModelConfig config;
  std::vector<ModelLayer> layers;
  DeviceMatrix embedding;
  Stage head;
  const float* norm = nullptr;
  const double* frequency = nullptr;         // [rotary_dim / 2]
  const DeltaLayer* delta_layers = nullptr;  // device
  int delta_count = 0;
  int attention_count = 0;
  DeltaShape delta;  // at_ columns: of every DeltaNet layer
  AttentionShape attention;
  int64_t conv_elements = 0;   // of a layer's windows in a state
  int64_t state_elements = 0;  // of a state, all DeltaNet layers, float32
  int64_t kv_block_bytes = 0;  // 64 positions of all attention layers
  int max_width = 0;           // of a row of products
  int max_inputs = 0;          // padded columns of an input
  int64_t weight_bytes = 0;
  int64_t largest_expanded = 0;  // bytes of the largest stage part in f16
  bool expanded = false;         // every layer's matrices stand there in f16 too

 private:
  friend class Loader;
  std::vector<MemoryPtr> memory_;
};

}  // namespace prosa::backend::cuda
