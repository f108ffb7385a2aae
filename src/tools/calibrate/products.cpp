// A product as sums of outer products: both sides are copied into strips in which a step of the sum lies together, and
// a tile of the result stays in registers for kDeep steps.
#include "tools/calibrate/products.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace prosa::calibrate {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kDeep = 256;   // columns of a and b that are summed up before the result is touched
constexpr int64_t kTall = 384;   // rows of a that meet a copied strip of b
constexpr int64_t kBroad = 192;  // rows of b in one worker's item

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

#define PROSA_BODY inline __attribute__((always_inline))

/// f.operator()<0>() ... f.operator()<N - 1>(), so that arrays of registers have constant indices.
template <int N, typename F>
PROSA_BODY void each(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) { (f.template operator()<i>(), ...); }
  (std::make_integer_sequence<int, N>());
}

/// Tiles of kDown rows of a by kAcross times 16 rows of b: as many sums as an instruction set has registers for.
template <int kDown, int kAcross>
struct Tiles {
  static constexpr int64_t kWide = kAcross * kLanes;

  /// Rows [first, first + count) and columns [begin, begin + depth) -> out [depth, Strip]; rows that are not there: 0.
  template <int64_t Strip>
  PROSA_BODY static void copy_strip(const View& v, int64_t first, int64_t begin, int64_t depth, float* out) {
    const float* from = v.data + first * v.row_step + begin * v.col_step;
    const int64_t count = std::min(Strip, v.rows - first);
    if (count < Strip) std::fill(out, out + depth * Strip, 0.0F);
    if (count == Strip && v.row_step == 1) {
      for (int64_t k = 0; k < depth; ++k) std::copy_n(from + k * v.col_step, Strip, out + k * Strip);
      return;
    }
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t k = 0; k < depth; ++k) out[k * Strip + r] = from[r * v.row_step + k * v.col_step];
    }
  }

  /// a [depth, kDown], b [depth, kWide] -> out [kDown, kWide]
  PROSA_BODY static void tile(const float* a, const float* b, int64_t depth, float* out) {
    Lanes sums[kDown][kAcross];
    each<kDown>([&]<int i>() __attribute__((always_inline)) {
      each<kAcross>([&]<int j>() __attribute__((always_inline)) { sums[i][j] = Lanes{}; });
    });
    for (int64_t k = 0; k < depth; ++k, a += kDown, b += kWide) {
      Lanes right[kAcross];
      each<kAcross>([&]<int j>()
                        __attribute__((always_inline)) { right[j] = *reinterpret_cast<const Lanes*>(b + j * kLanes); });
      each<kDown>([&]<int i>() __attribute__((always_inline)) {
        each<kAcross>([&]<int j>() __attribute__((always_inline)) { sums[i][j] += a[i] * right[j]; });
      });
    }
    each<kDown>([&]<int i>() __attribute__((always_inline)) {
      each<kAcross>([&]<int j>() __attribute__((always_inline)) {
        *reinterpret_cast<Lanes*>(out + i * kWide + j * kLanes) = sums[i][j];
      });
    });
  }

  PROSA_BODY static void put(const float* sums, int64_t down, int64_t across, Into into, float* c, int64_t ldc) {
    for (int64_t i = 0; i < down; ++i) {
      const float* from = sums + i * kWide;
      float* to = c + i * ldc;
      if (into == Into::assign) {
        for (int64_t j = 0; j < across; ++j) to[j] = from[j];
      } else if (into == Into::add) {
        for (int64_t j = 0; j < across; ++j) to[j] += from[j];
      } else {
        for (int64_t j = 0; j < across; ++j) to[j] -= from[j];
      }
    }
  }

  PROSA_BODY static void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc) {
    const int64_t most = std::min(kTall, a.rows);
    std::vector<float> left(static_cast<size_t>((most + kDown - 1) / kDown * kDown * kDeep));
    std::vector<float> right(static_cast<size_t>(kWide * kDeep));
    alignas(64) float sums[kDown * kWide];
    if (a.cols == 0 && into == Into::assign) {
      for (int64_t i = 0; i < a.rows; ++i) std::fill_n(c + i * ldc, b.rows, 0.0F);
    }
    for (int64_t top = 0; top < a.rows; top += kTall) {
      const int64_t bottom = std::min(top + kTall, a.rows);
      for (int64_t k = 0; k < a.cols; k += kDeep) {
        const int64_t depth = std::min(kDeep, a.cols - k);
        for (int64_t i = top; i < bottom; i += kDown)
          copy_strip<kDown>(a, i, k, depth, left.data() + (i - top) * kDeep);
        for (int64_t j = 0; j < b.rows; j += kWide) {
          copy_strip<kWide>(b, j, k, depth, right.data());
          for (int64_t i = top; i < bottom; i += kDown) {
            tile(left.data() + (i - top) * kDeep, right.data(), depth, sums);
            put(sums, std::min<int64_t>(kDown, bottom - i), std::min(kWide, b.rows - j),
                k == 0 || into == Into::subtract ? into : Into::add, c + i * ldc + j, ldc);
          }
        }
      }
    }
  }
};

using Product = void (*)(const View&, const View&, Into, float*, int64_t);

void plain(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  Tiles<6, 1>::multiply(a, b, into, c, ldc);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void avx2(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  Tiles<6, 1>::multiply(a, b, into, c, ldc);
}
__attribute__((target("avx512f,fma"))) void avx512(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  Tiles<12, 2>::multiply(a, b, into, c, ldc);
}
#endif

Product choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2;
#endif
  return plain;
}

}  // namespace

void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc) {
  static const Product product = choose();
  product(a, b, into, c, ldc);
}

void multiply(const View& a, const View& b, Into into, float* c, int64_t ldc, ThreadPool& pool, bool lower) {
  const int64_t down = (a.rows + kTall - 1) / kTall;
  const int64_t across = (b.rows + kBroad - 1) / kBroad;
  pool.run([&](int worker) {
    for (int64_t item = worker; item < down * across; item += pool.size()) {
      const int64_t i = item / across * kTall;
      const int64_t j = item % across * kBroad;
      const int64_t bottom = std::min(i + kTall, a.rows);
      if (lower && j >= bottom) continue;
      multiply(a.part(i, bottom), b.part(j, std::min(j + kBroad, b.rows)), into, c + i * ldc + j, ldc);
    }
  });
}

}  // namespace prosa::calibrate
