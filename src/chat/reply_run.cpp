// The loop of a reply. Each advance() is one of: prefill, feeding forced tokens, or one sampled token.
#include "chat/reply_run.h"

#include <algorithm>
#include <new>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "chat/python_text.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// Validated, with the model's defaults, and with a seed.
SamplingConfig resolved(const SamplingConfig& asked, const ModelInfo& model) {
  validate(asked);
  SamplingConfig config = with_defaults(asked, model.sampling);
  if (!config.seed) {
    std::random_device device;
    config.seed = (static_cast<uint64_t>(device()) << 32) ^ device();
  }
  return config;
}

Cancel cancel_of(const std::atomic<bool>& flag, const SamplingConfig& sampling, Cancel::Clock::time_point begin) {
  constexpr int64_t kLongest = int64_t{1} << 40;  // decades: beyond it, adding to the clock may overflow
  if (sampling.deadline_ms == 0) return Cancel(&flag);
  return Cancel(&flag, begin + std::chrono::milliseconds(std::min(sampling.deadline_ms, kLongest)));
}

bool same_messages(std::span<const Message> a, std::span<const Message> b) {
  return std::ranges::equal(a, b, [](const Message& x, const Message& y) {
    const auto same_call = [](const ToolCall& p, const ToolCall& q) {
      return p.name == q.name && p.arguments == q.arguments;
    };
    return x.role == y.role && x.content == y.content && x.reasoning_content == y.reasoning_content &&
           std::ranges::equal(x.tool_calls, y.tool_calls, same_call);
  });
}

/// See ReplyStats::reread. `before` may be of another conversation: then there is nothing to say.
std::string reread_reason(const LastReply& before, const LastReply& now, const PromptPlan& plan,
                          const SyncReport& reuse) {
  if (before.settled == 0 || reuse.common >= before.settled || reuse.reused >= before.settled) return {};
  if (plan.dropped_messages > 0 || before.messages.size() >= now.messages.size()) return {};
  if (!same_messages(before.messages, std::span(now.messages).first(before.messages.size()))) return {};
  return fmt::format(
      "the chat template writes the first {} messages differently from token {} on, now that others follow: {} tokens "
      "were read again",
      before.messages.size(), reuse.common, before.settled - reuse.reused);
}

std::shared_ptr<const ReplyRules> rules_of(const Loaded& loaded, const SamplingConfig& sampling,
                                           std::span<const Tool> tools, std::string_view prompt) {
  const ModelText& text = *loaded.text;
  const int64_t vocab_size = loaded.core->config().vocab_size;
  return make_reply_rules({text.tokenizer, text.tokens, text.rules, [&] { return text.trie(vocab_size); }, vocab_size},
                          sampling, tools, prompt);
}

/// The part of the answer that stands in the prompt already.
std::string_view begun_answer(std::span<const Message> messages, const SamplingConfig& sampling,
                              std::string_view prompt) {
  if (!sampling.continue_final_message || messages.empty()) return {};
  const std::string_view text = messages.back().content;
  const std::string_view stripped = python_strip(text);
  // Templates take away blanks in front; some keep those at the end.
  const std::string_view with_end = text.substr(static_cast<size_t>(stripped.data() - text.data()));
  return prompt.ends_with(with_end) ? with_end : stripped;
}

}  // namespace

ReplyRun::ReplyRun(std::shared_ptr<Engine> engine, std::span<const Message> messages, const SamplingConfig& sampling,
                   std::span<const Tool> tools, std::string_view guess)
    : engine_(std::move(engine)),
      lease_(engine_->begin_reply()),
      loaded_(engine_->loaded()),
      sampling_(resolved(sampling, loaded_->core->loaded().info)),
      cancel_(cancel_of(engine_->cancel_flag(), sampling_, begin_)),
      plan_(engine_->plan(*loaded_, messages, tools, sampling_)),
      sampler_(sampling_, *sampling_.seed, plan_.tokens),
      text_(loaded_->text->tokenizer, loaded_->text->tokens, first_channel(plan_.text), sampling_, tools),
      guide_(rules_of(*loaded_, sampling_, tools, plan_.text), loaded_->text->tokenizer, loaded_->text->tokens,
             first_channel(plan_.text), begun_answer(messages, sampling_, plan_.text)),
      last_{{messages.begin(), messages.end()}, {tools.begin(), tools.end()}, sampling, text_.said()} {
  stats_.prompt_tokens = static_cast<int64_t>(plan_.tokens.size());
  stats_.dropped_messages = plan_.dropped_messages;
  stats_.seed = *sampling_.seed;
  stats_.left_free = guide_.left_free();
  if (!plan_.cuts.empty()) last_.settled = plan_.cuts.back();
  if (!guess.empty()) guess_ = loaded_->text->tokenizer.encode_given(guess);
}

