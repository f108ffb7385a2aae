// The machinery of the rules, and those for words: addresses, abbreviations, Roman numerals.
#include "voice/token_rules.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>

#include <algorithm>

#include "base/check.h"
#include "voice/character_kind.h"
#include "voice/glyph.h"

namespace prosa::voice {
namespace {

std::u16string lower(icu::UnicodeString text) {
  text.toLower(icu::Locale::getRoot());
  return {text.getBuffer(), static_cast<size_t>(text.length())};
}

// The value of a Roman numeral in its one proper form; 0 for anything else.
int64_t roman_value(std::u16string_view text) {
  constexpr std::u16string_view kSigns = u"IVXLCDM";
  constexpr int64_t kValues[] = {1, 5, 10, 50, 100, 500, 1000};
  int64_t value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t here = kSigns.find(text[i]);
    if (here == kSigns.npos) return 0;
    const size_t next = i + 1 < text.size() ? kSigns.find(text[i + 1]) : kSigns.npos;
    value += next != kSigns.npos && kValues[next] > kValues[here] ? -kValues[here] : kValues[here];
  }
  if (value <= 0 || value > 3999) return 0;
  std::u16string proper;
  int64_t rest = value;
  constexpr std::pair<int64_t, std::u16string_view> kSteps[] = {
      {1000, u"M"}, {900, u"CM"}, {500, u"D"}, {400, u"CD"}, {100, u"C"}, {90, u"XC"}, {50, u"L"},
      {40, u"XL"},  {10, u"X"},   {9, u"IX"},  {5, u"V"},    {4, u"IV"},  {1, u"I"}};
  for (const auto& [step, sign] : kSteps) {
    for (; rest >= step; rest -= step) proper += sign;
  }
  return proper == text ? value : 0;
}

}  // namespace

TokenRules::TokenRules(const Language& language, const SpeakableOptions& options)
    : language_(language), numbers_(language, options.numbers), month_first_(month_first(options.language)) {
  std::u16string groups;
  for (const char16_t c : language.groups) groups += c == u'.' ? std::u16string(u"\\.") : std::u16string(1, c);
  const std::u16string point = language.decimal == u'.' ? u"\\." : u",";
  number_pattern_ = u"(\\d{1,3}(?:[" + groups + u"]\\d{3})++(?!\\d)|\\d+)(?:" + point + u"(\\d+))?(?!\\d)";
  // In the order in which they are tried: what is longer and surer comes first.
  add_phone_numbers();
  add_dates();
  add_times();
  add_money();
  add_ordinals();
  add_fractions();
  add_units();
  add_plain_numbers();
  add_addresses();
}

// %L in a pattern: a letter that goes on with a word. In "5kmの" a word of a script without spaces follows, not "kmの".
void TokenRules::add(std::vector<Rule>& rules, std::u16string_view pattern, Say say) {
  icu::UnicodeString text(pattern.data(), static_cast<int32_t>(pattern.size()));
  text.findAndReplace(u"%L", u"[[\\p{L}\\p{M}]--[\\p{Han}\\p{Hiragana}\\p{Katakana}ー]]");
  UErrorCode status = U_ZERO_ERROR;
  auto matcher = std::make_unique<icu::RegexMatcher>(text, 0U, status);
  PROSA_CHECK(U_SUCCESS(status));
  rules.push_back({std::move(matcher), std::move(say)});
}

void TokenRules::look_at(const icu::UnicodeString& sentence) {
  sentence_ = &sentence;
  for (auto* rules : {&number_rules_, &word_rules_}) {
    for (Rule& rule : *rules) rule.pattern->reset(sentence);
  }
}

std::optional<Said> TokenRules::first_of(std::vector<Rule>& rules, size_t at) {
  for (Rule& rule : rules) {
    UErrorCode status = U_ZERO_ERROR;
    if (rule.pattern->lookingAt(static_cast<int64_t>(at), status) == 0 || U_FAILURE(status)) continue;
    if (auto text = rule.say(*rule.pattern)) {
      return Said{std::move(*text), static_cast<size_t>(rule.pattern->end(status))};
    }
  }
  return std::nullopt;
}

std::optional<Said> TokenRules::at_number(size_t at) { return first_of(number_rules_, at); }

std::optional<Said> TokenRules::at_word(size_t at) {
  if (auto said = abbreviation(at)) return said;
  if (auto said = roman(at)) return said;
  // An address holds one of these; without, the patterns need not be tried.
  for (auto i = static_cast<int32_t>(at); i < sentence_->length(); ++i) {
    const char16_t c = sentence_->charAt(i);
    if (is_space(c) || is_cjk(c)) break;
    if (c == u'.' || c == u'@' || c == u':' || c == u'°' || c == u'º' || is_ascii_digit(c) || c == u'$') {
      return first_of(word_rules_, at);
    }
  }
  // "EUR 5"
  if (is_upper(sentence_->charAt(static_cast<int32_t>(at)))) return first_of(word_rules_, at);
  return std::nullopt;
}

