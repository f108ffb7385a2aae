// Rendering, encoding, and the search for cuts.
#include "chat/prompt_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/json.h"
#include "chat/message_json.h"
#include "chat/python_text.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

bool stands_at(std::span<const int32_t> tokens, size_t position, std::span<const int32_t> header) {
  return header.size() <= tokens.size() - position &&
         std::equal(header.begin(), header.end(), tokens.begin() + static_cast<std::ptrdiff_t>(position));
}

/// The tokens of a beginning; none where it begins with no control token, so that text could run into it.
std::vector<int32_t> beginning(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> tokens = tokenizer.encode(text);
  if (!tokens.empty() && !tokenizer.is_control(tokens.front())) tokens.clear();
  return tokens;
}

void find_cuts(const Tokenizer& tokenizer, const TurnBorders& borders, PromptPlan& plan) {
  const std::span<const int32_t> tokens = plan.tokens;
  const std::vector<int32_t> assistant = beginning(tokenizer, borders.assistant);
  const std::vector<int32_t> user = beginning(tokenizer, borders.user);
  const auto begins = [&](size_t at, const std::vector<int32_t>& header) {
    return !header.empty() && tokens[at] == header.front() && stands_at(tokens, at, header);
  };
  const bool has_head = !tokens.empty() && !begins(0, assistant) && !begins(0, user);
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (!begins(i, assistant) && !begins(i, user)) continue;
    if (has_head && plan.cuts.empty()) plan.system_end = static_cast<int64_t>(i);
    plan.cuts.push_back(static_cast<int64_t>(i));
  }
}

bool is_system(const Message& message) { return message.role == Role::system; }

/// Something that the user says, rather than hands back what a tool said; the template needs one (template.cpp).
bool is_query(const Message& message) {
  const std::string_view text = python_strip(message.content);
  return message.role == Role::user && !(text.starts_with("<tool_response>") && text.ends_with("</tool_response>"));
}

/// The places behind `begin` in front of which a conversation can be cut.
std::vector<size_t> turns_after(std::span<const Message> messages, size_t begin) {
  std::vector<size_t> turns;
  size_t up_to_query = 0;
  for (size_t i = begin + 1; i < messages.size(); ++i) {
    if (messages[i].role != Role::user) continue;
    turns.push_back(i);
    if (is_query(messages[i])) up_to_query = turns.size();
  }
  turns.resize(up_to_query);
  return turns;
}

/// Without those between a system message in front and `begin`.
std::vector<Message> without_oldest(std::span<const Message> messages, size_t begin) {
  std::vector<Message> kept;
  if (!messages.empty() && is_system(messages.front())) kept.push_back(messages.front());
  kept.insert(kept.end(), messages.begin() + static_cast<std::ptrdiff_t>(begin), messages.end());
  return kept;
}

/// Of Role::prompt.
MarkedText written_prompt(std::span<const Message> messages, std::span<const Tool> tools,
                          const SamplingConfig& sampling) {
  if (messages.size() != 1 || !tools.empty() || sampling.continue_final_message) {
    throw Error(ErrorCode::invalid_argument, "a prompt stands alone: neither other messages nor tools go with it",
                "messages", "Give one message of Role::prompt, or a conversation.");
  }
  MarkedText text;
  text.write(messages.front().content);
  return text;
}

}  // namespace

MarkedText render_prompt(const ChatTemplate& chat_template, std::span<const Message> messages,
                         std::span<const Tool> tools, const SamplingConfig& sampling) {
  if (std::ranges::any_of(messages, [](const Message& message) { return message.role == Role::prompt; })) {
    return written_prompt(messages, tools, sampling);
  }
  RenderOptions options;
  if (sampling.disable_thinking) {
    options.enable_thinking = false;
  } else if (sampling.enable_thinking) {
    options.enable_thinking = true;
  }
  options.continue_final_message = sampling.continue_final_message;
  const JsonGuard variables_guard(options.variables);
  for (const auto& [name, value] : sampling.template_variables) options.variables[name] = variable_from_text(value);
  nlohmann::ordered_json given = to_json(messages);
  const JsonGuard messages_guard(given);
  nlohmann::ordered_json offered = to_json(tools);
  const JsonGuard tools_guard(offered);
  return chat_template.render(given, offered, options);
}

PromptPlan plan_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat_template, std::span<const Message> messages,
                       std::span<const Tool> tools, const SamplingConfig& sampling) {
  PromptPlan plan;
  MarkedText prompt = render_prompt(chat_template, messages, tools, sampling);
  plan.tokens = tokenizer.encode(prompt);
  plan.text = std::move(prompt).text();
  if (plan.tokens.empty()) throw Error(ErrorCode::bad_template, "the messages render to an empty prompt", "messages");
  find_cuts(tokenizer, chat_template.borders(), plan);
  return plan;
}

