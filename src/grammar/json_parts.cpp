// JSON's tokens, and the formats that its schemas know.
#include "grammar/json_parts.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "base/utf8.h"
#include "grammar/regex.h"

namespace prosa::grammar {
namespace {

constexpr int kMaxIndentation = 40;
// Of a number: what every reader takes as a double, and no model goes on with for ever.
constexpr int kMaxDigits = 20;
constexpr int kMaxExponentDigits = 2;
const CharSet kAnyCharacter = {{0, kLastCharacter}};

Part digit_run(int least, std::optional<int> most) { return repeat(one_of({{'0', '9'}}), least, most); }

// Of a number with bounds: a text of so many digits says the same on both sides of a bound when it is read as a double.
constexpr int kMaxSureDigits = 15;
constexpr int kMaxSureFraction = 9;
constexpr int64_t kLargestWhole = 999'999'999'999'999;

Part any_fraction() { return maybe(sequence({literal("."), digit_run(1, kMaxDigits)})); }

/// Numbers from 0 on: in [least, most].
class Magnitudes {
 public:
  /// `fraction`: digits behind the point.
  explicit Magnitudes(int fraction) : fraction_(fraction) {}

  [[nodiscard]] Part between(std::optional<NumberBound> least, std::optional<NumberBound> most) const {
    std::vector<Part> choices;
    const int64_t low = least ? least->value : 0;
    const auto exactly = [](int64_t value) { return integer_between(value, value); };
    if (most && most->value < low) return choice({});
    if (!least || !least->open) {  // the lower end itself
      if (!most || most->value > low || !most->open) choices.push_back(sequence({exactly(low), zeros()}));
    }
    if (!most || most->value > low) {
      choices.push_back(sequence({exactly(low), some()}));
      if (!most || most->value > low + 1)
        choices.push_back(sequence({integer_between(low + 1, most ? most->value - 1 : kLargestWhole), any()}));
      if (most && !most->open) choices.push_back(sequence({exactly(most->value), zeros()}));
    }
    return choice(std::move(choices));
  }

 private:
  /// A fraction of zeros, or none.
  [[nodiscard]] Part zeros() const { return maybe(sequence({literal("."), repeat(literal("0"), 1, fraction_)})); }
  [[nodiscard]] Part any() const { return maybe(sequence({literal("."), digit_run(1, fraction_)})); }
  /// Greater than zero.
  [[nodiscard]] Part some() const {
    std::vector<Part> choices;
    for (int before = 0; before < fraction_; ++before)
      choices.push_back(sequence({literal("." + std::string(static_cast<size_t>(before), '0')), one_of({{'1', '9'}}),
                                  digit_run(0, fraction_ - 1 - before)}));
    return choice(std::move(choices));
  }

