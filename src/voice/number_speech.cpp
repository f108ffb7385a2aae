// Numbers by ICU.
#include "voice/number_speech.h"

#include <unicode/dtfmtsym.h>
#include <unicode/measunit.h>
#include <unicode/numberformatter.h>
#include <unicode/rbnf.h>

#include <array>

#include "base/check.h"
#include "voice/glyph.h"

namespace prosa::voice {
namespace {

constexpr size_t kMaxDigits = 15;  // a number with more is no quantity that somebody could follow

int64_t value_of(std::u16string_view digits) {
  int64_t value = 0;
  for (const char16_t c : digits) value = value * 10 + (c - u'0');
  return value;
}

std::string ascii(std::u16string_view text) { return {text.begin(), text.end()}; }

bool is_feminine(std::string_view language, std::string_view unit) {
  if (unit == "hour" || unit == "minute" || unit == "second" || unit == "millisecond" || unit == "ounce") return true;
  if (unit.starts_with("mile")) return language != "fr";
  return unit == "pound" && language != "de";
}

}  // namespace

struct NumberSpeech::Icu {
  explicit Icu(const icu::Locale& where, UErrorCode& status)
      : locale(where), spellout(icu::URBNF_SPELLOUT, where, status), symbols(where, status) {
    for (int32_t i = 0; i < spellout.getNumberOfRuleSetNames(); ++i) names += spellout.getRuleSetName(i) + u" ";
    names = u" " + names;
  }
  icu::Locale locale;
  icu::RuleBasedNumberFormat spellout;
  icu::DateFormatSymbols symbols;
  icu::UnicodeString names;  // of the rule sets, a space before and after each
};

NumberSpeech::NumberSpeech(const Language& language, SpokenNumbers numbers)
    : language_(language), words_(numbers == SpokenNumbers::words) {
  UErrorCode status = U_ZERO_ERROR;
  icu_ = std::make_unique<Icu>(icu::Locale(std::string(language.code).c_str()), status);
  if (U_FAILURE(status)) {
    throw Error(ErrorCode::unsupported, std::string("ICU has no data for this language: ") + u_errorName(status),
                std::string(language.code), "install ICU with its full data");
  }
}

NumberSpeech::~NumberSpeech() = default;

// `rules`: names separated by spaces; the first one that the language has.
std::u16string NumberSpeech::spell(int64_t value, const char16_t* rules) const {
  icu::UnicodeString chosen;
  std::u16string_view rest = rules;
  while (!rest.empty() && chosen.isEmpty()) {
    const size_t space = rest.find(u' ');
    const std::u16string name = u"%spellout-" + std::u16string(rest.substr(0, space));
    if (icu_->names.indexOf(icu::UnicodeString(u" " + icu::UnicodeString(name.c_str()) + u" ")) >= 0) {
      chosen = name.c_str();
    }
    rest = space == rest.npos ? std::u16string_view() : rest.substr(space + 1);
  }
  icu::UnicodeString text;
  icu::FieldPosition position(icu::FieldPosition::DONT_CARE);
  UErrorCode status = U_ZERO_ERROR;
  if (chosen.isEmpty()) {
    icu_->spellout.format(value, text);
  } else {
    icu_->spellout.format(value, chosen, text, position, status);
  }
  PROSA_CHECK(U_SUCCESS(status));
  text.findAndReplace(icu::UnicodeString(char16_t{0xad}), icu::UnicodeString());  // German words have soft hyphens
  return {text.getBuffer(), static_cast<size_t>(text.length())};
}

std::u16string NumberSpeech::number(int64_t value, Gender gender) const {
  const std::string digits = std::to_string(value);
  return number(Decimal{{digits.begin(), digits.end()}, {}}, gender);
}

std::u16string NumberSpeech::number(const Decimal& number, Gender gender) const {
  if (!words_) return number.whole + (number.fraction.empty() ? u"" : language_.decimal + number.fraction);
  const bool zeros = number.whole.size() > 1 && number.whole[0] == u'0';
  std::u16string text;
  if (zeros || number.whole.size() > kMaxDigits) {
    text = digit_by_digit(number.whole);
  } else {
    text = spell(value_of(number.whole), gender == Gender::masculine  ? u"cardinal-masculine cardinal"
                                         : gender == Gender::feminine ? u"cardinal-feminine cardinal"
                                                                      : u"numbering cardinal");
  }
  if (number.fraction.empty()) return text;
  const std::u16string space(language_.spaces ? u" " : u"");
  return text + space + std::u16string(language_.signs.point) + space + digit_by_digit(number.fraction);
}

std::u16string NumberSpeech::ordinal(int64_t value, Ordinal kind) const {
  switch (kind) {
    case Ordinal::feminine: return spell(value, u"ordinal-feminine ordinal");
    case Ordinal::after_preposition: return spell(value, u"ordinal-n ordinal-masculine ordinal");
    case Ordinal::after_article: return spell(value, u"ordinal ordinal-masculine");
    case Ordinal::plain: break;
  }
  return spell(value, u"ordinal-r ordinal-masculine ordinal");
}

std::u16string NumberSpeech::year(int64_t value) const {
  return words_ ? spell(value, language_.code == "ja" ? u"numbering" : u"numbering-year numbering") : number(value);
}

std::u16string NumberSpeech::digit_by_digit(std::u16string_view text) const {
  std::u16string spoken;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_ascii_digit(text[i])) {
      if (!spoken.empty() && spoken.back() != u',' && i + 1 < text.size()) spoken += u',';
      continue;
    }
    if (!spoken.empty() && (language_.spaces || !words_ || spoken.back() == u',')) spoken += u' ';
    spoken += words_ ? spell(text[i] - u'0', u"numbering cardinal") : std::u16string(1, text[i]);
  }
  return spoken;
}

