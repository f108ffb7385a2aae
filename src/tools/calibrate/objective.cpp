// Factor once for all matrices of an input; then feedback, then descent.
#include "tools/calibrate/objective.h"

#include "prosa/error.h"
#include "tools/calibrate/coordinate_descent.h"
#include "tools/calibrate/gptq.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {
constexpr int kSweeps = 3;                // of descent: more change nothing beyond the noise
constexpr int64_t kRowsTogether = 16384;  // of a matrix, in float32
}  // namespace

LayerObjective make_objective(Hessian& hessian, float damping, float drift, const std::string& name, ThreadPool& pool) {
  LayerObjective objective;
  const float added = damping * hessian.mean_diagonal();
  if (!cholesky_factor(hessian.h, hessian.size, added, pool, objective.factor))
    throw Error(ErrorCode::bad_checkpoint, "its inputs are no finite numbers", name, "the weights are damaged");
  if (!hessian.cross.empty()) {  // drift * (C - H) (H + damping)^-1: makes the outputs of now's inputs the original's
    std::vector<float>& shift = hessian.cross;
    for (size_t i = 0; i < shift.size(); ++i) shift[i] = drift * (shift[i] - hessian.h[i]);
    solve(objective.factor, shift, pool);
    objective.shift = std::move(shift);
  }
  hessian.damp(added);
  objective.h = std::move(hessian.h);
  return objective;
}

void choose_codes(std::span<const float> weights, const LayerObjective& objective, RowCodes& codes) {
  std::vector<float> target(weights.begin(), weights.end());
  if (!objective.shift.empty()) {
    const View shift = View{objective.shift.data(), codes.cols, codes.cols, codes.cols}.transposed();
    multiply({weights.data(), codes.rows, codes.cols, codes.cols}, shift, Into::add, target.data(), codes.cols);
  }
  gptq(target, objective.factor, codes);
  coordinate_descent(target, objective.h, kSweeps, codes);
}

std::shared_ptr<StoredRows> choose_matrix(const NamedMatrix& named, const WeightFormat& format, int threads,
                                          const ChooseCodes& choose) {
  const Matrix& matrix = *named.matrix;
  auto out = std::make_shared<StoredRows>(matrix.rows, matrix.cols, format);
  for (int64_t begin = 0; begin < matrix.rows; begin += kRowsTogether) {
    const int64_t end = std::min(begin + kRowsTogether, matrix.rows);
    choose_rows(read_rows(named, begin, end), begin, threads, choose, *out);
  }
  return out;
}

}  // namespace prosa::calibrate