HearingPlan plan_hearing(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                         std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                         const SamplingConfig& sampling) {
  // A turn of one character stands for an empty one: no transcript of it is read ahead.
  std::vector<Message> messages(history.begin(), history.end());
  messages.push_back({Role::user, transcript.empty() ? "." : std::string(transcript)});
  PromptPlan whole = plan_prompt(tokenizer, chat_template, messages, tools, sampling);
  // The turn's beginning: the last cut in front of a user's header, or 0.
  const TurnBorders& borders = chat_template.borders();
  const std::vector<int32_t> header = beginning(tokenizer, borders.user);
  size_t begin = header.empty() ? 0 : whole.tokens.size();
  while (begin > 0 && !(begin < whole.tokens.size() && stands_at(whole.tokens, begin, header))) --begin;
  // The text ends in front of the last cut, or of the end where no reply is begun, with what ends a user's turn. Its
  // last tokens may change with what follows them: those of the last word and the one before, whose border is where the
  // word begins.
  constexpr size_t kUnsure = 2;
  constexpr int kMaxWordTokens = 4;  // where words have no borders, the next call may have to step back
  const size_t behind = tokenizer.encode(borders.user_end).size();
  size_t text_end = whole.tokens.size();
  if (!borders.assistant.empty()) text_end = whole.cuts.empty() ? 0 : static_cast<size_t>(whole.cuts.back());
  const size_t words_end = text_end > behind ? text_end - behind : 0;
  size_t end = words_end > kUnsure ? words_end - kUnsure : 0;
  const auto starts_word = [&](size_t at) { return tokenizer.token_bytes(whole.tokens[at]).starts_with(' '); };
  for (int i = 0; i < kMaxWordTokens && end > begin && !starts_word(end); ++i) --end;
  // The turn's header holds from the first word on, and stands before it where nothing else does.
  const bool has_header = !header.empty() && stands_at(whole.tokens, begin, header);
  const size_t least = has_header && begin + header.size() < words_end ? begin + header.size() : begin;
  end = transcript.empty() ? begin : std::max(end, least);
  HearingPlan plan;
  plan.begin = static_cast<int64_t>(begin);
  plan.tokens.assign(whole.tokens.begin(), whole.tokens.begin() + static_cast<std::ptrdiff_t>(end));
  for (const int64_t cut : whole.cuts) {
    if (cut < plan.begin) plan.cuts.push_back(cut);
  }
  if (!transcript.empty() && words_end > end && words_end < whole.tokens.size()) {
    const auto at = [&](size_t position) { return whole.tokens.begin() + static_cast<std::ptrdiff_t>(position); };
    plan.rest.assign(at(end), at(words_end));
    plan.ending = whole.tokens[words_end];
  }
  return plan;
}

void check_fits(const PromptPlan& plan, int64_t most) {
  const auto tokens = static_cast<int64_t>(plan.tokens.size());
  if (tokens <= most) return;
  throw Error(ErrorCode::context_exceeded, fmt::format("the prompt has {} tokens, the context holds {}", tokens, most),
              "messages",
              "drop old messages, load with a larger LoadOptions::context, or with ContextPolicy::drop_oldest");
}

bool Forgetting::applies_to(std::span<const Message> messages) const {
  const size_t first = !messages.empty() && is_system(messages.front()) ? 1 : 0;
  return messages.size() - first >= forgotten_.size() &&
         std::equal(forgotten_.begin(), forgotten_.end(), messages.begin() + static_cast<std::ptrdiff_t>(first),
                    [](const std::string& text, const Message& message) { return text == message.content; });
}

std::vector<Message> Forgetting::kept(std::span<const Message> messages) const {
  if (!applies_to(messages)) return {messages.begin(), messages.end()};
  const size_t first = !messages.empty() && is_system(messages.front()) ? 1 : 0;
  return without_oldest(messages, first + forgotten_.size());
}

PromptPlan Forgetting::plan(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                            std::span<const Message> messages, std::span<const Tool> tools,
                            const SamplingConfig& sampling, int64_t capacity) {
  const int64_t room = std::min<int64_t>(sampling.max_tokens, capacity / 4);
  const size_t first = !messages.empty() && is_system(messages.front()) ? 1 : 0;
  const auto planned = [&](size_t begin) {
    const std::vector<Message> kept = without_oldest(messages, begin);
    PromptPlan plan = plan_prompt(tokenizer, chat_template, kept, tools, sampling);
    plan.dropped_messages = static_cast<int64_t>(begin - first);
    return plan;
  };
  const auto fits = [](const PromptPlan& plan, int64_t limit) {
    return static_cast<int64_t>(plan.tokens.size()) <= limit;
  };
  if (!applies_to(messages)) forgotten_.clear();
  PromptPlan plan = planned(first + forgotten_.size());
  if (fits(plan, capacity - room)) return plan;
  // Without its oldest turn a prompt is no longer than with it, so the first turn from which on all fits can be
  // searched for: back from the newest one, twice as far at each step, then by halving. The prompts that are made for
  // that have about the length wanted, however long the conversation is.
  const std::vector<size_t> turns = turns_after(messages, first + forgotten_.size());
  const auto try_turn = [&](size_t turn) {
    PromptPlan tried = planned(turns[turn]);
    const bool good = fits(tried, capacity / 2);
    if (good || turn + 1 == turns.size()) plan = std::move(tried);
    return good;
  };
  size_t fitting = turns.size();  // from this turn on all fits
  size_t too_early = 0;           // and before this one nothing does, as far as is known
  for (size_t step = 1; fitting > too_early; step *= 2) {
    const size_t turn = fitting > step ? fitting - step : 0;
    if (!try_turn(turn)) {
      too_early = turn + 1;
      break;
    }
    fitting = turn;
  }
  while (fitting > too_early) {
    const size_t turn = too_early + (fitting - too_early) / 2;
    if (try_turn(turn)) {
      fitting = turn;
    } else {
      too_early = turn + 1;
    }
  }
  check_fits(plan, capacity);
  forgotten_.clear();
  for (size_t i = first; i < first + static_cast<size_t>(plan.dropped_messages); ++i) {
    forgotten_.push_back(messages[i].content);
  }
  return plan;
}

}  // namespace prosa::chat
