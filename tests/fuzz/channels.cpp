// Input: which tags have ids (a letter), a tool, and a reply's text, with the bytes 1 to 5 for tags as tokens. However
// the text is cut into tokens, the pieces are the same when joined; calls can be read as what they say they are.
#include "chat/channels.h"

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/message_json.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

constexpr std::array<std::string_view, 5> kTags = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>"};
constexpr int32_t kFirstTag = 1000;
constexpr int32_t kWord = 7;

struct Token {
  int32_t id = kWord;
  std::string text;
};

chat::ChannelTokens tokens_of(unsigned with_id) {
  chat::ChannelTokens tokens;
  if ((with_id & 1U) != 0) tokens.think_open = kFirstTag;
  if ((with_id & 2U) != 0) tokens.think_close = kFirstTag + 1;
  if ((with_id & 4U) != 0) tokens.call_open = kFirstTag + 2;
  if ((with_id & 8U) != 0) tokens.call_close = kFirstTag + 3;
  tokens.end = {kFirstTag + 4};
  return tokens;
}

/// The text between tags as one token each.
std::vector<Token> whole_tokens(std::string_view text, unsigned with_id) {
  std::vector<Token> tokens;
  std::string plain;
  const auto flush = [&] {
    if (!plain.empty()) tokens.push_back({kWord, std::exchange(plain, {})});
  };
  for (const char c : text) {
    const auto tag = static_cast<size_t>(static_cast<unsigned char>(c)) - 1;
    if (tag >= kTags.size()) {
      plain += c;
    } else if (tag < 4 && (with_id >> tag & 1U) == 0) {
      plain += kTags[tag];
    } else {
      flush();
      tokens.push_back({kFirstTag + static_cast<int32_t>(tag), std::string(kTags[tag])});
    }
  }
  flush();
  return tokens;
}

/// The same in pieces of whole characters, some of them empty; a tag with or without its text.
std::vector<Token> cut(const std::vector<Token>& whole, Choices& choices) {
  std::vector<Token> tokens;
  for (const Token& token : whole) {
    if (token.id != kWord) {
      tokens.push_back({token.id, choices.below(2) == 0 ? token.text : ""});
      continue;
    }
    for (size_t at = 0; at < token.text.size();) {
      size_t end = at;
      for (size_t n = choices.below(5); n > 0 && end < token.text.size(); --n) end += utf8::step(token.text, end).size;
      tokens.push_back({kWord, token.text.substr(at, end - at)});
      at = end;
    }
  }
  return tokens;
}

struct Result {
  std::vector<Piece> pieces;
  std::vector<std::string> errors;
};

Result split(const std::vector<Token>& tokens, unsigned with_id, Channel first, const chat::ToolCallParser& parser) {
  chat::ChannelSplitter splitter(tokens_of(with_id), first, parser);
  std::vector<Piece> pieces;
  for (const Token& token : tokens) splitter.push(token.id, token.text, pieces);
  splitter.finish(pieces);
  Result result;
  for (Piece& piece : pieces) {
    require(utf8::is_valid(piece.text), "a piece is whole characters", piece.text);
    require(piece.call.has_value() == (piece.channel == Channel::tool_call), "calls are in their channel");
    require(piece.call.has_value() != !piece.text.empty(), "a piece has a text or a call");
    if (!piece.call && !result.pieces.empty() && result.pieces.back().channel == piece.channel) {
      result.pieces.back().text += piece.text;
    } else {
      result.pieces.push_back(std::move(piece));
    }
  }
  for (const chat::CallError& error : splitter.errors()) result.errors.push_back(error.message + "\n" + error.text);
  return result;
}

void compare(const Result& a, const Result& b) {
  require(a.errors == b.errors, "the same errors in every split");
  require(a.pieces.size() == b.pieces.size(), "the same pieces in every split");
  for (size_t i = 0; i < a.pieces.size(); ++i) {
    const Piece &x = a.pieces[i], &y = b.pieces[i];
    require(x.channel == y.channel && x.text == y.text, "the same text in every split", x.text + "|" + y.text);
    if (!x.call) continue;
    require(x.call->name == y.call->name && x.call->arguments == y.call->arguments, "the same call in every split");
  }
}

/// A call that was read is written in the older form and read again.
void check_call(const ToolCall& call) {
  nlohmann::ordered_json arguments;
  const auto refused = error_of([&] { arguments = chat::parse_tool_arguments(call); });
  require(!refused, "a call's arguments are a JSON object", call.arguments);
  const std::string text = nlohmann::ordered_json{{"name", call.name}, {"arguments", arguments}}.dump();
  const auto again = chat::ToolCallParser().parse(text);
  const auto* calls = std::get_if<std::vector<ToolCall>>(&again);
  require(calls != nullptr && calls->size() == 1, "a call that was read can be read again", text);
  require(calls->front().name == call.name, "a call's name comes back", text);
  require(chat::parse_tool_arguments(calls->front()) == arguments, "a call's arguments come back", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string clean = utf8::replace_invalid(text_of(data, size));
  const auto parts = parts_of(clean, 3);
  const unsigned options = parts[0].empty() ? 0 : static_cast<unsigned char>(parts[0][0]);
  const Channel first = (options & 16U) != 0 ? Channel::thought : Channel::speech;
  chat::ToolCallParser parser;
  error_of([&] {
    const Tool tool{std::string(parts[1])};
    if (!parts[1].empty()) parser = chat::ToolCallParser(std::span(&tool, 1));
  });
  const std::vector<Token> whole = whole_tokens(parts[2], options);
  const Result result = split(whole, options, first, parser);
  Choices choices(clean);
  for (int i = 0; i < 3; ++i) compare(result, split(cut(whole, choices), options, first, parser));
  for (const Piece& piece : result.pieces) {
    if (piece.call) check_call(*piece.call);
  }
  return 0;
}
