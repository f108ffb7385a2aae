// read_thinking_default: what the model's own template text says about enable_thinking left unset.
//
// The family's templates differ only in how the generation prompt ends: an `if` on enable_thinking chooses between an
// open think block and an empty closed one. Read here: which of its two branches an unset enable_thinking takes, and
// whether that branch closes the block. Anything else in the template is not looked at.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "chat/template.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using nlohmann::json;

// tokenizer_config.json of old tokenizers lists all added tokens.
constexpr JsonLimits kLimits{.max_bytes = size_t{64} << 20, .max_entries = size_t{1} << 22};

/// "chat_template" of a JSON file: the template, or a list of {name, template} with one called "default".
std::optional<std::string> template_of_json(const std::filesystem::path& path) {
  const auto text = read_optional_file(path, kLimits.max_bytes, ErrorCode::bad_template);
  if (!text) return std::nullopt;
  json document = parse_json(*text, {path.string(), ErrorCode::bad_template, "Fetch the file again."}, kLimits);
  const JsonGuard guard(document);
  const auto entry = document.find("chat_template");
  if (entry == document.end() || entry->is_null()) return std::nullopt;
  if (entry->is_string()) return entry->get<std::string>();
  const std::string* chosen = nullptr;
  if (entry->is_array()) {
    for (const json& item : *entry) {
      const auto body = item.find("template");
      if (body == item.end() || !body->is_string()) continue;
      const auto name = item.find("name");
      const bool is_default = name != item.end() && *name == "default";
      if (chosen == nullptr || is_default) chosen = body->get_ptr<const std::string*>();
      if (is_default) break;
    }
  }
  if (chosen == nullptr) {
    throw Error(ErrorCode::bad_template, "\"chat_template\" is neither a text nor a list of named templates",
                path.string());
  }
  return *chosen;
}

/// A statement {% … %} of the template: its words in lower case with one blank between them, brackets and bars dropped.
struct Statement {
  std::string words;
  size_t begin = 0, end = 0;  // its place in the text, with the {% and %}
  [[nodiscard]] bool says(std::string_view phrase) const { return words.find(phrase) != std::string::npos; }
};

std::vector<Statement> statements_of(std::string_view text) {
  std::vector<Statement> list;
  for (size_t begin = text.find("{%"); begin != std::string_view::npos;) {
    const size_t close = text.find("%}", begin + 2);
    if (close == std::string_view::npos) break;
    Statement statement{{}, begin, close + 2};
    for (char c : text.substr(begin + 2, close - begin - 2)) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      const bool blank = std::string_view(" \t\r\n()|-+").find(c) != std::string_view::npos;
      if (!blank)
        statement.words += c;
      else if (!statement.words.empty() && statement.words.back() != ' ')
        statement.words += ' ';
    }
    if (statement.words.ends_with(' ')) statement.words.pop_back();
    list.push_back(std::move(statement));
    begin = text.find("{%", close + 2);
  }
  return list;
}

/// A value the template itself gives to an unset enable_thinking.
std::optional<bool> preset_of(const std::vector<Statement>& statements) {
  for (const Statement& statement : statements) {
    if (statement.says("enable_thinking default true")) return true;
    if (statement.says("enable_thinking default false")) return false;
    if (!statement.words.starts_with("set enable_thinking")) continue;
    if (statement.words.ends_with(" true")) return true;
    if (statement.words.ends_with(" false")) return false;
  }
  return std::nullopt;
}

/// Whether the condition holds when nobody sets enable_thinking.
bool holds_when_unset(const Statement& condition, std::optional<bool> preset) {
  const bool negated = condition.says("not enable_thinking") || condition.says("enable_thinking is false") ||
                       condition.says("enable_thinking == false") || condition.says("enable_thinking is not true");
  if (preset) return *preset != negated;
  // "is defined" decides where it stands; else an undefined value is false to `if`, and equal to nothing.
  if (condition.says("enable_thinking is not defined") || condition.says("enable_thinking is undefined") ||
      condition.says("not enable_thinking is defined")) {
    return true;
  }
  if (condition.says("enable_thinking is defined")) return false;
  return condition.says("not enable_thinking") || condition.says("enable_thinking is not ") ||
         condition.says("enable_thinking != ");
}

/// The text of the branch that an unset enable_thinking takes; the first `if` on it counts.
std::optional<std::string_view> branch_when_unset(std::string_view text, std::optional<bool> preset) {
  const std::vector<Statement> statements = statements_of(text);
  for (size_t i = 0; i < statements.size(); ++i) {
    if (!statements[i].words.starts_with("if ") || !statements[i].says("enable_thinking")) continue;
    size_t other = std::string_view::npos, end = text.size();
    int depth = 0;
    for (size_t k = i + 1; k < statements.size(); ++k) {
      const std::string& words = statements[k].words;
      if (words.starts_with("if ")) ++depth;
      if (depth == 0 && words.starts_with("el") && other == std::string_view::npos) other = k;
      if (words == "endif" && depth-- == 0) {
        end = statements[k].begin;
        break;
      }
    }
    const bool has_other = other != std::string_view::npos;
    if (holds_when_unset(statements[i], preset)) {
      const size_t stop = has_other ? statements[other].begin : end;
      return text.substr(statements[i].end, stop - statements[i].end);
    }
    return has_other ? text.substr(statements[other].end, end - statements[other].end) : std::string_view();
  }
  return std::nullopt;
}

ThinkingDefault thinking_default_of(std::string_view text) {
  const size_t prompt = text.rfind("add_generation_prompt");
  if (prompt == std::string_view::npos) return ThinkingDefault::off;
  const std::string_view tail = text.substr(prompt);
  const auto branch = branch_when_unset(tail, preset_of(statements_of(text)));
  const std::string_view chosen = branch.value_or(tail);
  if (chosen.find("</think>") != std::string_view::npos) return ThinkingDefault::off;
  // A branch that writes nothing (Qwen3's) leaves it to the model to open a think block, and it does.
  if (branch || chosen.find("<think>") != std::string_view::npos) return ThinkingDefault::on;
  return ThinkingDefault::off;
}

}  // namespace

ThinkingDefault read_thinking_default(const std::filesystem::path& folder) {
  std::optional<std::string> text =
      read_optional_file(folder / "chat_template.jinja", kLimits.max_bytes, ErrorCode::bad_template);
  if (!text) text = template_of_json(folder / "chat_template.json");
  if (!text) text = template_of_json(folder / "tokenizer_config.json");
  return text ? thinking_default_of(*text) : ThinkingDefault::off;
}

}  // namespace prosa::chat
