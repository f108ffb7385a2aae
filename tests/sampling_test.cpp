// What the sampler draws: its distribution against a naive one that sorts everything, ties, edges, and validate().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "sampling_fixture.h"

namespace prosa::sampling {
namespace {

using backend::Candidate;
using backend::Candidates;

/// The definition, by the shortest way: sort, cut, normalise. Probability by id of the tokens that may be drawn.
std::map<int32_t, double> naive_distribution(const SamplingConfig& asked, const std::vector<float>& logits) {
  const Settings config(asked);
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  if (config.top_k > 0 && order.size() > static_cast<size_t>(config.top_k)) {
    order.resize(static_cast<size_t>(config.top_k));
  }
  const double best = logits[static_cast<size_t>(order[0])];
  std::vector<double> p;
  for (const int32_t id : order) p.push_back(std::exp((logits[static_cast<size_t>(id)] - best) / config.temperature));
  double total = std::accumulate(p.begin(), p.end(), 0.0);
  double sum = 0;
  size_t kept = 0;
  while (kept < p.size() && sum < total * config.top_p) sum += p[kept++];
  std::map<int32_t, double> result;
  double norm = 0;
  for (size_t i = 0; i < kept; ++i) {
    if (p[i] >= config.min_p) norm += p[i];
  }
  for (size_t i = 0; i < kept; ++i) {
    if (p[i] >= config.min_p) result[order[i]] = p[i] / norm;
  }
  return result;
}

/// Draws must stay inside the naive support and fit its probabilities (chi-square, bins of at least 8 expected draws).
void expect_distribution(const SamplingConfig& config, const std::vector<float>& logits, int draws, uint64_t seed) {
  const std::map<int32_t, double> expected = naive_distribution(config, logits);
  Sampler sampler(config, seed, {});
  std::map<int32_t, int> seen;
  for (int i = 0; i < draws; ++i) {
    const int32_t token = sample(sampler, logits);
    ++seen[token];
    sampler.accept(token);
  }
  for (const auto& [id, count] : seen) ASSERT_TRUE(expected.contains(id)) << "drew " << id;
  double chi_square = 0;
  double rest_expected = 0;
  int rest_seen = 0;
  int bins = 0;
  for (const auto& [id, p] : expected) {
    const int count = seen.contains(id) ? seen[id] : 0;
    if (p * draws < 8) {
      rest_expected += p * draws;
      rest_seen += count;
      continue;
    }
    chi_square += (count - p * draws) * (count - p * draws) / (p * draws);
    ++bins;
  }
  if (rest_expected >= 8) {
    chi_square += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
    ++bins;
  }
  const double freedom = bins - 1;
  EXPECT_LT(chi_square, freedom + 4.5 * std::sqrt(2 * freedom) + 5) << bins << " bins";
}

TEST(Sampler, DrawsFromTheDefinedDistribution) {
  const std::vector<float> logits = random_logits(3001, 1);
  for (const int top_k : {0, 1, 2, 50, 3000, 3001, 100000}) {
    for (const float top_p : {1.0F, 0.95F, 0.3F}) {
      for (const float min_p : {0.0F, 0.1F}) {
        SamplingConfig config = plain();
        config.top_k = top_k;
        config.top_p = top_p;
        config.min_p = min_p;
        config.temperature = 0.9F;
        SCOPED_TRACE(testing::Message() << "top_k " << top_k << " top_p " << top_p << " min_p " << min_p);
        expect_distribution(config, logits, 1500, 77);
      }
    }
  }
}

TEST(Sampler, DrawsFromFlatDistributions) {  // nearly every token belongs to the nucleus
  SamplingConfig config = plain();
  config.top_k = 0;
  config.temperature = 2.0F;
  for (const float top_p : {0.5F, 0.9F, 0.999F}) {
    config.top_p = top_p;
    expect_distribution(config, random_logits(2000, 5, 0.2F), 20000, 3);
  }
}

TEST(Sampler, DrawsUniformlyFromEqualLogits) {  // no width for a histogram
  SamplingConfig config = plain();
  config.top_k = 0;
  config.top_p = 0.5F;
  config.temperature = 1.0F;
  expect_distribution(config, std::vector<float>(400, 1.5F), 20000, 3);
}

TEST(Sampler, GreedyTakesTheLowestIdOfEqualLogits) {
  SamplingConfig config = plain();
  config.temperature = 0;
  Sampler sampler(config, 1, {});
  std::vector<float> logits(1000, -1.0F);
  logits[300] = logits[301] = logits[990] = 2.0F;
  EXPECT_EQ(sample(sampler, logits), 300);
}

TEST(Sampler, SameSeedSameTokens) {
  SamplingConfig config = plain();
  config.temperature = 1.0F;
  const std::vector<float> logits = random_logits(5000, 9, 2.0F);
  const auto draw = [&](uint64_t seed) {
    Sampler sampler(config, seed, {});
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) {
      ids.push_back(sample(sampler, logits));
      sampler.accept(ids.back());
    }
    return ids;
  };
  EXPECT_EQ(draw(42), draw(42));
  EXPECT_NE(draw(42), draw(43));
}

TEST(Sampler, RandomNumbersAreFixed) {  // splitmix64 by its definition: a change here changes every seeded reply
  CounterRandom random(0);
  const double first = random.next();
  const double second = random.next();
  CounterRandom again(0);
  EXPECT_EQ(first, again.next());
  EXPECT_EQ(second, again.next());
  EXPECT_NE(first, second);
  EXPECT_EQ(again.at(0), first);
  EXPECT_EQ(again.at(1), second);
  EXPECT_EQ(first, static_cast<double>(0xA706DD2F4D197E6FULL >> 11) * 0x1p-53);
  double mean = 0;
  for (int i = 0; i < 100000; ++i) {
    const double u = random.next();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    mean += u / 100000;
  }
  EXPECT_NEAR(mean, 0.5, 0.005);
}

TEST(Sampler, RepetitionPenaltyCoversTheLast64Tokens) {
  SamplingConfig config = plain();
  config.temperature = 0;
  config.repetition_penalty = 2.0F;
  std::vector<int32_t> prompt(64, 7);
  prompt.insert(prompt.begin(), 3);  // 65 back: out of the window
  Sampler sampler(config, 1, prompt);
  std::vector<float> logits(100, -5.0F);
  logits[3] = 1.0F;
  logits[7] = 1.9F;
  EXPECT_EQ(sample(sampler, logits), 3);  // 7 went to 0.95
  logits[7] = 2.1F;
  EXPECT_EQ(sample(sampler, logits), 7);  // 1.05: once, however often it was seen

  std::vector<float> negative(100, -9.0F);
  negative[7] = -4.4F;
  EXPECT_EQ(sample(sampler, negative), 7);  // a negative logit is multiplied: -8.8
  negative[7] = -4.6F;
  EXPECT_EQ(sample(sampler, negative), 0);  // -9.2

  for (int i = 0; i < 64; ++i) sampler.accept(8);
  std::vector<float> later(100, 1.0F);
  later[8] = 1.9F;
  EXPECT_EQ(sample(sampler, later), 0);
  later[7] = 1.1F;
  EXPECT_EQ(sample(sampler, later), 7);  // pushed out of the window
}

TEST(Sampler, PresenceAndFrequencyCountTheReplyOnly) {
  SamplingConfig config = plain();
  config.temperature = 0;
  config.presence_penalty = 0.5F;
  config.frequency_penalty = 0.25F;
  Sampler sampler(config, 1, std::vector<int32_t>{1, 1, 1});
  sampler.accept(2);
  sampler.accept(2);
  sampler.accept(4);
  std::vector<float> logits(10, 3.0F);
  EXPECT_EQ(sample(sampler, logits), 0);
  const auto wins_with = [&](size_t id, float logit) {
    std::vector<float> row = logits;
    row[id] = logit;
    return sampler.sample(row) == static_cast<int32_t>(id);
  };
  EXPECT_TRUE(wins_with(1, 3.01F));
  EXPECT_FALSE(wins_with(2, 3.99F));
  EXPECT_TRUE(wins_with(2, 4.01F));
  EXPECT_FALSE(wins_with(4, 3.74F));
  EXPECT_TRUE(wins_with(4, 3.76F));
}

TEST(Sampler, BrokenLogits) {
  for (const float temperature : {0.0F, 1.0F}) {
    for (const int top_k : {0, 5}) {
      SamplingConfig config = plain();
      config.temperature = temperature;
      config.top_k = top_k;
      Sampler sampler(config, 1, {});
      std::vector<float> holes(300, kNaN);
      holes[5] = -kInfinity;
      holes[17] = -40.0F;
      holes[290] = -41.0F;
      for (int i = 0; i < 20; ++i) {
        sampler.accept(sample(sampler, holes));
        EXPECT_THAT(sample(sampler, holes), testing::AnyOf(17, 290));
      }
      std::vector<float> nothing(300, kNaN);
      std::vector<float> masked(300, -kInfinity);
      std::vector<float> infinite(300, 0.0F);
      infinite[200] = kInfinity;
      for (std::vector<float>* logits : {&nothing, &masked, &infinite}) {
        EXPECT_EQ(code_of([&] { (void)sample(sampler, *logits); }), ErrorCode::bad_checkpoint);
        if (sampler.needs_row()) continue;
        Candidates answer;
        backend::pick_candidates(*logits, sampler.pick(), answer);
        EXPECT_EQ(code_of([&] { (void)sampler.choose(answer); }), ErrorCode::bad_checkpoint);
      }
      EXPECT_EQ(sampler.accepted(), 20U);
      EXPECT_THAT(sample(sampler, holes), testing::AnyOf(17, 290)) << "a failed choice changes nothing";
    }
  }
}

TEST(Sampler, ExtremeTemperatures) {
  std::vector<float> logits = random_logits(400, 2);
  const int32_t best = backend::select_best(logits).id;
  SamplingConfig config = plain();
  for (const int top_k : {0, 50}) {
    config.top_k = top_k;
    config.temperature = 1e-45F;
    Sampler cold(config, 1, {});
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(sample(cold, logits), best);
      cold.accept(best);
    }
    config.temperature = 3e38F;
    config.top_p = 1.0F;
    Sampler hot(config, 1, {});
    std::set<int32_t> seen;
    for (int i = 0; i < 4000; ++i) {
      const int32_t token = sample(hot, logits);
      seen.insert(token);
      hot.accept(token);
    }
    EXPECT_EQ(seen.size(), top_k == 0 ? 400U : 50U);
  }
}

