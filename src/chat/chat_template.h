// The chat template of a model: messages, tools and variables in, the prompt out.
//
// A folder's own template is rendered, by the Jinja interpreter (jinja/jinja.h). Where its text is one that template.h
// knows, and no variable asks for more, it is rendered natively: the same bytes, much faster. A folder without a
// template gets the native one. What an unset variable means is what the template does with it: nothing here guesses.
// Immutable: shared by all chats of a model, from any threads.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "chat/jinja/jinja.h"
#include "chat/template.h"
#include "tokenizer/marked_text.h"

namespace prosa::chat {

/// What the template writes around the texts of turns, as its renderings of small conversations show it. Empty where
/// they show none. A prompt can be cut in front of the two beginnings.
struct TurnBorders {
  std::string user;       // what a user's turn begins with: "<|im_start|>user"
  std::string assistant;  // what a reply begins with, in history and where it is asked for: "<|im_start|>assistant"
  std::string user_end;   // what follows a user's text: "<|im_end|>\n"
};

struct RenderOptions {
  std::optional<bool> enable_thinking;  // unset: the template does not see the variable
  bool add_generation_prompt = true;
  /// The last message goes on: the prompt ends where its text ends. No generation prompt then.
  bool continue_final_message = false;
  /// What else the template sees, by name.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

/// bos_token and the like, by name.
using SpecialTokens = std::vector<std::pair<std::string, std::string>>;

class ChatTemplate {
 public:
  /// The native template, in one of its variants.
  ChatTemplate(ThinkingDefault native = ThinkingDefault::off);  // NOLINT: stands for a template everywhere

  /// From chat_template.jinja, else chat_template.json / tokenizer_config.json's "chat_template": a text, or a list of
  /// named ones, of which "tool_use" serves requests with tools and "default" all others
  /// (additional_chat_templates/tool_use.jinja does so beside a chat_template.jinja). The special tokens that templates
  /// write (bos_token …) come from tokenizer_config.json. Error(bad_template) names the file, and the line of the
  /// template.
  static ChatTemplate load(const std::filesystem::path& folder);
  /// From a text. `tokens`: what it sees as bos_token and the like.
  static ChatTemplate of_text(std::string_view text, std::string where, const SpecialTokens& tokens = {});

  /// `messages`, `tools`: as render_marked() (template.h) takes them. What messages, tools and variables say is given,
  /// what the template says is written. Errors: bad_template (what the template raises, or fails at),
  /// invalid_argument (continue_final_message without a text to go on with).
  [[nodiscard]] MarkedText render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                                  const RenderOptions& options) const;

  [[nodiscard]] const TurnBorders& borders() const noexcept { return borders_; }
  /// Whether plain requests go the fast way.
  [[nodiscard]] bool is_native() const noexcept { return native_.has_value(); }
  /// The same template without the fast way; null where there is no text.
  [[nodiscard]] std::optional<ChatTemplate> interpreted() const;

 private:
  [[nodiscard]] MarkedText render_once(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                                       const RenderOptions& options) const;
  void find_borders();

  std::optional<ThinkingDefault> native_;
  std::shared_ptr<const jinja::Template> usual_;      // null: there is no text
  std::shared_ptr<const jinja::Template> for_tools_;  // null: the usual one
  jinja::Variables tokens_;
  TurnBorders borders_;
};

}  // namespace prosa::chat
