// The prompt is read as for a reply that does not think; then the options are scored behind it.
#include "chat/choice.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "chat/option_scorer.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Clock = std::chrono::steady_clock;

Cancel cancel_of(const std::atomic<bool>& flag, int64_t deadline_ms, Clock::time_point begin) {
  constexpr int64_t kLongest = int64_t{1} << 40;  // decades: beyond it, adding to the clock may overflow
  if (deadline_ms < 0) throw Error(ErrorCode::invalid_argument, "is negative", "deadline_ms");
  if (deadline_ms == 0) return Cancel(&flag);
  return Cancel(&flag, begin + std::chrono::milliseconds(std::min(deadline_ms, kLongest)));
}

/// The token that ends a turn, as the template writes it.
int32_t end_token(const ModelText& text) {
  return text.tokenizer.token_id("<|im_end|>").value_or(text.tokens.end.front());
}

}  // namespace

void rank(std::vector<ScoredOption>& scored, bool by_mean) {
  const auto measure = [by_mean](const ScoredOption& option) {
    return by_mean ? option.mean_log_probability : option.log_probability;
  };
  std::ranges::stable_sort(scored, [&](const auto& a, const auto& b) { return measure(a) > measure(b); });
  const double best = measure(scored.front());
  double total = 0;
  for (ScoredOption& option : scored) {
    option.probability = std::isfinite(best) ? std::exp(measure(option) - best) : 1;
    total += option.probability;
  }
  for (ScoredOption& option : scored) option.probability /= total;
}

Choice choose(Engine& engine, std::span<const Message> messages, std::span<const std::string> options,
              const ChooseConfig& config, std::span<const Tool> tools) {
  const Clock::time_point begin = Clock::now();
  const std::vector<OptionText> texts = read_options(options, config);
  const EngineLease lease = engine.begin_reply();
  const std::shared_ptr<Loaded> loaded = engine.loaded();
  const Cancel cancel = cancel_of(engine.cancel_flag(), config.deadline_ms, begin);
  SamplingConfig sampling;
  sampling.disable_thinking = true;
  const PromptPlan plan = engine.plan(*loaded, messages, tools, sampling);
  engine.fetch_system(*loaded, plan);
  Choice choice;
  {
    runtime::Session session(loaded->session);
    const SyncReport report =
        session.sync({.tokens = plan.tokens, .cuts = plan.cuts, .cancel = cancel, .priority = runtime::Priority::turn});
    choice.prompt_tokens = std::ssize(plan.tokens);
    choice.cached_tokens = report.reused;
    std::shared_ptr<const grammar::TokenTrie> trie;  // only slots need it
    if (std::ranges::any_of(texts, &OptionText::has_slots))
      trie = loaded->text->trie(loaded->core->config().vocab_size);
    OptionScorer scorer(session, loaded->text->tokenizer, trie, end_token(*loaded->text), texts, cancel);
    const std::vector<OptionScorer::Score> scores = scorer.run();
    for (size_t i = 0; i < scores.size(); ++i) {
      ScoredOption option;
      option.index = i;
      option.text = scores[i].text;
      option.slots = texts[i].slots_of(scores[i].text);
      option.token_log_probabilities = scores[i].tokens;
      const auto& tokens = option.token_log_probabilities;
      option.log_probability = scores[i].ended ? std::accumulate(tokens.begin(), tokens.end(), 0.0)
                                               : -std::numeric_limits<double>::infinity();
      option.mean_log_probability = option.log_probability / static_cast<double>(std::max<size_t>(tokens.size(), 1));
      choice.options.push_back(std::move(option));
    }
    choice.scored_tokens = scorer.forks().tokens();
    choice.steps = scorer.forks().steps();
  }
  rank(choice.options, config.by_mean);
  engine.end_choice(plan, messages, tools, sampling, config.keep ? choice.options.front().text : "");
  choice.total_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return choice;
}

}  // namespace prosa::chat