ReplyRun::~ReplyRun() { stop(); }

void ReplyRun::stop() noexcept {
  text_.abandon();
  end();
}

std::optional<Piece> ReplyRun::next() {
  while (!text_.has_piece() && !ended_) {
    try {
      advance();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) {
        failed_ = true;
        stop();
        throw;
      }
      text_.finish(cancel_reason());
    } catch (...) {
      failed_ = true;
      stop();
      throw;
    }
    if (text_.finished()) end();
  }
  return text_.take_piece();
}

int64_t ReplyRun::room() const { return loaded_->session.capacity() - loaded_->session.position(); }

FinishReason ReplyRun::cancel_reason() const {
  const bool late = Clock::now() >= cancel_.deadline;
  return late && !cancel_.flag->load() ? FinishReason::deadline : FinishReason::cancelled;
}

void ReplyRun::advance() {
  if (cancel_.requested()) return text_.finish(cancel_reason());
  if (!prefilled_) {
    prefill();
  } else if (!text_.forced().empty()) {
    feed_forced();
  } else {
    sample_one();
  }
  text_.report(stats_);
  stats_.forced_tokens = forced_tokens_;
}

void ReplyRun::prefill() {
  const Clock::time_point start = Clock::now();
  engine_->fetch_system(*loaded_, plan_);
  runtime::SyncRequest request;
  request.tokens = plan_.tokens;
  request.cuts = plan_.cuts;
  request.cancel = cancel_;
  request.priority = runtime::Priority::turn;
  stats_.reuse = loaded_->session.sync(request);
  stats_.reread = reread_reason(engine_->last(), last_, plan_, stats_.reuse);
  loaded_->session.drop_slots();
  prefilled_ = true;
  stats_.cached_tokens = stats_.reuse.reused;
  stats_.prefill_ms = milliseconds(Clock::now() - start);
}

/// As if the model had sampled them, in one prefill.
void ReplyRun::feed_forced() {
  const std::vector<int32_t> forced(text_.forced().begin(), text_.forced().end());
  if (room() < std::ssize(forced) + std::ssize(unfed_)) return text_.finish(FinishReason::context_full);
  std::vector<int32_t> tokens(loaded_->session.tokens().begin(), loaded_->session.tokens().end());
  tokens.insert(tokens.end(), unfed_.begin(), unfed_.end());
  tokens.insert(tokens.end(), forced.begin(), forced.end());
  const Clock::time_point start = Clock::now();
  runtime::SyncRequest request;
  request.tokens = tokens;
  request.cancel = cancel_;
  request.priority = runtime::Priority::turn;
  loaded_->session.sync(request);
  stats_.decode_ms += milliseconds(Clock::now() - start);
  ++decode_steps_;
  unfed_.clear();
  for (const int32_t token : forced) {
    sampler_.accept(token);
    text_.push(token);
  }
  guide_.follow(text_.channel());
}

void ReplyRun::sample_one() {
  const Clock::time_point start = Clock::now();
  take_settled();
  if (text_.finished()) return;
  if (guesses()) {
    verify_guess();
    stats_.decode_ms += milliseconds(Clock::now() - start);
    return;
  }
  if (!unfed_.empty()) {
    if (room() < std::ssize(unfed_)) return text_.finish(FinishReason::context_full);
    if (!loaded_->session.decode(unfed_, cancel_)) return text_.finish(cancel_reason());
    unfed_.clear();
    ++decode_steps_;
  }
  const int32_t token = choose();
  if (decode_steps_ > 0) stats_.decode_ms += milliseconds(Clock::now() - start);
  take(token);
}

