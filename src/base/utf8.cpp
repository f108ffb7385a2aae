// UTF-8 decoding with the table of well-formed sequences of the Unicode standard (chapter 3, table 3-7): the second
// byte's range depends on the first, the others are 80..BF. No locale, no allocation except for the results.
#include "base/utf8.h"

#include <cstring>

#include "prosa/text.h"

namespace prosa::utf8 {
namespace {
constexpr std::string_view kReplacement = "\xef\xbf\xbd";
}

Step step(std::string_view text, size_t at) noexcept {
  if (at >= text.size()) return {};
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {.size = 1, .code = lead, .valid = true};
  if (lead < 0xc2 || lead > 0xf4) return {.size = 1, .code = 0xfffd};
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  unsigned low = 0x80;
  unsigned high = 0xbf;
  if (lead == 0xe0) low = 0xa0;   // shorter forms exist
  if (lead == 0xed) high = 0x9f;  // surrogates
  if (lead == 0xf0) low = 0x90;   // shorter forms exist
  if (lead == 0xf4) high = 0x8f;  // beyond U+10FFFF
  char32_t code = lead & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {.size = i, .code = 0xfffd, .unfinished = true};
    const unsigned next_byte = byte(i);
    if (next_byte < low || next_byte > high) return {.size = i, .code = 0xfffd};
    code = (code << 6) | (next_byte & 0x3fU);
    low = 0x80;
    high = 0xbf;
  }
  return {.size = length, .code = code, .valid = true};
}

size_t ascii_prefix(std::string_view text) noexcept {
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

bool is_valid(std::string_view text) noexcept { return !find_invalid_utf8(text); }

void append(std::string& out, char32_t code) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | (code >> 6));
    put(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    put(0xe0U | (code >> 12));
    put(0x80U | ((code >> 6) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  } else {
    put(0xf0U | (code >> 18));
    put(0x80U | ((code >> 12) & 0x3fU));
    put(0x80U | ((code >> 6) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  }
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  if (append_complete(out, text) != text.size()) out += kReplacement;
  return out;
}

size_t append_complete(std::string& out, std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Step here = step(text, at);
    if (here.unfinished) break;
    if (here.valid) {
      out.append(text, at, here.size);
    } else {
      out += kReplacement;
    }
    at += here.size;
  }
  return at;
}

}  // namespace prosa::utf8

namespace prosa {

std::optional<size_t> find_invalid_utf8(std::string_view text) noexcept {
  size_t at = utf8::ascii_prefix(text);
  while (at < text.size()) {
    const utf8::Step here = utf8::step(text, at);
    if (!here.valid) return at;
    at += here.size;
    if (here.size == 1) at += utf8::ascii_prefix(text.substr(at));
  }
  return std::nullopt;
}

}  // namespace prosa
