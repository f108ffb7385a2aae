// Speakable text: when units are given out, how long they are, what was heard of them. What phrases become:
// speakable_cases_test.cpp; what holds for any text: speakable_random_test.cpp.
#include "prosa/speakable.h"

#include <gtest/gtest.h>
#include <unicode/brkiter.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "speakable_fixture.h"
#include "test_files.h"

namespace prosa::test {
namespace {

TEST(Speakable, GivesASentenceAsSoonAsItsEndIsCertain) {
  SpeakableText speakable({.first_clause_characters = 0});
  EXPECT_TRUE(speakable.write("It is done.").empty());  // ".5" or ".com" may follow
  EXPECT_TRUE(speakable.write(" ").empty());            // so may a small letter
  EXPECT_EQ(texts_of(speakable.write("N")), std::vector<std::string>{"It is done."});
  EXPECT_EQ(texts_of(speakable.write("ow what? ")), std::vector<std::string>{"Now what?"});
  EXPECT_TRUE(speakable.write("A heading").empty());
  EXPECT_EQ(texts_of(speakable.write("\n\n")), std::vector<std::string>{"A heading."});
  EXPECT_TRUE(speakable.write("The rest").empty());
  EXPECT_EQ(texts_of(speakable.finish()), std::vector<std::string>{"The rest."});
  EXPECT_TRUE(speakable.finish().empty());
}

TEST(Speakable, TheFirstPieceMayBeAClause) {
  const std::string text = "Well, as far as I can see, this will work, and so will that. Yes, it will, I think, work.";
  EXPECT_EQ(texts_of(speak(text, {.first_clause_characters = 20})),
            (std::vector<std::string>{"Well, as far as I can see,", "this will work, and so will that.",
                                      "Yes, it will, I think, work."}));
  EXPECT_EQ(texts_of(speak("This is a rather long beginning because nobody stopped", {.first_clause_characters = 12})),
            (std::vector<std::string>{"This is a rather long beginning", "because nobody stopped."}));
  // Numbers and dates stay whole.
  EXPECT_EQ(texts_of(speak("It was on November 30, 2026, as I said.", {.first_clause_characters = 10})),
            (std::vector<std::string>{"It was on November 30, 2026,", "as I said."}));
  EXPECT_FALSE(speak(text)[0].ends_sentence);
}

TEST(Speakable, PatienceEndsOnlyWhileNothingIsQueued) {
  const SpeakableOptions options{.first_clause_characters = 0, .patience_seconds = 0.5};
  SpeakableText speakable(options);
  EXPECT_TRUE(speakable.write("This reply takes its ti", {.now_seconds = 10}).empty());
  EXPECT_TRUE(speakable.poll({.now_seconds = 10.4}).empty());
  EXPECT_TRUE(speakable.poll({.now_seconds = 11, .queued_seconds = 1}).empty());
  const Units units = speakable.poll({.now_seconds = 11});
  ASSERT_EQ(texts_of(units), std::vector<std::string>{"This reply takes its"});
  EXPECT_FALSE(units[0].ends_sentence);
  EXPECT_TRUE(speakable.poll({.now_seconds = 11.1}).empty());
  EXPECT_EQ(texts_of(speakable.write("me. And", {.now_seconds = 11.2})), std::vector<std::string>{"time."});
}

TEST(Speakable, MuchInTheQueueMakesLongUnits) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += "This is one more sentence. ";
  EXPECT_EQ(speak(text).size(), 12U);
  const Units joined = speak(text, {}, {}, {.queued_seconds = 10});  // 75 characters are wanted
  EXPECT_EQ(joined.size(), 4U);
  EXPECT_EQ(joined[0].text, "This is one more sentence. This is one more sentence. This is one more sentence.");
  expect_sound(text, joined);
  // What waits is given out when the queue has run low.
  SpeakableText speakable;
  EXPECT_TRUE(speakable.write("Short one. Next", {.queued_seconds = 10}).empty());
  EXPECT_TRUE(speakable.poll({.queued_seconds = 5}).empty());
  EXPECT_EQ(texts_of(speakable.poll({.queued_seconds = 1})), std::vector<std::string>{"Short one."});
}

TEST(Speakable, SaysHowFarWasHeard) {
  const std::string text = "**Go** to https://example.com/a now. Then stop.";
  const Units units = speak(text, {.first_clause_characters = 0});
  ASSERT_EQ(units.size(), 2U);
  EXPECT_EQ(units[0].text, "Go to example dot com slash a now.");
  EXPECT_EQ(units[0].written_after(0), 2U);                            // nothing yet
  EXPECT_EQ(text.substr(0, units[0].written_after(2)), "**Go");        // not within a word
  EXPECT_EQ(text.substr(0, units[0].written_after(15)), "**Go** to");  // the address is heard as a whole
  EXPECT_EQ(text.substr(0, units[0].written_after(29)), "**Go** to https://example.com/a");
  EXPECT_EQ(units[0].written_after(1000), units[0].written_end);
  EXPECT_EQ(text.substr(units[1].written_begin, 4), "Then");
}

// The sentences that ICU's own rules find, in text without abbreviations.
TEST(Speakable, EndsSentencesWhereIcuDoes) {
  const std::pair<const char*, std::string> texts[] = {
      {"en",
       "It rains today. Take the umbrella! Will you come? \"I will,\" she said. The price is 3.50 now. He left (at "
       "last). Good."},
      {"de", "Es regnet heute. Nimm den Schirm! Kommst du? Er sagte nichts. Das kostet 3,50 Mark. Gut."},
      {"fr", "Il pleut. Prends ton parapluie ! Viens-tu ? Il ne dit rien. Bien."},
      {"es", "Hoy llueve. ¡Toma el paraguas! ¿Vienes? No dijo nada. Bien."},
      {"pt", "Hoje chove. Pegue o guarda-chuva! Você vem? Ele não disse nada. Bem."},
      {"ja", "今日は雨です。傘を持って行きなさい！来ますか？彼は何も言わなかった。"},
      {"zh", "今天下雨。带上雨伞！你来吗？他什么也没说。"}};
  for (const auto& [language, text] : texts) {
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::BreakIterator> sentences(
        icu::BreakIterator::createSentenceInstance(icu::Locale(language), status));
    ASSERT_TRUE(U_SUCCESS(status));
    const icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(text);
    sentences->setText(unicode);
    std::vector<std::string> expected;
    for (int32_t begin = 0, end = sentences->next(); end != icu::BreakIterator::DONE;
         begin = end, end = sentences->next()) {
      unicode.tempSubStringBetween(begin, end).toUTF8String(expected.emplace_back());
    }
    const Units units = speak(text, {.language = language, .first_clause_characters = 0});
    ASSERT_EQ(units.size(), expected.size()) << shown(units);
    size_t at = 0;
    for (size_t i = 0; i < units.size(); ++i) {
      EXPECT_GE(units[i].written_begin, at);
      at += expected[i].size();
      EXPECT_LE(units[i].written_end, at);
    }
  }
}

TEST(Speakable, BrokenUtf8IsNotSpoken) {
  EXPECT_EQ(texts_of(speak("Gut\xff so \xf0\x9f\x98 und \xc0\x80 ja\xe2\x82")),
            std::vector<std::string>{"Gut so und ja."});
  EXPECT_EQ(texts_of(speak("Z\xc3\xbcrich", {}, {1})), std::vector<std::string>{"Zürich."});
}

TEST(Speakable, ALongSentenceIsCutAtAClauseOrAWord) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += i % 9 == 8 ? "word, " : "word ";
  const Units units = speak(text, {.first_clause_characters = 0, .max_characters = 60});
  for (size_t i = 0; i + 1 < units.size(); ++i) {
    EXPECT_TRUE(units[i].text.ends_with("word,")) << units[i].text;
    EXPECT_FALSE(units[i].ends_sentence);
  }
  // Chinese has no spaces: it is cut between words.
  std::string chinese;
  for (int i = 0; i < 40; ++i) chinese += "图书馆";
  for (const SpokenUnit& unit :
       speak(chinese, {.language = "zh", .first_clause_characters = 0, .max_characters = 40})) {
    EXPECT_TRUE(unit.text.starts_with("图书馆")) << unit.text;
  }
}

