// Input: tokenizer.json (nothing: that of the tests' tiny model) and a text. What is accepted encodes any text to known
// ids and back to that text, in one piece and as a stream; given text becomes no control token.
#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "base/utf8.h"
#include "fuzz.h"
#include "tokenizer/tokenizer_file.h"
#include "tokenizer/unicode.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

struct Rules {
  bool nfc = false;
  bool swallows = false;  // some added token takes white space beside it
};

Rules rules_of(std::string_view json) {
  const TokenizerFile file = parse_tokenizer_json(json, "input");
  const bool swallows = std::ranges::any_of(file.added, [](const AddedToken& t) { return t.lstrip || t.rstrip; });
  return {file.nfc, swallows};
}

void check(const Tokenizer& tokenizer, const Rules& rules, std::string_view text, bool parse_special) {
  const std::vector<int32_t> ids = tokenizer.encode(text, parse_special);
  std::string bytes;
  for (const int32_t id : ids) {
    require(id >= 0 && id < tokenizer.vocab_size(), "an id is in the vocabulary");
    bytes += tokenizer.token_bytes(id);
  }
  const std::string decoded = tokenizer.decode(ids);
  require(decoded == utf8::replace_invalid(bytes), "a text is the bytes of its tokens", decoded);
  StreamDecoder stream(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string piece = stream.push(id);
    require(utf8::is_valid(piece), "a piece is whole characters", piece);
    streamed += piece;
  }
  streamed += stream.flush();
  require(streamed == decoded, "a stream gives the same text", decoded);
  if (rules.swallows) return;
  const std::string clean = utf8::replace_invalid(text);
  if (rules.nfc) {
    require(unicode::to_nfc(decoded) == unicode::to_nfc(clean), "a text comes back in its NFC form", decoded);
  } else {
    require(decoded == clean, "a text comes back", decoded);
  }
}

/// What users, tools and files write is text and nothing else.
void check_given(const Tokenizer& tokenizer, const Rules& rules, std::string_view text) {
  const std::vector<int32_t> ids = tokenizer.encode_given(text);
  for (const int32_t id : ids) require(!tokenizer.is_control(id), "given text holds no control token", text);
  if (rules.swallows || rules.nfc) return;
  require(tokenizer.decode(ids) == utf8::replace_invalid(text), "given text comes back", text);
}

std::string read_tiny() {
  std::ifstream file(PROSA_TEST_DATA "/tiny-chat/tokenizer.json", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string tiny_json = read_tiny();
  static const Tokenizer tiny = Tokenizer::load_json(tiny_json, "tiny");
  static const Rules tiny_rules = rules_of(tiny_json);
  const auto parts = parts_of(text_of(data, size), 2);
  if (parts[0].empty()) {
    check(tiny, tiny_rules, parts[1], true);
    check(tiny, tiny_rules, parts[1], false);
    check_given(tiny, tiny_rules, parts[1]);
    return 0;
  }
  error_of([&] {
    const Tokenizer tokenizer = Tokenizer::load_json(parts[0], "input");
    const Rules rules = rules_of(parts[0]);
    check(tokenizer, rules, parts[1], true);
    check(tokenizer, rules, parts[1], false);
    check(tokenizer, rules, parts[0], true);
    check_given(tokenizer, rules, parts[1]);
    check_given(tokenizer, rules, parts[0]);
    for (int32_t id = 0; id < std::min<int64_t>(tokenizer.vocab_size(), 1000); ++id) {
      (void)tokenizer.token_id(tokenizer.token_bytes(id));
    }
  });
  return 0;
}