TEST(Sampler, OneTokenVocabulary) {
  std::vector<float> logits(1, -3.0F);
  SamplingConfig config = plain();
  EXPECT_EQ(Sampler(config, 1, {}).sample(logits), 0);
  Candidates answer;
  Sampler sampler(config, 1, {});
  logits[0] = -3.0F;
  backend::pick_candidates(logits, sampler.pick(), answer);
  EXPECT_EQ(sampler.choose(answer), 0);
}

TEST(Exp, AgreesWithTheLibrary) {
  for (double x = 0; x > -699; x -= 0.0371) {
    const double expected = std::exp(x);
    ASSERT_NEAR(exp_of_nonpositive(x) / expected, 1.0, 1e-14) << x;
  }
  EXPECT_EQ(exp_of_nonpositive(0), 1.0);
  EXPECT_EQ(exp_of_nonpositive(-1e300), 0.0);
  EXPECT_EQ(exp_of_nonpositive(-std::numeric_limits<double>::infinity()), 0.0);
}

std::map<std::string, std::string> sources(const SamplingConfig& asked, const SamplingConfig& of_model = {}) {
  std::map<std::string, std::string> by_name;
  for (const SamplingValue& value : explain_sampling(asked, of_model)) by_name[std::string(value.name)] = value.source;
  return by_name;
}

