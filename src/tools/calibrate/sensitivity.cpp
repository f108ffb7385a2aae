// All streams go through a layer before the next one is read: the original's over tokens to learn from and over tokens
// to judge by, and one for each probe behind its place.
#include "tools/calibrate/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "backend/reference/layers.h"
#include "tools/calibrate/divergence.h"
#include "tools/calibrate/gptq.h"
#include "tools/calibrate/hessian.h"
#include "tools/calibrate/objective.h"
#include "tools/calibrate/products.h"
#include "tools/calibrate/row_codes.h"
#include "tools/calibrate/sublayer.h"

namespace prosa::calibrate {
namespace {

namespace reference = backend::reference;

constexpr int64_t kJudged = 1024;   // tokens whose predictions are looked at; of a short text a quarter
constexpr int64_t kLearned = 4096;  // others, by which the rounding is chosen: what is judged must be new to it
constexpr WeightFormat kProbe =
    WeightFormat::affine(4, 64);    // coarse enough to be seen, fine enough for its square law
constexpr int64_t kErrorRows = 64;  // rows of a matrix that stand for its rounding error
constexpr double kOriginal = 0.2;   // of the time
constexpr double kLayers = 0.8;     // from there to here; the rest is the head's

using Stream = std::vector<std::vector<float>>;  // [sequences][tokens, hidden]

std::vector<float> importance_from(std::span<const std::vector<float>> inputs, int64_t width) {
  std::vector<double> squares(static_cast<size_t>(width));
  for (const auto& x : inputs) {
    for (size_t i = 0; i < x.size(); ++i) squares[i % squares.size()] += static_cast<double>(x[i]) * x[i];
  }
  return importance_of(squares);
}

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

class Measurement {
 public:
  Measurement(const Weights& weights, std::span<const std::vector<int32_t>> sequences,
              const checkpoint::ConvertPlan& plan, std::span<const WeightFormat> formats, ThreadPool& pool,
              const std::function<void(double, std::string_view)>& tell)
      : weights_(weights), config_(weights.config), plan_(plan), formats_(formats), pool_(pool), tell_(tell) {
    int64_t all = 0;
    for (const auto& sequence : sequences) all += std::ssize(sequence);
    const int64_t judged = std::min(kJudged, all / 4);
    int64_t tokens = 0;
    for (const auto& sequence : sequences) {
      std::span<const int32_t> rest = sequence;
      while (!rest.empty() && tokens < judged + kLearned) {
        const bool to_judge = tokens < judged;
        const auto count = std::min(std::ssize(rest), (to_judge ? judged : judged + kLearned) - tokens);
        (to_judge ? original_ : learned_).push_back(reference::embed(weights_, rest.first(static_cast<size_t>(count))));
        rest = rest.subspan(static_cast<size_t>(count));
        tokens += count;
      }
    }
  }

  std::vector<Sensitivity> run() {
    const ChooseCodes head_choice = learn_head();
    probe_embedding(head_choice);
    for (size_t index = 0; index < weights_.layers.size(); ++index) {
      tell_(
          kOriginal + (kLayers - kOriginal) * static_cast<double>(index) / static_cast<double>(weights_.layers.size()),
          "measuring layer " + std::to_string(index + 1) + " of " + std::to_string(weights_.layers.size()));
      for (const Sublayer& sublayer : sublayers_of(weights_.layers[index], index, &plan_)) probe_sublayer(sublayer);
    }
    measure_predictions(head_choice);
    return std::move(results_);
  }

 private:
  /// A stream behind rounded matrices, and what its divergence is shared out to.
  struct Probe {
    Stream stream;
    std::vector<size_t> results;
    std::vector<double> shares;
    bool head = false;  // its head is rounded
  };

  [[nodiscard]] std::vector<WeightFormat> formats_for(int64_t cols) const {
    std::vector<WeightFormat> fitting;
    for (const WeightFormat& format : formats_) {
      if (format.fits(cols)) fitting.push_back(format);
    }
    return fitting;
  }

  [[nodiscard]] static bool can_probe(const Matrix& matrix) { return kProbe.fits(matrix.cols); }

  ChooseCodes choose_by(Hessian& hessian, float damping, const std::string& name) const {
    hessian.finish(pool_);
    const auto objective = std::make_shared<const LayerObjective>(make_objective(hessian, damping, 0, name, pool_));
    return [objective](std::span<const float> rows, RowCodes& codes) { choose_codes(rows, *objective, codes); };
  }

