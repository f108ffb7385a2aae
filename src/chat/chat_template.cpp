// Choosing between the two ways to render, and what the renderings show of a template (chat_template.h).
#include "chat/chat_template.h"

#include <algorithm>
#include <array>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/json.h"
#include "chat/jinja/characters.h"
#include "chat/message_json.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;

/// The texts that template.h renders, by their hash: line ends as \n, nothing blank at the end.
struct KnownText {
  uint64_t hash;
  ThinkingDefault thinking;
};
constexpr std::array<KnownText, 2> kKnownTexts = {
    {{0x0ed0a1d8b9d7e0be, ThinkingDefault::on}, {0xea7113e61d9a8bcf, ThinkingDefault::off}}};

std::optional<ThinkingDefault> known(std::string_view text) {
  std::string normal;
  normal.reserve(text.size());
  std::ranges::copy_if(text, std::back_inserter(normal), [](char c) { return c != '\r'; });
  normal.erase(normal.find_last_not_of(" \t\n") + 1);
  const uint64_t hash = XXH3_64bits(normal.data(), normal.size());
  const auto* found = std::ranges::find(kKnownTexts, hash, &KnownText::hash);
  if (found == kKnownTexts.end()) return std::nullopt;
  return found->thinking;
}

/// Not in any message, and nothing that a template would look for.
constexpr std::string_view kMark = "prosa:the-text-goes-on-here";

/// Puts the mark behind the text of the last message. Error(invalid_argument) where it has none.
void add_mark(Json& messages) {
  std::string* text = nullptr;
  if (messages.is_array() && !messages.empty() && messages.back().is_object()) {
    const auto content = messages.back().find("content");
    if (content != messages.back().end() && content->is_string()) text = content->get_ptr<std::string*>();
    if (content != messages.back().end() && content->is_array()) {
      for (Json& part : *content) {
        const auto said = part.find("text");
        if (said != part.end() && said->is_string()) text = said->get_ptr<std::string*>();
      }
    }
  }
  if (text == nullptr) {
    throw Error(ErrorCode::invalid_argument, "the last message has no text that could go on", "continue_final_message",
                "end the messages with the beginning of the reply");
  }
  *text += kMark;
  *text += ' ';
}

}  // namespace

ChatTemplate::ChatTemplate(ThinkingDefault native) : native_(native) { find_borders(); }

ChatTemplate ChatTemplate::of_text(std::string_view text, std::string where, const SpecialTokens& tokens) {
  ChatTemplate made;
  made.native_ = known(text);
  made.usual_ = std::make_shared<const jinja::Template>(text, std::move(where));
  for (const auto& [name, token] : tokens) made.tokens_.emplace_back(name, jinja::Value::written(token));
  made.find_borders();
  return made;
}

std::optional<ChatTemplate> ChatTemplate::interpreted() const {
  if (!usual_) return std::nullopt;
  ChatTemplate made = *this;
  made.native_.reset();
  return made;
}

MarkedText ChatTemplate::render_once(const Json& messages, const Json& tools, const RenderOptions& options) const {
  std::optional<bool> thinking = options.enable_thinking;
  bool asks_for_more = false;
  for (const auto& [name, value] : options.variables.items()) {
    if (name != "enable_thinking" || !value.is_boolean()) {
      asks_for_more = true;
    } else if (!thinking) {
      thinking = value.get<bool>();
    }
  }
  if (native_ && (!asks_for_more || !usual_)) {
    TemplateOptions native;
    native.thinking_default = *native_;
    native.enable_thinking = thinking;
    native.add_generation_prompt = options.add_generation_prompt;
    try {
      return render_marked(messages, tools, native);
    } catch (const Error&) {
      if (!usual_) throw;
      // The text itself says what is wrong, and at which line. Where only the fast way does not know what to do (a
      // number among the parts of a content), it is no error at all.
    }
  }
  // A variable of the request comes before a special token of that name; messages and the like cannot be replaced.
  jinja::InputSize size;
  jinja::Variables variables;
  variables.emplace_back("messages", jinja::value_of_messages(messages));
  variables.emplace_back("tools", jinja::value_of_json(tools));
  variables.emplace_back("add_generation_prompt", jinja::Value::boolean(options.add_generation_prompt));
  if (options.enable_thinking)
    variables.emplace_back("enable_thinking", jinja::Value::boolean(*options.enable_thinking));
  for (const auto& [name, value] : options.variables.items()) {
    variables.emplace_back(name, jinja::value_of_json(value));
    size.add(value);
  }
  variables.emplace_back("documents", jinja::Value::none());
  variables.insert(variables.end(), tokens_.begin(), tokens_.end());
  size.add(messages);
  size.add(tools);
  const bool has_tools = tools.is_array() && !tools.empty();
  return (has_tools && for_tools_ ? for_tools_ : usual_)->render(variables, size);
}

