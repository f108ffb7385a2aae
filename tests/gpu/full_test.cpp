// The full-size model on the card: against the golden vectors of the official implementation (dense weights), 4 bits
// against 8 kinds of company, and the same tokens on a second run.
//
// Makes its checkpoints (1.9 GB) in the temporary folder and removes them. Invariant: what must be equal is compared
// as bits.
#include <gtest/gtest.h>

#include <filesystem>

#include "backend_fixture.h"
#include "golden.h"

namespace prosa::test {
namespace {

namespace fs = std::filesystem;

/// A checkpoint of the 0.8B by the synthetic rule, made once.
std::shared_ptr<const Weights> full_model(int bits) {
  static const TempFolder temp;
  static std::map<int, std::shared_ptr<const Weights>> loaded;
  std::shared_ptr<const Weights>& model = loaded[bits];
  if (model) return model;
  const fs::path folder = temp.path() / ("full-" + std::to_string(bits));
  checkpoint::SynthOptions options;
  options.bits = bits;
  checkpoint::synthesize(checkpoint::synth_preset("qwen3.5-0.8b"), folder, options);
  return model = checkpoint::load_weights(folder);
}

TEST(FullSize, AgreesWithTheOfficialImplementation) {
  const Golden golden("qwen3.5-0.8b-synthetic");
  const auto backend = backend::make_backend("cuda", full_model(0), {});
  const Ids ids = golden.ids("prompt_20.input_ids");
  const Ids greedy = golden.ids("prompt_20.greedy_ids");
  const auto vocab = static_cast<size_t>(backend->config().vocab_size);
  const auto state = backend->new_state(64);
  Agreement by_prefill;
  by_prefill.add(golden.floats("prompt_20.logits"), prefill(*backend, *state, ids, Rows::last), vocab);
  const Logits after = decode(*backend, *state, greedy);
  Agreement by_decode;
  by_decode.add(golden.floats("prompt_20.greedy_logits"), last_row(*backend, after), vocab);
  std::cout << "  prompt: " << by_prefill << "\n  8 tokens later: " << by_decode << "\n";
  EXPECT_TRUE(by_prefill.mean_kl() <= 5e-3) << by_prefill;
  EXPECT_TRUE(by_decode.mean_kl() <= 5e-3) << by_decode;
  const auto single = backend->new_state(64);
  Agreement one_by_one;
  one_by_one.add(golden.floats("prompt_20.logits"), last_row(*backend, decode(*backend, *single, ids)), vocab);
  std::cout << "  prompt, token by token: " << one_by_one << "\n";
  EXPECT_TRUE(one_by_one.mean_kl() <= 5e-3) << one_by_one;
}

/// Greedy tokens, each the card's own choice.
Ids reply(Backend& backend, State& state, int32_t first_token, int count) {
  Ids tokens;
  int32_t token = first_token;
  for (int i = 0; i < count; ++i) {
    run_one(backend, state, Ids{token}, Rows::last);
    const backend::RowPick ask{&state, 0, {}};
    backend::Candidates answer;
    backend.candidates({&ask, 1}, {&answer, 1});
    token = answer.best.front().id;
    tokens.push_back(token);
  }
  return tokens;
}

TEST(FullSize, TheSameTokensAgainAndInCompany) {
  const auto backend = backend::make_backend("cuda", full_model(4), {});
  const Ids prompt = random_ids(backend->config(), 500, 3);
  const auto state = backend->new_state(12000);
  const Logits begin = prefill(*backend, *state, prompt, Rows::last);
  const auto snapshot = backend->snapshot(*state);
  const Ids tokens = reply(*backend, *state, 5, 10000);
  backend->restore(*state, *snapshot);
  EXPECT_TRUE(reply(*backend, *state, 5, 10000) == tokens) << "10,000 tokens, a second time";
  backend->reset(*state);
  EXPECT_TRUE(prefill(*backend, *state, prompt, Rows::last) == begin);

  // Two steps alone and in companies of every kind of pass: the first leaves a shared state, the second moves in place.
  backend->restore(*state, *snapshot);
  const Logits alone[] = {decode(*backend, *state, Ids{7}), decode(*backend, *state, Ids{11})};
  for (const size_t company : {size_t{2}, size_t{4}, size_t{5}, size_t{16}, size_t{33}, size_t{64}}) {
    std::vector<std::unique_ptr<State>> states;
    for (size_t i = 0; i < company; ++i) {
      states.push_back(backend->new_state(600));
      backend->restore(*states.back(), *snapshot);
    }
    for (const int step : {0, 1}) {
      const Ids fed(company, step == 0 ? 7 : 11);
      std::vector<Segment> segments;
      for (size_t i = 0; i < company; ++i)
        segments.push_back(segment(*states[i], std::span(fed).subspan(i, 1), Rows::last));
      backend->run(segments);
      for (const auto& one : states)
        EXPECT_TRUE(rows_of(*backend, *one) == alone[step]) << "among " << company << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace prosa::test
