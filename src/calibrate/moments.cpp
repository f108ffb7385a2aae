// Half of a symmetric sum, mirrored at the end.
#include "calibrate/moments.h"

#include "calibrate/products.h"

namespace prosa::calibrate {
namespace {
constexpr int64_t kTogether = 512;  // tokens
}

Moments::Moments(int64_t width, bool drifts)
    : size(width), own(static_cast<size_t>(width * width)), cross(drifts ? own.size() : 0) {}

void Moments::add(std::span<const float> original, std::span<const float> now, ThreadPool& pool) {
  if (!cross.empty()) originals_.insert(originals_.end(), original.begin(), original.end());
  nows_.insert(nows_.end(), now.begin(), now.end());
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
