// What the tests of a reply's text share: tokenizers, tokens of a text, and somebody who drives a ReplyText and
// listens.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/reply_text.h"
#include "prosa/error.h"

namespace prosa::chat {

inline constexpr const char* kTokenizer = PROSA_TEST_DATA "/tiny-chat/tokenizer.json";

inline const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load_file(kTokenizer);
  return loaded;
}
inline const ReplyTokens& reply_tokens() {
  static const ReplyTokens tokens = ReplyTokens::of(tokenizer(), {});
  return tokens;
}

/// Every token by its bytes.
inline std::map<std::string, int32_t, std::less<>> by_bytes(const Tokenizer& of) {
  std::map<std::string, int32_t, std::less<>> found;
  for (int32_t id = 0; id < of.vocab_size(); ++id) found.emplace(of.token_bytes(id), id);
  return found;
}

/// With a token for each of `texts`.
inline Tokenizer tokenizer_with(const std::set<std::string>& texts) {
  std::ifstream file(kTokenizer);
  nlohmann::json json = nlohmann::json::parse(file);
  int id = 512;
  const auto known = by_bytes(tokenizer());
  for (const std::string& text : texts) {
    if (known.contains(text)) continue;
    nlohmann::json token = json["added_tokens"].back();
    token["id"] = id++;
    token["content"] = text;
    json["added_tokens"].push_back(token);
  }
  return Tokenizer::load_json(json.dump(), "with more tokens");
}

inline std::vector<int32_t> ids(std::string_view text) { return tokenizer().encode(text); }
inline int32_t id_of(std::string_view token) { return tokenizer().token_id(token).value(); }

/// One token for each byte.
inline std::vector<int32_t> bytes(std::string_view text) {
  static const auto known = by_bytes(tokenizer());
  std::vector<int32_t> result;
  for (const char c : text) result.push_back(known.at(std::string(1, c)));
  return result;
}

inline std::vector<int32_t> join(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

inline std::vector<int32_t> times(size_t n, int32_t token) { return std::vector<int32_t>(n, token); }

inline ReplyText begin(const SamplingConfig& sampling = {}, Channel first = Channel::speech,
                       const std::vector<Tool>& tools = {}) {
  return {tokenizer(), reply_tokens(), first, sampling, tools};
}

inline SamplingConfig with_stop(std::vector<std::string> stop) {
  SamplingConfig config;
  config.stop = std::move(stop);
  return config;
}

/// What was handed out.
struct Heard {
  std::string speech, thought;
  std::vector<std::string> calls;   // name(arguments)
  std::vector<std::string> pieces;  // each with its channel
  friend bool operator==(const Heard&, const Heard&) = default;
};

inline void take(ReplyText& text, Heard& heard) {
  while (const std::optional<Piece> piece = text.take_piece()) {
    EXPECT_TRUE(utf8::is_valid(piece->text));
    EXPECT_EQ(piece->text.empty(), piece->call.has_value());
    if (piece->channel == Channel::speech) heard.speech += piece->text;
    if (piece->channel == Channel::thought) heard.thought += piece->text;
    if (piece->call) heard.calls.push_back(piece->call->name + "(" + piece->call->arguments + ")");
    heard.pieces.push_back(std::to_string(static_cast<int>(piece->channel)) + ":" + piece->text);
  }
}

/// Pushes tokens as whoever computes the reply would, forced ones when they are asked for; takes pieces at the end.
inline Heard drive(ReplyText& text, const std::vector<int32_t>& tokens) {
  for (const int32_t token : tokens) {
    while (!text.forced().empty()) text.push(text.forced().front());
    if (text.finished()) break;
    text.push(token);
  }
  while (!text.forced().empty()) text.push(text.forced().front());
  Heard heard;
  take(text, heard);
  EXPECT_EQ(text.said()->text(), heard.speech);
  return heard;
}

inline std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

inline const std::string kCall = "\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n";
inline const std::string kWholeCall = "<tool_call>" + kCall + "</tool_call>";
inline constexpr const char* kCallRead = R"(get_weather({"city": "Oslo"}))";

}  // namespace prosa::chat