std::u16string_view TokenRules::currency_name(char16_t sign) const {
  for (const Currency& entry : language_.currencies) {
    if (entry.signs.find(sign) != entry.signs.npos) return entry.many;
  }
  return {};
}

std::u16string TokenRules::joined(std::u16string_view a, std::u16string_view b) const {
  std::u16string text(a);
  if (language_.spaces && !a.empty() && !b.empty()) text += u' ';
  return text.append(b);
}

std::u16string TokenRules::word_before(size_t at) const {
  auto end = static_cast<int32_t>(at);
  while (end > 0 && (sentence_->charAt(end - 1) == u' ' || sentence_->charAt(end - 1) == 0xa0)) --end;
  int32_t begin = end;
  while (begin > 0 && is_letter(sentence_->charAt(begin - 1))) --begin;
  return lower(sentence_->tempSubStringBetween(begin, end));
}

std::u16string TokenRules::word_after(size_t at) const {
  auto begin = static_cast<int32_t>(at);
  while (begin < sentence_->length() && (sentence_->charAt(begin) == u' ' || sentence_->charAt(begin) == 0xa0)) ++begin;
  int32_t end = begin;
  while (end < sentence_->length() && is_letter(sentence_->charAt(end))) ++end;
  return lower(sentence_->tempSubStringBetween(begin, end));
}

// Written "z.b.", found as "z. B." and "z.B." too.
std::optional<Said> TokenRules::abbreviation(size_t at) const {
  const Abbreviation* best = nullptr;
  size_t best_end = 0;
  const auto size = static_cast<size_t>(sentence_->length());
  for (const Abbreviation& entry : language_.abbreviations) {
    if (entry.spoken.empty() || (best != nullptr && entry.written.size() <= best->written.size())) continue;
    size_t i = at;
    size_t k = 0;
    for (; k < entry.written.size() && i < size; ++k) {
      if (k > 0 && entry.written[k - 1] == u'.' &&
          (is_space(sentence_->charAt(static_cast<int32_t>(i))) ||
           sentence_->charAt(static_cast<int32_t>(i)) == 0xa0)) {
        ++i;
      }
      if (i >= size || u_tolower(sentence_->charAt(static_cast<int32_t>(i))) != entry.written[k]) break;
      ++i;
    }
    if (k < entry.written.size()) continue;
    if (i < size && is_letter(sentence_->charAt(static_cast<int32_t>(i)))) continue;
    if (entry.stop == Stop::before_number) {
      size_t next = i;
      while (next < size && sentence_->charAt(static_cast<int32_t>(next)) == u' ') ++next;
      if (next >= size || !is_digit(sentence_->charAt(static_cast<int32_t>(next)))) continue;
    }
    best = &entry;
    best_end = i;
  }
  if (best == nullptr) return std::nullopt;
  return Said{std::u16string(best->spoken), best_end, true};
}

// Only where the word beside it leaves no doubt: "Chapter IV", "Louis XIV", "XIXe siècle".
std::optional<Said> TokenRules::roman(size_t at) const {
  const auto size = static_cast<size_t>(sentence_->length());
  size_t end = at;
  while (end < size && std::u16string_view(u"IVXLCDM").find(sentence_->charAt(static_cast<int32_t>(end))) !=
                           std::u16string_view::npos) {
    ++end;
  }
  if (end == at) return std::nullopt;
  const icu::UnicodeString part = sentence_->tempSubStringBetween(static_cast<int32_t>(at), static_cast<int32_t>(end));
  const std::u16string_view numeral(part.getBuffer(), static_cast<size_t>(part.length()));
  const int64_t value = roman_value(numeral);
  if (value == 0) return std::nullopt;
  if (!language_.roman_after.empty()) {
    size_t behind = end;
    while (behind < size && (sentence_->charAt(static_cast<int32_t>(behind)) == u'e' ||
                             sentence_->charAt(static_cast<int32_t>(behind)) == u'r' ||
                             sentence_->charAt(static_cast<int32_t>(behind)) == u'è' ||
                             sentence_->charAt(static_cast<int32_t>(behind)) == u'm')) {
      ++behind;
    }
    if (behind > end && is_listed(language_.roman_after, word_after(behind))) {
      return Said{numbers_.ordinal(value), behind};
    }
  }
  if (end < size && (is_letter(sentence_->charAt(static_cast<int32_t>(end))) ||
                     is_digit(sentence_->charAt(static_cast<int32_t>(end))))) {
    return std::nullopt;
  }
  const std::u16string before = word_before(at);
  if (is_listed(language_.before_roman, before) || (before == u"war" && numeral.size() > 1)) {
    return Said{numbers_.number(value), end};
  }
  // A single I, C or D behind a name is more often another thing.
  if (numeral.size() < 2 && numeral != u"V" && numeral != u"X") return std::nullopt;
  if (!is_listed(language_.rulers, before)) return std::nullopt;
  if (language_.code == "en") return Said{u"the " + numbers_.ordinal(value), end};
  if (language_.code == "de") {  // "Ludwig XIV."
    if (end == size || sentence_->charAt(static_cast<int32_t>(end)) != u'.') return std::nullopt;
    return Said{u"der " + numbers_.ordinal(value, Ordinal::after_article), end + 1, true};
  }
  if (language_.code == "fr" || value > 10) return Said{numbers_.number(value), end};
  return Said{numbers_.ordinal(value), end};
}

