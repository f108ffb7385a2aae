// The loop of a reply. Each advance() is one of: prefill, closing the think block, or one sampled token.
#include "chat/reply_run.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>

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

}  // namespace

ReplyRun::ReplyRun(std::shared_ptr<Engine> engine, std::span<const Message> messages, const SamplingConfig& sampling,
                   std::span<const Tool> tools)
    : engine_(std::move(engine)),
      lease_(engine_->begin_reply()),
      loaded_(engine_->loaded()),
      sampling_(resolved(sampling)),
      last_{{messages.begin(), messages.end()}, {tools.begin(), tools.end()}, sampling, {}},
      plan_(engine_->plan(*loaded_, messages, tools, sampling_)),
      sampler_(sampling_, *sampling_.seed, plan_.tokens),
      decoder_(loaded_->tokenizer),
      splitter_(loaded_->channel_tokens, first_channel(plan_.text), ToolCallParser(tools)),
      stop_(sampling_.stop) {
  stats_.prompt_tokens = static_cast<int64_t>(plan_.tokens.size());
  stats_.dropped_messages = plan_.dropped_messages;
  stats_.seed = *sampling_.seed;
  if (sampling_.deadline_ms > 0) {
    constexpr int64_t kLongest = int64_t{1} << 40;  // decades: beyond it, adding to the clock may overflow
    deadline_.emplace(begin_ + std::chrono::milliseconds(std::min(sampling_.deadline_ms, kLongest)), late_,
                      engine_->cancel_flag());
  }
}

ReplyRun::~ReplyRun() { stop(); }

void ReplyRun::stop() noexcept {
  pieces_.clear();
  end(FinishReason::cancelled);
}

std::optional<Piece> ReplyRun::next() {
  while (pieces_.empty() && !ended_) {
    try {
      advance();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) {
        end(FinishReason::cancelled);
        throw;
      }
      finish(cancel_reason());
    } catch (...) {
      end(FinishReason::cancelled);
      throw;
    }
  }
  if (pieces_.empty()) return std::nullopt;
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  if (piece.channel == Channel::speech) last_.said += piece.text;
  return piece;
}

int64_t ReplyRun::room() const { return loaded_->session.capacity() - loaded_->session.position(); }

void ReplyRun::advance() {
  if (engine_->cancel_flag()) return finish(cancel_reason());
  if (!prefilled_) return prefill();
  if (splitter_.must_close_thinking(sampling_.max_thinking_tokens)) return close_thinking();
  if (answer_tokens_ >= sampling_.max_tokens) return finish(FinishReason::length);
  sample_one();
}

void ReplyRun::prefill() {
  const Clock::time_point start = Clock::now();
  engine_->fetch_system(*loaded_, plan_);
  stats_.reuse = loaded_->session.sync({plan_.tokens, plan_.cuts, &engine_->cancel_flag()});
  loaded_->session.drop_slots();
  prefilled_ = true;
  stats_.cached_tokens = stats_.reuse.reused;
  stats_.prefill_ms = milliseconds(Clock::now() - start);
}

/// Feeds the end of the think block as if the model had sampled it, in one prefill.
void ReplyRun::close_thinking() {
  const std::vector<int32_t>& closing = loaded_->thinking_end;
  if (room() < static_cast<int64_t>(closing.size()) + (unfed_ ? 1 : 0)) return finish(FinishReason::context_full);
  std::vector<int32_t> tokens(loaded_->session.tokens().begin(), loaded_->session.tokens().end());
  if (unfed_) tokens.push_back(*unfed_);
  tokens.insert(tokens.end(), closing.begin(), closing.end());
  const Clock::time_point start = Clock::now();
  loaded_->session.sync({tokens, {}, &engine_->cancel_flag()});
  stats_.decode_ms += milliseconds(Clock::now() - start);
  ++decode_steps_;
  for (const int32_t token : closing) take(token, true);
  unfed_.reset();
  if (splitter_.must_close_thinking(sampling_.max_thinking_tokens)) {  // or the next advance() would come back here
    throw Error(ErrorCode::bad_tokenizer, "the tokens of \"</think>\" do not give that text back",
                (loaded_->model.folder / "tokenizer.json").string(), "set disable_thinking");
  }
}