MarkedText ChatTemplate::render(const Json& messages, const Json& tools, const RenderOptions& options) const {
  if (!options.continue_final_message) return render_once(messages, tools, options);
  Json marked = messages;
  const JsonGuard guard(marked);
  add_mark(marked);
  RenderOptions plain;
  plain.enable_thinking = options.enable_thinking;
  plain.add_generation_prompt = false;
  const JsonGuard variables_guard(plain.variables);
  plain.variables = options.variables;
  const MarkedText whole = render_once(marked, tools, plain);
  const std::string_view text = whole.text();
  const size_t at = text.rfind(kMark);
  if (at == std::string_view::npos) {
    throw Error(ErrorCode::bad_template, "the template does not write the text of the last message",
                "continue_final_message", "the model's template allows no reply to go on");
  }
  // A template that takes away the blanks at the end of a text would have taken those in front of the mark.
  const bool keeps_blanks = text.substr(at + kMark.size()).starts_with(' ');
  const std::string_view kept = text.substr(0, at);
  return whole.slice(keeps_blanks ? kept : jinja::strip_space(kept, jinja::Side::right));
}

// ---- what renderings show

namespace {

/// What two texts have in common at their beginnings, without a half of a tag at its end.
std::string_view common_prefix(std::string_view a, std::string_view b) {
  const auto parting = std::ranges::mismatch(a, b);
  std::string_view common = a.substr(0, static_cast<size_t>(parting.in1 - a.begin()));
  for (const auto& [open, close] : {std::pair('<', '>'), std::pair('[', ']')}) {
    const size_t begin = common.rfind(open), end = common.rfind(close);
    if (begin != std::string_view::npos && (end == std::string_view::npos || end < begin))
      common = common.substr(0, begin);
  }
  return common;
}

std::string_view behind(std::string_view text, std::string_view what) {
  const size_t at = text.rfind(what);
  return at == std::string_view::npos ? std::string_view() : text.substr(at + what.size());
}

}  // namespace

void ChatTemplate::find_borders() {
  constexpr std::string_view kAsked = "first-words", kSaid = "second-words", kAgain = "third-words";
  RenderOptions open, closed;
  closed.add_generation_prompt = false;
  borders_ = {};
  try {
    const std::vector<Message> turns = {
        {Role::user, std::string(kAsked)}, {Role::assistant, std::string(kSaid)}, {Role::user, std::string(kAgain)}};
    const auto shown = [&](size_t count, const RenderOptions& options) {
      Json messages = to_json(std::span(turns).first(count));
      const JsonGuard guard(messages);
      return render_once(messages, nullptr, options).text();
    };
    const std::string asked = shown(1, closed), prompt = shown(1, open), said = shown(2, closed),
                      again = shown(3, closed);
    // Behind the user's words: their end, then what a reply begins with.
    const std::string_view reply = behind(prompt, kAsked);
    const std::string_view user_end = common_prefix(behind(asked, kAsked), reply);
    std::string_view history = behind(again, kAsked);
    history = history.substr(0, history.find(kSaid));
    if (history.starts_with(user_end)) {
      borders_.user_end = user_end;
      borders_.assistant = jinja::strip_space(
          common_prefix(reply.substr(user_end.size()), history.substr(user_end.size())), jinja::Side::right);
    }
    // Between a reply and the next user's words: its end, then what a user's turn begins with.
    std::string_view between = behind(again, kSaid);
    between = between.substr(0, between.find(kAgain));
    between.remove_prefix(common_prefix(between, behind(said, kSaid)).size());
    borders_.user = jinja::strip_space(between, jinja::Side::right);
  } catch (const Error&) {  // a template that does not take such messages: its prompts are not cut
    borders_ = {};
  }
}

}  // namespace prosa::chat
