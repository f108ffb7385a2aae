// One pass of the original model; each input's columns are weighed by what comes in there.
#include "tools/calibrate/awq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>

#include "backend/reference/layers.h"
#include "tools/calibrate/gptq.h"
#include "tools/calibrate/sublayer.h"

namespace prosa::calibrate {
namespace {

namespace reference = backend::reference;
using checkpoint::MatrixPlan;

constexpr int64_t kTokens = 4096;
constexpr int64_t kSampledRows = 64;  // rows of a matrix that stand for its rounding error
constexpr std::array<float, 4> kPowers{0.2F, 0.4F, 0.6F, 0.8F};
constexpr float kMaxScale = 16;  // a scale, or its inverse

class AwqPlan : public checkpoint::ConvertPlan {
 public:
  explicit AwqPlan(std::shared_ptr<const checkpoint::ConvertPlan> base) : base_(std::move(base)) {}
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override {
    return base_->matrix(name, rows, cols);
  }
  void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
    base_->fold(name, values, first_row, cols);
    if (const auto found = columns_.find(name); found != columns_.end()) {
      for (size_t at = 0; at < values.size(); ++at) values[at] *= found->second[at % static_cast<size_t>(cols)];
    }
    if (const auto found = rows_.find(name); found != rows_.end()) {
      for (size_t at = 0; at < values.size(); ++at)
        values[at] *= found->second[static_cast<size_t>(first_row) + at / static_cast<size_t>(cols)];
    }
  }
  /// Of a vector: all of its elements.
  void scale_columns(const std::string& name, std::vector<float> scales) { columns_[name] = std::move(scales); }
  void scale_rows(const std::string& name, std::vector<float> scales) { rows_[name] = std::move(scales); }

 private:
  std::shared_ptr<const checkpoint::ConvertPlan> base_;
  std::map<std::string, std::vector<float>> columns_;
  std::map<std::string, std::vector<float>> rows_;
};

std::vector<float> inverse_of(std::vector<float> scales) {
  for (float& scale : scales) scale = 1 / scale;
  return scales;
}

class Search {
 public:
  Search(const Weights& weights, std::span<const std::vector<int32_t>> sequences,
         std::shared_ptr<const checkpoint::ConvertPlan> base, int threads,
         const std::function<void(double, std::string_view)>& tell)
      : weights_(weights),
        config_(weights.config),
        base_(std::move(base)),
        plan_(std::make_shared<AwqPlan>(base_)),
        pool_(threads > 0 ? threads : physical_cores()),
        tell_(tell) {
    int64_t tokens = 0;
    for (const auto& sequence : sequences) {
      const auto count = std::min<int64_t>(std::ssize(sequence), kTokens - tokens);
      if (count <= 0) break;
      hidden_.push_back(reference::embed(weights, std::span(sequence).first(static_cast<size_t>(count))));
      tokens += count;
    }
  }

  std::shared_ptr<const checkpoint::ConvertPlan> run() {
    for (size_t index = 0; index < weights_.layers.size(); ++index) {
      tell_(static_cast<double>(index) / static_cast<double>(weights_.layers.size()),
            "scales of layer " + std::to_string(index + 1) + " of " + std::to_string(weights_.layers.size()));
      const std::string prefix = "language_model.model.layers." + std::to_string(index) + ".";
      for (const Sublayer& sublayer : sublayers_of(weights_.layers[index], index, base_.get()))
        search(sublayer, prefix);
    }
    return plan_;
  }

 private:
  static void add_squares(std::span<const float> x, std::vector<double>& sums) {
    for (size_t at = 0; at < x.size(); ++at) sums[at % sums.size()] += static_cast<double>(x[at]) * x[at];
  }

  void search(const Sublayer& sublayer, const std::string& prefix) {
    const FloatMatrices values = read_sublayer(sublayer);
    weights_.require_intact();
    std::vector<double> first(static_cast<size_t>(config_.hidden_size));
    std::vector<double> last(static_cast<size_t>(sublayer.last.matrix->cols));
    for (auto& x : hidden_) {
      const auto input = sublayer_input(config_, sublayer, x);
      const auto inside = sublayer_inner(config_, sublayer, values, input, pool_);
      add_squares(input, first);
      add_squares(inside, last);
      add_sublayer_output(sublayer, values, inside, x, pool_);
    }
    const auto each_its_own = [](size_t column) { return column; };
    if (const auto scales = best_scales(sublayer.first, first, first.size(), each_its_own, values); !scales.empty()) {
      for (const NamedMatrix& named : sublayer.first) plan_->scale_columns(named.name, scales);
      plan_->scale_columns(prefix + (sublayer.mixer ? "input_layernorm" : "post_attention_layernorm") + ".weight",
                           inverse_of(scales));
    }
    fold_last(sublayer, prefix, last, values);
  }

