// The rules for numbers: phone numbers, dates, times, money, ordinals, fractions, units.
#include <unicode/regex.h>

#include <algorithm>
#include <array>
#include <utility>

#include "voice/character_kind.h"
#include "voice/glyph.h"
#include "voice/token_rules.h"

namespace prosa::voice {
namespace {

std::u16string group(const icu::RegexMatcher& match, int32_t index) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString found = match.group(index, status);
  if (U_FAILURE(status)) return {};
  return {found.getBuffer(), static_cast<size_t>(found.length())};
}

std::u16string digits_of(std::u16string_view text) {
  std::u16string digits;
  for (const char16_t c : text) {
    if (is_ascii_digit(c)) digits += c;
  }
  return digits;
}

int64_t value_of(std::u16string_view text) {
  int64_t value = 0;
  for (const char16_t c : text.substr(0, 15)) {
    if (is_ascii_digit(c)) value = value * 10 + (c - u'0');
  }
  return value;
}

size_t start_of(const icu::RegexMatcher& match) {
  UErrorCode status = U_ZERO_ERROR;
  return static_cast<size_t>(match.start(status));
}

std::u16string replaced(std::u16string_view form, std::u16string_view hours, std::u16string_view minutes) {
  std::u16string text(form);
  if (const size_t at = text.find(u"%h"); at != text.npos) text.replace(at, 2, hours);
  if (const size_t at = text.find(u"%m"); at != text.npos) text.replace(at, 2, minutes);
  return text;
}

// Written, and ICU's name; the longer ones of a common beginning first.
constexpr std::pair<std::u16string_view, const char*> kUnits[] = {
    {u"km/h", "kilometer-per-hour"},
    {u"kmh", "kilometer-per-hour"},
    {u"km²", "square-kilometer"},
    {u"km", "kilometer"},
    {u"m/s", "meter-per-second"},
    {u"m²", "square-meter"},
    {u"m³", "cubic-meter"},
    {u"mph", "mile-per-hour"},
    {u"mm", "millimeter"},
    {u"mg", "milligram"},
    {u"ml", "milliliter"},
    {u"mL", "milliliter"},
    {u"ms", "millisecond"},
    {u"min", "minute"},
    {u"mi", "mile"},
    {u"m", "meter"},
    {u"cm²", "square-centimeter"},
    {u"cm", "centimeter"},
    {u"kg", "kilogram"},
    {u"kWh", "kilowatt-hour"},
    {u"kW", "kilowatt"},
    {u"kcal", "foodcalorie"},
    {u"kB", "kilobyte"},
    {u"KB", "kilobyte"},
    {u"kHz", "kilohertz"},
    {u"hPa", "hectopascal"},
    {u"ha", "hectare"},
    {u"h", "hour"},
    {u"GHz", "gigahertz"},
    {u"GB", "gigabyte"},
    {u"g", "gram"},
    {u"MHz", "megahertz"},
    {u"MB", "megabyte"},
    {u"TB", "terabyte"},
    {u"Hz", "hertz"},
    {u"ft", "foot"},
    {u"lbs", "pound"},
    {u"lb", "pound"},
    {u"oz", "ounce"},
    {u"°C", "celsius"},
    {u"° C", "celsius"},
    {u"°F", "fahrenheit"},
    {u"° F", "fahrenheit"},
    {u"°", "degree"},
    {u"%", "percent"},
    {u"L", "liter"},
    {u"l", "liter"},
    {u"W", "watt"},
    {u"V", "volt"},
    {u"s", "second"},
};

constexpr std::u16string_view kUnitPattern =
    u"(km/h|kmh|km²|km|m/"
    u"s|m²|m³|mph|mm|mg|m[lL]|ms|min|mi|m|cm²|cm|kg|kWh|kW|kcal|[kK]B|kHz|hPa|ha|h|GHz|GB|g|MHz|MB|TB|Hz"
    u"|ft|lbs?|oz|° ?[CF]|°|%|[Ll]|W|V|s)(?![%L\\d²³/%°])";

}  // namespace

