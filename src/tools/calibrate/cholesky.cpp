// Cholesky of the reversed matrix in blocks: its factor, reversed again, is the upper one.
#include "tools/calibrate/cholesky.h"

#include <algorithm>
#include <cmath>

#include "backend/reference/formulas.h"
#include "tools/calibrate/products.h"

namespace prosa::calibrate {
namespace {

constexpr int64_t kBlock = 64;

using backend::reference::dot;

bool factor_diagonal(float* c, int64_t ld, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) c[i * ld + j] = (c[i * ld + j] - dot(c + i * ld, c + j * ld, j)) / c[j * ld + j];
    const float rest = c[i * ld + i] - dot(c + i * ld, c + i * ld, i);
    if (!(rest > 0) || !std::isfinite(rest)) return false;
    c[i * ld + i] = std::sqrt(rest);
  }
  return true;
}

/// In place: lower triangle of a positive definite matrix -> its Cholesky factor.
bool cholesky(float* c, int64_t size, ThreadPool& pool) {
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    const float* diagonal = c + begin * size + begin;
    if (!factor_diagonal(c + begin * size + begin, size, end - begin)) return false;
    pool.run([&](int worker) {
      const Range mine = share(size - end, worker, pool.size());
      for (int64_t row = end + mine.begin; row < end + mine.end; ++row) {
        float* x = c + row * size + begin;
        for (int64_t j = 0; j < end - begin; ++j)
          x[j] = (x[j] - dot(x, diagonal + j * size, j)) / diagonal[j * size + j];
      }
    });
    const View panel{c + end * size + begin, size - end, end - begin, size};
    multiply(panel, panel, Into::subtract, c + end * size + end, size, pool, true);
  }
  return true;
}

}  // namespace

bool cholesky_factor(std::span<const float> h, int64_t size, float damping, ThreadPool& pool, CholeskyFactor& out) {
  out.size = size;
  const auto area = static_cast<size_t>(size * size);
  out.cholesky.assign(area, 0.0F);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      const int64_t row = size - 1 - j;  // reversed, and out of the lower triangle
      const int64_t column = size - 1 - i;
      out.cholesky[static_cast<size_t>(i * size + j)] = h[static_cast<size_t>(row * size + column)];
    }
    out.cholesky[static_cast<size_t>(i * size + i)] += damping;
  }
  if (!cholesky(out.cholesky.data(), size, pool)) return false;
  out.feedback.assign(area, 0.0F);
  out.d.resize(static_cast<size_t>(size));
  for (int64_t k = 0; k < size; ++k) {
    const int64_t column = size - 1 - k;
    const float pivot = out.cholesky[static_cast<size_t>(column * size + column)];
    out.d[static_cast<size_t>(k)] = pivot * pivot;
    for (int64_t j = 0; j < k; ++j) {
      out.feedback[static_cast<size_t>(k * size + j)] =
          out.cholesky[static_cast<size_t>((size - 1 - j) * size + column)] / pivot;
    }
  }
  return true;
}

namespace {

/// x [count, size] <- x (C C^T)^-1: forward through C^T, then back through C.
void solve_reversed(const float* c, int64_t size, float* x, int64_t count) {
  const auto rows = [&](int64_t column, int64_t width) { return View{x + column, count, width, size}; };
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    multiply(rows(0, begin), {c + begin * size, end - begin, begin, size}, Into::subtract, x + begin, size);
    for (int64_t r = 0; r < count; ++r) {
      float* own = x + r * size + begin;
      for (int64_t i = begin; i < end; ++i)
        own[i - begin] = (own[i - begin] - dot(own, c + i * size + begin, i - begin)) / c[i * size + i];
    }
  }
  for (int64_t end = size; end > 0; end = (end - 1) / kBlock * kBlock) {
    const int64_t begin = (end - 1) / kBlock * kBlock;
    multiply(rows(end, size - end), View{c + end * size + begin, size - end, end - begin, size}.transposed(),
             Into::subtract, x + begin, size);
    for (int64_t r = 0; r < count; ++r) {
      float* own = x + r * size + begin;
      for (int64_t i = end - 1; i >= begin; --i) {
        const float value = own[i - begin] /= c[i * size + i];
        for (int64_t j = begin; j < i; ++j) own[j - begin] -= value * c[i * size + j];
      }
    }
  }
}

}  // namespace

void solve(const CholeskyFactor& factor, std::span<float> rows, ThreadPool& pool) {
  const int64_t size = factor.size;
  const int64_t count = std::ssize(rows) / size;
  pool.run([&](int worker) {
    const Range mine = share(count, worker, pool.size());
    float* first = rows.data() + mine.begin * size;
    for (int64_t r = 0; r < mine.end - mine.begin; ++r) std::reverse(first + r * size, first + (r + 1) * size);
    solve_reversed(factor.cholesky.data(), size, first, mine.end - mine.begin);
    for (int64_t r = 0; r < mine.end - mine.begin; ++r) std::reverse(first + r * size, first + (r + 1) * size);
  });
}

}  // namespace prosa::calibrate
