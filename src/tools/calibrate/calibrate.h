// Codes, scales and biases chosen by what a text makes of the model: the calibrated methods of `prosa convert`.
//
// Reads weights, runs the layers one after the other in float32, writes no file: the result is a plan for
// checkpoint::convert(). Invariant: on one kind of processor a plan depends on weights, text, formats and method only,
// not on threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/convert_plan.h"
#include "model/weights.h"

namespace prosa::calibrate {

/// clip: the range of each group is searched, weighted by the squares of its inputs.
/// gptq: the same, and the error of each column goes into the columns after it; the inputs are those of the model as
/// quantized so far, the outputs those of the original; then descent over codes, scales and biases.
enum class Method { clip, gptq };

struct CalibrateOptions {
  Method method = Method::gptq;
  int threads = 0;                                                       // 0: all cores
  std::function<void(double fraction, std::string_view what)> progress;  // 0.5, "layer 3 of 24"; may throw
};

/// Token ids in sequences of at most `length`: documents, cut where they are longer. At most `limit` tokens.
/// Error(invalid_argument): fewer than kMinTokens.
inline constexpr int64_t kMinTokens = 256;
std::vector<std::vector<int32_t>> cut_sequences(std::span<const std::vector<int32_t>> documents, int64_t length,
                                                int64_t limit);

/// Chooses codes for every matrix of the main model whose format `formats` quantizes; the rest, the
/// multi-token-prediction head and an embedding that is not the head too, stays as `formats` says, which may
/// fold. `weights` must outlive the call only. Errors: invalid_argument (a token outside the vocabulary),
/// bad_checkpoint (weights that make the model's activations overflow), and what `progress` throws.
std::shared_ptr<const checkpoint::ConvertPlan> calibrate(const Weights& weights,
                                                         std::span<const std::vector<int32_t>> sequences,
                                                         std::shared_ptr<const checkpoint::ConvertPlan> formats,
                                                         const CalibrateOptions& options);

}  // namespace prosa::calibrate
