// The walk: embedding first, then layer by layer with two streams of activations, the original's and those of the model
// as quantized so far.
#include "calibrate/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/reference/layers.h"
#include "calibrate/error_feedback.h"
#include "calibrate/factor.h"
#include "calibrate/layer_pass.h"
#include "calibrate/products.h"
#include "checkpoint/checkpoint.h"
#include "prosa/error.h"

namespace prosa::calibrate {
namespace {

namespace reference = backend::reference;
using checkpoint::MatrixPlan;

constexpr float kDrift = 0.25F;     // of the way from the file's weights to those that follow the drift of the inputs
constexpr float kEmbedding = 0.1F;  // damping of an embedding that is the head too: its rows are inputs as well

class CalibratedPlan : public checkpoint::ConvertPlan {
 public:
  explicit CalibratedPlan(std::shared_ptr<const checkpoint::ConvertPlan> formats) : formats_(std::move(formats)) {}
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override {
    MatrixPlan plan = formats_->matrix(name, rows, cols);
    if (const auto found = done_.find(name); found != done_.end()) plan.quantizer = found->second;
    return plan;
  }
  void add(const std::string& name, std::shared_ptr<const StoredRows> rows) { done_.emplace(name, std::move(rows)); }

 private:
  std::shared_ptr<const checkpoint::ConvertPlan> formats_;
  std::map<std::string, std::shared_ptr<const StoredRows>> done_;
};

/// What the inputs of a site are: sums over all tokens.
struct Moments {
  /// `drifts`: the original's inputs count too.
  Moments(int64_t width, bool drifts)
      : size(width), own(static_cast<size_t>(width * width)), cross(drifts ? own.size() : 0) {}

  /// original, now: [tokens, size], the original's inputs (empty without drift) and those of the model as quantized so
  /// far.
  void add(std::span<const float> original, std::span<const float> now, ThreadPool& pool) {
    originals.insert(originals.end(), original.begin(), original.end());
    nows.insert(nows.end(), now.begin(), now.end());
    if (std::ssize(nows) >= kTogether * size) finish(pool);
  }

  /// What was added and not summed up yet: short sequences wait for others.
  void finish(ThreadPool& pool) {
    const auto tokens = static_cast<int64_t>(nows.size()) / size;
    if (tokens == 0) return;
    std::vector<float> now_t(nows.size());
    transpose({nows.data(), tokens, size, size}, now_t.data(), pool);
    const View columns{now_t.data(), size, tokens, tokens};
    multiply(columns, columns, Into::add, own.data(), size, pool, true);
    if (!cross.empty()) {
      std::vector<float> original_t(originals.size());
      transpose({originals.data(), tokens, size, size}, original_t.data(), pool);
      multiply({original_t.data(), size, tokens, tokens}, columns, Into::add, cross.data(), size, pool);
    }
    originals.clear();
    nows.clear();
  }

  [[nodiscard]] float mean_square() const {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += own[static_cast<size_t>(i * size + i)];
    return static_cast<float>(sum / static_cast<double>(size));
  }

  static constexpr int64_t kTogether = 512;  // tokens

  int64_t size;
  std::vector<float> originals, nows;  // waiting
  std::vector<float> own;              // [size, size]: sum of now now^T, its lower triangle
  std::vector<float> cross;            // [size, size]: sum of original now^T; empty without drift
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
    begin_streams();
    head();
    for (size_t index = 0; index < weights_.layers.size(); ++index) layer(index);
    return plan_;
  }

 private:
  void tell(double done, const std::string& what) const {
    if (options_.cancelled && options_.cancelled()) throw Error(ErrorCode::cancelled, "the conversion was interrupted");
    if (options_.progress) options_.progress({done, what});
  }

  void begin_streams() {
    for (const auto& tokens : sequences_) original_.push_back(reference::embed(weights_, tokens));
    now_ = original_;
  }

  [[nodiscard]] bool quantizes(const MatrixPlan& format, const Matrix& matrix) const {
    return format.bits != 16 && matrix.cols % format.group_size == 0;
  }

  FloatMatrices read_layer(std::span<const Site> sites) const {
    FloatMatrices values;
    for (const Site& site : sites) {
      for (const NamedMatrix& named : site.matrices) values.emplace(named.matrix, read_matrix(*named.matrix));
    }
    return values;
  }

  /// The head, or the embedding that is also the head: by what comes out of the original's last layer.
  void head() {
    const bool tied = config_.tie_word_embeddings;
    const std::string name = tied ? "language_model.model.embed_tokens.weight" : "language_model.lm_head.weight";
    const Matrix& matrix = weights_.lm_head;
    const MatrixPlan format = formats_->matrix(name, matrix.rows, matrix.cols);
    if (!quantizes(format, matrix)) return;
    std::vector<std::vector<float>> hidden = original_;
    for (size_t index = 0; index < weights_.layers.size(); ++index) {
      tell(0.2 * static_cast<double>(index) / static_cast<double>(weights_.layers.size()), "the original model");
      const std::vector<Site> sites = sites_of(weights_.layers[index], index);
      const FloatMatrices values = read_layer(sites);
      for (auto& x : hidden) pass_layer(config_, weights_.layers[index], sites, values, x, pool_, {});
    }
    Moments moments(config_.hidden_size, false);
    for (auto& x : hidden) {
      x = reference::rms_norm_rows(x, weights_.norm, config_.rms_norm_eps);
      moments.add({}, x, pool_);
    }
    moments.finish(pool_);
    const auto rows = quantize(matrix, format, moments, tied ? kEmbedding : options_.damping);
    plan_->add(name, rows);
    if (!tied) return;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      for (size_t t = 0; t < sequences_[s].size(); ++t)
        rows->read_row(sequences_[s][t], now_[s].data() + static_cast<int64_t>(t) * config_.hidden_size);
    }
  }

