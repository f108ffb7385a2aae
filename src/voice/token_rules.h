// What is written in one way and said in another: numbers with what belongs to them, addresses, abbreviations.
//
// Each rule is a pattern and what is said for it. Patterns are tried at one place of a sentence at a time, so that the
// time for a sentence grows with its length alone; sentences are short. Not here: single signs, pauses, markup.
#pragma once

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "prosa/speakable.h"
#include "voice/language.h"
#include "voice/number_speech.h"

namespace prosa::voice {

struct Said {
  std::u16string text;
  size_t end = 0;      // of what it stands for, in UTF-16 units of the sentence
  bool pause = false;  // the last thing it stands for was also a full stop that may end the sentence
};

class TokenRules {
 public:
  TokenRules(const Language& language, const SpeakableOptions& options);

  /// The sentence that is looked at from now on; it must stay where it is.
  void look_at(const icu::UnicodeString& sentence);
  /// At a digit, or at a sign that belongs to the digits behind it.
  std::optional<Said> at_number(size_t at);
  /// At the first letter of a word.
  std::optional<Said> at_word(size_t at);
  /// Of a sign that stands alone; empty where it is not known.
  [[nodiscard]] std::u16string_view currency_name(char16_t sign) const;
  [[nodiscard]] bool numbers_are_words() const { return numbers_.words(); }

 private:
  using Say = std::function<std::optional<std::u16string>(const icu::RegexMatcher&)>;
  struct Rule {
    std::unique_ptr<icu::RegexMatcher> pattern;
    Say say;
  };

  void add(std::vector<Rule>& rules, std::u16string_view pattern, Say say);
  void add_addresses();
  void add_phone_numbers();
  void add_dates();
  void add_times();
  void add_money();
  void add_ordinals();
  void add_fractions();
  void add_units();
  void add_plain_numbers();
  std::optional<Said> first_of(std::vector<Rule>& rules, size_t at);
  std::optional<Said> abbreviation(size_t at) const;
  std::optional<Said> roman(size_t at) const;

  [[nodiscard]] Decimal decimal(const icu::RegexMatcher& match, int32_t whole, int32_t fraction) const;
  [[nodiscard]] std::optional<std::u16string> date(int64_t year, int64_t month, int64_t day, int year_digits,
                                                   size_t at) const;
  [[nodiscard]] std::optional<std::u16string> amount(const icu::RegexMatcher& match, int32_t sign, int32_t whole) const;
  [[nodiscard]] std::u16string fraction(int64_t upper, int64_t lower) const;
  [[nodiscard]] std::u16string mixed(const std::u16string& whole, const std::u16string& part) const;
  [[nodiscard]] std::u16string word_before(size_t at) const;  // in small letters
  [[nodiscard]] std::u16string word_after(size_t at) const;
  [[nodiscard]] std::u16string joined(std::u16string_view a, std::u16string_view b) const;
  [[nodiscard]] bool after_preposition(size_t at) const;

  const Language& language_;
  NumberSpeech numbers_;
  bool month_first_;
  std::u16string number_pattern_;  // two groups: whole with its own groups of digits, fraction
  const icu::UnicodeString* sentence_ = nullptr;
  std::vector<Rule> number_rules_;
  std::vector<Rule> word_rules_;
};

/// How an address of the web, of mail or of a file is said: "example dot com slash docs".
std::u16string say_address(std::u16string_view address, const Language& language);

}  // namespace prosa::voice
