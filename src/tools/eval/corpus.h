// From a file to tokens: plain text as one document, or JSON lines as a document each.
//
// Knows files, tokenizer and chat template, no model. A file's name decides: *.jsonl holds lines of {"text"},
// {"messages", "tools"?} (read as the library reads a request, rendered as a finished conversation) or {"ids"};
// anything else is text. What texts and messages say never becomes a control token; texts that hold them on purpose are
// read with ControlTokens::read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "chat/chat_template.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"
#include "tools/eval/windows.h"

namespace prosa::eval {

/// A model folder's tokenizer and template, read when first needed: {"ids"} need neither.
class TextEncoder {
 public:
  explicit TextEncoder(std::filesystem::path folder, ControlTokens in_texts = ControlTokens::as_text)
      : folder_(std::move(folder)), in_texts_(in_texts) {}

  /// Errors: those of Tokenizer::load() and chat::render().
  std::vector<int32_t> encode(std::string_view text);
  /// A finished conversation, with the tools it was given.
  std::vector<int32_t> encode_messages(std::span<const Message> messages, std::span<const Tool> tools = {});

  /// Null before the first encode().
  [[nodiscard]] const Tokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }

 private:
  const Tokenizer& load();
  std::filesystem::path folder_;
  ControlTokens in_texts_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<chat::ChatTemplate> template_;
};

struct Corpus {
  std::vector<Document> documents;
  bool lines = false;                 // JSON lines
  std::vector<std::string> warnings;  // about keys that mean nothing here, each named once
};

/// Errors: not_found, io (a folder), invalid_argument (empty, not UTF-8, not the JSON asked for; names the line),
/// bad_template, and those of the tokenizer.
Corpus read_corpus(const std::filesystem::path& path, TextEncoder& encoder);

/// Of a text or of JSON lines: all of it is held in memory, and its tokens beside it.
inline constexpr size_t kMaxTextBytes = size_t{256} << 20;

/// A file's text: UTF-8, not empty, at most kMaxTextBytes. Errors: not_found, io, invalid_argument.
std::string read_text(const std::filesystem::path& path);

/// Calls each(line, where) for every line that is not blank; each must be a JSON object. Returns a sentence for each
/// key that is none of `known`. Error(invalid_argument).
std::vector<std::string> for_each_json_line(
    const std::filesystem::path& path, std::string_view text, std::span<const std::string_view> known,
    const std::function<void(const nlohmann::ordered_json& line, const std::string& where)>& each);

}  // namespace prosa::eval
