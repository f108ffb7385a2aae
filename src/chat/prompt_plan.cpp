// Rendering, encoding, and the search for cuts.
#include "chat/prompt_plan.h"

#include <algorithm>

#include "chat/message_json.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

bool stands_at(std::span<const int32_t> tokens, size_t position, std::span<const int32_t> header) {
  return header.size() <= tokens.size() - position &&
         std::equal(header.begin(), header.end(), tokens.begin() + static_cast<std::ptrdiff_t>(position));
}

std::vector<int64_t> find_cuts(const Tokenizer& tokenizer, std::span<const int32_t> tokens) {
  std::vector<int64_t> cuts;
  const std::optional<int32_t> start = tokenizer.token_id("<|im_start|>");
  if (!start) return cuts;
  const std::vector<int32_t> assistant = tokenizer.encode("<|im_start|>assistant");
  const std::vector<int32_t> system = tokenizer.encode("<|im_start|>system");
  bool after_system = stands_at(tokens, 0, system);
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i] != *start) continue;
    if (after_system || stands_at(tokens, i, assistant)) cuts.push_back(static_cast<int64_t>(i));
    after_system = false;
  }
  return cuts;
}

}  // namespace

std::string render_prompt(ThinkingDefault thinking_default, std::span<const Message> messages,
                          std::span<const Tool> tools, const SamplingConfig& sampling) {
  TemplateOptions options;
  options.thinking_default = thinking_default;
  if (sampling.disable_thinking) {
    options.enable_thinking = false;
  } else if (sampling.enable_thinking) {
    options.enable_thinking = true;
  }
  return render(to_json(messages), to_json(tools), options);
}

PromptPlan plan_prompt(const Tokenizer& tokenizer, ThinkingDefault thinking_default, std::span<const Message> messages,
                       std::span<const Tool> tools, const SamplingConfig& sampling) {
  PromptPlan plan;
  plan.text = render_prompt(thinking_default, messages, tools, sampling);
  plan.tokens = tokenizer.encode(plan.text);
  if (plan.tokens.empty()) throw Error(ErrorCode::bad_template, "the messages render to an empty prompt", "messages");
  plan.cuts = find_cuts(tokenizer, plan.tokens);
  return plan;
}

}  // namespace prosa::chat
