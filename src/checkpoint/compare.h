// How far the weights of two checkpoints of the same model lie apart.
//
// Weights only: what the difference does to the output is `prosa eval`'s to say, and a method that moves scales from
// one tensor into its neighbours changes weights without changing the output.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace prosa::checkpoint {

struct TensorDifference {
  std::string name;  // of the module in the MLX layout, or of the tensor when it is no matrix
  std::string kind;  // see kind_of() in names.h
  int64_t weights = 0;
  double squares = 0;      // ||W||² of the reference
  double differences = 0;  // ||W - Ŵ||²
};

/// Every tensor of `folder` against `reference`, in file conventions made equal; of the MTP head when both have one.
/// Rows stream through, as in a conversion. Errors: those of load_weights(); invalid_argument (not the same model).
std::vector<TensorDifference> compare_checkpoints(const std::filesystem::path& folder,
                                                  const std::filesystem::path& reference, int threads,
                                                  const std::function<void(double fraction)>& progress = {});

}  // namespace prosa::checkpoint