Decimal TokenRules::decimal(const icu::RegexMatcher& match, int32_t whole, int32_t fraction) const {
  return {digits_of(group(match, whole)), fraction > 0 ? group(match, fraction) : std::u16string()};
}

bool TokenRules::after_preposition(size_t at) const {
  static constexpr std::u16string_view kPrepositions =
      u" am vom zum im beim ab bis seit den dem einem einen jedem jeden des ";
  return is_listed(kPrepositions, word_before(at));
}

// Phone numbers: figures one by one, groups as they stand.
void TokenRules::add_phone_numbers() {
  const auto say = [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    const std::u16string found = group(match, 0);
    if (digits_of(found).size() < 7) return std::nullopt;
    const std::u16string digits = numbers_.digit_by_digit(found);
    return found[0] == u'+' ? joined(language_.signs.plus, digits) : digits;
  };
  add(number_rules_, u"\\+\\d{1,3}(?:[ \\u00a0./-]?\\(?\\d{1,5}\\)?){2,6}(?!\\d)", say);
  add(number_rules_, u"(?:\\(\\d{3}\\) ?|\\d{3}[-. ])\\d{3}[-.]\\d{4}(?!\\d)", say);
  if (language_.code == "fr") {  // in pairs, as they are said
    add(number_rules_, u"0\\d(?:[ .\\u00a0]\\d{2}){4}(?!\\d)", [this](const icu::RegexMatcher& match) {
      const std::u16string digits = digits_of(group(match, 0));
      std::u16string text;
      for (size_t i = 0; i < digits.size(); i += 2) {
        const std::u16string pair = digits.substr(i, 2);
        text += (i > 0 ? u", " : u"") + (pair[0] == u'0' ? numbers_.digit_by_digit(pair) : numbers_.number({pair, {}}));
      }
      return std::optional(text);
    });
  }
  if (language_.code == "zh") add(number_rules_, u"(?:1[3-9]\\d{9}|1[3-9]\\d[- ]\\d{4}[- ]\\d{4})(?!\\d)", say);
  add(number_rules_, u"0\\d{1,4}-\\d{1,4}-\\d{4}(?!\\d)", say);
  if (language_.code != "en") add(number_rules_, u"0\\d{2,4}[-/ ]\\d{4,8}(?:-\\d{1,4})?(?![\\d/-])", say);
}

// Dates
std::optional<std::u16string> TokenRules::date(int64_t year, int64_t month, int64_t day, int year_digits,
                                               size_t at) const {
  if (month < 1 || month > 12 || day < 1 || day > 31) return std::nullopt;
  if (year_digits == 2) year += year < 70 ? 2000 : 1900;
  const std::u16string name = numbers_.month(static_cast<int>(month));
  const std::u16string said_year = year_digits == 0 ? std::u16string() : numbers_.year(year);
  const std::u16string number = numbers_.number(day);
  if (!language_.spaces) {
    return (year_digits == 0 ? said_year : said_year + u"年") + numbers_.number(month) + u"月" + number + u"日";
  }
  std::u16string text;
  if (language_.code == "en") {
    const std::u16string nth = numbers_.words() ? numbers_.ordinal(day) : number;
    if (month_first_) return name + u" " + nth + (year_digits == 0 ? u"" : u", " + said_year);
    text = numbers_.words() ? u"the " + nth + u" of " + name : nth + u" " + name;
  } else if (language_.code == "de") {
    const Ordinal kind = after_preposition(at) ? Ordinal::after_preposition : Ordinal::plain;
    text = (numbers_.words() ? numbers_.ordinal(day, kind) : number + u".") + u" " + name;
  } else if (language_.code == "fr") {
    text = (day == 1 ? numbers_.ordinal(1) : number) + u" " + name;
  } else {
    const bool first = day == 1 && language_.code == "pt";
    text = (first ? numbers_.ordinal(1) : number) + u" de " + name;
    return year_digits == 0 ? text : text + u" de " + said_year;
  }
  return joined(text, said_year);
}