std::u16string NumberSpeech::with_unit(const Decimal& number, const char* unit) const {
  using icu::number::NumberFormatter;
  if (language_.code == "zh" && std::string_view(unit) == "percent") {
    return std::u16string(language_.signs.percent) + this->number(number);
  }
  UErrorCode status = U_ZERO_ERROR;
  const icu::MeasureUnit measure = icu::MeasureUnit::forIdentifier(unit, status);
  std::string digits = ascii(number.whole);
  if (!number.fraction.empty()) digits += "." + ascii(number.fraction);
  const icu::UnicodeString formatted = NumberFormatter::withLocale(icu_->locale)
                                           .unit(measure)
                                           .unitWidth(UNUM_UNIT_WIDTH_FULL_NAME)
                                           .grouping(UNUM_GROUPING_OFF)
                                           .precision(icu::number::Precision::unlimited())
                                           .formatDecimal(digits, status)
                                           .toString(status);
  PROSA_CHECK(U_SUCCESS(status));
  // ICU's digits make room for ours.
  std::u16string text(formatted.getBuffer(), static_cast<size_t>(formatted.length()));
  const size_t begin = text.find_first_of(u"0123456789");
  PROSA_CHECK(begin != text.npos);
  size_t end = begin;
  while (end < text.size() && (is_ascii_digit(text[end]) || (text[end] == language_.decimal && end + 1 < text.size() &&
                                                             is_ascii_digit(text[end + 1])))) {
    ++end;
  }
  const Gender gender = is_feminine(language_.code, unit) ? Gender::feminine : Gender::masculine;
  return text.replace(begin, end - begin, this->number(number, gender));
}

std::u16string NumberSpeech::month(int month) const {
  PROSA_CHECK(month >= 1 && month <= 12);
  int32_t count = 0;
  const icu::UnicodeString* names = icu_->symbols.getMonths(count);
  PROSA_CHECK(count >= 12);
  const icu::UnicodeString& name = names[month - 1];
  return {name.getBuffer(), static_cast<size_t>(name.length())};
}

}  // namespace prosa::voice
