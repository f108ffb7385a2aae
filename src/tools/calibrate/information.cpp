// Factor once for all matrices of an input; then feedback, then descent.
#include "tools/calibrate/information.h"

#include "prosa/error.h"
#include "tools/calibrate/descent.h"
#include "tools/calibrate/error_feedback.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {
constexpr int kSweeps = 3;                // of descent: more change nothing beyond the noise
constexpr int64_t kRowsTogether = 16384;  // of a matrix, in float32
}  // namespace

Information learn(Moments& moments, float damping, float drift, const std::string& name, ThreadPool& pool) {
  Information information;
  const float added = damping * moments.mean_square();
  if (!factor(moments.own, moments.size, added, pool, information.factor))
    throw Error(ErrorCode::bad_checkpoint, "its inputs are no finite numbers", name, "the weights are damaged");
  if (!moments.cross.empty()) {  // drift * (C - H) (H + damping)^-1: makes the outputs of now's inputs the original's
    std::vector<float>& shift = moments.cross;
    for (size_t i = 0; i < shift.size(); ++i) shift[i] = drift * (shift[i] - moments.own[i]);
    solve(information.factor, shift, pool);
    information.shift = std::move(shift);
  }
  moments.damp(added);
  information.h = std::move(moments.own);
  return information;
}

void choose_codes(std::span<const float> weights, const Information& information, RowCodes& codes) {
  std::vector<float> target(weights.begin(), weights.end());
  if (!information.shift.empty()) {
    const View shift = View{information.shift.data(), codes.cols, codes.cols, codes.cols}.transposed();
    multiply({weights.data(), codes.rows, codes.cols, codes.cols}, shift, Into::add, target.data(), codes.cols);
  }
  feed_back(target, information.factor, codes);
  descend(target, information.h, kSweeps, codes);
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
