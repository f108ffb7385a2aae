// The resident decode kernel against the graph of kernels: the same bits, in every mixture of the two; and which models
// get it.
//
// On a card that cannot have it the tests say so and pass. Invariant: what must be equal is compared as bits.
#include <gtest/gtest.h>

#include <filesystem>

#include "backend/cuda/device.h"
#include "backend_fixture.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/synth.h"

namespace prosa::test {
namespace {

namespace fs = std::filesystem;

/// A model that is small and has everything: both mixers, two spans of attention, slices that fill no slot.
ModelConfig small_config(int kind) {
  ModelConfig c = checkpoint::synth_preset("tiny");
  c.vocab_size = 520;
  c.hidden_size = 512;
  c.intermediate_size = 1024;
  c.num_layers = 4;
  c.layer_types = {LayerType::linear_attention, LayerType::full_attention, LayerType::linear_attention,
                   LayerType::full_attention};
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 256;
  c.rotary_dim = 64;
  c.linear_num_key_heads = 2;
  c.linear_num_value_heads = 2;
  c.linear_key_head_dim = 128;
  c.linear_value_head_dim = 128;
  c.linear_conv_kernel_dim = 4;
  if (kind == 1) {  // groups of 128, six heads of one key head, two value heads a key head
    c.hidden_size = 640;
    c.intermediate_size = 2304;
    c.num_attention_heads = 6;
    c.num_key_value_heads = 1;
    c.linear_num_value_heads = 4;
    c.linear_value_head_dim = 64;
  }
  if (kind == 2) {  // slices of eight tiles, keys of 64
    c.hidden_size = 2176;
    c.intermediate_size = 1280;
    c.linear_key_head_dim = 64;
  }
  return c;
}

std::shared_ptr<const Weights> made(const ModelConfig& config, int bits, int group) {
  static const TempFolder temp;
  static int count = 0;
  const fs::path folder = temp.path() / std::to_string(count++);
  checkpoint::SynthOptions options;
  options.bits = bits;
  options.group_size = group;
  checkpoint::synthesize(config, folder, options);
  return checkpoint::load_weights(folder);
}

std::shared_ptr<const Weights> full_model(int bits) {
  static std::map<int, std::shared_ptr<const Weights>> loaded;
  std::shared_ptr<const Weights>& model = loaded[bits];
  if (!model) model = made(checkpoint::synth_preset("qwen3.5-0.8b"), bits, 64);
  return model;
}

struct Pair {
  std::unique_ptr<Backend> graph;
  std::unique_ptr<Backend> resident;
  bool there = false;
};

Pair pair_of(const std::shared_ptr<const Weights>& weights) {
  BackendOptions options;
  Pair pair;
  pair.graph = backend::make_backend("cuda", weights, options);
  options.cuda.resident = true;
  pair.resident = backend::make_backend("cuda", weights, options);
  const std::string& kernels = pair.resident->description().kernels;
  pair.there = kernels.find("no resident kernel") == std::string::npos;
  std::cout << "  " << kernels << "\n";
  EXPECT_TRUE(pair.there || backend::cuda::Device::open(0)->architecture() != 90) << kernels;
  return pair;
}

void expect_same_state(const State& a, const State& b, Pair& pair) {
  const auto x = pair.graph->snapshot(a);
  const auto y = pair.resident->snapshot(b);
  const auto left = x->parts();
  const auto right = y->parts();
  EXPECT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i)
    EXPECT_TRUE(std::ranges::equal(left[i].bytes, right[i].bytes)) << left[i].name;
}

/// Tokens one by one in both, from a prompt on.
void expect_same_steps(Pair& pair, size_t prompt, size_t count, unsigned seed) {
  const auto capacity = static_cast<int64_t>(prompt + count);
  const auto a = pair.graph->new_state(capacity);
  const auto b = pair.resident->new_state(capacity);
  if (prompt > 0) {
    const Ids ids = random_ids(pair.graph->config(), prompt, seed + 1);
    EXPECT_TRUE(prefill(*pair.graph, *a, ids, Rows::last) == prefill(*pair.resident, *b, ids, Rows::last));
  }
  const Ids ids = random_ids(pair.graph->config(), count, seed);
  for (size_t i = 0; i < count; ++i) {
    const Ids one = {ids[i]};
    const Logits expected = prefill(*pair.graph, *a, one, Rows::last);
    if (prefill(*pair.resident, *b, one, Rows::last) == expected) continue;
    EXPECT_TRUE(false) << "token " << i << " of " << count << " behind " << prompt;
    return;
  }
  expect_same_state(*a, *b, pair);
}

TEST(SmallModels, HaveTheBitsOfTheGraph) {
  for (int kind = 0; kind < 3; ++kind) {
    for (const auto& [bits, group] : {std::pair{4, 64}, {8, 64}, {4, 128}}) {
      if (small_config(kind).hidden_size % group != 0 || small_config(kind).intermediate_size % group != 0) continue;
      SCOPED_TRACE("kind " + std::to_string(kind) + ", " + std::to_string(bits) + " bits");
      Pair pair = pair_of(made(small_config(kind), bits, group));
      expect_same_steps(pair, 0, 140, 7);
      expect_same_steps(pair, 1000, 40, 9);
    }
  }
}

TEST(SmallModels, StatesMoveBetweenTheKernels) {
  Pair pair = pair_of(made(small_config(0), 4, 64));
  const Ids ids = random_ids(pair.graph->config(), 60, 5);
  const auto a = pair.graph->new_state(200);
  const auto b = pair.resident->new_state(200);
  decode(*pair.graph, *a, first(ids, 20));
  decode(*pair.resident, *b, first(ids, 20));
  const auto kept = pair.resident->snapshot(*b);  // the next step writes elsewhere than it reads
  const Logits expected = decode(*pair.graph, *a, part(ids, 20, 20));
  EXPECT_TRUE(decode(*pair.resident, *b, part(ids, 20, 20)) == expected);
  pair.resident->restore(*b, *kept);
  run_one(*pair.resident, *b, part(ids, 20, 20), Rows::all, true);  // ahead: by graph
  EXPECT_TRUE(rows_of(*pair.resident, *b) == expected);
  pair.resident->commit(*b, 20);
  EXPECT_TRUE(decode(*pair.resident, *b, part(ids, 40, 20)) == decode(*pair.graph, *a, part(ids, 40, 20)));
  expect_same_state(*a, *b, pair);

  // Without logits the head is left out.
  run_one(*pair.graph, *a, part(ids, 0, 1), Rows::none);
  run_one(*pair.resident, *b, part(ids, 0, 1), Rows::none);
  EXPECT_TRUE(decode(*pair.resident, *b, part(ids, 1, 1)) == decode(*pair.graph, *a, part(ids, 1, 1)));
}

TEST(SmallModels, WhatTheKernelDoesNotHaveGoesByGraph) {
  BackendOptions options;
  options.cuda.resident = true;
  for (const char* name : {"tiny-hf", "tiny-mlx-mixed", "tiny-2bit-g32"}) {
    const auto backend = backend::make_backend("cuda", load_model(name), options);
    EXPECT_TRUE(backend->description().kernels.find("no resident kernel: ") != std::string::npos) << name;
    const auto plain = backend::make_backend("cuda", load_model(name), {});
    const Ids ids = random_ids(backend->config(), 5, 3);
    const auto a = backend->new_state(8);
    const auto b = plain->new_state(8);
    EXPECT_TRUE(decode(*backend, *a, ids) == decode(*plain, *b, ids)) << name;
  }
}

TEST(FullSize, HasTheBitsOfTheGraphAtAnyDepth) {
  for (const int bits : {4, 8}) {
    SCOPED_TRACE(std::to_string(bits) + " bits");
    Pair pair = pair_of(full_model(bits));
    expect_same_steps(pair, 0, 70, 1);
    for (const size_t prompt : {size_t{63}, size_t{2000}, size_t{8190}, size_t{16380}})
      expect_same_steps(pair, prompt, 8, 2);
  }
}

TEST(FullSize, TheSameTokensAgainAndInCompany) {
  Pair pair = pair_of(full_model(4));
  Backend& backend = *pair.resident;
  const auto state = backend.new_state(3000);
  prefill(backend, *state, random_ids(backend.config(), 500, 3), Rows::last);
  const auto snapshot = backend.snapshot(*state);
  const auto reply = [&] {
    backend.restore(*state, *snapshot);
    Ids tokens = {5};
    for (int i = 0; i < 2000; ++i) {
      run_one(backend, *state, Ids{tokens.back()}, Rows::last);
      const backend::RowPick ask{state.get(), 0, {}};
      backend::Candidates answer;
      backend.candidates({&ask, 1}, {&answer, 1});
      tokens.push_back(answer.best.front().id);
    }
    return tokens;
  };
  const Ids tokens = reply();
  EXPECT_TRUE(reply() == tokens) << "2,000 tokens, a second time";
  backend.restore(*state, *snapshot);
  const Logits alone = decode(backend, *state, Ids{7});
  for (const size_t company : {size_t{2}, size_t{4}, size_t{16}}) {
    std::vector<std::unique_ptr<State>> states;
    std::vector<Segment> segments;
    const Ids fed(company, 7);
    for (size_t i = 0; i < company; ++i) {
      states.push_back(backend.new_state(600));
      backend.restore(*states.back(), *snapshot);
      segments.push_back(segment(*states.back(), std::span(fed).subspan(i, 1), Rows::last));
    }
    backend.run(segments);
    for (const auto& one : states) EXPECT_TRUE(rows_of(backend, *one) == alone) << "among " << company;
  }
}

}  // namespace
}  // namespace prosa::test
