// Where one reply stands in what it is held to: which tokens may come next, which have to, and whether it is whole.
//
// Goes beside a ReplyText, which says in which channel the next token is: of the tokens of thoughts only the end and
// calls are its business; in the answer it follows the format, in a call the tools. A value: a copy goes on by itself.
// Invariant: whatever is chosen among mask(), there is a way on; settled() is a function of the tokens pushed alone, so
// that a reply has the same tokens however it is computed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "chat/reply_rules.h"
#include "grammar/constraint.h"
#include "prosa/chat.h"

namespace prosa::chat {

class ReplyGuide {
 public:
  /// `rules`: null where the reply is held to nothing. `tokenizer` and `tokens` outlive every copy. `first`: the
  /// channel of the first token. `begun`: the part of the answer that stands in the prompt. Error(invalid_argument):
  /// the format does not begin like that.
  ReplyGuide(std::shared_ptr<const ReplyRules> rules, const Tokenizer& tokenizer, const ReplyTokens& tokens,
             Channel first, std::string_view begun = {});

  /// The tokens to choose among, as in backend::Pick; empty: all. Valid until the next push(). Error(unsupported): the
  /// text can be meant in too many ways.
  [[nodiscard]] std::span<const uint32_t> mask();
  /// What has to come next, whatever is chosen: push these without a choice. Valid until the next push().
  [[nodiscard]] std::span<const int32_t> settled() const noexcept { return std::span(settled_).subspan(next_); }
  /// The reply is whole: nothing may follow.
  [[nodiscard]] bool is_over() const noexcept { return over_; }

  /// A token that was chosen or settled; no end token. `now`: the channel of the token after it.
  void push(int32_t token, Channel now);
  /// Tokens that closed a thought for the model, with what stands behind it.
  void follow(Channel now);

  /// ReplyStats::left_free.
  [[nodiscard]] std::vector<std::string> left_free() const;
  /// Error(unsupported) that says why no token can be chosen, where mask() is the reason.
  void require_way_on();

 private:
  [[nodiscard]] bool may_call_now() const noexcept;
  [[nodiscard]] bool may_think_now() const noexcept;
  void settle();
  void settle_by(grammar::Matcher& matcher, std::optional<int32_t> behind);
  std::span<const uint32_t> answer_mask();
  std::span<const uint32_t> one_of(std::span<const int32_t> tokens);

  std::shared_ptr<const ReplyRules> rules_;
  const Tokenizer* tokenizer_;
  const ReplyTokens* tokens_;
  Channel channel_;
  std::optional<grammar::Matcher> answer_;
  std::optional<grammar::Matcher> call_;  // while one is written
  int64_t calls_ = 0;                     // begun
  bool begun_ = false;                    // the answer
  bool thought_ = false;                  // a thought was there
  bool margin_due_ = false;               // a thought has just ended by itself
  bool over_ = false;
  std::vector<int32_t> settled_;
  size_t next_ = 0;          // of settled_
  grammar::Mask mask_ = {};  // where none of those that are kept is right
};

}  // namespace prosa::chat
