// Tokens -> decoder -> channels -> stop strings -> pieces, and the counting on the way (reply_text.h).
#include "chat/reply_text.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::chat {

ReplyTokens ReplyTokens::of(const Tokenizer& tokenizer, std::span<const int32_t> eos) {
  ReplyTokens tokens{ChannelTokens::of(tokenizer), {eos.begin(), eos.end()}, tokenizer.encode(thinking_end_text())};
  std::vector<int32_t>& end = tokens.end;
  end.insert(end.end(), tokens.channels.end.begin(), tokens.channels.end.end());
  std::sort(end.begin(), end.end());
  end.erase(std::unique(end.begin(), end.end()), end.end());
  return tokens;
}

ReplyText::ReplyText(const Tokenizer& tokenizer, const ReplyTokens& tokens, Channel first,
                     const SamplingConfig& sampling, std::span<const Tool> tools)
    : tokenizer_(&tokenizer),
      tokens_(&tokens),
      max_tokens_(sampling.max_tokens),
      max_thinking_tokens_(sampling.disable_thinking ? 0 : sampling.max_thinking_tokens),
      decoder_(tokenizer),
      splitter_(tokens.channels, first, ToolCallParser(tools), sampling.format.holds()),
      stop_(sampling.stop) {
  if (splitter_.must_close_thinking(max_thinking_tokens_)) forced_left_ = tokens.thinking_end.size();
}

std::span<const int32_t> ReplyText::forced() const noexcept {
  return finished_ ? std::span<const int32_t>() : std::span(tokens_->thinking_end).last(forced_left_);
}

bool ReplyText::constrains() const noexcept {
  return !finished_ && forced_left_ == 0 && splitter_.channel() == Channel::speech;
}

void ReplyText::push(int32_t token) {
  PROSA_CHECK(!finished_);
  ++generated_tokens_;
  const bool forced = forced_left_ > 0;
  if (forced) {
    PROSA_CHECK(token == tokens_->thinking_end[tokens_->thinking_end.size() - forced_left_]);
    --forced_left_;
  } else if (std::binary_search(tokens_->end.begin(), tokens_->end.end(), token)) {
    return finish(FinishReason::stop);
  }
  enter(token, forced);
  if (finished_ || forced_left_ > 0) return;
  if (splitter_.must_close_thinking(max_thinking_tokens_)) {
    if (forced) {  // or it would be forced again without end
      throw Error(ErrorCode::bad_tokenizer, "the tokens of \"</think>\" do not give that text back", "tokenizer.json",
                  "set disable_thinking");
    }
    forced_left_ = tokens_->thinking_end.size();
  } else if (answer_tokens_ >= max_tokens_) {
    finish(FinishReason::length);
  }
}

/// A token that does not end the reply, into text and counts.
void ReplyText::enter(int32_t token, bool forced) {
  const int64_t thinking = splitter_.thinking_tokens();
  std::vector<Piece> pieces;
  splitter_.push(token, decoder_.push(token), pieces);
  if (splitter_.thinking_tokens() == thinking && !forced && !is_margin(token)) ++answer_tokens_;
  route(std::move(pieces));
  if (stop_.matched()) finished_ = FinishReason::stop_string;
}

/// The two line breaks that the template puts after a think block are no answer.
bool ReplyText::is_margin(int32_t token) {
  const std::string_view bytes = tokenizer_->token_bytes(token);
  if (splitter_.thinking_tokens() == 0 || answer_tokens_ > 0) return false;
  if (bytes.find_first_not_of('\n') != std::string_view::npos || bytes.size() > margin_left_) return false;
  margin_left_ -= bytes.size();
  return !bytes.empty();
}

/// Speech passes the stop strings; what they held back goes out before a piece of another channel, and a stop string
/// does not reach across that piece.
void ReplyText::route(std::vector<Piece> pieces) {
  for (Piece& piece : pieces) {
    if (stop_.matched()) return;
    if (piece.channel == Channel::speech) {
      give(stop_.push(piece.text));
    } else {
      give(stop_.flush());
      pieces_.push_back(std::move(piece));
    }
  }
}

void ReplyText::give(std::string speech) {
  if (!speech.empty()) pieces_.push_back({Channel::speech, std::move(speech)});
}

void ReplyText::finish(FinishReason reason) {
  if (finished_) return;
  std::vector<Piece> pieces;
  splitter_.push(-1, decoder_.flush(), pieces);
  splitter_.finish(pieces);
  route(std::move(pieces));
  if (stop_.matched()) {
    finished_ = FinishReason::stop_string;
    return;
  }
  give(stop_.flush());
  finished_ = reason == FinishReason::stop && splitter_.calls() > 0 ? FinishReason::tool_calls : reason;
}

void ReplyText::complete() {
  if (finished_ != FinishReason::length) return finish(FinishReason::stop);
  finished_ = splitter_.calls() > 0 ? FinishReason::tool_calls : FinishReason::stop;
}

void ReplyText::abandon() noexcept {
  pieces_.clear();
  next_piece_ = 0;
  if (!finished_) finished_ = FinishReason::cancelled;
}

std::optional<Piece> ReplyText::take_piece() {
  if (!has_piece()) return std::nullopt;
  if (pieces_[next_piece_].channel == Channel::speech) said_->append(pieces_[next_piece_].text);
  Piece piece = std::move(pieces_[next_piece_++]);
  if (!has_piece()) {
    pieces_.clear();
    next_piece_ = 0;
  }
  return piece;
}

void ReplyText::report(ReplyStats& stats) const {
  stats.generated_tokens = generated_tokens_;
  stats.thinking_tokens = thinking_tokens();
  if (finished_) stats.finish = *finished_;
  stats.tool_call_errors.clear();
  for (const CallError& error : splitter_.errors()) stats.tool_call_errors.push_back(error.message);
}

}  // namespace prosa::chat
