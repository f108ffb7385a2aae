// One decoder layer over the calibration text in float32, with every matrix's input to be seen and every matrix to be
// replaced: the reference's layer with its products taken over.
//
// Knows no quantization. Invariant: with the weights of the file it computes what the reference backend computes, to
// the rounding of sums.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "calibrate/products.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// A matrix by its name in the MLX layout, "language_model.model.layers.0.mlp.down_proj.weight".
struct NamedMatrix {
  std::string name;
  const Matrix* matrix = nullptr;
};

/// Matrices that are multiplied with the same input.
struct Site {
  std::vector<NamedMatrix> matrices;
  [[nodiscard]] int64_t width() const { return matrices.front().matrix->cols; }
};

/// In the order in which a layer comes to them: mixer inputs, mixer output, gate and up, down.
std::vector<Site> sites_of(const LayerWeights& layer, size_t index);

/// Float32 values of matrices, [rows, cols].
using FloatMatrices = std::map<const Matrix*, std::vector<float>>;
std::vector<float> read_matrix(const Matrix& matrix);

/// Called with a site and what comes in there, [tokens, width]. False: that was enough, the pass ends here.
using SeeInput = std::function<bool(size_t site, std::span<const float> x)>;

/// The layer over one sequence from its beginning, in place. hidden: [tokens, hidden]; undefined after a pass that
/// ended early.
void pass_layer(const ModelConfig& config, const LayerWeights& layer, std::span<const Site> sites,
                const FloatMatrices& values, std::vector<float>& hidden, ThreadPool& pool, const SeeInput& see);

}  // namespace prosa::calibrate
