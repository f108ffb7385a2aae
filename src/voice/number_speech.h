// Numbers, ordinals, years, months and units of a language, in digits or in words.
//
// A thin layer over ICU's spell-out rules, unit names and calendar. Digits come in as ASCII without signs and groups;
// numbers too long to be read as one are read digit by digit. Not here: finding numbers in a text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "prosa/speakable.h"
#include "voice/language.h"

namespace prosa::voice {

enum class Gender { counting, masculine, feminine };
/// German declines them: "dritter Mai", "am dritten Mai", "der dritte Mai". Elsewhere the first, third and fourth
/// agree.
enum class Ordinal { plain, feminine, after_preposition, after_article };

struct Decimal {
  std::u16string whole;     // digits, at least one
  std::u16string fraction;  // digits behind the decimal sign; may be empty
};

class NumberSpeech {
 public:
  NumberSpeech(const Language& language, SpokenNumbers numbers);
  ~NumberSpeech();
  NumberSpeech(const NumberSpeech&) = delete;
  NumberSpeech& operator=(const NumberSpeech&) = delete;

  [[nodiscard]] std::u16string number(const Decimal& number, Gender gender = Gender::counting) const;
  [[nodiscard]] std::u16string number(int64_t value, Gender gender = Gender::counting) const;
  /// In words, whatever is asked for numbers: "3rd" without its letters would be another word.
  [[nodiscard]] std::u16string ordinal(int64_t value, Ordinal kind = Ordinal::plain) const;
  [[nodiscard]] std::u16string year(int64_t value) const;
  /// One by one, in groups as they stand: "5 5 5, 1 2 3 4".
  [[nodiscard]] std::u16string digit_by_digit(std::u16string_view text) const;
  /// `unit`: ICU's name, as "kilometer-per-hour".
  [[nodiscard]] std::u16string with_unit(const Decimal& number, const char* unit) const;
  [[nodiscard]] std::u16string month(int month) const;  // 1 to 12
  [[nodiscard]] bool words() const { return words_; }

 private:
  struct Icu;
  [[nodiscard]] std::u16string spell(int64_t value, const char16_t* rules) const;

  const Language& language_;
  bool words_;
  std::unique_ptr<Icu> icu_;
};

}  // namespace prosa::voice
