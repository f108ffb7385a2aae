// One triangle of a symmetric sum, mirrored at the end.
#include "tools/calibrate/hessian.h"

#include <cmath>

#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {
constexpr int64_t kTogether = 512;   // tokens
constexpr double kMinSquare = 1e-6;  // so that a stream of zeros doesn't weigh beyond all others

// Rows over the root mean square of each token's residual.
void weigh_by_residual(std::span<float> rows, int64_t width, std::span<const float> residual) {
  const int64_t tokens = std::ssize(rows) / width;
  const int64_t size = std::ssize(residual) / tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    double squares = kMinSquare * static_cast<double>(size);
    for (const float x : residual.subspan(static_cast<size_t>(t * size), static_cast<size_t>(size)))
      squares += static_cast<double>(x) * x;
    const auto factor = static_cast<float>(std::sqrt(static_cast<double>(size) / squares));
    for (float& x : rows.subspan(static_cast<size_t>(t * width), static_cast<size_t>(width))) x *= factor;
  }
}

void weigh_by_token(std::span<float> rows, int64_t width, std::span<const float> token_weights) {
  for (size_t t = 0; t < token_weights.size(); ++t) {
    const float factor = std::sqrt(token_weights[t]);
    for (float& x : rows.subspan(t * static_cast<size_t>(width), static_cast<size_t>(width))) x *= factor;
  }
}
}  // namespace

Hessian::Hessian(int64_t width, bool drifts)
    : size(width), h(static_cast<size_t>(width * width)), cross(drifts ? h.size() : 0) {}

void Hessian::add(std::span<const float> original, std::span<const float> now, std::span<const float> residual,
                  std::span<const float> token_weights, ThreadPool& pool) {
  const auto take = [&](std::span<const float> from, std::vector<float>& to) {
    to.insert(to.end(), from.begin(), from.end());
    if (!residual.empty()) weigh_by_residual(std::span(to).last(from.size()), size, residual);
    weigh_by_token(std::span(to).last(from.size()), size, token_weights);
  };
  if (!cross.empty()) take(original, originals_);
  take(now, nows_);
  if (std::ssize(nows_) >= kTogether * size) sum_up(pool);
}

void Hessian::sum_up(ThreadPool& pool) {
  const auto tokens = static_cast<int64_t>(nows_.size()) / size;
  const View now = View{nows_.data(), tokens, size, size}.transposed();
  multiply(now, now, Into::add, h.data(), size, pool, true);
  if (!cross.empty()) {
    multiply(View{originals_.data(), tokens, size, size}.transposed(), now, Into::add, cross.data(), size, pool);
  }
  originals_.clear();
  nows_.clear();
}

void Hessian::finish(ThreadPool& pool) {
  sum_up(pool);
  originals_ = {};
  nows_ = {};
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < i; ++j) h[static_cast<size_t>(j * size + i)] = h[static_cast<size_t>(i * size + j)];
  }
}

float Hessian::mean_diagonal() const {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += h[static_cast<size_t>(i * size + i)];
  return static_cast<float>(sum / static_cast<double>(size));
}

void Hessian::damp(float by) {
  for (int64_t i = 0; i < size; ++i) h[static_cast<size_t>(i * size + i)] += by;
}

}  // namespace prosa::calibrate
