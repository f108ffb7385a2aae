// What choosing a token costs with the vocabulary of Qwen3.5 (248,320 logits). A decode step is some 15 ms: the sampler
// must not show beside it. Each round restores the penalised entries first, as a fresh row of logits would.
#include <benchmark/benchmark.h>

#include <numeric>
#include <vector>

#include "sampling/sampler.h"

namespace {

constexpr size_t kVocab = 248320;

std::vector<float> make_logits(float spread) {
  prosa::sampling::CounterRandom random(1);
  std::vector<float> logits(kVocab);
  for (float& logit : logits) {
    double sum = -4;
    for (int i = 0; i < 8; ++i) sum += random.next();
    logit = spread * static_cast<float>(sum);
  }
  return logits;
}

void sample(benchmark::State& state, const prosa::SamplingConfig& config, float spread) {
  const std::vector<float> logits = make_logits(spread);
  std::vector<float> row = logits;
  std::vector<int32_t> prompt(64);
  std::iota(prompt.begin(), prompt.end(), 1000);
  prosa::sampling::Sampler sampler(config, 1, prompt);
  for (auto _ : state) {
    for (const int32_t id : prompt) row[static_cast<size_t>(id)] = logits[static_cast<size_t>(id)];
    benchmark::DoNotOptimize(sampler.sample(row));
  }
}

void BM_Greedy(benchmark::State& state) { sample(state, {.temperature = 0}, 4); }
void BM_Defaults(benchmark::State& state) { sample(state, {}, 4); }
void BM_AllTokensTopP(benchmark::State& state) { sample(state, {.top_k = 0}, 4); }
void BM_AllTokensTopPFlat(benchmark::State& state) { sample(state, {.temperature = 1, .top_k = 0}, 0.5F); }
void BM_AllTokensPlain(benchmark::State& state) { sample(state, {.temperature = 1, .top_k = 0, .top_p = 1}, 4); }
BENCHMARK(BM_Greedy)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Defaults)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_AllTokensTopP)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_AllTokensTopPFlat)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_AllTokensPlain)->Unit(benchmark::kMicrosecond);

}  // namespace