void TokenRules::add_dates() {
  // The groups in the order year, month, day.
  const auto say = [this](std::array<int32_t, 3> order) {
    return [this, order](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
      const std::u16string year = order[0] > 0 ? group(match, order[0]) : std::u16string();
      return date(value_of(year), value_of(group(match, order[1])), value_of(group(match, order[2])),
                  static_cast<int>(year.size()), start_of(match));
    };
  };
  add(number_rules_, u"(\\d{4})-(\\d{1,2})-(\\d{1,2})(?![\\d-])", say({1, 2, 3}));
  add(number_rules_, u"(\\d{4})/(\\d{1,2})/(\\d{1,2})(?![\\d/])", say({1, 2, 3}));
  add(number_rules_, u"(\\d{1,2})\\.[ \\u00a0]?(\\d{1,2})\\.[ \\u00a0]?(\\d{4}|\\d{2})(?![\\d.]\\d|\\d)",
      say({3, 2, 1}));
  if (month_first_) add(number_rules_, u"(\\d{1,2})/(\\d{1,2})/(\\d{4}|\\d{2})(?![\\d/])", say({3, 1, 2}));
  add(number_rules_, u"(\\d{1,2})/(\\d{1,2})/(\\d{4}|\\d{2})(?![\\d/])", say({3, 2, 1}));
  add(number_rules_, u"(\\d{1,2})-(\\d{1,2})-(\\d{4})(?![\\d-])", say({3, 2, 1}));
  if (language_.code == "de") add(number_rules_, u"(\\d{1,2})\\.(\\d{1,2})\\.(?!\\d)", say({0, 2, 1}));
}

// Times
void TokenRules::add_times() {
  const auto say = [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    const int64_t hours = value_of(group(match, 1));
    const int64_t minutes = value_of(group(match, 2));
    const std::u16string seconds = group(match, 3);
    const std::u16string half = language_.times.half_days ? group(match, 4) : std::u16string();
    if (hours > 24) return std::nullopt;
    const TimeWords& words = language_.times;
    const Gender gender = language_.code == "en"   ? Gender::counting
                          : language_.code == "de" ? Gender::masculine
                                                   : Gender::feminine;
    const std::u16string said = numbers_.number(hours, gender);
    std::u16string text;
    if (minutes == 0 && !half.empty()) {
      text = said;
    } else if (minutes == 0) {
      text = hours == 1 && !words.one.empty() ? std::u16string(words.one) : replaced(words.whole, said, {});
    } else {
      std::u16string said_minutes = numbers_.number(minutes);
      if (language_.code == "en" && minutes < 10) said_minutes = u"oh " + said_minutes;
      text = replaced(words.minutes, said, said_minutes);
    }
    if (!seconds.empty() && value_of(seconds) > 0) {
      text = joined(joined(text, language_.spaces ? language_.signs.and_ : u""),
                    numbers_.with_unit({seconds[0] == u'0' ? seconds.substr(1) : seconds, {}}, "second"));
    }
    if (!half.empty()) text += half[0] == u'a' || half[0] == u'A' ? u" a m" : u" p m";
    return text;
  };
  // What says once more that it is a time: "am", "Uhr".
  std::u16string after = u"()";
  if (language_.times.half_days) {
    after = u"(?:[ \\u00a0]?([AaPp])(?:\\.[ \\u00a0]?)?[Mm](?!%L)\\.?)?+";
  } else if (!language_.times.after.empty()) {
    after = u"()(?:[ \\u00a0]" + std::u16string(language_.times.after) + u"(?!%L))?+";
  }
  add(number_rules_, u"([01]?\\d|2[0-4]):([0-5]\\d)(?::([0-5]\\d))?(?![\\d:])" + after, say);
  if (language_.times.half_days)
    add(number_rules_, u"(1[0-2]|0?[1-9])()()[ \\u00a0]?([AaPp])(?:\\.[ \\u00a0]?)?[Mm](?!%L)\\.?", say);
  // "7h 30m", "1 h 5 min": so long, and not at that hour
  add(number_rules_, u"(\\d{1,3})[ \\u00a0]?h[ \\u00a0]?(\\d{1,2})[ \\u00a0]?m(?:in)?(?![%L\\d²³/])",
      [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
        return joined(numbers_.with_unit({group(match, 1), {}}, "hour"),
                      numbers_.with_unit({group(match, 2), {}}, "minute"));
      });
  if (language_.code == "de") {
    add(number_rules_, u"([01]?\\d|2[0-4])\\.([0-5]\\d)()()[ \\u00a0]Uhr(?!%L)", say);
  }
  if (language_.code == "fr" || language_.code == "pt") {
    add(number_rules_, u"([01]?\\d|2[0-4])[ \\u00a0]?h[ \\u00a0]?([0-5]\\d)()()(?![%L\\d])", say);
  }
}

