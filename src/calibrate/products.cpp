// A product as dot products of rows, eight by three, compiled for the wider registers too.
#include "calibrate/products.h"

#include <algorithm>
#include <cstring>

namespace prosa::calibrate {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kBlock = 48;  // rows of a and b that one worker multiplies at a time
constexpr int kDown = 8;        // rows of a that share a loaded row of b
constexpr int kAcross = 3;      // and the other way round: with their sums, what the registers hold

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

#define PROSA_BODY inline __attribute__((always_inline))

PROSA_BODY float sum_of(const Lanes& lanes) {
  float left[kLanes];
  std::memcpy(left, &lanes, sizeof left);
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) left[lane] += left[lane + half];
  }
  return left[0];
}

PROSA_BODY float dot_of(const float* a, const float* b, int64_t n) {
  Lanes sums = {};
  int64_t at = 0;
  for (; at + kLanes <= n; at += kLanes)
    sums += *reinterpret_cast<const Lanes*>(a + at) * *reinterpret_cast<const Lanes*>(b + at);
  float sum = sum_of(sums);
  for (; at < n; ++at) sum += a[at] * b[at];
  return sum;
}

// Rows [0, kDown) of a times rows [0, kAcross) of b.
PROSA_BODY void square(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k,
                       float (&out)[kDown][kAcross]) {
  Lanes sums[kDown][kAcross] = {};
  int64_t at = 0;
  for (; at + kLanes <= k; at += kLanes) {
    Lanes right[kAcross];
    for (int j = 0; j < kAcross; ++j) right[j] = *reinterpret_cast<const Lanes*>(b + j * ldb + at);
    for (int i = 0; i < kDown; ++i) {
      const Lanes left = *reinterpret_cast<const Lanes*>(a + i * lda + at);
      for (int j = 0; j < kAcross; ++j) sums[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < kDown; ++i) {
    for (int j = 0; j < kAcross; ++j) {
      out[i][j] = sum_of(sums[i][j]) + dot_of(a + i * lda + at, b + j * ldb + at, k - at);
    }
  }
}

PROSA_BODY void put(float value, Into into, float& place) {
  place = into == Into::assign ? value : into == Into::add ? place + value : place - value;
}

PROSA_BODY void block(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  for (int64_t i = 0; i < a.rows; i += kDown) {
    for (int64_t j = 0; j < b.rows; j += kAcross) {
      const float* left = a.data + i * a.ld;
      const float* right = b.data + j * b.ld;
      if (i + kDown <= a.rows && j + kAcross <= b.rows) {
        float out[kDown][kAcross];
        square(left, a.ld, right, b.ld, a.cols, out);
        for (int64_t r = 0; r < kDown; ++r) {
          for (int64_t s = 0; s < kAcross; ++s) put(out[r][s], into, c[(i + r) * ldc + j + s]);
        }
        continue;
      }
      for (int64_t r = 0; r < std::min<int64_t>(kDown, a.rows - i); ++r) {
        for (int64_t s = 0; s < std::min<int64_t>(kAcross, b.rows - j); ++s)
          put(dot_of(left + r * a.ld, right + s * b.ld, a.cols), into, c[(i + r) * ldc + j + s]);
      }
    }
  }
}

using Block = void (*)(const View&, const View&, Into, float*, int64_t);

void plain_block(const View& a, const View& b, Into into, float* c, int64_t ldc) { block(a, b, into, c, ldc); }

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void avx2_block(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  block(a, b, into, c, ldc);
}
__attribute__((target("avx512f,fma"))) void avx512_block(const View& a, const View& b, Into into, float* c,
                                                         int64_t ldc) {
  block(a, b, into, c, ldc);
}
#endif

Block choose_block() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return avx512_block;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2_block;
#endif
  return plain_block;
}

View rows_of(const View& all, int64_t begin, int64_t end) {
  return {all.data + begin * all.ld, end - begin, all.cols, all.ld};
}

}  // namespace

void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  static const Block body = choose_block();
  for (int64_t i = 0; i < a.rows; i += kBlock) {
    for (int64_t j = 0; j < b.rows; j += kBlock) {
      body(rows_of(a, i, std::min(i + kBlock, a.rows)), rows_of(b, j, std::min(j + kBlock, b.rows)), into,
           c + i * ldc + j, ldc);
    }
  }
}

void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc, ThreadPool& pool, bool lower) {
  const int64_t down = (a.rows + kBlock - 1) / kBlock;
  const int64_t across = (b.rows + kBlock - 1) / kBlock;
  pool.run([&](int worker) {
    for (int64_t item = worker; item < down * across; item += pool.size()) {
      const int64_t i = item / across;
      const int64_t j = item % across;
      if (lower && j > i) continue;
      multiply(rows_of(a, i * kBlock, std::min((i + 1) * kBlock, a.rows)),
               rows_of(b, j * kBlock, std::min((j + 1) * kBlock, b.rows)), into, c + i * kBlock * ldc + j * kBlock,
               ldc);
    }
  });
}

void transpose(const View& a, float* out, ThreadPool& pool) {
  pool.run([&](int worker) {
    const Range columns = share(a.cols, worker, pool.size());
    for (int64_t first = 0; first < a.rows; first += kBlock) {
      const int64_t last = std::min(first + kBlock, a.rows);
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        for (int64_t row = first; row < last; ++row) out[column * a.rows + row] = a.data[row * a.ld + column];
      }
    }
  });
}

}  // namespace prosa::calibrate
