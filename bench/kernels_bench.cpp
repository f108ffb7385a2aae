// Every kernel of the CPU backend that takes time, for every ISA this machine can run, at the shapes of Qwen3.5-0.8B.
//
// Each is held against plain double-precision sums before it is timed; one that computes something else is reported as
// an error and not timed. One thread, operands in the caches: what the kernel itself can do; whether memory keeps up is
// `prosa bench`'s affair. Names: kernel/ISA/what. Not a test (that is kernels_test.cpp): the bounds here only catch a
// kernel that is wrong.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/workspace.h"
#include "base/bf16.h"
#include "checkpoint/checkpoint.h"
#include "model/dequantize.h"

namespace prosa::backend::cpu {
namespace {

constexpr int64_t kHidden = 1024, kWide = 3584, kHeadDim = 128, kAttendDim = 256;
constexpr int kGroup = 64;
constexpr int64_t kBlock = 256;       // tokens of one pass of prefill
constexpr int64_t kTurn = 20;         // and of a short turn
constexpr int64_t kPositions = 2048;  // of the key cache

std::vector<float> random_floats(int64_t count, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 engine(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24F;
  return values;
}

/// The largest distance between the two, as a part of the largest expected value.
template <typename Values, typename Expected>
double distance(const Values& values, const Expected& expected) {
  double worst = 0, scale = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(values[i]) - static_cast<double>(expected[i])));
    scale = std::max(scale, std::abs(static_cast<double>(expected[i])));
  }
  return std::isfinite(worst) ? worst / scale : INFINITY;
}

/// Times `work` if what it computed when called once lies within `bound`.
void time_checked(benchmark::State& state, double error, double bound, const std::function<void()>& work) {
  if (!(error <= bound)) {
    state.SkipWithError(fmt::format("off by {:.2g} of the largest value, allowed {:.2g}", error, bound).c_str());
    return;
  }
  for (auto _ : state) {
    work();
    benchmark::ClobberMemory();
  }
}