TEST(Speakable, ResetBeginsAnew) {
  SpeakableText speakable({.first_clause_characters = 0});
  speakable.write("```\ncode that never ends");
  speakable.finish();
  expect_error(ErrorCode::invalid_argument, {"reset()"}, [&] { speakable.write("more"); });
  speakable.reset();
  Units units = speakable.write("Hello. ");
  append(units, speakable.finish());
  ASSERT_EQ(texts_of(units), std::vector<std::string>{"Hello."});
  EXPECT_EQ(units[0].written_begin, 0U);
}

TEST(Speakable, RefusesWhatItCannotDo) {
  expect_error(ErrorCode::unsupported, {"tlh", "en, de, fr"}, [] { SpeakableText({.language = "tlh"}); });
  expect_error(ErrorCode::unsupported, {"language"}, [] { SpeakableText({.language = ""}); });
  expect_error(ErrorCode::invalid_argument, {"max_characters", "40"}, [] { SpeakableText({.max_characters = 3}); });
  SpeakableText moved;
  const SpeakableText taken = std::move(moved);
  expect_error(ErrorCode::invalid_argument, {"moved"}, [&] { moved.write("x"); });
  for (const char* tag : {"pt-BR", "en_GB.UTF-8", "zh-Hans-CN", "DE"})
    EXPECT_NO_THROW(SpeakableText({.language = tag})) << tag;
}

}  // namespace
}  // namespace prosa::test