TEST(SamplingDefaults, TheCallerThenTheModelThenProsa) {
  const SamplingConfig own = with_defaults({});
  EXPECT_EQ(own.temperature, 0.6F);
  EXPECT_EQ(own.top_k, 50);
  EXPECT_EQ(own.top_p, 0.95F);
  EXPECT_EQ(own.min_p, 0.0F);
  EXPECT_EQ(own.repetition_penalty, 1.1F);
  EXPECT_EQ(own.presence_penalty, 0.0F);
  EXPECT_EQ(own.frequency_penalty, 0.0F);
  const SamplingConfig of_model = {.temperature = 0.8F, .top_k = 20, .presence_penalty = 1.5F};
  const SamplingConfig mixed = with_defaults({.temperature = 0.7F, .max_tokens = 9, .stop = {"x"}}, of_model);
  EXPECT_EQ(mixed.temperature, 0.7F);
  EXPECT_EQ(mixed.top_k, 20);
  EXPECT_EQ(mixed.top_p, 0.95F);
  EXPECT_EQ(mixed.presence_penalty, 1.5F);
  EXPECT_EQ(mixed.repetition_penalty, 1.1F);
  EXPECT_EQ(mixed.max_tokens, 9);
  EXPECT_EQ(mixed.stop, std::vector<std::string>{"x"});
  auto by_name = sources({.temperature = 0.7F}, of_model);
  EXPECT_EQ(by_name.at("temperature"), "asked for");
  EXPECT_EQ(by_name.at("top_k"), "generation_config.json");
  EXPECT_EQ(by_name.at("top_p"), "prosa's default");
  EXPECT_EQ(by_name.size(), 7U);
}

