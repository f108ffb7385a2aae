// The vocabulary in pieces, with running maxima: sums shrink when a larger logit comes.
#include "tools/calibrate/token_weights.h"

#include <algorithm>
#include <cmath>

#include "tools/calibrate/products.h"
#include "tools/calibrate/sublayer.h"

namespace prosa::calibrate {
namespace {

constexpr int64_t kOutputs = 1024;  // rows of the head at a time
constexpr int64_t kTokensAtOnce = 1024;
constexpr float kImpurityShare = 0.5F;

struct Weighted {
  float top = -1e30F;
  double sum = 0, squares = 0;  // of exp(logit - top)

  void add(std::span<const float> logits) {
    const float now = std::max(top, std::ranges::max(logits));
    const double shrink = std::exp(static_cast<double>(top) - now);
    sum *= shrink;
    squares *= shrink * shrink;
    top = now;
    for (const float logit : logits) {
      const double weight = std::exp(logit - top);
      sum += weight;
      squares += weight * weight;
    }
  }
};

}  // namespace

std::vector<std::vector<float>> gini_impurity(const Weights& weights, const checkpoint::ConvertPlan* plan,
                                              std::span<const std::vector<float>> states, ThreadPool& pool,
                                              const std::function<void(double)>& tell) {
  const Matrix& head = weights.lm_head;
  const int64_t width = head.cols;
  std::vector<std::vector<Weighted>> predictions;
  for (const auto& x : states) predictions.emplace_back(x.size() / static_cast<size_t>(width));
  std::vector<float> logits(static_cast<size_t>(kTokensAtOnce * kOutputs));
  for (int64_t begin = 0; begin < head.rows; begin += kOutputs) {
    tell(static_cast<double>(begin) / static_cast<double>(head.rows));
    const int64_t outputs = std::min(kOutputs, head.rows - begin);
    const std::vector<float> piece = read_rows({"language_model.lm_head.weight", &head, plan}, begin, begin + outputs);
    weights.require_intact();
    for (size_t s = 0; s < states.size(); ++s) {
      const auto tokens = std::ssize(predictions[s]);
      for (int64_t first = 0; first < tokens; first += kTokensAtOnce) {
        const int64_t count = std::min(kTokensAtOnce, tokens - first);
        multiply({states[s].data() + first * width, count, width, width}, {piece.data(), outputs, width, width},
                 Into::assign, logits.data(), outputs, pool);
        pool.run([&](int worker) {
          const Range mine = share(count, worker, pool.size());
          for (int64_t t = mine.begin; t < mine.end; ++t)
            predictions[s][static_cast<size_t>(first + t)].add(
                {logits.data() + t * outputs, static_cast<size_t>(outputs)});
        });
      }
    }
  }
  std::vector<std::vector<float>> impurity;
  for (const auto& row : predictions) {
    std::vector<float>& values = impurity.emplace_back();
    for (const Weighted& p : row) values.push_back(static_cast<float>(1 - p.squares / (p.sum * p.sum)));
  }
  return impurity;
}

std::vector<std::vector<float>> token_weights(std::vector<std::vector<float>> impurity) {
  double sum = 0, tokens = 0;
  for (const auto& row : impurity) {
    for (const float value : row) sum += value;
    tokens += static_cast<double>(row.size());
  }
  // A model that is sure of everything: all alike.
  const float part = sum > 0 ? kImpurityShare : 0.0F;
  const auto scale = static_cast<float>(sum > 0 ? kImpurityShare * tokens / sum : 0.0);
  for (auto& row : impurity) {
    for (float& value : row) value = 1 - part + scale * value;
  }
  return impurity;
}

}  // namespace prosa::calibrate
