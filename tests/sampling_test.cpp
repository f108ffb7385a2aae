// The sampler: its two ways (candidates, a whole row) against each other and against a naive one that sorts everything,
// taking tokens back, its distribution, its ties and edges, and validate().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "prosa/error.h"
#include "prosa/sampling.h"
#include "sampling/sampler.h"

namespace prosa::sampling {
namespace {

using backend::Candidate;
using backend::Candidates;
using backend::Pick;
using testing::ElementsAreArray;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Everything on, nothing penalised.
SamplingConfig plain() {
  SamplingConfig config;
  config.repetition_penalty = 1.0F;
  return config;
}

std::vector<float> random_logits(size_t size, uint64_t seed, float spread = 8.0F) {
  CounterRandom random(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) {
    logit = spread * static_cast<float>(random.next() + random.next() + random.next() - 1.5);
  }
  return logits;
}

/// The definition, by the shortest way: sort, cut, normalise. Probability by id of the tokens that may be drawn.
std::map<int32_t, double> naive_distribution(const SamplingConfig& config, const std::vector<float>& logits) {
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

std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

int32_t sample(Sampler& sampler, std::vector<float> row) { return sampler.sample(row); }

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

// ---- both ways give the same token

/// One random question: a config, the tokens before, a row, a mask.
struct Case {
  SamplingConfig config;
  uint64_t seed = 0;
  std::vector<int32_t> prompt, reply;
  std::vector<float> row;
  std::vector<uint32_t> allowed;
};

class CaseMaker {
 public:
  explicit CaseMaker(uint64_t seed) : random_(seed) {}

  size_t below(size_t n) { return static_cast<size_t>(random_.next() * static_cast<double>(n)); }
  bool chance(double p) { return random_.next() < p; }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }

  SamplingConfig config() {
    SamplingConfig config;
    config.temperature = one_of({0.0F, 0.05F, 0.6F, 1.0F, 3.0F});
    config.top_k = one_of({0, 1, 2, 5, 50, 256, 257, 300, 100000});
    config.top_p = one_of({1.0F, 0.95F, 0.5F, 0.05F});
    config.min_p = one_of({0.0F, 0.02F, 0.5F});
    config.repetition_penalty = one_of({1.0F, 1.1F, 2.0F, 0.7F});
    config.presence_penalty = one_of({0.0F, 0.0F, 0.5F, -1.5F});
    config.frequency_penalty = one_of({0.0F, 0.0F, 0.25F, -0.4F});
    return config;
  }

  std::vector<int32_t> tokens(size_t most, size_t vocab) {
    std::vector<int32_t> tokens(below(most + 1));
    const size_t range = chance(0.5) ? vocab : std::min<size_t>(vocab, 20);  // the second: many repetitions
    for (int32_t& token : tokens) token = static_cast<int32_t>(below(range));
    return tokens;
  }

  /// With ties, NaN and -inf; now and then nothing else, or +inf.
  std::vector<float> row(size_t vocab) {
    std::vector<float> row(vocab);
    const float spread = one_of({0.1F, 2.0F, 8.0F});
    for (float& logit : row) logit = spread * static_cast<float>(random_.next() + random_.next() - 1);
    if (chance(0.4)) {
      for (float& logit : row) logit = std::round(logit * 2) / 2;
    }
    if (const double share = one_of({0.0, 0.0, 0.1, 0.9}); share > 0) {
      for (float& logit : row) logit = chance(share) ? one_of({kNaN, -kInfinity}) : logit;
    }
    if (chance(0.02)) row[below(vocab)] = kInfinity;
    if (chance(0.01)) row.assign(vocab, one_of({kNaN, -kInfinity}));
    return row;
  }

  std::vector<uint32_t> mask(size_t vocab) {
    if (chance(0.5)) return {};
    std::vector<uint32_t> words((vocab + 31) / 32);
    const double share = one_of({0.01, 0.3, 0.97});
    for (size_t id = 0; id < vocab; ++id) words[id / 32] |= static_cast<uint32_t>(chance(share)) << (id % 32);
    if (chance(0.3)) std::fill(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(below(words.size())), 0U);
    return words;
  }

  Case next() {
    Case made;
    const size_t vocab = one_of<size_t>({257, 384, 1000, 1337});
    made.config = config();
    made.seed = below(1000000);
    made.prompt = tokens(100, vocab);
    made.reply = tokens(200, vocab);
    made.row = row(vocab);
    made.allowed = mask(vocab);
    return made;
  }

 private:
  CounterRandom random_;
};

Sampler sampler_of(const Case& given) {
  Sampler sampler(given.config, given.seed, given.prompt);
  for (const int32_t token : given.reply) sampler.accept(token);
  return sampler;
}

/// The row as the penalties and the mask leave it, by the definition.
std::vector<float> naive_row(const Case& given) {
  std::vector<float> row = given.row;
  std::vector<int32_t> all = given.prompt;
  all.insert(all.end(), given.reply.begin(), given.reply.end());
  const size_t window = std::min<size_t>(all.size(), 64);
  for (const int32_t id : std::set<int32_t>(all.end() - static_cast<std::ptrdiff_t>(window), all.end())) {
    float& logit = row[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / given.config.repetition_penalty : logit * given.config.repetition_penalty;
  }
  std::map<int32_t, int> counts;
  for (const int32_t id : given.reply) ++counts[id];
  for (const auto& [id, count] : counts) {
    row[static_cast<size_t>(id)] -=
        given.config.presence_penalty + given.config.frequency_penalty * static_cast<float>(count);
  }
  for (size_t id = 0; id < row.size() && !given.allowed.empty(); ++id) {
    if ((given.allowed[id / 32] >> (id % 32) & 1U) == 0) row[id] = -kInfinity;
  }
  return row;
}

/// The token by the shortest way; nothing where the sampler must report broken logits.
std::optional<int32_t> naive_token(const Case& given) {
  const SamplingConfig& config = given.config;
  const std::vector<float> row = naive_row(given);
  std::vector<Candidate> all;
  for (size_t id = 0; id < row.size(); ++id) {
    if (row[id] > -kInfinity) all.push_back({row[id], static_cast<int32_t>(id)});
  }
  std::sort(all.begin(), all.end(), backend::better);
  if (all.empty() || all[0].logit == kInfinity) return std::nullopt;
  if (config.temperature == 0) return all[0].id;
  const bool limited = config.top_k > 0 && static_cast<size_t>(config.top_k) < row.size();
  if (limited && all.size() > static_cast<size_t>(config.top_k)) all.resize(static_cast<size_t>(config.top_k));
  const auto weight = [&](const Candidate& candidate) {
    return exp_of_nonpositive((static_cast<double>(candidate.logit) - all[0].logit) / config.temperature);
  };
  double total = 0;
  for (const Candidate& candidate : all) total += weight(candidate);
  std::vector<Candidate> kept;
  double sum = 0;
  for (const Candidate& candidate : all) {
    if (config.top_p < 1 && sum >= total * config.top_p) break;
    sum += weight(candidate);
    if (weight(candidate) >= config.min_p) kept.push_back(candidate);
  }
  if (!limited) std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  double left = 0;
  for (const Candidate& candidate : kept) left += weight(candidate);
  left *= CounterRandom(given.seed).at(given.reply.size());
  for (const Candidate& candidate : kept) {
    left -= weight(candidate);
    if (left < 0) return candidate.id;
  }
  return kept.back().id;
}

TEST(Sampler, CandidatesGiveTheTokenOfTheWholeRow) {
  CaseMaker maker(4);
  int by_candidates = 0, broken = 0;
  for (int i = 0; i < 10000; ++i) {
    const Case given = maker.next();
    SCOPED_TRACE(testing::Message() << "case " << i << ": temperature " << given.config.temperature << " top_k "
                                    << given.config.top_k << " top_p " << given.config.top_p << " min_p "
                                    << given.config.min_p);
    Sampler sampler = sampler_of(given);
    const std::optional<int32_t> expected = naive_token(given);
    std::vector<float> row = given.row;
    std::optional<int32_t> by_row;
    try {
      by_row = sampler.sample(row, given.allowed);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::bad_checkpoint);
      ++broken;
    }
    ASSERT_EQ(by_row, expected);
    if (sampler.needs_row()) continue;
    Candidates answer;
    backend::pick_candidates(given.row, sampler.pick(given.allowed), answer);
    if (!expected) {
      ASSERT_EQ(code_of([&] { (void)sampler.choose(answer); }), ErrorCode::bad_checkpoint);
      continue;
    }
    ASSERT_EQ(sampler.choose(answer), *expected);
    ++by_candidates;
  }
  EXPECT_GT(by_candidates, 5000);
  EXPECT_GT(broken, 100);
}

TEST(Sampler, NeedsTheRowOnlyWhereCandidatesAreTooFew) {
  for (const float temperature : {0.0F, 0.6F}) {
    for (const int top_k : {0, 1, 50, 256, 257}) {
      SamplingConfig config = plain();
      config.temperature = temperature;
      config.top_k = top_k;
      Sampler sampler(config, 1, {});
      EXPECT_EQ(sampler.needs_row(), temperature > 0 && (top_k == 0 || top_k == 257)) << top_k;
      if (sampler.needs_row()) continue;
      EXPECT_EQ(sampler.pick().k, temperature == 0 ? 1 : top_k);
    }
  }
}

TEST(Sampler, PicksChangesOfDistinctRisingIds) {
  SamplingConfig config;
  config.repetition_penalty = 2.0F;
  config.presence_penalty = 0.5F;
  config.frequency_penalty = 0.25F;
  Sampler sampler(config, 1, std::vector<int32_t>{9, 3, 9, 5});
  for (const int32_t token : {7, 3, 7, 0}) sampler.accept(token);
  const Pick pick = sampler.pick();
  const std::vector<backend::LogitChange> expected = {
      {0, 2.0F, -0.75F}, {3, 2.0F, -0.75F}, {5, 2.0F, 0.0F}, {7, 2.0F, -1.0F}, {9, 2.0F, 0.0F}};
  EXPECT_THAT(pick.changes, ElementsAreArray(expected));
}

// ---- a value: taking back, copying

/// Everything that can be seen of a sampler: what it asks for, and what it chooses.
void expect_same(Sampler& a, Sampler& b, const std::vector<float>& row) {
  ASSERT_EQ(a.accepted(), b.accepted());
  if (!a.needs_row()) {
    const Pick first = a.pick();
    const Pick second = b.pick();
    ASSERT_THAT(first.changes, ElementsAreArray(second.changes.begin(), second.changes.end()));
    Candidates answer;
    backend::pick_candidates(row, first, answer);
    ASSERT_EQ(a.choose(answer), b.choose(answer));
  }
  ASSERT_EQ(sample(a, row), sample(b, row));
}

TEST(Sampler, AnyRollbackLeavesASamplerFedTheSurvivingTokens) {
  CaseMaker maker(11);
  constexpr size_t kVocab = 300;
  for (int i = 0; i < 300; ++i) {
    const SamplingConfig config = maker.config();
    const std::vector<int32_t> prompt = maker.tokens(100, kVocab);
    const std::vector<float> row = random_logits(kVocab, static_cast<uint64_t>(i));
    Sampler sampler(config, 5, prompt);
    std::vector<int32_t> surviving;
    for (int step = 0; step < 60; ++step) {
      if (maker.chance(0.3)) {
        const size_t n = maker.below(surviving.size() + 1);
        sampler.rollback(n);
        surviving.resize(surviving.size() - n);
      } else {
        for (size_t n = maker.below(20); n > 0; --n) {  // chosen or forced
          surviving.push_back(maker.chance(0.5) ? sample(sampler, row) : static_cast<int32_t>(maker.below(kVocab)));
          sampler.accept(surviving.back());
        }
      }
      Sampler fresh(config, 5, prompt);
      for (const int32_t token : surviving) fresh.accept(token);
      expect_same(sampler, fresh, row);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Sampler, ACopyGoesOnLikeItsOriginal) {
  CaseMaker maker(12);
  for (int i = 0; i < 200; ++i) {
    const Case given = maker.next();
    const std::vector<float> row = random_logits(given.row.size(), static_cast<uint64_t>(i));
    Sampler original = sampler_of(given);
    Sampler copy = original;
    const int32_t token = sample(copy, row);
    for (int n = 0; n < 3; ++n) copy.accept(token);
    Sampler untouched = sampler_of(given);
    expect_same(original, untouched, row);
    for (int n = 0; n < 3; ++n) original.accept(token);
    expect_same(original, copy, row);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Sampler, ChoosingDoesNotMoveIt) {
  SamplingConfig config = plain();
  config.temperature = 3;
  const std::vector<float> row = random_logits(2000, 8, 1.0F);
  Sampler sampler(config, 6, {});
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(sample(sampler, row));
    EXPECT_EQ(sample(sampler, row), tokens.back());
    sampler.accept(tokens.back());
  }
  EXPECT_GT(std::set<int32_t>(tokens.begin(), tokens.end()).size(), 8U) << "each place has its own random number";
  for (; !tokens.empty(); tokens.pop_back()) {
    sampler.rollback(1);
    EXPECT_EQ(sample(sampler, row), tokens.back());
  }
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