void ReplyRun::sample_one() {
  const Clock::time_point start = Clock::now();
  if (unfed_) {
    if (room() < 1) return finish(FinishReason::context_full);
    loaded_->session.decode(*unfed_);
    unfed_.reset();
    ++decode_steps_;
  }
  const int32_t token = sampler_.sample(loaded_->session.logits());
  if (decode_steps_ > 0) stats_.decode_ms += milliseconds(Clock::now() - start);
  if (stats_.first_token_ms == 0) stats_.first_token_ms = milliseconds(Clock::now() - begin_);

  if (std::binary_search(loaded_->end_tokens.begin(), loaded_->end_tokens.end(), token)) {
    ++stats_.generated_tokens;
    return finish(FinishReason::stop);
  }
  unfed_ = token;
  take(token, false);
}

/// A token of the reply into penalties, text and channels. What the template puts around a think block is no answer:
/// forced tokens, and the two line breaks after a thought.
void ReplyRun::take(int32_t token, bool forced) {
  sampler_.accept(token);
  ++stats_.generated_tokens;
  std::vector<Piece> pieces;
  splitter_.push(token, decoder_.push(token), pieces);
  if (splitter_.thinking_tokens() > stats_.thinking_tokens) {
    stats_.thinking_tokens = splitter_.thinking_tokens();
  } else if (!forced && !is_margin(token)) {
    ++answer_tokens_;
  }
  route(std::move(pieces));
  if (stop_.matched()) end(FinishReason::stop_string);
}

bool ReplyRun::is_margin(int32_t token) {
  const std::string_view bytes = loaded_->tokenizer.token_bytes(token);
  if (stats_.thinking_tokens == 0 || answer_tokens_ > 0) return false;
  if (bytes.find_first_not_of('\n') != std::string_view::npos || bytes.size() > margin_left_) return false;
  margin_left_ -= bytes.size();
  return !bytes.empty();
}

/// Speech passes the stop strings; what they held back goes out before a piece of another channel.
void ReplyRun::route(std::vector<Piece> pieces) {
  for (Piece& piece : pieces) {
    if (stop_.matched()) return;
    if (piece.channel != Channel::speech) {
      if (std::string held = stop_.flush(); !held.empty()) pieces_.push_back({Channel::speech, std::move(held)});
      stop_ = StopMatcher(sampling_.stop);
      pieces_.push_back(std::move(piece));
      continue;
    }
    if (std::string text = stop_.push(piece.text); !text.empty()) {
      pieces_.push_back({Channel::speech, std::move(text)});
    }
  }
}

/// The reply ends here: gives out what decoder, channels and stop strings still hold.
void ReplyRun::finish(FinishReason reason) {
  std::vector<Piece> pieces;
  splitter_.push(-1, decoder_.flush(), pieces);
  splitter_.finish(pieces);
  route(std::move(pieces));
  for (const CallError& error : splitter_.errors()) stats_.tool_call_errors.push_back(error.message);
  if (stop_.matched()) return end(FinishReason::stop_string);
  if (std::string held = stop_.flush(); !held.empty()) pieces_.push_back({Channel::speech, std::move(held)});
  end(reason == FinishReason::stop && splitter_.calls() > 0 ? FinishReason::tool_calls : reason);
}

/// Frees the session for others and records the costs.
void ReplyRun::end(FinishReason reason) noexcept {
  if (ended_) return;
  ended_ = true;
  stats_.finish = reason;
  if (stats_.decode_ms > 0) stats_.decode_tok_s = static_cast<double>(decode_steps_) * 1000 / stats_.decode_ms;
  deadline_.reset();
  engine_->end_reply(stats_, plan_, std::move(last_), prefilled_);
  lease_.release();
}

}  // namespace prosa::chat
