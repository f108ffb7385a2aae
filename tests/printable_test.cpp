// What people see of text from outside: every control and bidi character written out, anything else as it is, and
// errors as one line that has an end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "prosa/error.h"
#include "prosa/text.h"

namespace prosa {
namespace {

using nlohmann::ordered_json;

/// Nothing in it that a terminal obeys or that turns the reading order.
bool is_safe(std::string_view text, std::string_view allowed = "\n\t") {
  for (size_t at = 0; at < text.size();) {
    const utf8::Step here = utf8::step(text, at);
    const char32_t c = here.code;
    const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    const bool bidi =
        c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    if (!here.valid || bidi) return false;
    if (control && allowed.find(text[at]) == std::string_view::npos) return false;
    at += here.size;
  }
  return true;
}

/// Every code point from U+0000 to U+2FFF, and the bytes that are none.
std::string everything() {
  std::string text;
  for (char32_t code = 0; code < 0x3000; ++code) utf8::append(text, code);
  for (int byte = 0x80; byte < 0x100; ++byte) text += static_cast<char>(byte);
  return text;
}

TEST(Printable, WritesControlsOut) {
  EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m")
      << "U+009B begins a sequence as ESC [ does";
  EXPECT_EQ(printable("\x9b"
                      "31m"),
            "\\x9b31m")
      << "a byte that is no UTF-8";
  EXPECT_EQ(printable("cute\xe2\x80\xae"
                      "gnp.exe"),
            "cute\\u202egnp.exe");
  EXPECT_EQ(printable("\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f\xe2\x81\xa6\xe2\x81\xa9"),
            "\\u061c\\u200e\\u200f\\u2066\\u2069");
  EXPECT_EQ(printable("a\r\n\tb"), "a\\x0d\n\tb");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, LeavesTextAlone) {
  for (const char* text : {"", "plain", "naïve 東京 🎉 עברית العربية", "zero\xe2\x80\x8bwidth \\x1b"}) {
    EXPECT_EQ(printable(text), text);
    EXPECT_EQ(printable_json(text), text);
  }
}

TEST(Printable, NothingDangerousIsLeftAndTwiceIsOnce) {
  const std::string once = printable(everything());
  EXPECT_TRUE(is_safe(once));
  EXPECT_EQ(printable(once), once);
  const std::string line = printable_line(everything());
  EXPECT_TRUE(is_safe(line, ""));
  EXPECT_EQ(printable_line(line), line);
}

TEST(Printable, ALineHasAnEnd) {
  EXPECT_EQ(printable_line("a\nb\tc"), "a b c");
  const std::string long_one = std::string(3000, 'a') + "the end";
  const std::string cut = printable_line(long_one);
  EXPECT_TRUE(cut.ends_with("the end"));
  EXPECT_NE(cut.find("\xe2\x80\xa6"), std::string::npos);
  EXPECT_EQ(cut.size(), kMaxLineCharacters + 2) << "one of the characters has three bytes";
  EXPECT_EQ(printable_line(std::string(500, 'x')), std::string(500, 'x'));
  // Characters of four bytes, and every limit: whole characters, as many as allowed.
  std::string emoji;
  for (int i = 0; i < 1000; ++i) emoji += "🎉";
  for (size_t most = 1; most < 40; ++most) {
    const std::string shortened = printable_line(emoji, most);
    EXPECT_TRUE(utf8::is_valid(shortened));
    EXPECT_EQ(shortened.size(), (most - 1) * 4 + 3) << most;
  }
}

TEST(Printable, JsonStaysTheSameDocument) {
  ordered_json document;
  std::string text;
  for (char32_t code = 1; code < 0x3000; ++code) utf8::append(text, code);
  document[text] = text;
  const std::string json = printable_json(document.dump());
  EXPECT_TRUE(is_safe(json, ""));
  EXPECT_EQ(ordered_json::parse(json), document);
}

TEST(Printable, AnErrorIsOneSafeLine) {
  const Error error(ErrorCode::io, everything(), everything() + everything(), "do \x1b]0;this");
  const std::string line = error.what();
  EXPECT_TRUE(is_safe(line, ""));
  EXPECT_LE(line.size(), 4 * kMaxLineCharacters);
  EXPECT_TRUE(line.ends_with("(do \\x1b]0;this)")) << line;
  EXPECT_EQ(error.message(), everything()) << "for programs it is what it was";
}

}  // namespace
}  // namespace prosa