  int fraction_;
};

int digits_of(const std::optional<NumberBound>& bound) {
  return bound ? static_cast<int>(std::to_string(std::abs(bound->value)).size()) : 1;
}

std::optional<NumberBound> negated(const std::optional<NumberBound>& bound) {
  if (!bound) return std::nullopt;
  return NumberBound{-bound->value, bound->open};
}

}  // namespace

Part json_space() {
  return maybe(choice(
      {literal(" "), sequence({literal("\n"), repeat(one_of({{'\t', '\t'}, {' ', ' '}}), 0, kMaxIndentation)})}));
}

Part json_characters(std::string_view text) {
  std::vector<Part> parts;
  for (size_t at = 0; at < text.size();) {
    const auto character = static_cast<uint32_t>(utf8::next(text, at));
    parts.push_back(one_of_in_json({{character, character}}));
  }
  return sequence(std::move(parts));
}

Part json_number() {
  const Part exponent = sequence(
      {one_of({{'E', 'E'}, {'e', 'e'}}), maybe(one_of({{'+', '+'}, {'-', '-'}})), digit_run(1, kMaxExponentDigits)});
  const Part whole = choice({literal("0"), sequence({one_of({{'1', '9'}}), digit_run(0, kMaxDigits - 1)})});
  return sequence({maybe(literal("-")), whole, any_fraction(), maybe(exponent)});
}

Part json_number_between(std::optional<NumberBound> least, std::optional<NumberBound> most) {
  const int digits = std::max(digits_of(least), digits_of(most));
  const Magnitudes magnitudes(std::clamp(kMaxSureDigits - digits, 1, kMaxSureFraction));
  std::vector<Part> choices;
  const bool reaches_up = !most || most->value > 0 || (most->value == 0 && !most->open);
  if (reaches_up) {
    const bool from_below = !least || least->value < 0;
    choices.push_back(magnitudes.between(from_below ? std::nullopt : least, most));
  }
  if (!least || least->value < 0) {
    // Below zero: magnitudes above zero, so that there is no "-0".
    std::optional<NumberBound> nearest = NumberBound{0, true};
    if (most && most->value < 0) nearest = negated(most);
    choices.push_back(sequence({literal("-"), magnitudes.between(nearest, negated(least))}));
  }
  return choice(std::move(choices));
}

namespace {

/// What may follow where `texts` (all of which begin alike so far) have been read up to `at`.
Part other_than(const std::vector<std::u32string>& texts, size_t at, const Part& rest, const CharSet& others) {
  std::map<char32_t, std::vector<std::u32string>> next;
  bool ends = false;  // one of them ends here
  for (const std::u32string& text : texts) {
    if (text.size() == at) {
      ends = true;
    } else {
      next[text[at]].push_back(text);
    }
  }
  CharSet known;
  std::vector<Part> choices;
  for (const auto& [character, some] : next) {
    const auto code = static_cast<uint32_t>(character);
    known.push_back({code, code});
    choices.push_back(sequence({one_of_in_json({{code, code}}), other_than(some, at + 1, rest, others)}));
  }
  choices.push_back(sequence({one_of_in_json(both(others, complement(normalized(known)))), rest}));
  if (!ends) choices.push_back(literal("\""));
  return choice(std::move(choices));
}

}  // namespace

Part json_string_rest() { return sequence({repeat(one_of_in_json(kAnyCharacter), 0, {}), literal("\"")}); }

Part json_string_except(const std::vector<std::string>& texts, const Part& rest, const CharSet& others) {
  if (texts.empty()) return sequence({literal("\""), rest});
  std::vector<std::u32string> characters;
  for (const std::string& text : texts) {
    std::u32string& to = characters.emplace_back();
    for (size_t at = 0; at < text.size();) to += utf8::next(text, at);
  }
  return sequence({literal("\""), other_than(characters, 0, rest, others)});
}

std::optional<Part> json_format(std::string_view name) {
  static constexpr std::string_view kFourth = "(0[48]|[2468][048]|[13579][26])";  // of the years of a century
  static constexpr std::string_view kTime =
      "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
  static constexpr std::string_view kByte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  // Without "--", which in names of other alphabets has a meaning of its own.
  static constexpr std::string_view kLabel = "[A-Za-z0-9]{1,20}(-[A-Za-z0-9]{1,20}){0,2}";
  static constexpr std::string_view kLocal = "[A-Za-z0-9_+~-]{1,20}";  // of an address, between its dots
  const auto date = [] {
    return fmt::format(
        "([1-9][0-9]{{3}}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
        "02-(0[1-9]|1[0-9]|2[0-8]))|([1-9][0-9]{0}|([2468][048]|[13579][26])00)-02-29)",
        kFourth);
  };
  const auto duration = [] {
    const std::string n = "[0-9]{1,9}";
    const std::string days = n + "D";
    const std::string months = n + "M(" + days + ")?";
    const std::string years = n + "Y(" + months + ")?";
    const std::string seconds = n + "S";
    const std::string minutes = n + "M(" + seconds + ")?";
    const std::string hours = n + "H(" + minutes + ")?";
    const std::string time = "T(" + hours + "|" + minutes + "|" + seconds + ")";
    return "P(" + n + "W|(" + days + "|" + months + "|" + years + ")(" + time + ")?|" + time + ")";
  };
  const auto expression = [&]() -> std::string {
    if (name == "date") return date();
    if (name == "time") return std::string(kTime);
    if (name == "date-time") return date() + "T" + std::string(kTime);
    if (name == "duration") return duration();
    if (name == "uuid") return "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
    if (name == "ipv4") return fmt::format("{0}(\\.{0}){{3}}", kByte);
    if (name == "hostname") return fmt::format("{0}(\\.{0}){{0,2}}", kLabel);
    if (name == "email") return fmt::format("{0}(\\.{0}){{0,2}}@{1}(\\.{1}){{1,2}}", kLocal, kLabel);
    return "";
  }();
  if (expression.empty()) return std::nullopt;
  return read_regex(expression, {.in_json = true});
}

}  // namespace prosa::grammar
