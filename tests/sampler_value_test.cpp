// The sampler as a value over candidates: its two ways (candidates, a whole row) against each other and against a naive
// one that sorts everything; taking tokens back; copies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "sampling_fixture.h"

namespace prosa::sampling {
namespace {

using backend::Candidate;
using backend::Candidates;
using backend::Pick;
using testing::ElementsAreArray;

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
  const Settings config(given.config);
  std::vector<float> row = given.row;
  std::vector<int32_t> all = given.prompt;
  all.insert(all.end(), given.reply.begin(), given.reply.end());
  const size_t window = std::min<size_t>(all.size(), 64);
  for (const int32_t id : std::set<int32_t>(all.end() - static_cast<std::ptrdiff_t>(window), all.end())) {
    float& logit = row[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / config.repetition_penalty : logit * config.repetition_penalty;
  }
  std::map<int32_t, int> counts;
  for (const int32_t id : given.reply) ++counts[id];
  for (const auto& [id, count] : counts) {
    row[static_cast<size_t>(id)] -= config.presence_penalty + config.frequency_penalty * static_cast<float>(count);
  }
  for (size_t id = 0; id < row.size() && !given.allowed.empty(); ++id) {
    if ((given.allowed[id / 32] >> (id % 32) & 1U) == 0) row[id] = -kInfinity;
  }
  return row;
}

/// The token by the shortest way; nothing where the sampler must report broken logits.
std::optional<int32_t> naive_token(const Case& given) {
  const Settings config(given.config);
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
    SCOPED_TRACE(testing::Message() << "case " << i << ": temperature " << *given.config.temperature << " top_k "
                                    << *given.config.top_k << " top_p " << *given.config.top_p << " min_p "
                                    << *given.config.min_p);
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

}  // namespace
}  // namespace prosa::sampling
