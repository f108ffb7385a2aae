// Half of a symmetric sum, mirrored at the end.
#include "tools/calibrate/moments.h"

#include <cmath>

#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {
constexpr int64_t kTogether = 512;   // tokens
constexpr double kMinSquare = 1e-6;  // so that a stream of zeros doesn't count beyond all others

// Rows over the root mean square of each token's residual.
void weigh(std::span<float> rows, int64_t width, std::span<const float> residual) {
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

void count(std::span<float> rows, int64_t width, std::span<const float> counts) {
  for (size_t t = 0; t < counts.size(); ++t) {
    const float factor = std::sqrt(counts[t]);
    for (float& x : rows.subspan(t * static_cast<size_t>(width), static_cast<size_t>(width))) x *= factor;
  }
}
}  // namespace

Moments::Moments(int64_t width, bool drifts)
    : size(width), own(static_cast<size_t>(width * width)), cross(drifts ? own.size() : 0) {}

void Moments::add(std::span<const float> original, std::span<const float> now, std::span<const float> residual,
                  std::span<const float> counts, ThreadPool& pool) {
  const auto take = [&](std::span<const float> from, std::vector<float>& to) {
    to.insert(to.end(), from.begin(), from.end());
    if (!residual.empty()) weigh(std::span(to).last(from.size()), size, residual);
    count(std::span(to).last(from.size()), size, counts);
  };
  if (!cross.empty()) take(original, originals_);
  take(now, nows_);
  if (std::ssize(nows_) >= kTogether * size) sum_up(pool);
}

void Moments::sum_up(ThreadPool& pool) {
  const auto tokens = static_cast<int64_t>(nows_.size()) / size;
  const View now = View{nows_.data(), tokens, size, size}.transposed();
  multiply(now, now, Into::add, own.data(), size, pool, true);
  if (!cross.empty()) {
    multiply(View{originals_.data(), tokens, size, size}.transposed(), now, Into::add, cross.data(), size, pool);
  }
  originals_.clear();
  nows_.clear();
}

void Moments::finish(ThreadPool& pool) {
  sum_up(pool);
  originals_ = {};
  nows_ = {};
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < i; ++j) own[static_cast<size_t>(j * size + i)] = own[static_cast<size_t>(i * size + j)];
  }
}

float Moments::mean_square() const {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += own[static_cast<size_t>(i * size + i)];
  return static_cast<float>(sum / static_cast<double>(size));
}

void Moments::damp(float by) {
  for (int64_t i = 0; i < size; ++i) own[static_cast<size_t>(i * size + i)] += by;
}

}  // namespace prosa::calibrate
