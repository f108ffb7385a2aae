// Speakable text over random texts, bytes and splits: the same units for any split, ranges that hold, nothing
// unspeakable, every word once, time in proportion to the text.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "speakable_fixture.h"

namespace prosa::test {
namespace {

/// A text of `count` scraps: words of seven languages, markup that opens and closes or does not, numbers, pictures.
std::string random_text(std::mt19937& random, size_t count) {
  static const std::vector<std::string> kScraps = {"Hello",
                                                   " world",
                                                   ". ",
                                                   "! ",
                                                   "? ",
                                                   "… ",
                                                   ", ",
                                                   "; ",
                                                   " – ",
                                                   "—",
                                                   "\n",
                                                   "\n\n",
                                                   "  \n",
                                                   "\n- ",
                                                   "\n* ",
                                                   "\n1. ",
                                                   "\n12) ",
                                                   "\n# ",
                                                   "\n> ",
                                                   "\n```\n",
                                                   "```",
                                                   "\n~~~\n",
                                                   "`",
                                                   "``",
                                                   "*",
                                                   "**",
                                                   "***",
                                                   "_",
                                                   "__",
                                                   "~",
                                                   "~~",
                                                   "#",
                                                   "|",
                                                   "\n|",
                                                   "|\n",
                                                   "\n|---|---|\n",
                                                   "[",
                                                   "]",
                                                   "](",
                                                   ")",
                                                   "![",
                                                   "[x] ",
                                                   "[^1]",
                                                   "<",
                                                   ">",
                                                   "<b>",
                                                   "</p>",
                                                   "<br>",
                                                   "<!--",
                                                   "-->",
                                                   "&amp;",
                                                   "&#39;",
                                                   "&",
                                                   ";",
                                                   "\\",
                                                   "\\*",
                                                   "\"",
                                                   "'",
                                                   "”",
                                                   "“",
                                                   "«",
                                                   "»",
                                                   "(",
                                                   "„",
                                                   "Dr. ",
                                                   "z. B. ",
                                                   "e.g. ",
                                                   "U.S. ",
                                                   "No. ",
                                                   "5",
                                                   "1,200",
                                                   "1.200,50",
                                                   "3.14",
                                                   " 5 km/h",
                                                   "20 °C",
                                                   "50 %",
                                                   "$",
                                                   "€",
                                                   "€ 3.50",
                                                   "2026-11-30",
                                                   "30.11.2026",
                                                   "14:30",
                                                   "+49 30 1234567",
                                                   "1st",
                                                   "½",
                                                   "1/2",
                                                   "10-15",
                                                   "v1.2.3",
                                                   "XIV",
                                                   "Louis XIV",
                                                   "https://a.b/c_d",
                                                   "me@x.org",
                                                   "main.cpp",
                                                   "日本",
                                                   "㎞",
                                                   "㌶",
                                                   "Ⅳ",
                                                   "です。",
                                                   "「",
                                                   "」",
                                                   "、",
                                                   "你好",
                                                   "！",
                                                   "é",
                                                   "ß",
                                                   "ñ",
                                                   "café",
                                                   "😀",
                                                   "👩‍👩‍👧",
                                                   "🇩🇪",
                                                   "1️⃣",
                                                   "\u200b",
                                                   "\u00a0",
                                                   "\u3000",
                                                   "\u202e",
                                                   "\u0301",
                                                   "\xff",
                                                   "\xf0\x9f",
                                                   "\xc3",
                                                   std::string(1, '\0'),
                                                   "\t",
                                                   "\r\n",
                                                   "\x1b[1m",
                                                   " ",
                                                   " ",
                                                   " the",
                                                   " und",
                                                   " but",
                                                   "a",
                                                   "I",
                                                   "Z",
                                                   ".",
                                                   "...",
                                                   "?!",
                                                   ":",
                                                   "-",
                                                   "+",
                                                   "=",
                                                   "×",
                                                   "@",
                                                   "%",
                                                   "{",
                                                   "}",
                                                   "^",
                                                   "$$"};
  std::uniform_int_distribution<size_t> pick(0, kScraps.size() - 1);
  std::string text;
  for (size_t i = 0; i < count; ++i) text += kScraps[pick(random)];
  return text;
}

TEST(SpeakableRandom, IsTheSameForEverySplit) {
  std::mt19937 random(7);
  for (int round = 0; round < 350; ++round) {
    const std::string text = random_text(random, 1 + random() % 60);
    SpeakableOptions options;
    options.language = kLanguages[random() % std::size(kLanguages)];
    options.first_clause_characters = random() % 3 * 12;
    options.max_characters = 40 + random() % 80;
    options.numbers = random() % 2 == 0 ? SpokenNumbers::digits : SpokenNumbers::words;
    const SpeechState state{.queued_seconds = static_cast<double>(random() % 3) * 4};
    SpeakableText speakable(options);
    const Units whole = speak(speakable, text, {}, state);
    expect_sound(text, whole);
    for (int split = 0; split < 4; ++split) {
      std::vector<size_t> sizes(1 + random() % 7);
      for (size_t& size : sizes) size = split == 0 ? 1 : 1 + random() % 12;
      ASSERT_EQ(shown(speak(speakable, text, sizes, state)), shown(whole)) << text;
    }
  }
}

TEST(SpeakableRandom, SaysNothingUnspeakableOfRandomBytes) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string text(random() % 400, '\0');
    for (char& c : text) c = static_cast<char>(random() % (round % 2 == 0 ? 256 : 128));
    SpeakableOptions options;
    options.language = kLanguages[static_cast<size_t>(round) % std::size(kLanguages)];
    expect_sound(text, speak(text, options, {1 + random() % 9}));
  }
}