/// Rates: 10^9 bytes, each counted once a call, and 10^9 multiply-adds.
void count_work(benchmark::State& state, double bytes, double macs) {
  const auto rate = [](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  if (bytes > 0) state.counters["GB"] = rate(bytes / 1e9);
  if (macs > 0) state.counters["Gmac"] = rate(macs / 1e9);
}

/// A random matrix in the file's form with the bytes it points to. bits 0: dense bf16.
struct FileMatrix {
  Matrix matrix;
  std::vector<std::byte> data;
  std::vector<uint16_t> scales, biases;

  FileMatrix(int64_t rows, int64_t cols, int bits) {
    std::mt19937 engine(static_cast<uint32_t>(bits) + 1);
    matrix.name = "bench";
    matrix.rows = rows;
    matrix.cols = cols;
    data.resize(static_cast<size_t>(bits == 0 ? rows * cols * 2 : rows * cols * bits / 8));
    if (bits == 0) {
      const std::vector<float> values = random_floats(rows * cols, 1);
      for (size_t i = 0; i < values.size(); ++i) {
        const uint16_t half = float_to_bf16(values[i]);
        std::memcpy(data.data() + 2 * i, &half, 2);
      }
    } else {
      for (std::byte& byte : data) byte = static_cast<std::byte>(engine());
      for (const float value : random_floats(rows * cols / kGroup, 2, 0.01F, 0.02F))
        scales.push_back(float_to_bf16(value));
      for (const float value : random_floats(rows * cols / kGroup, 3, -0.2F, 0)) biases.push_back(float_to_bf16(value));
      matrix.format = WeightFormat::affine(bits, kGroup);
      matrix.scales = reinterpret_cast<const std::byte*>(scales.data());
      matrix.biases = reinterpret_cast<const std::byte*>(biases.data());
    }
    matrix.data = data.data();
  }
  FileMatrix(const FileMatrix&) = delete;
};

/// W x in double for a few rows spread over the matrix: all rows of all tokens would take longer than the benchmark.
double linear_error(const Matrix& m, const std::vector<float>& x, const std::vector<float>& y, int64_t tokens) {
  constexpr int64_t step = 37;
  std::vector<float> row(static_cast<size_t>(m.cols)), found;
  std::vector<double> expected;
  for (int64_t r = 0; r < m.rows; r += step) {
    dequantize_row(m, r, row.data());
    for (int64_t t = 0; t < tokens; t += std::max<int64_t>(tokens / 4, 1)) {
      double sum = 0;
      for (size_t c = 0; c < row.size(); ++c)
        sum += static_cast<double>(row[c]) * x[static_cast<size_t>(t * m.cols) + c];
      expected.push_back(sum);
      found.push_back(y[static_cast<size_t>(t * m.rows + r)]);
    }
  }
  return distance(found, expected);
}

void bench_linear(benchmark::State& state, const Kernels& kernels, int bits, int64_t tokens, int planes) {
  const FileMatrix file(kWide, kHidden, bits);
  ThreadPool pool(1);
  const PackedMatrix packed = pack(file.matrix, pool);
  const InputForm form = bits > 0 ? InputForm{kGroup, planes} : InputForm{};
  InputRows input(tokens, kHidden, kHidden, kInputForms);
  const std::vector<float> x = random_floats(tokens * kHidden, 7);
  for (int64_t t = 0; t < tokens; ++t) {
    std::copy_n(x.data() + t * kHidden, kHidden, input.row(t));
    if (bits > 0) input.quantize(kernels, t, kHidden, form);
  }
  const Activations view = input.view(form);
  std::vector<float> y(static_cast<size_t>(tokens * kWide));
  const auto work = [&] { multiply_tiles(kernels, packed, {0, packed.tiles()}, view, tokens, y.data(), kWide, false); };
  work();
  // The activations of quantized products are rounded: 2^-14 of a group's largest, 2^-7 in one int8 plane.
  time_checked(state, linear_error(file.matrix, x, y, tokens), planes == 2 ? 1e-2 : 0.1, work);
  count_work(state, static_cast<double>(packed.byte_size()), static_cast<double>(kWide * kHidden * tokens));
}

void bench_quantize(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kWide;
  const std::vector<float> x = random_floats(n, 1, -4, 4);
  InputRows input(1, n, n, kInputForms);
  std::copy(x.begin(), x.end(), input.row(0));
  const auto work = [&] { input.quantize(kernels, 0, n, {kGroup, 2}); };
  work();
  const Activations view = input.view({kGroup, 2});
  std::vector<float> back;
  for (int64_t i = 0; i < n; ++i) {
    back.push_back(view.scale[i / kGroup] * static_cast<float>(128 * view.high[i] + view.low[i]));
  }
  time_checked(state, distance(back, x), 1e-4, work);
  count_work(state, static_cast<double>(n * 4), 0);
}

void bench_rms_norm(benchmark::State& state, const Kernels& kernels) {
  const int64_t n = kHidden;
  const std::vector<float> x = random_floats(n, 1, -4, 4), w = random_floats(n, 2);
  std::vector<float> out(x.size());
  const auto work = [&] { kernels.rms_norm(x.data(), w.data(), n, 1e-6F, out.data()); };
  work();
  double squares = 0;
  for (const float value : x) squares += static_cast<double>(value) * value;
  std::vector<double> expected;
  for (size_t i = 0; i < x.size(); ++i) {
    expected.push_back(x[i] / std::sqrt(squares / static_cast<double>(n) + 1e-6) * w[i]);
  }
  time_checked(state, distance(out, expected), 1e-5, work);
  count_work(state, static_cast<double>(n * 4), 0);
}

/// Rows [q | k | v] of one head, and its state, for the delta kernels.
struct DeltaRows {
  static constexpr int64_t kLd = 3 * kHeadDim;
  int64_t tokens;
  std::vector<float> rows, beta, log_decay, out, scratch;
  AlignedBuffer<float> state{kHeadDim * kHeadDim};

  DeltaRows(const Kernels& kernels, int64_t count)
      : tokens(count),
        rows(random_floats(count * kLd, 1)),
        beta(random_floats(count, 2, 0, 1)),
        log_decay(random_floats(count, 3, -1, 0)),
        out(static_cast<size_t>(count * kHeadDim)),
        scratch(static_cast<size_t>(delta_scratch_floats(kHeadDim))) {
    for (int64_t t = 0; t < count; ++t) {
      kernels.l2_norm(rows.data() + t * kLd, kHeadDim, 1 / std::sqrt(static_cast<float>(kHeadDim)));
      kernels.l2_norm(rows.data() + t * kLd + kHeadDim, kHeadDim, 1);
    }
  }

  DeltaArgs args() {
    DeltaArgs a;
    a.state = state.data();
    a.q = rows.data();
    a.k = a.q + kHeadDim;
    a.v = a.q + 2 * kHeadDim;
    a.ld = kLd;
    a.log_decay = log_decay.data();
    a.beta = beta.data();
    a.ld_gate = 1;
    a.out = out.data();
    a.ld_out = kHeadDim;
    a.key_dim = a.value_dim = kHeadDim;
    a.tokens = tokens;
    a.scratch = scratch.data();
    return a;
  }

  /// The outputs of all tokens from an empty state, by the formula of the paper.
  [[nodiscard]] std::vector<double> expected() const {
    constexpr auto n = static_cast<size_t>(kHeadDim);
    std::vector<double> s(n * n), result;
    for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
      const float *q = rows.data() + t * kLd, *k = q + n, *v = q + 2 * n;
      for (size_t j = 0; j < n; ++j) {
        double memory = 0, o = 0;
        for (size_t i = 0; i < n; ++i) memory += (s[i * n + j] *= std::exp(static_cast<double>(log_decay[t]))) * k[i];
        const double delta = beta[t] * (v[j] - memory);
        for (size_t i = 0; i < n; ++i) o += (s[i * n + j] += k[i] * delta) * q[i];
        result.push_back(o);
      }
    }
    return result;
  }
};