// Money
std::optional<std::u16string> TokenRules::amount(const icu::RegexMatcher& match, int32_t sign, int32_t whole) const {
  const std::u16string written_sign = group(match, sign);
  const std::u16string fraction = group(match, whole + 1);
  const std::u16string scale = group(match, whole + 2);
  const Currency* currency = nullptr;
  for (const Currency& entry : language_.currencies) {
    if (is_listed(u" " + std::u16string(entry.signs) + u" ", written_sign)) currency = &entry;
  }
  if (currency == nullptr) return std::nullopt;
  const Decimal number{digits_of(group(match, whole)), {}};
  const int64_t value = value_of(number.whole);
  if (!scale.empty()) {
    const SignWords& signs = language_.signs;
    const std::u16string_view word = scale == u"k" || scale == u"K"               ? signs.thousand
                                     : scale == u"M" || scale.starts_with(u"Mio") ? signs.million
                                     : scale == u"B" || scale == u"bn" || scale.starts_with(u"Mrd")
                                         ? signs.billion
                                         : std::u16string_view(scale);
    return joined(joined(numbers_.number({number.whole, fraction}), word), currency->many);
  }
  if (!language_.spaces || (fraction.size() == 1 || (currency->cent.empty() && !fraction.empty()))) {
    const bool zeros = fraction.find_first_not_of(u'0') == fraction.npos;
    return joined(numbers_.number({number.whole, zeros ? u"" : fraction}), currency->many);
  }
  const int64_t cents = value_of(fraction);
  const std::u16string said_cents = numbers_.number(cents, Gender::masculine);
  if (value == 0 && cents > 0) return joined(said_cents, cents == 1 ? currency->cent : currency->cents);
  std::u16string text = joined(numbers_.number(number, Gender::masculine), value == 1 ? currency->one : currency->many);
  if (cents == 0) return text;
  text = joined(joined(text, language_.cents_joint), said_cents);
  return language_.code == "en" ? joined(text, cents == 1 ? currency->cent : currency->cents) : text;
}

void TokenRules::add_money() {
  // With full stops, commas or spaces between groups whatever the language: two figures at the end are always cents.
  const std::u16string number = u"(\\d{1,3}(?:[., \\u00a0']\\d{3})++(?!\\d)|\\d+)(?:[.,](\\d{1,2}))?(?!\\d)(?![.,]\\d)";
  const std::u16string sign = u"(US\\$|R\\$|[€$£¥]|EUR|USD|GBP|CHF|JPY|CNY|RMB|BRL)";
  const std::u16string scale =
      u"(?:[ "
      u"\\u00a0]?([kKMB]|bn|thousand|million|billion|trillion|Millionen|Milliarden|Mio\\.?|Mrd\\.?|millions|milliards|"
      u"millones|mil"
      u"|milhões|bilhões|万|億|亿)(?!%L))?+";
  const auto say = [this](int32_t sign_group, int32_t number_group) {
    return [this, sign_group, number_group](const icu::RegexMatcher& match) {
      return amount(match, sign_group, number_group);
    };
  };
  // "$5-10", "€ 5 – € 10"
  add(number_rules_,
      sign + u"[ \\u00a0]?" + number + u"[ \\u00a0]?[-–][ \\u00a0]?" + sign + u"?[ \\u00a0]?" + number + scale,
      [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
        const auto upper = amount(match, 1, 5);
        if (!upper) return std::nullopt;
        return joined(joined(numbers_.number(decimal(match, 2, 3)), language_.signs.to), *upper);
      });
  add(number_rules_, sign + u"[ \\u00a0]?" + number + scale, say(1, 2));
  add(number_rules_, number + scale + u"[ \\u00a0]?" + sign + u"(?![%L\\d])", say(4, 1));
  add(word_rules_, sign + u"[ \\u00a0]?" + number + scale, say(1, 2));
}

