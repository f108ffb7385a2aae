// Windows in pieces: logits of a piece from both sources, its rows scored by all threads, its numbers kept.
//
// Pieces depend on vocabulary and window alone: other cuts of a prompt may change the last bits of a logit.
#include "tools/eval/evaluate.h"

#include <algorithm>
#include <cmath>
#include <new>

#include <fmt/format.h>

#include "base/thread_pool.h"
#include "prosa/error.h"
#include "tools/eval/row_scores.h"

namespace prosa::eval {
namespace {

constexpr int64_t kPieceBytes = int64_t{128} << 20;  // of logits, for each source
constexpr int64_t kMaxPieceTokens = 256;             // tokens: longer ones gain no speed
constexpr int64_t kPositionBins = 64;

int64_t piece_length(int64_t vocab) {
  const int64_t rows = kPieceBytes / (vocab * static_cast<int64_t>(sizeof(float)));
  return std::clamp<int64_t>(rows / 16 * 16, 16, kMaxPieceTokens);
}

std::vector<float> make_logits(int64_t rows, int64_t vocab) {
  try {
    return std::vector<float>(static_cast<size_t>(rows * vocab));
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, fmt::format("no room for {} rows of {} logits", rows, vocab), "logits");
  }
}

/// What is kept of every scored token, in order.
struct Kept {
  std::vector<int32_t> place;  // in its window
  std::vector<double> nll, probability_difference, reference_nll, kl, same_top1;
  int64_t bytes = 0;
};

double sum_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

class Evaluation {
 public:
  Evaluation(LogitSource& model, LogitSource* reference, std::span<const Document> documents,
             const EvalOptions& options)
      : model_(model),
        reference_(reference),
        documents_(documents),
        options_(options),
        vocab_(model.vocab()),
        piece_(piece_length(vocab_)),
        pool_(std::max(model.threads(), 1)) {
    check_inputs();
    plan_ = plan_windows(documents, options.windows);
    logits_ = make_logits(piece_, vocab_);
    if (reference_ != nullptr) reference_logits_ = make_logits(piece_, vocab_);
    scores_.resize(static_cast<size_t>(piece_));
  }

  EvalReport run() {
    model_.begin(documents_, plan_, options_.windows);
    if (reference_ != nullptr) reference_->begin(documents_, plan_, options_.windows);
    if (options_.save != nullptr) options_.save->begin(vocab_, documents_, plan_, options_.windows);
    for (const Window& window : plan_.windows) run_window(window);
    if (options_.save != nullptr) options_.save->end();
    return report();
  }

 private:
  struct PairScore {
    RowScore model, reference;
    double kl = 0;
  };