  /// By what comes out of the original's last layer.
  ChooseCodes learn_head() {
    Hessian hessian(config_.hidden_size, false);
    const auto tell = [&](double fraction) { tell_(kOriginal * fraction, "the original model"); };
    for (const auto& x : final_states(weights_, &plan_, learned_, pool_, tell)) hessian.add({}, x, {}, {}, pool_);
    return choose_by(hessian, config_.tie_word_embeddings ? kEmbeddingDamping : kDamping, "lm_head");
  }

  /// An entry in the results; its divergences are errors for now, as multiples of the probe's.
  size_t add_result(const NamedMatrix& named, std::span<const float> importance) {
    const Matrix& matrix = *named.matrix;
    Sensitivity result{named.name, matrix.rows, matrix.cols, formats_for(matrix.cols), {}};
    const int64_t count = std::min(kErrorRows, matrix.rows);
    std::vector<float> sample;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = i * matrix.rows / count;
      const std::vector<float> values = read_rows(named, row, row + 1);
      sample.insert(sample.end(), values.begin(), values.end());
    }
    const double unit = rounding_error(sample, importance, kProbe) + 1e-30;
    for (const WeightFormat& format : result.formats)
      result.divergence.push_back(rounding_error(sample, importance, format) / unit);
    results_.push_back(std::move(result));
    return results_.size() - 1;
  }

  void probe_embedding(const ChooseCodes& head_choice) {
    const Matrix& matrix = weights_.embed_tokens;
    if (!can_probe(matrix)) return;
    const std::vector<float> importance(static_cast<size_t>(matrix.cols), 1.0F);
    Probe probe;
    probe.head = config_.tie_word_embeddings;
    probe.results = {add_result({"language_model.model.embed_tokens.weight", &matrix, &plan_}, importance)};
    probe.shares = {1.0};
    const auto plain = [&](std::span<const float> rows, RowCodes& codes) { clip_search(rows, importance, codes); };
    std::vector<float> rows;
    for (const auto& x : original_) rows.insert(rows.end(), x.begin(), x.end());  // a row for each token
    StoredRows rounded(std::ssize(rows) / matrix.cols, matrix.cols, kProbe);
    choose_rows(rows, 0, pool_.size(), probe.head ? head_choice : ChooseCodes(plain), rounded);
    int64_t row = 0;
    for (const auto& x : original_) {
      std::vector<float> values(x.size());
      for (int64_t at = 0; at < std::ssize(x); at += matrix.cols) rounded.read_row(row++, values.data() + at);
      probe.stream.push_back(std::move(values));
    }
    probes_.push_back(std::move(probe));
  }

  void probe_sublayer(const Sublayer& sublayer) {
    const FloatMatrices values = read_sublayer(sublayer);
    weights_.require_intact();
    for (Probe& probe : probes_) {
      for (auto& x : probe.stream) run_sublayer(config_, sublayer, values, x, pool_);
    }
    Hessian first(config_.hidden_size, false), last(sublayer.last.matrix->cols, false);
    for (auto& x : learned_) {
      const auto input = sublayer_input(config_, sublayer, x);
      const auto inside = sublayer_inner(config_, sublayer, values, input, pool_);
      first.add({}, input, x, {}, pool_);
      add_sublayer_output(sublayer, values, inside, x, pool_);
      last.add({}, inside, x, {}, pool_);
    }
    const ChooseCodes first_choice = choose_by(first, kDamping, sublayer.first.front().name);
    const ChooseCodes last_choice = choose_by(last, kDamping, sublayer.last.name);
    Stream inputs, insides;
    const Stream before = original_;
    for (auto& x : original_) {
      inputs.push_back(sublayer_input(config_, sublayer, x));
      insides.push_back(sublayer_inner(config_, sublayer, values, inputs.back(), pool_));
      add_sublayer_output(sublayer, values, insides.back(), x, pool_);
    }
    Probe probe;
    FloatMatrices all = values;
    for (const NamedMatrix& named : sublayer.matrices()) {
      if (!can_probe(*named.matrix)) continue;
      const bool is_last = named.matrix == sublayer.last.matrix;
      const auto importance = importance_from(is_last ? insides : inputs, named.matrix->cols);
      const auto rounded = choose_matrix(named, kProbe, pool_.size(), is_last ? last_choice : first_choice);
      std::vector<float>& place = all.at(named.matrix);
      FloatMatrices alone = values;
      for (int64_t row = 0; row < named.matrix->rows; ++row) rounded->read_row(row, place.data() + row * rounded->cols);
      alone.at(named.matrix) = place;
      double moved = 0;
      for (size_t s = 0; s < before.size(); ++s) {
        std::vector<float> x = before[s];
        add_sublayer_output(sublayer, alone,
                            is_last ? insides[s] : sublayer_inner(config_, sublayer, alone, inputs[s], pool_), x,
                            pool_);
        moved += squared_distance(x, original_[s]);
      }
      probe.results.push_back(add_result(named, importance));
      probe.shares.push_back(moved);
    }
    probe.stream = before;
    for (auto& x : probe.stream) run_sublayer(config_, sublayer, all, x, pool_);
    if (!probe.results.empty()) probes_.push_back(std::move(probe));
  }