// Ordinals
void TokenRules::add_ordinals() {
  const auto say = [this](Ordinal kind) {
    return [this, kind](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
      const std::u16string digits = digits_of(group(match, 1));
      if (digits.size() > 6) return std::nullopt;
      return numbers_.ordinal(value_of(digits), kind);
    };
  };
  if (language_.code == "en")
    add(number_rules_, u"(\\d{1,3}(?:,\\d{3})+|\\d+)(?:st|nd|rd|th)(?!%L)", say(Ordinal::plain));
  if (language_.code == "en") {  // "the 1990s"
    add(number_rules_, u"(\\d{2,4})['’]?s(?!%L)",
        [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
          const std::u16string digits = group(match, 1);
          if (!numbers_.words()) return digits + u"s";
          std::u16string text = numbers_.year(value_of(digits));
          if (text.ends_with(u'y')) text.replace(text.size() - 1, 1, u"ie");
          return text + u"s";
        });
  }
  if (language_.code == "fr") {
    add(number_rules_, u"(\\d+)(?:re|nde|ère)(?!%L)", say(Ordinal::feminine));
    add(number_rules_, u"(\\d+)(?:er|nd|e|ᵉ|ème|eme)s?(?!%L)", say(Ordinal::plain));
  }
  if (language_.code == "es" || language_.code == "pt") {
    add(number_rules_, u"(\\d+)\\.?ª", say(Ordinal::feminine));
    add(number_rules_, u"(\\d+)\\.?[º°](?![CF ]?[CF])", say(Ordinal::plain));
  }
  if (language_.code == "de") {
    add(number_rules_, u"(\\d{1,3})\\.(?=[ \\u00a0]\\p{L})",
        [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
          UErrorCode status = U_ZERO_ERROR;
          const size_t at = start_of(match);
          const bool certain = is_listed(language_.before_ordinal, word_before(at)) ||
                               is_listed(language_.after_ordinal, word_after(static_cast<size_t>(match.end(status))));
          if (!certain) return std::nullopt;
          if (!numbers_.words()) return group(match, 0);
          const std::u16string before = word_before(at);
          const bool article = before == u"der" || before == u"die" || before == u"das";
          return numbers_.ordinal(value_of(group(match, 1)), after_preposition(at) ? Ordinal::after_preposition
                                                             : article             ? Ordinal::after_article
                                                                                   : Ordinal::plain);
        });
  }
}

// Fractions
std::u16string TokenRules::fraction(int64_t upper, int64_t lower) const {
  const FractionWords& words = language_.fractions;
  const std::u16string_view word = upper == 1 && lower == 2   ? words.half
                                   : upper == 1 && lower == 3 ? words.third
                                   : upper == 2 && lower == 3 ? words.two_thirds
                                   : upper == 1 && lower == 4 ? words.quarter
                                   : upper == 3 && lower == 4 ? words.three_quarters
                                                              : std::u16string_view();
  if (!word.empty()) return std::u16string(word);
  const std::u16string above = numbers_.number(upper);
  const std::u16string below = numbers_.number(lower);
  if (words.below_first) return below + std::u16string(words.over) + above;
  return joined(joined(above, words.over), below);
}

std::u16string TokenRules::mixed(const std::u16string& whole, const std::u16string& part) const {
  const std::u16string_view joint = language_.code == "ja"   ? u"と"
                                    : language_.code == "zh" ? u"又"
                                                             : language_.signs.and_;
  return joined(joined(numbers_.number({whole, {}}), joint), part);
}

