// The walk: embedding first, then layer by layer with two streams of activations, the original's and those of the model
// as quantized so far.
#include "tools/calibrate/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/reference/layers.h"
#include "prosa/error.h"
#include "tools/calibrate/gptq.h"
#include "tools/calibrate/hessian.h"
#include "tools/calibrate/objective.h"
#include "tools/calibrate/row_codes.h"
#include "tools/calibrate/sublayer.h"
#include "tools/calibrate/token_weights.h"

namespace prosa::calibrate {
namespace {

namespace reference = backend::reference;
using checkpoint::MatrixPlan;

constexpr float kDrift = 0.5F;  // of the way from the file's weights to those that follow the drift of the inputs

class CalibratedPlan : public checkpoint::ConvertPlan {
 public:
  explicit CalibratedPlan(std::shared_ptr<const checkpoint::ConvertPlan> formats) : formats_(std::move(formats)) {}
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override {
    MatrixPlan plan = formats_->matrix(name, rows, cols);
    if (const auto found = done_.find(name); found != done_.end()) plan.quantizer = found->second;
    return plan;
  }
  void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
    formats_->fold(name, values, first_row, cols);
  }
  void add(const std::string& name, std::shared_ptr<const StoredRows> rows) { done_.emplace(name, std::move(rows)); }

 private:
  std::shared_ptr<const checkpoint::ConvertPlan> formats_;
  std::map<std::string, std::shared_ptr<const StoredRows>> done_;
};

class Walk {
 public:
  Walk(const Weights& weights, std::span<const std::vector<int32_t>> sequences,
       std::shared_ptr<const checkpoint::ConvertPlan> formats, const CalibrateOptions& options)
      : weights_(weights),
        config_(weights.config),
        sequences_(sequences),
        formats_(std::move(formats)),
        options_(options),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        plan_(std::make_shared<CalibratedPlan>(formats_)) {}

  std::shared_ptr<const checkpoint::ConvertPlan> run() {
    for (const auto& tokens : sequences_) original_.push_back(reference::embed(weights_, tokens));
    now_ = original_;
    weigh_tokens_and_quantize_head();
    for (size_t index = 0; index < weights_.layers.size(); ++index) {
      const auto sublayers = sublayers_of(weights_.layers[index], index, formats_.get());
      for (size_t at = 0; at < sublayers.size(); ++at) {
        tell(kHeadShare + (1 - kHeadShare) * static_cast<double>(2 * index + at) /
                              static_cast<double>(2 * weights_.layers.size()),
             "layer " + std::to_string(index + 1) + " of " + std::to_string(weights_.layers.size()));
        quantize_sublayer(sublayers[at]);
      }
    }
    return plan_;
  }

 private:
  static constexpr double kOriginalShare = 0.15;  // of the time
  static constexpr double kHeadShare = 0.2;       // with it

  void tell(double done, const std::string& what) const {
    if (options_.progress) options_.progress(done, what);
  }

  [[nodiscard]] bool quantizes(const MatrixPlan& plan, const Matrix& matrix) const {
    return plan.format.quantized() && plan.format.fits(matrix.cols);
  }

  /// What the original predicts says what its tokens weigh, and what comes into its head chooses the head's codes.
  void weigh_tokens_and_quantize_head() {
    const auto tell_original = [&](double fraction) { tell(kOriginalShare * fraction, "the original model"); };
    const auto states = final_states(weights_, formats_.get(), original_, pool_, tell_original);
    const auto tell_predictions = [&](double fraction) {
      tell(kOriginalShare + (kHeadShare - kOriginalShare) * fraction, "the original's predictions");
    };
    token_weights_ = token_weights(gini_impurity(weights_, formats_.get(), states, pool_, tell_predictions));
    quantize_head(states);
  }

  /// The head, or the embedding that is also the head: by what comes out of the original's last layer.
  void quantize_head(std::span<const std::vector<float>> states) {
    const bool tied = config_.tie_word_embeddings;
    const std::string name = tied ? kEmbeddingName : kHeadName;
    const Matrix& matrix = weights_.lm_head;
    const MatrixPlan plan = formats_->matrix(name, matrix.rows, matrix.cols);
    if (!quantizes(plan, matrix)) return;
    Hessian hessian(config_.hidden_size, false);
    for (size_t s = 0; s < states.size(); ++s) hessian.add({}, states[s], {}, token_weights_[s], pool_);
    const auto choice = prepare(hessian, tied ? kEmbeddingDamping : kDamping, name);
    const auto rows = choose_matrix({name, &matrix, formats_.get()}, plan.format, pool_.size(), choice);
    weights_.require_intact();
    plan_->add(name, rows);
    if (!tied) return;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      for (size_t t = 0; t < sequences_[s].size(); ++t)
        rows->read_row(sequences_[s][t], now_[s].data() + static_cast<int64_t>(t) * config_.hidden_size);
    }
  }