/// Tokens that have to follow are fed together with the next one that is chosen.
void ReplyRun::take_settled() {
  while (!text_.finished() && text_.forced().empty() && !guide_.settled().empty() && std::ssize(unfed_) <= room()) {
    ++forced_tokens_;
    take(guide_.settled().front());
  }
}

/// Whether the tokens that are fed next are the guess's, and more of it follows.
bool ReplyRun::guesses() const {
  const size_t decided = unfed_.size();
  return decided > 0 && decided < backend::kMaxTentative && guess_.size() > decided &&
         std::equal(unfed_.begin(), unfed_.end(), guess_.begin()) && room() >= std::ssize(guess_) + 1;
}

/// Feeds the guess in one pass. The tokens that would have been chosen all the same are kept, with the bits of single
/// steps; from the first other one on the reply goes its own way.
void ReplyRun::verify_guess() {
  const auto count = std::min<size_t>(guess_.size(), backend::kMaxTentative);
  const std::vector<int32_t> ahead(guess_.begin(), guess_.begin() + static_cast<std::ptrdiff_t>(count));
  if (!loaded_->session.attempt(ahead, cancel_)) return text_.finish(cancel_reason());
  ++decode_steps_;
  size_t kept = std::exchange(unfed_, {}).size();  // of those fed, the reply's
  try {
    for (bool agrees = true; agrees;) {
      const std::span<const int32_t> settled = guide_.settled();
      const int32_t token = settled.empty() ? choose(static_cast<int64_t>(kept) - 1) : settled.front();
      take(token);
      agrees = !text_.finished() && text_.forced().empty() && kept < guess_.size() && guess_[kept] == token;
      if (!agrees) {
        guess_.clear();
        break;
      }
      ++stats_.guessed_tokens;
      if (kept == count) break;
      unfed_.clear();
      ++kept;
    }
    if (!guess_.empty()) guess_.erase(guess_.begin(), guess_.begin() + static_cast<std::ptrdiff_t>(kept));
  } catch (...) {
    loaded_->session.settle(static_cast<int64_t>(kept));
    throw;
  }
  loaded_->session.settle(static_cast<int64_t>(kept));
}

/// A token was chosen, or has to follow: it is fed when the next one is asked for.
void ReplyRun::take(int32_t token) {
  sampler_.accept(token);
  text_.push(token);
  unfed_.push_back(token);
  if (stats_.first_token_ms == 0) stats_.first_token_ms = milliseconds(Clock::now() - begin_);
  if (text_.generated_tokens() == 1 && !guess_.empty() && guess_.front() != token) guess_.clear();
  if (text_.finished() && text_.finished() != FinishReason::length) return;
  guide_.push(token, text_.channel());
  if (guide_.is_over()) text_.complete();
}

int32_t ReplyRun::choose(std::optional<int64_t> row) {
  const runtime::Session& session = loaded_->session;
  if (!sampler_.needs_row()) {
    const backend::Pick pick = sampler_.pick(guide_.mask());
    const backend::Candidates answer = row ? session.candidates(pick, *row) : session.candidates(pick);
    if (answer.best.empty()) guide_.require_way_on();
    return sampler_.choose(answer);
  }
  row_.resize(static_cast<size_t>(session.backend().config().vocab_size));
  if (row) {
    session.copy_logits(row_, *row);
  } else {
    session.copy_logits(row_);
  }
  guide_.require_way_on();
  return sampler_.sample(row_, guide_.mask());
}

/// Frees the session for others and records the costs.
void ReplyRun::end() noexcept {
  if (ended_) return;
  ended_ = true;
  try {
    text_.report(stats_);
    stats_.forced_tokens = forced_tokens_;
  } catch (const std::bad_alloc&) {  // the counts are there; of what could not be read something is missing
  }
  if (failed_) stats_.finish = FinishReason::error;
  if (stats_.decode_ms > 0) stats_.decode_tok_s = static_cast<double>(decode_steps_) * 1000 / stats_.decode_ms;
  engine_->end_reply(stats_, plan_, std::move(last_), prefilled_);
  lease_.release();
}

}  // namespace prosa::chat
