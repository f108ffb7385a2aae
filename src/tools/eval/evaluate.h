// How well a model predicts text, and how far it is from another: windowed perplexity, and KL against a reference.
//
// No files, no text and no printing: token ids and logits in, numbers out (docs/reference/eval.md says which tokens
// count). Only a few rows of logits are held at a time. Invariant: the same numbers for any thread count, with and
// without a reference.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "tools/eval/logit_source.h"
#include "tools/eval/statistics.h"
#include "tools/eval/windows.h"

namespace prosa::eval {

struct Progress {
  int64_t done = 0;  // scored tokens
  int64_t total = 0;
  double nll = 0;  // mean so far, nats a token
  double kl = 0;   // mean so far; 0 without a reference
};

struct EvalOptions {
  WindowOptions windows;
  /// Bytes of text a token stands for, for bits per byte; unset: not counted.
  std::function<int64_t(int32_t token)> token_bytes = {};
  const std::atomic<bool>* cancel = nullptr;           // set by any thread: Error(cancelled)
  std::function<void(const Progress&)> progress = {};  // after every piece; what it throws ends the evaluation
  LogitSink* save = nullptr;                           // gets every scored row of the model
};

/// Of one model. Errors of means are standard errors, tokens taken as independent.
struct ModelScores {
  Mean nll;  // nats a token
  double perplexity = 0;
  double perplexity_error = 0;
  std::optional<double> bits_per_byte;
};

/// Model against reference, over the same tokens. P is the reference's distribution, Q the model's.
struct Divergence {
  Mean kl;  // KL(P || Q), nats a token
  double kl_median = 0, kl_p90 = 0, kl_p99 = 0, kl_max = 0;
  Mean top1;                    // share of tokens with the same likeliest token
  Mean probability_difference;  // Q(true token) - P(true token)
  double probability_difference_rms = 0;
  Mean nll_difference;  // of the model minus of the reference: ln of the ratio of the perplexities
};

struct EvalReport {
  int64_t documents = 0, windows = 0;
  int64_t tokens = 0;   // of all windows, each once
  int64_t scored = 0;   // predictions that count
  int64_t dropped = 0;  // tokens in no window: tails, and documents of one token
  int64_t bytes = 0;    // of the scored tokens; 0 without token_bytes
  ModelScores model;
  std::optional<ModelScores> reference;
  std::optional<Divergence> divergence;
  std::vector<PositionBin> positions;      // by place in the window
  std::vector<HistogramBin> kl_histogram;  // empty without a reference
};

/// Scores `documents` with `model` and, unless null, against `reference`. Which tokens: WindowOptions.
/// Errors: invalid_argument (nothing to score; vocabularies that differ; options out of range), bad_checkpoint (logits
/// that are not numbers), cancelled, out_of_memory, and those of the sources.
EvalReport kl_and_perplexity(LogitSource& model, LogitSource* reference, std::span<const Document> documents,
                             const EvalOptions& options);

/// The same for two loaded models.
EvalReport kl_and_perplexity(backend::Backend& model, backend::Backend* reference, std::span<const Document> documents,
                             const EvalOptions& options);

}  // namespace prosa::eval
