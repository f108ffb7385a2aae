// Reading, checking, encoding.
#include "tools/eval/corpus.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "chat/message_json.h"
#include "prosa/error.h"
#include "prosa/text.h"
#include "tools/eval/unknown_keys.h"

namespace prosa::eval {
namespace {

using nlohmann::ordered_json;

constexpr const char* kLineRemedy =
    R"(write {"text": "..."}, {"messages": [{"role": "user", "content": "..."}]} or {"ids": [1, 2]})";
constexpr std::array<std::string_view, 4> kCorpusKeys = {"text", "messages", "tools", "ids"};

std::vector<int32_t> ids_of(const ordered_json& ids, const std::string& where) {
  if (!ids.is_array()) throw Error(ErrorCode::invalid_argument, "\"ids\" is no array", where, kLineRemedy);
  std::vector<int32_t> tokens;
  for (const ordered_json& id : ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) {
      throw Error(ErrorCode::invalid_argument, fmt::format("{} is not a token id", id.dump()), where);
    }
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

std::vector<int32_t> tokens_of(const ordered_json& line, const std::string& where, TextEncoder& encoder) {
  if (const auto text = line.find("text"); text != line.end()) {
    if (!text->is_string()) throw Error(ErrorCode::invalid_argument, "\"text\" is no string", where, kLineRemedy);
    return encoder.encode(text->get_ref<const std::string&>());
  }
  if (const auto ids = line.find("ids"); ids != line.end()) return ids_of(*ids, where);
  const auto messages = line.find("messages");
  if (messages == line.end() || !messages->is_array()) {
    throw Error(ErrorCode::invalid_argument, "has no \"text\", \"messages\" or \"ids\"", where, kLineRemedy);
  }
  const auto tools = line.find("tools");
  try {
    const std::vector<Tool> listed = tools == line.end() ? std::vector<Tool>() : chat::tools_from_json(*tools);
    return encoder.encode_messages(chat::messages_from_json(*messages), listed);
  } catch (const Error& error) {
    const bool of_line = error.code() == ErrorCode::bad_template || error.code() == ErrorCode::invalid_argument ||
                         error.code() == ErrorCode::unsupported;
    if (!of_line) throw;  // of the tokenizer's file
    throw Error(error.code(), error.message(), error.where().empty() ? where : where + ": " + error.where(),
                error.remedy());
  }
}

}  // namespace

const Tokenizer& TextEncoder::load() {
  if (!tokenizer_) tokenizer_ = Tokenizer::load(folder_);
  return *tokenizer_;
}

std::vector<int32_t> TextEncoder::encode(std::string_view text) {
  return in_texts_ == ControlTokens::read ? load().encode(text) : load().encode_given(text);
}

std::vector<int32_t> TextEncoder::encode_messages(std::span<const Message> messages, std::span<const Tool> tools) {
  if (!template_) template_ = chat::ChatTemplate::load(folder_);
  chat::RenderOptions options;
  options.add_generation_prompt = false;
  return load().encode(template_->render(chat::to_json(messages), chat::to_json(tools), options));
}

std::string read_text(const std::filesystem::path& path) {
  std::string text = read_file(path, kMaxTextBytes);
  if (const auto at = find_invalid_utf8(text)) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is not UTF-8: byte {} does not fit", *at), path.string(),
                "convert the file to UTF-8");
  }
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Error(ErrorCode::invalid_argument, "is empty", path.string(), "give a file with text");
  }
  return text;
}

std::vector<std::string> for_each_json_line(
    const std::filesystem::path& path, std::string_view text, std::span<const std::string_view> known,
    const std::function<void(const ordered_json& line, const std::string& where)>& each) {
  UnknownKeys unknown(known);
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", path.string(), number);
    const ordered_json parsed = chat::parse_json(line, where);
    if (!parsed.is_object()) throw Error(ErrorCode::invalid_argument, "not a JSON object", where);
    unknown.look_at(parsed, where);
    each(parsed, where);
  }
  return unknown.take_warnings();
}

Corpus read_corpus(const std::filesystem::path& path, TextEncoder& encoder) {
  const std::string text = read_text(path);
  Corpus corpus;
  corpus.lines = path.extension() == ".jsonl";
  if (!corpus.lines) {
    corpus.documents.push_back({encoder.encode(text)});
    return corpus;
  }
  corpus.warnings =
      for_each_json_line(path, text, kCorpusKeys, [&](const ordered_json& line, const std::string& where) {
        corpus.documents.push_back({tokens_of(line, where, encoder)});
      });
  return corpus;
}

}  // namespace prosa::eval