TEST(SamplingDefaults, GreedyHasNoPenaltyThatNobodyAskedFor) {
  EXPECT_EQ(with_defaults({.temperature = 0.0F}).repetition_penalty, 1.0F);
  EXPECT_EQ(with_defaults({.temperature = 0.0F, .repetition_penalty = 1.3F}).repetition_penalty, 1.3F);
  // The authors' penalties are meant for their own way to sample: they count in it, greedy or not, and in no other.
  const SamplingConfig warm = {.temperature = 1.0F, .repetition_penalty = 1.2F, .presence_penalty = 1.5F};
  const SamplingConfig greedy = with_defaults({.temperature = 0.0F}, warm);
  EXPECT_EQ(greedy.repetition_penalty, 1.0F);
  EXPECT_EQ(greedy.presence_penalty, 0.0F);
  EXPECT_EQ(with_defaults({}, warm).presence_penalty, 1.5F);
  const SamplingConfig cold = {.temperature = 0.0F, .repetition_penalty = 1.2F};
  EXPECT_EQ(with_defaults({}, cold).repetition_penalty, 1.2F);
  EXPECT_EQ(with_defaults({}, {.temperature = 0.0F}).repetition_penalty, 1.0F);
}

struct BadField {
  const char* field;
  std::function<void(SamplingConfig&)> set;
};

TEST(SamplingConfig, NamesTheFieldThatIsWrong) {
  EXPECT_NO_THROW(validate(SamplingConfig{}));
  const std::vector<BadField> cases = {
      {"temperature", [](SamplingConfig& c) { c.temperature = -0.1F; }},
      {"temperature", [](SamplingConfig& c) { c.temperature = kNaN; }},
      {"temperature", [](SamplingConfig& c) { c.temperature = kInfinity; }},
      {"top_k", [](SamplingConfig& c) { c.top_k = -1; }},
      {"top_p", [](SamplingConfig& c) { c.top_p = 0; }},
      {"top_p", [](SamplingConfig& c) { c.top_p = 1.01F; }},
      {"top_p", [](SamplingConfig& c) { c.top_p = kNaN; }},
      {"min_p", [](SamplingConfig& c) { c.min_p = 1; }},
      {"min_p", [](SamplingConfig& c) { c.min_p = -0.5F; }},
      {"max_tokens", [](SamplingConfig& c) { c.max_tokens = 0; }},
      {"repetition_penalty", [](SamplingConfig& c) { c.repetition_penalty = 0; }},
      {"repetition_penalty", [](SamplingConfig& c) { c.repetition_penalty = kNaN; }},
      {"presence_penalty", [](SamplingConfig& c) { c.presence_penalty = kNaN; }},
      {"frequency_penalty", [](SamplingConfig& c) { c.frequency_penalty = 1e9F; }},
      {"max_thinking_tokens", [](SamplingConfig& c) { c.max_thinking_tokens = -1; }},
      {"stop",
       [](SamplingConfig& c) {
         c.stop = {"ok", ""};
       }},
  };
  for (const BadField& bad : cases) {
    SamplingConfig config;
    bad.set(config);
    try {
      validate(config);
      FAIL() << bad.field << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_EQ(error.where(), std::string("SamplingConfig.") + bad.field);
      EXPECT_THAT(error.message(), testing::HasSubstr("must be"));
    }
  }
}

}  // namespace
}  // namespace prosa::sampling
