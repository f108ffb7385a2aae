// What choosing a token costs with the vocabulary of Qwen3.5 (248,320 logits). A decode step is some 15 ms: the sampler
// must not show beside it. A sampler that needs the row gets a copy each round, which is counted: a chat makes it too.
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
  std::vector<float> row;
  prosa::backend::Candidates answer;
  std::vector<int32_t> prompt(64);
  std::iota(prompt.begin(), prompt.end(), 1000);
  prosa::sampling::Sampler sampler(config, 1, prompt);
  for (auto _ : state) {
    if (sampler.needs_row()) {
      row = logits;
      benchmark::DoNotOptimize(sampler.sample(row));
    } else {
      prosa::backend::pick_candidates(logits, sampler.pick(), answer);
      benchmark::DoNotOptimize(sampler.choose(answer));
    }
  }
}

/// What the backend's answer alone costs.
void pick(benchmark::State& state, const prosa::backend::Pick& question) {
  const std::vector<float> logits = make_logits(4);
  prosa::backend::Candidates answer;
  for (auto _ : state) {
    prosa::backend::pick_candidates(logits, question, answer);
    benchmark::DoNotOptimize(answer.best.data());
  }
}

/// One id in `step` is allowed.
std::vector<uint32_t> make_mask(size_t step) {
  std::vector<uint32_t> words((kVocab + 31) / 32);
  for (size_t id = 0; id < kVocab; id += step) words[id / 32] |= uint32_t{1} << (id % 32);
  return words;
}

void BM_PickLogSum(benchmark::State& state) { pick(state, {.k = 50, .log_sum = true}); }
void BM_PickHalfMasked(benchmark::State& state) {
  const std::vector<uint32_t> mask = make_mask(2);
  pick(state, {.allowed = mask, .k = 50});
}
void BM_PickNearlyAllMasked(benchmark::State& state) {
  const std::vector<uint32_t> mask = make_mask(1000);
  pick(state, {.allowed = mask, .k = 50});
}
void BM_PickManyChanges(benchmark::State& state) {  // a long reply under a frequency penalty
  std::vector<prosa::backend::LogitChange> changes;
  for (int32_t id = 0; id < 200000; id += 50) changes.push_back({id, 1, -0.5F});
  pick(state, {.changes = changes, .k = 50});
}
BENCHMARK(BM_PickLogSum)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_PickHalfMasked)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_PickNearlyAllMasked)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_PickManyChanges)->Unit(benchmark::kMicrosecond);

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
