// What the tests of speakable text share: speaking in pieces, showing units, and what every unit must hold.
#pragma once

#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "prosa/speakable.h"

namespace prosa::test {

using Units = std::vector<SpokenUnit>;

inline constexpr const char* kLanguages[] = {"en", "de", "fr", "es", "pt", "ja", "zh"};

inline void append(Units& units, Units more) {
  for (SpokenUnit& unit : more) units.push_back(std::move(unit));
}

/// `text` in pieces of these sizes, over and over.
inline Units speak(SpeakableText& speakable, const std::string& text, const std::vector<size_t>& sizes,
                   const SpeechState& state) {
  speakable.reset();
  Units units;
  size_t at = 0;
  for (size_t i = 0; at < text.size(); ++i) {
    const size_t size = sizes.empty() ? text.size() : sizes[i % sizes.size()];
    append(units, speakable.write(text.substr(at, size), state));
    at += size;
  }
  append(units, speakable.finish());
  return units;
}

inline Units speak(const std::string& text, const SpeakableOptions& options = {}, const std::vector<size_t>& sizes = {},
                   const SpeechState& state = {}) {
  SpeakableText speakable(options);
  return speak(speakable, text, sizes, state);
}

inline std::vector<std::string> texts_of(const Units& units) {
  std::vector<std::string> texts;
  for (const SpokenUnit& unit : units) texts.push_back(unit.text);
  return texts;
}

inline std::string shown(const Units& units) {
  std::string all;
  for (const SpokenUnit& unit : units) {
    all += "[" + unit.text + "] " + std::to_string(unit.written_begin) + "-" + std::to_string(unit.written_end) +
           (unit.ends_sentence ? "." : ",");
    for (const SpokenPart& part : unit.parts) {
      all += " " + std::to_string(part.text_end) + ":" + std::to_string(part.written_begin) + "-" +
             std::to_string(part.written_end);
    }
    all += "\n";
  }
  return all;
}

/// What may reach a synthesiser.
inline bool may_be_spoken(char32_t c) {
  const auto code = static_cast<UChar32>(c);
  constexpr std::u32string_view kSigns = U" .,;:!?'-。、，；：！？〇";
  if (kSigns.find(c) != kSigns.npos) return true;
  if (u_hasBinaryProperty(code, UCHAR_EXTENDED_PICTOGRAPHIC) || (c >= 0xfe00 && c <= 0xfe0f)) return false;
  return (U_GET_GC_MASK(code) & (U_GC_L_MASK | U_GC_MN_MASK | U_GC_MC_MASK | U_GC_ND_MASK)) != 0;
}

inline void expect_sound(const std::string& written, const Units& units) {
  size_t last_end = 0;
  for (const SpokenUnit& unit : units) {
    SCOPED_TRACE(shown({unit}));
    ASSERT_TRUE(utf8::is_valid(unit.text));
    ASSERT_FALSE(unit.text.empty());
    EXPECT_EQ(unit.text.find("  "), std::string::npos);
    EXPECT_NE(unit.text.front(), ' ');
    EXPECT_NE(unit.text.back(), ' ');
    bool word = false;
    for (size_t at = 0; at < unit.text.size();) {
      const char32_t c = utf8::next(unit.text, at);
      ASSERT_TRUE(may_be_spoken(c)) << std::hex << static_cast<uint32_t>(c);
      word = word || u_isalnum(static_cast<UChar32>(c)) != 0;
    }
    EXPECT_GE(unit.written_begin, last_end);
    EXPECT_GT(unit.written_end, unit.written_begin);
    EXPECT_LE(unit.written_end, written.size());
    last_end = unit.written_end;
    ASSERT_FALSE(unit.parts.empty());
    EXPECT_EQ(unit.parts.front().written_begin, unit.written_begin);
    EXPECT_EQ(unit.parts.back().text_end, unit.text.size());
    size_t text_end = 0;
    size_t written_at = unit.written_begin;
    for (const SpokenPart& part : unit.parts) {
      EXPECT_GT(part.text_end, text_end);
      EXPECT_GE(part.written_begin, written_at);
      EXPECT_GE(part.written_end, part.written_begin);
      text_end = part.text_end;
      written_at = part.written_end;
    }
    EXPECT_EQ(written_at, unit.written_end);
  }
}

}  // namespace prosa::test
