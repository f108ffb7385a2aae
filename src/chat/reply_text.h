// The text of one reply, apart from its computing: tokens in, pieces out, and what the reply wants next: tokens that
// must be fed now (forced), a choice among all tokens or under a grammar (constrains), or nothing more (finished).
//
// Pure: no backend, no session, no sampler, no clock. Who computes the reply drives it like this:
//   while (!text.finished()) {
//     if (!text.forced().empty()) { feed them in one segment; push each } else { choose a token; push it; feed it }
//   }
// and takes pieces whenever it likes, also after the reply has finished.
//
// It is a value: a copy goes on by itself, so a draft is tried on a copy that replaces the original when it is
// accepted. A copy costs the text that is held back and not yet taken. Only what take_piece() gives enters the record
// of what was said, which all copies share: take pieces from the copy that counts. Invariant: the pieces depend on the
// tokens pushed alone, not on when they are taken; after finished() no token is accepted and nothing is held back any
// more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/channels.h"
#include "chat/said_text.h"
#include "chat/stop.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// The tokens that mean something in the replies of a model.
struct ReplyTokens {
  ChannelTokens channels;
  std::vector<int32_t> end;           // sorted, distinct: a reply ends with any of them
  std::vector<int32_t> thinking_end;  // closes a think block: thinking_end_text()

  /// `eos`: the end tokens that the model's config names, beside those of the tokenizer.
  static ReplyTokens of(const Tokenizer& tokenizer, std::span<const int32_t> eos);
};

class ReplyText {
 public:
  /// `tokenizer` and `tokens` outlive every copy. `first`: first_channel() of the prompt. `sampling` is validated; its
  /// limits and stop strings are used. Error(invalid_argument): stop strings, tools.
  ReplyText(const Tokenizer& tokenizer, const ReplyTokens& tokens, Channel first, const SamplingConfig& sampling,
            std::span<const Tool> tools);

  /// Why the reply is over; nothing while it goes on.
  [[nodiscard]] std::optional<FinishReason> finished() const noexcept { return finished_; }
  /// Of the next token.
  [[nodiscard]] Channel channel() const noexcept { return splitter_.channel(); }
  /// Tokens to feed and push before any other, in this order: they close a think block that has used up its budget.
  /// Usually empty. Valid until the next push().
  [[nodiscard]] std::span<const int32_t> forced() const noexcept;
  /// The next token belongs to the answer, outside of thoughts and tool calls: where a grammar applies.
  [[nodiscard]] bool constrains() const noexcept;

  /// The next token: forced().front() if there is one, else the one chosen, end tokens included. Not after finished().
  /// Error(bad_tokenizer): the forced tokens did not close the think block.
  void push(int32_t token);
  /// The reply ends here for a reason from outside (cancelled, deadline, context_full): what was held back becomes
  /// pieces. It finishes with stop_string when a stop string turns out to be complete. Without effect after finished().
  void finish(FinishReason reason);
  /// The reply is whole: it has ended by itself, even where its last token was the last one allowed.
  void complete();
  /// The reply ends here, and what was not taken is dropped. Cancelled, unless it had finished.
  void abandon() noexcept;

  /// The next piece to hand out, which from now on counts as said; nothing when there is none yet.
  std::optional<Piece> take_piece();
  [[nodiscard]] bool has_piece() const noexcept { return next_piece_ < pieces_.size(); }
  /// The speech taken so far. It goes on growing as pieces are taken, whoever else holds it.
  [[nodiscard]] const std::shared_ptr<SaidText>& said() const noexcept { return said_; }

  /// Tokens pushed, chosen or forced, end token included.
  [[nodiscard]] int64_t generated_tokens() const noexcept { return generated_tokens_; }
  /// Of these, in think blocks: forced ones and the closing tag included.
  [[nodiscard]] int64_t thinking_tokens() const noexcept { return splitter_.thinking_tokens(); }
  /// Of these, what max_tokens limits: neither thinking, nor forced, nor the line breaks after a thought, nor the end
  /// token. A tag that opens a thought counts, so that a model that opens one after the other comes to an end.
  [[nodiscard]] int64_t answer_tokens() const noexcept { return answer_tokens_; }
  /// Enters the counts, the finish reason and the calls that could not be read.
  void report(ReplyStats& stats) const;

 private:
  void enter(int32_t token, bool forced);
  [[nodiscard]] bool is_margin(int32_t token);
  void route(std::vector<Piece> pieces);
  void give(std::string speech);

  const Tokenizer* tokenizer_;
  const ReplyTokens* tokens_;
  int64_t max_tokens_;
  int64_t max_thinking_tokens_;
  StreamDecoder decoder_;
  ChannelSplitter splitter_;
  StopMatcher stop_;
  std::shared_ptr<SaidText> said_ = std::make_shared<SaidText>();

  std::optional<FinishReason> finished_;
  size_t forced_left_ = 0;  // of tokens_->thinking_end, at its end
  size_t margin_left_ = 2;  // line breaks after a thought that do not count as answer
  int64_t generated_tokens_ = 0;
  int64_t answer_tokens_ = 0;
  std::vector<Piece> pieces_;  // from next_piece_ on ready to be taken
  size_t next_piece_ = 0;
};

}  // namespace prosa::chat