  void measure_predictions(const ChooseCodes& choice) {
    tell_(kLayers, "measuring the predictions");
    learned_ = {};
    for (auto& x : original_) x = reference::rms_norm_rows(x, weights_.norm, config_.rms_norm_eps);
    for (Probe& probe : probes_) {
      for (auto& x : probe.stream) x = reference::rms_norm_rows(x, weights_.norm, config_.rms_norm_eps);
    }
    const Matrix& matrix = weights_.lm_head;
    const NamedMatrix head{"language_model.lm_head.weight", &matrix, &plan_};
    const std::vector<float> importance = importance_from(original_, matrix.cols);
    if (!config_.tie_word_embeddings && can_probe(matrix)) {
      Probe probe{original_, {add_result(head, importance)}, {1.0}, true};
      probes_.push_back(std::move(probe));
    }
    const std::vector<float> reference_rows = flat(original_);
    std::vector<Divergence> sums;
    std::vector<std::vector<float>> rows;
    for (Probe& probe : probes_) {
      rows.push_back(flat(probe.stream));
      probe.stream = {};
      sums.emplace_back(static_cast<int64_t>(reference_rows.size()) / matrix.cols);
    }
    for (int64_t begin = 0; begin < matrix.rows; begin += kVocabulary) {
      const int64_t end = std::min(begin + kVocabulary, matrix.rows);
      tell_(kLayers + (1 - kLayers) * static_cast<double>(begin) / static_cast<double>(matrix.rows),
            "measuring the predictions");
      const std::vector<float> weights = read_rows(head, begin, end);
      weights_.require_intact();
      std::vector<float> rounded(weights.size());
      if (can_probe(matrix)) {
        StoredRows codes(end - begin, matrix.cols, kProbe);
        choose_rows(weights, 0, pool_.size(), choice, codes);
        for (int64_t row = 0; row < end - begin; ++row) codes.read_row(row, rounded.data() + row * matrix.cols);
      }
      const std::vector<float> expected = logits(reference_rows, weights, matrix.cols);
      for (size_t p = 0; p < probes_.size(); ++p) {
        const std::vector<float> seen = logits(rows[p], probes_[p].head ? rounded : weights, matrix.cols);
        sums[p].add(expected, seen, end - begin, pool_);
      }
    }
    for (size_t p = 0; p < probes_.size(); ++p) share_out(probes_[p], std::max(sums[p].mean(), 1e-12));
  }

  void share_out(const Probe& probe, double divergence) {
    double all = 1e-30;
    for (const double share : probe.shares) all += share;
    for (size_t i = 0; i < probe.results.size(); ++i) {
      for (double& value : results_[probe.results[i]].divergence) value *= divergence * probe.shares[i] / all;
    }
  }

  [[nodiscard]] std::vector<float> logits(std::span<const float> rows, std::span<const float> weights,
                                          int64_t width) const {
    const int64_t tokens = std::ssize(rows) / width;
    const int64_t outputs = std::ssize(weights) / width;
    std::vector<float> result(static_cast<size_t>(tokens * outputs));
    multiply({rows.data(), tokens, width, width}, {weights.data(), outputs, width, width}, Into::assign, result.data(),
             outputs, pool_);
    return result;
  }

  static std::vector<float> flat(const Stream& stream) {
    std::vector<float> all;
    for (const auto& x : stream) all.insert(all.end(), x.begin(), x.end());
    return all;
  }

  static constexpr int64_t kVocabulary = 4096;  // rows of the head at a time

  const Weights& weights_;
  const ModelConfig& config_;
  const checkpoint::ConvertPlan& plan_;
  std::span<const WeightFormat> formats_;
  ThreadPool& pool_;
  const std::function<void(double, std::string_view)>& tell_;
  Stream learned_;
  Stream original_;  // what is judged
  std::vector<Probe> probes_;
  std::vector<Sensitivity> results_;
};

}  // namespace

std::vector<Sensitivity> measure_sensitivity(const Weights& weights, std::span<const std::vector<int32_t>> sequences,
                                             const checkpoint::ConvertPlan& plan, std::span<const WeightFormat> formats,
                                             ThreadPool& pool,
                                             const std::function<void(double, std::string_view)>& tell) {
  return Measurement(weights, sequences, plan, formats, pool, tell).run();
}

}  // namespace prosa::calibrate
