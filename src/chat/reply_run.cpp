// The loop of a reply. Each advance() is one of: prefill, feeding forced tokens, or one sampled token.
#include "chat/reply_run.h"

#include <algorithm>
#include <new>
#include <random>

#include "prosa/error.h"

namespace prosa::chat {
namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// Validated, and with a seed.
SamplingConfig resolved(SamplingConfig config) {
  validate(config);
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

}  // namespace

ReplyRun::ReplyRun(std::shared_ptr<Engine> engine, std::span<const Message> messages, const SamplingConfig& sampling,
                   std::span<const Tool> tools)
    : engine_(std::move(engine)),
      lease_(engine_->begin_reply()),
      loaded_(engine_->loaded()),
      sampling_(resolved(sampling)),
      cancel_(cancel_of(engine_->cancel_flag(), sampling_, begin_)),
      plan_(engine_->plan(*loaded_, messages, tools, sampling_)),
      sampler_(sampling_, *sampling_.seed, plan_.tokens),
      text_(loaded_->text->tokenizer, loaded_->text->tokens, first_channel(plan_.text), sampling_, tools),
      last_{{messages.begin(), messages.end()}, {tools.begin(), tools.end()}, sampling, text_.said()} {
  stats_.prompt_tokens = static_cast<int64_t>(plan_.tokens.size());
  stats_.dropped_messages = plan_.dropped_messages;
  stats_.seed = *sampling_.seed;
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
  loaded_->session.drop_slots();
  prefilled_ = true;
  stats_.cached_tokens = stats_.reuse.reused;
  stats_.prefill_ms = milliseconds(Clock::now() - start);
}

/// As if the model had sampled them, in one prefill.
void ReplyRun::feed_forced() {
  const std::vector<int32_t> forced(text_.forced().begin(), text_.forced().end());
  if (room() < static_cast<int64_t>(forced.size()) + (unfed_ ? 1 : 0)) return text_.finish(FinishReason::context_full);
  std::vector<int32_t> tokens(loaded_->session.tokens().begin(), loaded_->session.tokens().end());
  if (unfed_) tokens.push_back(*unfed_);
  tokens.insert(tokens.end(), forced.begin(), forced.end());
  const Clock::time_point start = Clock::now();
  runtime::SyncRequest request;
  request.tokens = tokens;
  request.cancel = cancel_;
  request.priority = runtime::Priority::turn;
  loaded_->session.sync(request);
  stats_.decode_ms += milliseconds(Clock::now() - start);
  ++decode_steps_;
  unfed_.reset();
  for (const int32_t token : forced) {
    sampler_.accept(token);
    text_.push(token);
  }
}

void ReplyRun::sample_one() {
  const Clock::time_point start = Clock::now();
  if (unfed_) {
    if (room() < 1) return text_.finish(FinishReason::context_full);
    loaded_->session.decode(*unfed_);
    unfed_.reset();
    ++decode_steps_;
  }
  const int32_t token = choose();
  if (decode_steps_ > 0) stats_.decode_ms += milliseconds(Clock::now() - start);
  if (stats_.first_token_ms == 0) stats_.first_token_ms = milliseconds(Clock::now() - begin_);
  sampler_.accept(token);
  text_.push(token);
  unfed_ = token;
}

int32_t ReplyRun::choose() {
  const runtime::Session& session = loaded_->session;
  if (!sampler_.needs_row()) return sampler_.choose(session.candidates(sampler_.pick()));
  row_.resize(static_cast<size_t>(session.backend().config().vocab_size));
  session.copy_logits(row_);
  return sampler_.sample(row_);
}

/// Frees the session for others and records the costs.
void ReplyRun::end() noexcept {
  if (ended_) return;
  ended_ = true;
  try {
    text_.report(stats_);
  } catch (const std::bad_alloc&) {  // the counts are there; of what could not be read something is missing
  }
  if (failed_) stats_.finish = FinishReason::error;
  if (stats_.decode_ms > 0) stats_.decode_tok_s = static_cast<double>(decode_steps_) * 1000 / stats_.decode_ms;
  engine_->end_reply(stats_, plan_, std::move(last_), prefilled_);
  lease_.release();
}

}  // namespace prosa::chat