  void quantize_sublayer(const Sublayer& sublayer) {
    const bool drifts = options_.method == Method::gptq;
    const FloatMatrices before = read_sublayer(sublayer);
    weights_.require_intact();
    FloatMatrices after = before;
    {
      Hessian hessian(config_.hidden_size, drifts);
      for (size_t s = 0; s < sequences_.size(); ++s)
        hessian.add(sublayer_input(config_, sublayer, original_[s]), sublayer_input(config_, sublayer, now_[s]),
                    original_[s], token_weights_[s], pool_);
      choose(sublayer.first, hessian, after);
    }
    Hessian hessian(sublayer.last.matrix->cols, drifts);
    std::vector<std::vector<float>> inside(sequences_.size());  // of the model as quantized so far
    for (size_t s = 0; s < sequences_.size(); ++s) {
      const auto original =
          sublayer_inner(config_, sublayer, before, sublayer_input(config_, sublayer, original_[s]), pool_);
      add_sublayer_output(sublayer, before, original, original_[s], pool_);
      inside[s] = sublayer_inner(config_, sublayer, after, sublayer_input(config_, sublayer, now_[s]), pool_);
      hessian.add(original, inside[s], original_[s], token_weights_[s], pool_);  // the stream behind this sublayer
    }
    choose({&sublayer.last, 1}, hessian, after);
    for (size_t s = 0; s < sequences_.size(); ++s) add_sublayer_output(sublayer, after, inside[s], now_[s], pool_);
  }

  /// Codes for matrices with one input; `values` becomes what they stand for.
  void choose(std::span<const NamedMatrix> matrices, Hessian& hessian, FloatMatrices& values) {
    const auto choice = prepare(hessian, kDamping, matrices.front().name);
    for (const NamedMatrix& named : matrices) {
      const MatrixPlan plan = formats_->matrix(named.name, named.matrix->rows, named.matrix->cols);
      if (!quantizes(plan, *named.matrix)) continue;
      const auto rows = choose_matrix(named, plan.format, pool_.size(), choice);
      plan_->add(named.name, rows);
      std::vector<float>& now = values.at(named.matrix);
      for (int64_t row = 0; row < named.matrix->rows; ++row) rows->read_row(row, now.data() + row * rows->cols);
    }
  }

  ChooseCodes prepare(Hessian& hessian, float damping, const std::string& name) {
    hessian.finish(pool_);
    if (options_.method == Method::clip) {
      auto importance = std::make_shared<std::vector<float>>();
      hessian.damp(damping * hessian.mean_diagonal());
      for (int64_t i = 0; i < hessian.size; ++i)
        importance->push_back(hessian.h[static_cast<size_t>(i * hessian.size + i)]);
      return [importance](std::span<const float> rows, RowCodes& codes) { clip_search(rows, *importance, codes); };
    }
    const auto objective =
        std::make_shared<const LayerObjective>(make_objective(hessian, damping, kDrift, name, pool_));
    return [objective](std::span<const float> rows, RowCodes& codes) { choose_codes(rows, *objective, codes); };
  }

  static constexpr const char* kEmbeddingName = "language_model.model.embed_tokens.weight";
  static constexpr const char* kHeadName = "language_model.lm_head.weight";

  const Weights& weights_;
  const ModelConfig& config_;
  std::span<const std::vector<int32_t>> sequences_;
  std::shared_ptr<const checkpoint::ConvertPlan> formats_;
  const CalibrateOptions& options_;
  ThreadPool pool_;
  std::shared_ptr<CalibratedPlan> plan_;
  std::vector<std::vector<float>> original_;  // [sequences][tokens, hidden]: into the next sublayer
  std::vector<std::vector<float>> now_;
  std::vector<std::vector<float>> token_weights_;  // [sequences][tokens]: what they weigh in sums of inputs
};

}  // namespace

std::vector<std::vector<int32_t>> cut_sequences(std::span<const std::vector<int32_t>> documents, int64_t length,
                                                int64_t limit) {
  std::vector<std::vector<int32_t>> sequences;
  int64_t total = 0;
  for (const auto& document : documents) {
    const auto size = std::ssize(document);
    for (int64_t begin = 0; begin < size && total < limit; begin += length) {
      const int64_t count = std::min({length, size - begin, limit - total});
      sequences.emplace_back(document.begin() + begin, document.begin() + begin + count);
      total += count;
    }
  }
  if (total < kMinTokens) {
    throw Error(ErrorCode::invalid_argument, std::to_string(total) + " tokens are too few to calibrate with",
                "calibration", "give a text of at least " + std::to_string(kMinTokens) + " tokens, better thousands");
  }
  return sequences;
}

std::shared_ptr<const checkpoint::ConvertPlan> calibrate(const Weights& weights,
                                                         std::span<const std::vector<int32_t>> sequences,
                                                         std::shared_ptr<const checkpoint::ConvertPlan> formats,
                                                         const CalibrateOptions& options) {
  for (const auto& tokens : sequences) {
    for (const int32_t token : tokens) {
      if (token >= 0 && token < weights.config.vocab_size) continue;
      throw Error(
          ErrorCode::invalid_argument,
          "token id " + std::to_string(token) + " is not in [0, " + std::to_string(weights.config.vocab_size) + ")",
          "calibration", "use the ids of this model's own tokenizer");
    }
  }
  return Walk(weights, sequences, std::move(formats), options).run();
}

}  // namespace prosa::calibrate