  void fold_last(const Sublayer& sublayer, const std::string& prefix, std::span<const double> squares,
                 const FloatMatrices& values) {
    const auto head_dim = static_cast<size_t>(config_.head_dim);
    const auto group = static_cast<size_t>(config_.num_attention_heads / config_.num_key_value_heads);
    const auto value_dim = static_cast<size_t>(config_.linear_value_head_dim);
    // Which of the scales a column of the last matrix shares with others.
    const auto shared = [&](size_t column) {
      if (!sublayer.mixer) return column;
      if (sublayer.layer->delta) return column % value_dim;
      return column / head_dim / group * head_dim + column % head_dim;
    };
    const size_t count = !sublayer.mixer         ? squares.size()
                         : sublayer.layer->delta ? value_dim
                                                 : static_cast<size_t>(config_.kv_dim());
    const auto scales = best_scales({&sublayer.last, 1}, squares, count, shared, values);
    if (scales.empty()) return;
    std::vector<float> by_column;
    for (size_t column = 0; column < squares.size(); ++column) by_column.push_back(scales[shared(column)]);
    plan_->scale_columns(sublayer.last.name, std::move(by_column));
    if (!sublayer.mixer) {
      plan_->scale_rows(prefix + "mlp.up_proj.weight", inverse_of(scales));
    } else if (sublayer.layer->delta) {
      plan_->scale_columns(prefix + "linear_attn.norm.weight", inverse_of(scales));
    } else {
      plan_->scale_rows(prefix + "self_attn.v_proj.weight", inverse_of(scales));
    }
  }

  /// `count` scales; none where the columns are best left alone.
  template <typename Shared>
  std::vector<float> best_scales(std::span<const NamedMatrix> matrices, std::span<const double> squares, size_t count,
                                 const Shared& shared, const FloatMatrices& values) {
    std::vector<double> mean(count, 1e-20);
    for (size_t column = 0; column < squares.size(); ++column) mean[shared(column)] += squares[column];
    double middle = 0;  // logarithm
    for (const double value : mean) middle += std::log(value) / static_cast<double>(count);
    std::vector<float> best;
    double least = error_of(matrices, squares, std::vector<float>(count, 1.0F), shared, values);
    for (const float power : kPowers) {
      std::vector<float> scales;
      for (const double value : mean) {
        const auto scale = static_cast<float>(std::exp(0.5 * power * (std::log(value) - middle)));
        scales.push_back(std::clamp(scale, 1 / kMaxScale, kMaxScale));
      }
      if (const double error = error_of(matrices, squares, scales, shared, values); error < least) {
        least = error;
        best = std::move(scales);
      }
    }
    return best;
  }

  /// What rounding the scaled columns does to the outputs, by sampled rows, as if columns were independent.
  template <typename Shared>
  double error_of(std::span<const NamedMatrix> matrices, std::span<const double> squares, std::span<const float> scales,
                  const Shared& shared, const FloatMatrices& values) const {
    double sum = 0;
    std::vector<float> importance = importance_of(squares);
    for (size_t column = 0; column < importance.size(); ++column)
      importance[column] /= scales[shared(column)] * scales[shared(column)];
    for (const NamedMatrix& named : matrices) {
      const Matrix& matrix = *named.matrix;
      const WeightFormat format = base_->matrix(named.name, matrix.rows, matrix.cols).format;
      if (!format.quantized() || !format.fits(matrix.cols)) continue;
      const int64_t count = std::min(kSampledRows, matrix.rows);
      const std::vector<float>& from = values.at(&matrix);
      std::vector<float> sample;
      for (int64_t i = 0; i < count; ++i) {
        const auto* row = from.data() + i * matrix.rows / count * matrix.cols;
        for (int64_t column = 0; column < matrix.cols; ++column)
          sample.push_back(row[column] * scales[shared(static_cast<size_t>(column))]);
      }
      sum += rounding_error(sample, importance, format) * static_cast<double>(matrix.rows) / static_cast<double>(count);
    }
    return sum;
  }

  const Weights& weights_;
  const ModelConfig& config_;
  std::shared_ptr<const checkpoint::ConvertPlan> base_;
  std::shared_ptr<AwqPlan> plan_;
  ThreadPool pool_;
  const std::function<void(double, std::string_view)>& tell_;
  std::vector<std::vector<float>> hidden_;  // [sequences][tokens, hidden]
};

}  // namespace

std::shared_ptr<const checkpoint::ConvertPlan> search_awq_scales(
    const Weights& weights, std::span<const std::vector<int32_t>> sequences,
    std::shared_ptr<const checkpoint::ConvertPlan> base, int threads,
    const std::function<void(double, std::string_view)>& tell) {
  return Search(weights, sequences, std::move(base), threads, tell).run();
}

}  // namespace prosa::calibrate