TEST(SpeakableRandom, SpeaksEveryWordOnceAndKnowsWhereItStood) {
  std::mt19937 random(3);
  const std::vector<std::string> words = {"river", "Zürich", "naïve", "mother-in-law", "don't", "Oslo",
                                          "ab",    "I",      "señor", "B2B",           "A4"};
  const std::vector<std::string> ends = {" ",   " ",    " ",  ", ",   ". ", "! ", "? ",   "; ",
                                         " – ", "... ", "\n", "\n\n", " (", ") ", "\n- ", " **"};
  for (int round = 0; round < 200; ++round) {
    std::string text;
    std::string letters;
    for (size_t i = random() % 80; i > 0; --i) {
      const std::string& word = words[random() % words.size()];
      text += word + ends[random() % ends.size()];
      letters += word;
    }
    SpeakableOptions options;
    options.max_characters = 40 + random() % 200;
    const Units units = speak(text, options, {1 + random() % 5});
    expect_sound(text, units);
    std::string spoken;
    std::string covered;
    const auto keep = [](std::string& out, std::string_view from) {
      for (const char c : from) {
        if (std::isalnum(static_cast<unsigned char>(c)) || c < 0) out += c;
      }
    };
    for (const SpokenUnit& unit : units) {
      keep(spoken, unit.text);
      for (const SpokenPart& part : unit.parts) {
        keep(covered, text.substr(part.written_begin, part.written_end - part.written_begin));
      }
    }
    std::string expected;
    keep(expected, letters);
    EXPECT_EQ(spoken, expected) << text;
    EXPECT_EQ(covered, expected) << text;
  }
}

TEST(SpeakableRandom, NumbersEatNoPartOfTheNextWord) {
  const std::vector<std::string> numbers = {
      "5",          "1",          "14:30", "2:00",  "$5",    "5 €",  "1/2",   "½",  "v2",    "10-15",
      "2026-11-30", "30.11.2026", "1.",    "1st",   "50 %",  "5 km", "-3 °C", "#5", "1.2.3", "555-123-4567",
      "1,200",      "3.5",        "XIV",   "No. 5", "EUR 5", "5k"};
  // Beginnings of units, halves of days, ordinals and scales, each with a letter behind it that is not ASCII.
  const std::vector<std::string> starts = {"m",   "g",      "h",     "l",   "s",  "km", "a", "p", "am", "pm",
                                           "a m", "e",      "er",    "re",  "st", "nd", "k", "M", "B",  "min",
                                           "Uhr", "heures", "horas", "mil", "kg", "C",  "F", "V", "W",  "x"};
  for (const char* language : kLanguages) {
    SpeakableText speakable({.language = language, .first_clause_characters = 0});
    for (const std::string& number : numbers) {
      for (const std::string& start : starts) {
        for (const char* rest : {"ézq", "zq"}) {
          const std::string word = start + rest;
          std::string spoken;
          for (const SpokenUnit& unit : speak(speakable, "Say " + number + " " + word + " now.", {}, {}))
            spoken += unit.text + " ";
          EXPECT_NE(spoken.find(word), std::string::npos)
              << language << ": " << number << " " << word << ": " << spoken;
        }
      }
    }
  }
}

TEST(SpeakableRandom, TakesTimeInProportion) {
  const std::vector<std::pair<std::string, std::string>> inputs = {
      {"stars", "*"},         {"brackets", "["},    {"closing", "]"},   {"backticks", "`"}, {"ticks", "a`"},
      {"bars", "|"},          {"letters", "a"},     {"words", "word "}, {"stops", "."},     {"marks", ".!"},
      {"angles", "<a"},       {"links", "[a]("},    {"quotes", "\""},   {"and", "&#"},      {"emoji", "😀"},
      {"digits", "1"},        {"kanji", "漢"},      {"lines", "|\n"},   {"items", "- "},    {"hashes", "#"},
      {"accents", "a\u0301"}, {"dots", "1."},       {"mail", "a@"},     {"bad", "\xf0"},    {"escapes", "\\"},
      {"tildes", "~"},        {"groups", "1,111,"}, {"images", "!["},   {"plus", "+1 "},    {"host", "a."}};
  constexpr size_t kBytes = size_t{1} << 16;
  for (const auto& [name, scrap] : inputs) {
    std::string text;
    while (text.size() < kBytes) text += scrap;
    const auto start = std::chrono::steady_clock::now();
    SpeakableText speakable;
    Units units;
    for (size_t at = 0; at < text.size(); at += 3) append(units, speakable.write(text.substr(at, 3)));
    append(units, speakable.finish());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_LT(seconds, 10) << name;  // a square of the length would take minutes
    for (const SpokenUnit& unit : units)
      EXPECT_LE(unit.written_end - unit.written_begin, SpeakableText::kMaxHeldBack * 4) << name;
  }
}

}  // namespace
}  // namespace prosa::test
