// What the model will read for a message list: the prompt's text, its tokens, and where its reusable parts end.
//
// The cuts are read off the tokens: in front of what every reply begins with (there a user turn has ended, and the
// header and think block that follow may not be what history will show), and in front of what every user turn begins
// with (after the system block, and where a reply in its history form has ended). What those beginnings are, the
// template's renderings have shown (TurnBorders). They begin with control tokens, which only the template writes
// (MarkedText) and which are always token borders: the tokens up to a cut are those of the text up to it, whatever
// follows, and the same turns give the same cuts in every later prompt. A template that writes old turns differently
// later on only loses speed: a session is always given all tokens, and reuses what is equal.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

struct PromptPlan {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<int64_t> cuts;     // rising, inside (0, tokens.size())
  int64_t system_end = 0;        // of them: where the system block (with the tools) ends; 0: there is none
  int64_t dropped_messages = 0;  // left out to make it fit
};

/// Errors: bad_template, invalid_argument (tools and calls).
MarkedText render_prompt(const ChatTemplate& chat_template, std::span<const Message> messages,
                         std::span<const Tool> tools, const SamplingConfig& sampling);

/// What can be read before the newest user turn is complete: everything up to its text, and of that all but its end,
/// which may still change. `history` may be empty.
struct HearingPlan {
  std::vector<int32_t> tokens;
  int64_t begin = 0;          // where the turn begins: a cut of every prompt that holds it, or 0
  std::vector<int64_t> cuts;  // as in PromptPlan, those in front of `begin`
  /// What follows `tokens` up to the end of the words, and the token that would end the message there. Empty where
  /// there is no word.
  std::vector<int32_t> rest;
  int32_t ending = -1;
};
HearingPlan plan_hearing(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                         std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                         const SamplingConfig& sampling);

/// How many of the oldest messages a conversation has left behind: from then on its prompts begin after them, so that
/// turn follows turn without reading everything anew, until they don't fit again.
class Forgetting {
 public:
  /// The prompt of the messages for a context of `capacity` tokens. When it leaves too little room for a reply
  /// (max_tokens, at most a quarter of the context), the oldest turns are left out until half of the context is used;
  /// never a system message in front, nor what follows the last user message. Error(context_exceeded) when even that is
  /// too long.
  PromptPlan plan(const Tokenizer& tokenizer, const ChatTemplate& chat_template, std::span<const Message> messages,
                  std::span<const Tool> tools, const SamplingConfig& sampling, int64_t capacity);
  /// The messages without what was left out last.
  [[nodiscard]] std::vector<Message> kept(std::span<const Message> messages) const;

 private:
  [[nodiscard]] bool applies_to(std::span<const Message> messages) const;
  std::vector<std::string> forgotten_;  // the contents left out last, to know the conversation again
};

/// Error(context_exceeded) for a plan of more than `most` tokens.
void check_fits(const PromptPlan& plan, int64_t most);

PromptPlan plan_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template, std::span<const Message> messages,
                       std::span<const Tool> tools, const SamplingConfig& sampling);

}  // namespace prosa::chat