void bench_delta_step(benchmark::State& state, const Kernels& kernels) {
  DeltaRows data(kernels, 1);
  const auto work = [&] { kernels.delta_step(data.args()); };
  work();
  time_checked(state, distance(data.out, data.expected()), 1e-5, work);
  count_work(state, 2.0 * static_cast<double>(data.state.byte_size()), 3.0 * kHeadDim * kHeadDim);  // read and written
}

void bench_delta_chunk(benchmark::State& state, const Kernels& kernels) {
  DeltaRows data(kernels, kDeltaChunk);
  const auto work = [&] { kernels.delta_chunk(data.args()); };
  work();
  time_checked(state, distance(data.out, data.expected()), 1e-5, work);
  count_work(state, 0, 3.0 * kHeadDim * kHeadDim * kDeltaChunk);  // those of the stepwise form
}

void bench_attend(benchmark::State& state, const Kernels& kernels, int kv_bits, int64_t rows) {
  const int64_t dim = kAttendDim;
  const KvLayout kv{dim, kv_bits};
  const std::vector<float> k = random_floats(kPositions * dim, 1), v = random_floats(kPositions * dim, 2);
  const int64_t head = kv.head_bytes();
  AlignedBuffer<std::byte> cache(kPositions / kKvSpan * 2 * head);  // blocks of [keys | values], one behind the other
  std::vector<const std::byte*> blocks;
  for (int64_t p = 0; p < kPositions; ++p) {
    std::byte* block = cache.data() + p / kKvSpan * 2 * head;
    const int64_t slot = p % kKvSpan;
    if (slot == 0) blocks.push_back(block);
    kernels.store_key(k.data() + p * dim, kv, slot, block);
    kernels.store_value(v.data() + p * dim, kv, slot, block + head);
  }
  const std::vector<float> q = random_floats(rows * dim, 3, -0.1F, 0.1F);
  std::vector<float> out(static_cast<size_t>(rows * dim)), scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  std::vector<const float*> queries;
  std::vector<float*> outs;
  for (int64_t r = 0; r < rows; ++r) queries.push_back(q.data() + r * dim), outs.push_back(out.data() + r * dim);
  const std::vector<int64_t> limits(static_cast<size_t>(rows), kPositions);
  AttendArgs args;
  args.q = queries.data();
  args.out = outs.data();
  args.limits = limits.data();
  args.rows = rows;
  args.blocks = blocks.data();
  args.keys = 0;
  args.values = head;
  args.kv = kv;
  args.scratch = scratch.data();
  const auto work = [&] { kernels.attend(args); };
  work();
  std::vector<double> expected(out.size());
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    double total = 0;
    std::vector<double> sums(static_cast<size_t>(dim));
    for (size_t p = 0; p < static_cast<size_t>(kPositions); ++p) {
      double score = 0;
      for (size_t d = 0; d < sums.size(); ++d) {
        score += static_cast<double>(queries[r][d]) * k[p * sums.size() + d];
      }
      total += std::exp(score);
      for (size_t d = 0; d < sums.size(); ++d) {
        sums[d] += std::exp(score) * v[p * sums.size() + d];
      }
    }
    for (size_t d = 0; d < sums.size(); ++d) expected[r * sums.size() + d] = sums[d] / total;
  }
  time_checked(state, distance(out, expected), kv_bits == 8 ? 2e-2 : 1e-3, work);
  count_work(state, static_cast<double>(cache.byte_size()), static_cast<double>(2 * rows * kPositions * dim));
}

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  benchmark::RegisterBenchmark(name.c_str(), body)->Unit(benchmark::kMicrosecond);
}

const bool registered = [] {
  for (const std::string& isa : available_isas()) {
    const Kernels& kernels = choose_kernels(isa);
    for (const int bits : {2, 3, 4, 5, 6, 8, 0}) {
      for (const int64_t tokens : {int64_t{1}, kTurn, kBlock}) {
        const std::string form = bits == 0 ? "bf16" : fmt::format("{}bit", bits);
        add(fmt::format("linear/{}/{}/tokens:{}", isa, form, tokens),
            [&kernels, bits, tokens](benchmark::State& state) { bench_linear(state, kernels, bits, tokens, 2); });
        if (bits != 4 && bits != 8) continue;
        add(fmt::format("linear/{}/{}/int8/tokens:{}", isa, form, tokens),
            [&kernels, bits, tokens](benchmark::State& state) { bench_linear(state, kernels, bits, tokens, 1); });
      }
    }
    add("quantize/" + isa, [&kernels](benchmark::State& state) { bench_quantize(state, kernels); });
    add("rms_norm/" + isa, [&kernels](benchmark::State& state) { bench_rms_norm(state, kernels); });
    add("delta_step/" + isa, [&kernels](benchmark::State& state) { bench_delta_step(state, kernels); });
    add("delta_chunk/" + isa, [&kernels](benchmark::State& state) { bench_delta_chunk(state, kernels); });
    for (const int bits : {8, 16}) {
      for (const int64_t rows : {int64_t{1}, int64_t{4}, kAttendRows}) {
        add(fmt::format("attend/{}/{}bit/rows:{}", isa, bits, rows),
            [&kernels, bits, rows](benchmark::State& state) { bench_attend(state, kernels, bits, rows); });
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace prosa::backend::cpu