void TokenRules::add_addresses() {
  const auto whole = [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    UErrorCode status = U_ZERO_ERROR;
    const icu::UnicodeString found = match.group(status);
    return say_address({found.getBuffer(), static_cast<size_t>(found.length())}, language_);
  };
  // An address ends before the punctuation of its sentence.
  const std::u16string path = u"[A-Za-z0-9\\-_~:/?#@!$&*+,;=%.]*[A-Za-z0-9/_~=#&]";
  add(word_rules_, u"(?:https?|ftp)://" + path, whole);
  add(word_rules_, u"mailto:[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]*[A-Za-z0-9]", whole);
  add(word_rules_, u"www\\." + path, whole);
  add(word_rules_, u"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\\.[A-Za-z0-9-]+)+", whole);
  add(word_rules_,
      u"(?:[A-Za-z0-9-]++\\.)+(?:com|org|net|io|dev|de|fr|es|br|pt|jp|cn|eu|ai|app|edu|gov|uk|info|me|tv|ch|at|it|nl)"
      u"(?![%L\\d-])(?:/" +
          path + u"|/)?",
      whole);
  add(word_rules_,
      u"[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)*\\.(?:md|txt|json|ya?ml|toml|xml|csv|pdf|docx?|xlsx?|png|jpe?g|svg|gif|mp["
      u"34]|"
      u"wav|html?|css|js|tsx?|py|cpp|cc|h|hpp|rs|go|java|swift|sh|zip|exe)(?![%L\\d])",
      whole);
  add(word_rules_, u"[vV]\\.?(\\d+(?:\\.\\d+)*)(?![%L\\d])", [this](const icu::RegexMatcher& match) {
    UErrorCode status = U_ZERO_ERROR;
    // "Version v2" says it once.
    const bool said = word_before(static_cast<size_t>(match.start(status))) == lower(language_.signs.version.data());
    std::u16string text(said ? u"" : language_.signs.version);
    std::u16string part;
    const icu::UnicodeString found = match.group(1, status);
    for (int32_t i = 0; i <= found.length(); ++i) {
      if (i < found.length() && found.charAt(i) != u'.') {
        part += found.charAt(i);
        continue;
      }
      text = joined(text, numbers_.number(Decimal{part, {}}));
      if (i < found.length()) text = joined(text, language_.signs.dot);
      part.clear();
    }
    return std::optional(text);
  });
  add(word_rules_, u"[nN]\\.?[°º]\\.?[ \\u00a0]?(?=\\d)",
      [this](const icu::RegexMatcher&) { return std::optional(std::u16string(language_.signs.number)); });
}

std::u16string say_address(std::u16string_view address, const Language& language) {
  constexpr size_t kMaxPath = 30;  // a longer one, or one with a query, says nothing to a listener
  for (const std::u16string_view scheme : {u"https://", u"http://", u"ftp://", u"mailto:", u"www."}) {
    if (address.starts_with(scheme)) address.remove_prefix(scheme.size());
  }
  const size_t slash = address.find(u'/');
  if (slash != address.npos &&
      (address.size() - slash > kMaxPath || address.find_first_of(u"?&=%", slash) != address.npos)) {
    address = address.substr(0, slash);
  }
  while (!address.empty() && !is_letter(address.back()) && !is_digit(address.back())) address.remove_suffix(1);
  std::u16string text;
  for (const char16_t c : address) {
    const SignWords& signs = language.signs;
    const std::u16string_view word = c == u'.'   ? signs.dot
                                     : c == u'/' ? signs.slash
                                     : c == u'-' ? signs.dash
                                     : c == u'_' ? signs.underscore
                                     : c == u'@' ? signs.at
                                     : c == u':' ? signs.colon
                                     : c == u'~' ? signs.tilde
                                     : c == u'+' ? signs.plus
                                                 : std::u16string_view();
    if (word.empty()) {
      text += is_letter(c) || is_digit(c) ? c : u' ';
    } else {
      if (!text.empty() && text.back() != u' ') text += u' ';
      text.append(word) += u' ';
    }
  }
  while (!text.empty() && text.back() == u' ') text.pop_back();
  return text;
}

}  // namespace prosa::voice