void TokenRules::add_fractions() {
  add(number_rules_, u"(\\d{1,4})?([½⅓⅔¼¾])", [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    const char16_t sign = group(match, 2)[0];
    const std::u16string part = sign == u'½'   ? fraction(1, 2)
                                : sign == u'⅓' ? fraction(1, 3)
                                : sign == u'⅔' ? fraction(2, 3)
                                : sign == u'¼' ? fraction(1, 4)
                                               : fraction(3, 4);
    const std::u16string whole = group(match, 1);
    return whole.empty() ? part : mixed(whole, part);
  });
  add(number_rules_, u"(?:(\\d{1,3})[ \\u00a0](?=\\d/\\d))?(\\d{1,3})[/⁄](\\d{1,3})(?![\\d/])",
      [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
        const std::u16string whole = group(match, 1);
        const int64_t upper = value_of(group(match, 2));
        const int64_t lower = value_of(group(match, 3));
        if (upper > 0 && upper < lower)
          return whole.empty() ? fraction(upper, lower) : mixed(whole, fraction(upper, lower));
        if (!whole.empty()) return std::nullopt;
        return numbers_.number(upper) + u" " + numbers_.number(lower);  // "24/7"
      });
}

// Units, and numbers that stand alone
void TokenRules::add_units() {
  const auto say = [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    const std::u16string unit = group(match, 3);
    UErrorCode status = U_ZERO_ERROR;
    // "1990s" is a decade.
    if (unit == u"s" && match.start(3, status) == std::max(match.end(1, status), match.end(2, status)))
      return std::nullopt;
    const auto* found =
        std::ranges::find(kUnits, std::u16string_view(unit), [](const auto& entry) { return entry.first; });
    if (found == std::end(kUnits)) return std::nullopt;
    return numbers_.with_unit(decimal(match, 1, 2), found->second);
  };
  const std::u16string unit = u"[ \\u00a0]?" + std::u16string(kUnitPattern);
  add(number_rules_, number_pattern_ + unit, say);
  // The decimal point of other countries: two figures behind it are no group.
  if (language_.decimal == u',') add(number_rules_, u"(\\d+)\\.(\\d{1,2})" + unit, say);
}

void TokenRules::add_plain_numbers() {
  // Versions and other chains: 1.2.3, or 3.5 where decimals have a comma.
  add(number_rules_, u"\\d+(?:\\.\\d+){2,}(?!\\d)|\\d+\\.\\d{1,2}(?!\\d)|\\d+\\.\\d{4,}",
      [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
        const std::u16string found = group(match, 0);
        const auto dots = std::ranges::count(found, u'.');
        if (dots == 1 && language_.decimal == u'.') return std::nullopt;
        if (language_.decimal == u',') {  // 1.200.300
          bool groups = found.find(u'.') <= 3;
          for (size_t i = found.find(u'.'); i != found.npos; i = found.find(u'.', i + 1)) {
            const size_t next = found.find(u'.', i + 1);
            groups = groups && (next == found.npos ? found.size() : next) - i == 4;
          }
          if (groups) return std::nullopt;
        }
        std::u16string text;
        size_t begin = 0;
        while (begin <= found.size()) {
          const size_t end = std::min(found.find(u'.', begin), found.size());
          text = joined(text, numbers_.number({found.substr(begin, end - begin), {}}));
          if (end < found.size()) text = joined(text, language_.signs.dot);
          begin = end + 1;
        }
        return text;
      });
  add(number_rules_, number_pattern_ + u"k(?![%L\\d])", [this](const icu::RegexMatcher& match) {
    return std::optional(joined(numbers_.number(decimal(match, 1, 2)), language_.signs.thousand));
  });
  add(number_rules_, number_pattern_, [this](const icu::RegexMatcher& match) -> std::optional<std::u16string> {
    const Decimal number = decimal(match, 1, 2);
    const bool plain = group(match, 0) == number.whole && number.whole.size() == 4;
    const int64_t value = plain ? value_of(number.whole) : 0;
    if (value >= 1100 && value < 2100) return numbers_.year(value);
    return numbers_.number(number);
  });
}

}  // namespace prosa::voice
