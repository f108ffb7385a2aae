// A sublayer (the mixer or the MLP of a decoder layer) over the calibration text in float32, in two steps, so that what
// comes into each of its matrices can be seen and each matrix be replaced: the reference's layer with its products
// taken over.
//
// Knows no quantization; what a plan folds into weights it folds too. Invariant: with the weights of the file it
// computes what the reference backend computes, to the rounding of sums.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// A matrix by its name in the MLX layout, "language_model.model.layers.0.mlp.down_proj.weight".
struct NamedMatrix {
  std::string name;
  const Matrix* matrix = nullptr;
  const checkpoint::ConvertPlan* plan = nullptr;  // what it folds is in the values; may be null
};

/// x <- x + last(inner(first(norm(x))))
struct Sublayer {
  std::shared_ptr<const LayerWeights> layer;  // a copy with folded norms; the matrices are those of the file
  bool mixer = false;
  std::vector<NamedMatrix> first;  // multiplied with the same input
  NamedMatrix last;

  [[nodiscard]] const std::vector<float>& norm() const {
    return mixer ? layer->input_norm : layer->post_attention_norm;
  }
  /// first, then last
  [[nodiscard]] std::vector<NamedMatrix> matrices() const;
};

/// `plan` may be null: nothing is folded. It must outlive the sublayers.
std::array<Sublayer, 2> sublayers_of(const LayerWeights& layer, size_t index, const checkpoint::ConvertPlan* plan);

/// Float32 values of matrices, [rows, cols].
using FloatMatrices = std::map<const Matrix*, std::vector<float>>;
/// Rows [begin, end), with what is folded into them.
std::vector<float> read_rows(const NamedMatrix& named, int64_t begin, int64_t end);
FloatMatrices read_sublayer(const Sublayer& sublayer);

/// What comes into the first matrices.   x: [tokens, hidden], one sequence from its beginning
std::vector<float> sublayer_input(const ModelConfig& config, const Sublayer& sublayer, std::span<const float> x);

/// What comes into the last matrix.      input: [tokens, hidden] -> [tokens, last.cols]
std::vector<float> sublayer_inner(const ModelConfig& config, const Sublayer& sublayer, const FloatMatrices& values,
                                  std::span<const float> input, ThreadPool& pool);

/// x += what the last matrix makes of it.
void add_sublayer_output(const Sublayer& sublayer, const FloatMatrices& values, std::span<const float> inside,
                         std::span<float> x, ThreadPool& pool);

/// All three.
void run_sublayer(const ModelConfig& config, const Sublayer& sublayer, const FloatMatrices& values, std::span<float> x,
                  ThreadPool& pool);

/// What comes into the head, normed, for each of the sequences.   hidden: [sequences][tokens, hidden], embeddings.
/// `tell` is called with a fraction and may throw.
std::vector<std::vector<float>> final_states(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                             std::vector<std::vector<float>> hidden, ThreadPool& pool,
                                             const std::function<void(double)>& tell);

}  // namespace prosa::calibrate
