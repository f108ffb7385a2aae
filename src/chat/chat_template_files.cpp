// ChatTemplate::load: the files of a model folder that hold a template, and the special tokens that it writes.
#include <algorithm>
#include <array>

#include "base/files.h"
#include "base/json.h"
#include "chat/chat_template.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;

// tokenizer_config.json of old tokenizers lists all added tokens.
constexpr JsonLimits kLimits{.max_bytes = size_t{64} << 20, .max_entries = size_t{1} << 22};

struct Texts {
  std::string usual, for_tools;
  std::string where;
};

std::optional<Json> read_document(const std::filesystem::path& path) {
  const auto text = read_optional_file(path, kLimits.max_bytes, ErrorCode::bad_template);
  if (!text) return std::nullopt;
  return parse_ordered_json(*text, {path.string(), ErrorCode::bad_template, "Fetch the file again."}, kLimits);
}

/// "chat_template" of a JSON file: the template, or a list of {name, template}, of which the first counts where none is
/// called "default".
std::optional<Texts> texts_of_json(const std::filesystem::path& path) {
  std::optional<Json> document = read_document(path);
  if (!document) return std::nullopt;
  const JsonGuard guard(*document);
  const auto entry = document->find("chat_template");
  if (entry == document->end() || entry->is_null()) return std::nullopt;
  Texts texts;
  texts.where = path.string();
  if (entry->is_string()) {
    texts.usual = entry->get<std::string>();
    return texts;
  }
  const std::string* chosen = nullptr;
  if (entry->is_array()) {
    for (const Json& item : *entry) {
      const auto body = item.find("template");
      if (body == item.end() || !body->is_string()) continue;
      const auto name = item.find("name");
      const bool named = name != item.end();
      if (named && is_text(*name, "tool_use")) texts.for_tools = body->get<std::string>();
      if (chosen == nullptr || (named && is_text(*name, "default"))) chosen = body->get_ptr<const std::string*>();
    }
  }
  if (chosen == nullptr) {
    throw Error(ErrorCode::bad_template, "\"chat_template\" is neither a text nor a list of named templates",
                path.string());
  }
  texts.usual = *chosen;
  return texts;
}

std::optional<Texts> texts_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "chat_template.jinja";
  if (auto text = read_optional_file(file, kLimits.max_bytes, ErrorCode::bad_template)) {
    auto for_tools = read_optional_file(folder / "additional_chat_templates" / "tool_use.jinja", kLimits.max_bytes,
                                        ErrorCode::bad_template);
    return Texts{std::move(*text), std::move(for_tools).value_or(""), file.string()};
  }
  if (auto texts = texts_of_json(folder / "chat_template.json")) return texts;
  return texts_of_json(folder / "tokenizer_config.json");
}

/// The tokens with a name: a text, or an object that holds one.
SpecialTokens special_tokens(const std::filesystem::path& folder) {
  constexpr std::array<const char*, 7> kNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                 "pad_token", "cls_token", "mask_token"};
  SpecialTokens tokens;
  const auto has = [&](std::string_view name) {
    return std::ranges::find(tokens, name, &SpecialTokens::value_type::first) != tokens.end();
  };
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    std::optional<Json> document = read_document(folder / file);
    if (!document) continue;
    const JsonGuard guard(*document);
    for (const char* name : kNames) {
      const auto entry = document->find(name);
      if (entry == document->end() || has(name)) continue;
      const auto content = entry->find("content");  // end() for a text
      const Json& token = content != entry->end() ? *content : *entry;
      if (token.is_string()) tokens.emplace_back(name, token.get<std::string>());
    }
  }
  return tokens;
}

}  // namespace

ChatTemplate ChatTemplate::load(const std::filesystem::path& folder) {
  const std::optional<Texts> texts = texts_of(folder);
  if (!texts) return {};
  ChatTemplate made = of_text(texts->usual, texts->where, special_tokens(folder));
  if (!texts->for_tools.empty()) {
    made.for_tools_ = std::make_shared<const jinja::Template>(texts->for_tools, texts->where + " (tool_use)");
    made.native_.reset();  // which of the two it is, only the interpreter asks
  }
  return made;
}

}  // namespace prosa::chat
