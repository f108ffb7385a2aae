// Measure, allocate, name.
#include "tools/calibrate/mixed.h"

#include <map>

#include "prosa/error.h"
#include "tools/calibrate/allocation.h"
#include "tools/calibrate/sensitivity.h"

namespace prosa::calibrate {
namespace {

using checkpoint::MatrixPlan;

/// What a matrix may get.
std::vector<WeightFormat> candidate_formats() {
  std::vector<WeightFormat> formats;
  for (const int group : {64, 128}) {
    for (const int bits : {3, 4, 5, 6, 8}) formats.push_back(WeightFormat::affine(bits, group));
  }
  return formats;
}

class MixedPlan : public checkpoint::ConvertPlan {
 public:
  explicit MixedPlan(std::shared_ptr<const checkpoint::ConvertPlan> base) : base_(std::move(base)) {}
  [[nodiscard]] MatrixPlan matrix(const std::string& name, int64_t rows, int64_t cols) const override {
    const auto found = formats_.find(name);
    if (found == formats_.end()) return base_->matrix(name, rows, cols);
    return {found->second, nullptr};
  }
  void fold(const std::string& name, std::span<float> values, int64_t first_row, int64_t cols) const override {
    base_->fold(name, values, first_row, cols);
  }
  void set(const std::string& name, const WeightFormat& format) { formats_[name] = format; }

 private:
  std::shared_ptr<const checkpoint::ConvertPlan> base_;
  std::map<std::string, WeightFormat> formats_;
};

}  // namespace

std::shared_ptr<const checkpoint::ConvertPlan> mix_formats(const Weights& weights,
                                                           std::span<const std::vector<int32_t>> sequences,
                                                           std::shared_ptr<const checkpoint::ConvertPlan> base,
                                                           const MixedOptions& options) {
  ThreadPool pool(options.threads > 0 ? options.threads : physical_cores());
  const auto tell = [&](double fraction, std::string_view what) {
    if (options.progress) options.progress(fraction, what);
  };
  std::vector<Sensitivity> free;
  for (Sensitivity& matrix : measure_sensitivity(weights, sequences, *base, candidate_formats(), pool, tell)) {
    if (!(options.fixed && options.fixed(matrix.name)) && !matrix.formats.empty()) free.push_back(std::move(matrix));
  }
  double budget = 0;
  std::vector<std::vector<Candidate>> items;
  for (const Sensitivity& matrix : free) {
    const auto count = static_cast<double>(matrix.rows * matrix.cols);
    budget += count * (options.bits + 32.0 / options.group_size);
    auto& candidates = items.emplace_back();
    for (size_t f = 0; f < matrix.formats.size(); ++f)
      candidates.push_back({8 * matrix.formats[f].bytes(matrix.rows, matrix.cols), matrix.divergence[f]});
  }
  const std::vector<size_t> chosen = allocate(items, static_cast<int64_t>(budget));
  auto plan = std::make_shared<MixedPlan>(std::move(base));
  for (size_t i = 0; i < free.size(); ++i) plan->set(free[i].name, free[i].formats[chosen[i]]);
  return plan;
}

}  // namespace prosa::calibrate