  void check_inputs() const {
    if (reference_ != nullptr && reference_->vocab() != vocab_) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("has a vocabulary of {}, the model one of {}", reference_->vocab(), vocab_), "reference",
                  "compare models that share a tokenizer");
    }
    for (const Document& document : documents_) {
      for (const int32_t token : document.tokens) {
        if (token >= 0 && token < vocab_) continue;
        throw Error(ErrorCode::invalid_argument, fmt::format("token id {} is outside [0, {})", token, vocab_), "text",
                    "use the tokenizer that belongs to the model");
      }
    }
  }

  // The last token is not fed: it has nothing to predict.
  void run_window(const Window& window) {
    const std::span<const int32_t> tokens(documents_[static_cast<size_t>(window.document)].tokens);
    model_.begin_window(window);
    if (reference_ != nullptr) reference_->begin_window(window);
    const auto part = [&](int64_t from, int64_t to) {
      return tokens.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from));
    };
    const int64_t first = window.first_scored - 1;  // the token whose prediction is the first to count
    for (int64_t at = window.begin; at < first; at += piece_) {
      const auto piece = part(at, std::min(at + piece_, first));
      model_.feed(piece, options_.cancel);
      if (reference_ != nullptr) reference_->feed(piece, options_.cancel);
    }
    for (int64_t at = first; at < window.end - 1; at += piece_) {
      const int64_t end = std::min(at + piece_, window.end - 1);
      score(part(at, end), part(at + 1, end + 1), at - window.begin);
    }
  }

  void score(std::span<const int32_t> tokens, std::span<const int32_t> truth, int64_t place) {
    const std::span<float> logits = std::span(logits_).first(tokens.size() * static_cast<size_t>(vocab_));
    model_.score(tokens, logits, pool_, options_.cancel);
    if (reference_ != nullptr) {
      reference_->score(tokens, std::span(reference_logits_).first(logits.size()), pool_, options_.cancel);
    }
    pool_.run([&](int worker) {
      const Range mine = share(static_cast<int64_t>(tokens.size()), worker, pool_.size());
      for (int64_t row = mine.begin; row < mine.end; ++row) score_pair(row, truth[static_cast<size_t>(row)]);
    });
    for (size_t i = 0; i < tokens.size(); ++i) keep(scores_[i], truth[i], place + static_cast<int64_t>(i));
    if (options_.save != nullptr) options_.save->add(logits, vocab_, pool_);
    if (options_.progress) options_.progress(progress());
  }

  [[nodiscard]] std::span<const float> row_of(const std::vector<float>& logits, int64_t row) const {
    return std::span(logits).subspan(static_cast<size_t>(row * vocab_), static_cast<size_t>(vocab_));
  }

  void score_pair(int64_t row, int32_t truth) {
    PairScore& pair = scores_[static_cast<size_t>(row)];
    pair = {};
    pair.model = score_row(row_of(logits_, row), truth);
    if (reference_ == nullptr) return;
    pair.reference = score_row(row_of(reference_logits_, row), truth);
    if (!pair.model.finite || !pair.reference.finite) return;
    pair.kl = kl_of_rows(row_of(reference_logits_, row), pair.reference, row_of(logits_, row), pair.model);
  }

  void keep(const PairScore& pair, int32_t truth, int64_t place) {
    const auto check = [&](const RowScore& score, const char* whose) {
      if (score.finite) return;
      throw Error(ErrorCode::bad_checkpoint,
                  fmt::format("the logits of token {} are not all numbers", kept_.nll.size()), whose,
                  "look for weights that are not numbers, or convert the model again");
    };
    check(pair.model, "model");
    kept_.place.push_back(static_cast<int32_t>(place));
    kept_.nll.push_back(pair.model.nll);
    nll_sum_ += pair.model.nll;
    if (options_.token_bytes) kept_.bytes += options_.token_bytes(truth);
    if (reference_ == nullptr) return;
    check(pair.reference, "reference");
    kept_.reference_nll.push_back(pair.reference.nll);
    kept_.kl.push_back(pair.kl);
    kl_sum_ += pair.kl;
    kept_.same_top1.push_back(pair.model.top1 == pair.reference.top1 ? 1 : 0);
    kept_.probability_difference.push_back(std::exp(-pair.model.nll) - std::exp(-pair.reference.nll));
  }

  [[nodiscard]] Progress progress() const {
    const auto done = static_cast<double>(kept_.nll.size());
    return {static_cast<int64_t>(kept_.nll.size()), plan_.scored, nll_sum_ / done, kl_sum_ / done};
  }

  [[nodiscard]] ModelScores scores_of(std::span<const double> nll) const {
    ModelScores scores;
    scores.nll = mean_of(nll);
    scores.perplexity = std::exp(scores.nll.value);
    scores.perplexity_error = scores.perplexity * scores.nll.standard_error;
    if (kept_.bytes > 0) scores.bits_per_byte = sum_of(nll) / std::log(2.0) / static_cast<double>(kept_.bytes);
    return scores;
  }

  [[nodiscard]] Divergence divergence() const {
    Divergence divergence;
    divergence.kl = mean_of(kept_.kl);
    std::vector<double> sorted = kept_.kl;
    std::ranges::sort(sorted);
    divergence.kl_median = quantile(sorted, 0.5);
    divergence.kl_p90 = quantile(sorted, 0.9);
    divergence.kl_p99 = quantile(sorted, 0.99);
    divergence.kl_max = sorted.back();
    divergence.top1 = mean_of(kept_.same_top1);
    divergence.probability_difference = mean_of(kept_.probability_difference);
    double squares = 0;
    for (const double value : kept_.probability_difference) squares += value * value;
    divergence.probability_difference_rms = std::sqrt(squares / static_cast<double>(kept_.nll.size()));
    std::vector<double> difference(kept_.nll.size());
    for (size_t i = 0; i < difference.size(); ++i) difference[i] = kept_.nll[i] - kept_.reference_nll[i];
    divergence.nll_difference = mean_of(difference);
    return divergence;
  }

  [[nodiscard]] EvalReport report() const {
    EvalReport report;
    report.documents = static_cast<int64_t>(documents_.size());
    report.windows = static_cast<int64_t>(plan_.windows.size());
    report.tokens = plan_.tokens;
    report.scored = plan_.scored;
    report.dropped = plan_.dropped;
    report.bytes = kept_.bytes;
    report.model = scores_of(kept_.nll);
    report.positions = by_position(kept_.place, kept_.nll, kept_.kl, kPositionBins);
    if (reference_ == nullptr) return report;
    report.reference = scores_of(kept_.reference_nll);
    report.divergence = divergence();
    report.kl_histogram = log_histogram(kept_.kl);
    return report;
  }

  LogitSource& model_;
  LogitSource* reference_;
  std::span<const Document> documents_;
  const EvalOptions& options_;
  int64_t vocab_;
  int64_t piece_;
  ThreadPool pool_;
  WindowPlan plan_;
  std::vector<float> logits_, reference_logits_;  // [piece, vocab]
  std::vector<PairScore> scores_;                 // [piece]
  Kept kept_;
  double nll_sum_ = 0, kl_sum_ = 0;
};

}  // namespace

EvalReport kl_and_perplexity(LogitSource& model, LogitSource* reference, std::span<const Document> documents,
                             const EvalOptions& options) {
  return Evaluation(model, reference, documents, options).run();
}

EvalReport kl_and_perplexity(backend::Backend& model, backend::Backend* reference, std::span<const Document> documents,
                             const EvalOptions& options) {
  const std::unique_ptr<LogitSource> source = make_backend_source(model);
  const std::unique_ptr<LogitSource> other = reference != nullptr ? make_backend_source(*reference) : nullptr;
  return kl_and_perplexity(*source, other.get(), documents, options);
}

}  // namespace prosa::eval
