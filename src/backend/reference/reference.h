// What the reference backend offers beyond backend::Backend: the values between the layers, and the
// multi-token-prediction head. For tests and for whoever writes another backend; nothing at run time needs it.
//
// make_reference_backend() itself is declared in backend/backend.h. Pure functions of weights and tokens: every call
// starts at position 0 with an empty state.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/weights.h"

namespace prosa::backend::reference {

/// Teacher-forced hidden states, num_layers + 1 entries of [n, hidden]: entry 0 the embeddings, entry i the output of
/// layer i - 1, and the last one after the final norm instead. Error(invalid_argument) for a token out of range.
std::vector<std::vector<float>> hidden_states(const Weights& weights, std::span<const int32_t> tokens, int threads = 1);

/// Logits of the multi-token-prediction head, [n - 1, vocab]: row t predicts token t + 2 from the main model's hidden
/// state of token t and the embedding of token t + 1.
///   x_t = fc [rms_norm(embed(token t+1)) | rms_norm(hidden_t)];   logits_t = head(norm(layers(x)_t)), positions 0..n-2
/// `hidden_after_final_norm` [n, hidden]. Error(unsupported) when the checkpoint has no such head.
std::vector<float> mtp_logits(const Weights& weights, std::span<const int32_t> tokens,
                              std::span<const float> hidden_after_final_norm, int threads = 1);

}  // namespace prosa::backend::reference
