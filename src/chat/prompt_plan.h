// What the model will read for a message list: the prompt's text, its tokens, and where its reusable parts end.
//
// The cuts are read off the tokens: in front of every assistant header (there a user turn has ended, and the header and
// think block that follow are not what history will show), and after the system block. Cuts only decide what is cached,
// so a text that imitates a header does no harm. Special tokens are always token borders: the tokens up to a cut are
// those of the text up to it, whatever follows, and the same turns give the same cuts in every later prompt.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chat/template.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

struct PromptPlan {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<int64_t> cuts;  // rising, inside (0, tokens.size())
};

/// Errors: bad_template, invalid_argument (tools and calls).
std::string render_prompt(ThinkingDefault thinking_default, std::span<const Message> messages,
                          std::span<const Tool> tools, const SamplingConfig& sampling);

PromptPlan plan_prompt(const Tokenizer& tokenizer, ThinkingDefault thinking_default, std::span<const Message> messages,
                       std::span<const Tool> tools, const SamplingConfig& sampling);

}  // namespace prosa::chat