  void layer(size_t index) {
    const LayerWeights& layer = weights_.layers[index];
    const std::vector<Site> sites = sites_of(layer, index);
    FloatMatrices values = read_layer(sites);
    const bool drifts = options_.method == Method::gptq;
    std::vector<std::vector<std::vector<float>>> inputs(original_.size());  // [sequences][sites][tokens, width]
    for (size_t s = 0; s < original_.size(); ++s) {
      inputs[s].resize(sites.size());
      pass_layer(config_, layer, sites, values, original_[s], pool_, [&](size_t site, std::span<const float> x) {
        if (drifts) inputs[s][site].assign(x.begin(), x.end());
        return true;
      });
    }
    for (size_t site = 0; site < sites.size(); ++site) {
      tell(0.2 + 0.8 * (static_cast<double>(index) + static_cast<double>(site) / static_cast<double>(sites.size())) /
                     static_cast<double>(weights_.layers.size()),
           "layer " + std::to_string(index + 1) + " of " + std::to_string(weights_.layers.size()));
      Moments moments(sites[site].width(), drifts);
      for (size_t s = 0; s < original_.size(); ++s) {
        std::vector<float> hidden = now_[s];
        pass_layer(config_, layer, sites, values, hidden, pool_, [&](size_t at, std::span<const float> x) {
          if (at == site) moments.add(inputs[s][site], x, pool_);
          return at < site;
        });
        inputs[s][site] = {};
      }
      moments.finish(pool_);
      for (const NamedMatrix& named : sites[site].matrices) {
        const MatrixPlan format = formats_->matrix(named.name, named.matrix->rows, named.matrix->cols);
        if (!quantizes(format, *named.matrix)) continue;
        const auto rows = quantize(*named.matrix, format, moments, options_.damping);
        plan_->add(named.name, rows);
        std::vector<float>& now = values.at(named.matrix);
        for (int64_t row = 0; row < named.matrix->rows; ++row) rows->read_row(row, now.data() + row * rows->cols);
      }
    }
    for (auto& x : now_) pass_layer(config_, layer, sites, values, x, pool_, {});
  }

  std::shared_ptr<const StoredRows> quantize(const Matrix& matrix, const MatrixPlan& format, const Moments& moments,
                                             float damping) {
    std::vector<float> target = read_matrix(matrix);
    const int64_t size = moments.size;
    const float mean = moments.mean_square();
    if (options_.method == Method::clip) {
      std::vector<float> importance(static_cast<size_t>(size));
      for (int64_t i = 0; i < size; ++i)
        importance[static_cast<size_t>(i)] = moments.own[static_cast<size_t>(i * size + i)] + damping * mean;
      return clip(target, importance, format.bits, format.group_size, pool_.size());
    }
    Factor factors;
    if (!factor(moments.own, size, damping * mean, pool_, factors)) {
      throw Error(ErrorCode::bad_checkpoint, "its inputs are no finite numbers", matrix.name,
                  "the weights are damaged");
    }
    if (!moments.cross.empty()) follow_drift(target, moments, factors);
    return feed_back(target, factors, format.bits, format.group_size, pool_.size());
  }

  /// W <- W + kDrift * W (C - H) (H + damping)^-1: what makes the outputs of now's inputs those of the original.
  void follow_drift(std::vector<float>& target, const Moments& moments, const Factor& factors) {
    const int64_t size = moments.size;
    std::vector<float> shift(moments.cross.size());
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        const auto at = static_cast<size_t>(i * size + j);
        const auto lower = static_cast<size_t>(std::max(i, j) * size + std::min(i, j));
        shift[at] = kDrift * (moments.cross[at] - moments.own[lower]);
      }
    }
    solve(factors, shift, pool_);
    std::vector<float> shift_t(shift.size());
    transpose({shift.data(), size, size, size}, shift_t.data(), pool_);
    const std::vector<float> before = target;
    const auto rows = static_cast<int64_t>(target.size()) / size;
    multiply({before.data(), rows, size, size}, {shift_t.data(), size, size, size}, Into::add, target.data(), size,
             pool_);
  }

  const Weights& weights_;
  const ModelConfig& config_;
  std::span<const std::vector<int32_t>> sequences_;
  std::shared_ptr<const checkpoint::ConvertPlan> formats_;
  const CalibrateOptions& options_;
  ThreadPool pool_;
  std::shared_ptr<CalibratedPlan> plan_;
  std::vector<std::vector<float>> original_;  // [sequences][tokens, hidden]: into the next layer
  std::vector<std::vector<float>> now_;
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
  if (total < kLeastTokens) {
    throw Error(ErrorCode::invalid_argument, std::to_string(total) + " tokens are too few to calibrate with",
                "calibration", "give a text of at least " + std::to_string(kLeastTokens) + " tokens, better thousands");
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
