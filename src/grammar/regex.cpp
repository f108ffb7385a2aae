// A recursive reader: choice, sequence, atom, repetition. `^` and `$` are known at the two ends of the alternatives of
// the outermost choice, where they mean something in every reading.
#include "grammar/regex.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/utf8.h"
#include "prosa/error.h"

namespace prosa::grammar {
namespace {

constexpr int kMaxGroups = 50;      // of parentheses
constexpr int kMaxTimes = 100'000;  // in {n,m}; what is written out is bounded by the network

const CharSet kDigits = {{'0', '9'}};
const CharSet kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CharSet kSpace = {{'\t', '\r'}, {' ', ' '}};
const CharSet kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
const CharSet kEveryCharacter = {{0, kLastCharacter}};

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class RegexReader {
 public:
  RegexReader(std::string_view text, const RegexOptions& options) : text_(text), options_(options) {
    if (text.size() > kMaxRegexBytes) fail(fmt::format("it has more than {} bytes", kMaxRegexBytes));
    if (!utf8::is_valid(text)) fail("it is not UTF-8");
  }

  Part read() {
    std::vector<Part> alternatives;
    do alternatives.push_back(outer_sequence());
    while (skip("|"));
    if (at_ < text_.size()) fail("a ')' without its '('");
    return choice(std::move(alternatives));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_argument, fmt::format("{}, at byte {}", what, at_), options_.where);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::unsupported, fmt::format("{} cannot be honoured, at byte {}", what, at_), options_.where,
                "write it without");
  }

  [[nodiscard]] bool ends() const { return at_ == text_.size(); }
  [[nodiscard]] char front() const { return ends() ? '\0' : text_[at_]; }
  bool skip(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  uint32_t take_character() { return utf8::next(text_, at_); }

  [[nodiscard]] Part characters(const CharSet& set) const {
    const CharSet allowed = both(set, options_.alphabet);
    return options_.in_json ? one_of_in_json(allowed) : one_of(allowed);
  }
  [[nodiscard]] Part anything() const { return repeat(characters(kEveryCharacter), 0, {}); }

  Part outer_sequence() {
    const bool begins = skip("^") || options_.whole;
    while (skip("^")) {
    }
    Part inside = sequence_of(0);
    const bool ends_here = std::exchange(end_seen_, false) || options_.whole;
    std::vector<Part> parts;
    if (!begins) parts.push_back(anything());
    parts.push_back(std::move(inside));
    if (!ends_here) parts.push_back(anything());
    return sequence(std::move(parts));
  }

  Part sequence_of(int depth) {
    std::vector<Part> parts;
    while (!ends() && front() != '|' && front() != ')') {
      if (depth == 0 && skip("$")) {
        while (skip("$")) {
        }
        if (!ends() && front() != '|') refuse("a '$' in the middle");
        end_seen_ = true;
        break;
      }
      parts.push_back(repeated(atom(depth)));
    }
    return sequence(std::move(parts));
  }

  Part atom(int depth) {
    const char c = front();
    switch (c) {
      case '(': return group(depth);
      case '[': ++at_; return characters(bracket());
      case '.': ++at_; return characters(complement(kLineEnds));
      case '^':
      case '$': refuse(fmt::format("a '{}' in the middle", c));
      case '\\': ++at_; return characters(escape(false));
      case '*':
      case '+':
      case '?': fail(fmt::format("nothing stands in front of '{}'", c));
      case '{':
        if (quantifier()) fail("nothing stands in front of '{'");
        break;
      default: break;
    }
    const uint32_t character = take_character();
    return characters({{character, character}});
  }

  Part group(int depth) {
    ++at_;
    if (depth >= kMaxGroups) fail("its parentheses are nested too deep");
    if (skip("?")) {
      if (skip("<")) {
        if (front() == '=' || front() == '!') refuse("looking behind");
        const size_t close = text_.find('>', at_);
        if (close == std::string_view::npos) fail("a name without its '>'");
        at_ = close + 1;
      } else if (front() == '=' || front() == '!') {
        refuse("looking ahead");
      } else if (!skip(":")) {
        refuse(fmt::format("'(?{}'", front()));
      }
    }
    std::vector<Part> alternatives;
    do alternatives.push_back(sequence_of(depth + 1));
    while (skip("|"));
    if (!skip(")")) fail("a '(' without its ')'");
    return choice(std::move(alternatives));
  }

  /// {n}, {n,} or {n,m} at this place, which is then behind it.
  struct Times {
    int at_least = 0;
    std::optional<int> at_most;
  };
  std::optional<Times> quantifier() {
    const size_t begin = at_;
    const auto number = [this](int& value) {
      const char* const first = text_.data() + at_;
      const auto read = std::from_chars(first, text_.data() + text_.size(), value);
      if (read.ec == std::errc::result_out_of_range || (read.ec == std::errc() && value > kMaxTimes))
        fail(fmt::format("a repetition is a number from 0 to {}", kMaxTimes));
      if (read.ec != std::errc() || *first == '-') return false;
      at_ += static_cast<size_t>(read.ptr - first);
      return true;
    };
    Times times;
    bool good = skip("{") && number(times.at_least);
    if (good && skip(",")) {
      int most = 0;
      if (front() != '}') {
        good = number(most);
        times.at_most = most;
      }
    } else {
      times.at_most = times.at_least;
    }
    if (!good || !skip("}")) {
      at_ = begin;
      return std::nullopt;
    }
    if (times.at_most && *times.at_most < times.at_least) fail("a repetition ends before it begins");
    return times;
  }

  Part repeated(Part part) {
    for (;;) {
      std::optional<Times> times;
      if (skip("*")) {
        times = {0, {}};
      } else if (skip("+")) {
        times = {1, {}};
      } else if (skip("?")) {
        times = {0, 1};
      } else {
        times = quantifier();
      }
      if (!times) return part;
      if (skip("+")) refuse("a repetition that gives nothing back");
      skip("?");  // lazy: the same texts
      part = repeat(std::move(part), times->at_least, times->at_most);
    }
  }

  uint32_t hex(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      if (!is_hex(front())) fail("an escape with too few hexadecimal digits");
      const char c = text_[at_++];
      value = value * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
  }

  uint32_t unicode_escape() {
    if (skip("{")) {
      uint32_t value = 0;
      size_t digits = 0;
      for (; is_hex(front()) && digits < 6; ++digits) value = value * 16 + hex(1);
      if (digits == 0 || !skip("}") || value > kLastCharacter) fail("a '\\u{' that names no character");
      return value;
    }
    const uint32_t high = hex(4);
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high < 0xDC00 && skip("\\u")) {
      const uint32_t low = hex(4);
      if (low >= 0xDC00 && low <= 0xDFFF) return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    fail("half of a pair of surrogates");
  }

  /// Behind the '\'.
  CharSet escape(bool in_bracket) {
    if (ends()) fail("it ends with a '\\'");
    const auto one = [](uint32_t character) { return CharSet{{character, character}}; };
    const uint32_t c = take_character();
    switch (c) {
      case 'd': return kDigits;
      case 'D': return complement(kDigits);
      case 'w': return kWord;
      case 'W': return complement(kWord);
      case 's': return kSpace;
      case 'S': return complement(kSpace);
      case 't': return one('\t');
      case 'n': return one('\n');
      case 'r': return one('\r');
      case 'f': return one('\f');
      case 'v': return one('\v');
      case 'x': return one(hex(2));
      case 'u': return one(unicode_escape());
      case '0':
        if (front() >= '0' && front() <= '9') fail("an octal escape");
        return one(0);
      case 'b':
        if (in_bracket) return one('\b');
        refuse("a word border");
      case 'B': refuse("a word border");
      case 'p':
      case 'P': refuse("a class of Unicode properties");
      case 'k': refuse("a back-reference");
      default: break;
    }
    if (c >= '1' && c <= '9') refuse("a back-reference");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
      fail(fmt::format("'\\{}' is not known", static_cast<char>(c)));
    return one(c);
  }

  /// Behind the '['.
  CharSet bracket() {
    const bool negated = skip("^");
    CharSet all;
    const auto element = [&]() -> CharSet {
      if (ends()) fail("a '[' without its ']'");
      if (skip("\\")) return escape(true);
      const uint32_t character = take_character();
      return {{character, character}};
    };
    const auto is_one = [](const CharSet& set) { return set.size() == 1 && set[0].first == set[0].last; };
    while (!skip("]")) {
      const CharSet low = element();
      if (front() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const CharSet high = element();
        if (!is_one(low) || !is_one(high) || high[0].first < low[0].first) fail("a range that is none, in '[ ]'");
        all.push_back({low[0].first, high[0].first});
      } else {
        all.insert(all.end(), low.begin(), low.end());
      }
    }
    all = normalized(std::move(all));
    return negated ? complement(all) : all;
  }

  std::string_view text_;
  const RegexOptions& options_;
  size_t at_ = 0;
  bool end_seen_ = false;  // a '$' ended the sequence
};

}  // namespace

Part read_regex(std::string_view text, const RegexOptions& options) { return RegexReader(text, options).read(); }

Part one_of_in_json(const CharSet& set) {
  const CharSet plain = both(set, {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kLastCharacter}});
  std::vector<Part> choices;
  if (!plain.empty()) choices.push_back(one_of(plain));
  constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  const auto digit = [](uint32_t value) { return static_cast<unsigned char>("0123456789abcdef"[value]); };
  Part names{.kind = Part::Kind::bytes};
  for (size_t i = 0; i < kNamed.size(); ++i) {
    if (contains(set, static_cast<unsigned char>(kNamed[i]))) names.bytes.set(static_cast<unsigned char>(kNames[i]));
  }
  if (names.bytes.any()) choices.push_back(sequence({literal("\\"), names}));
  for (const uint32_t high : {0U, 1U}) {  // control characters without a name
    Part last{.kind = Part::Kind::bytes};
    for (uint32_t low = 0; low < 16; ++low) {
      const uint32_t character = high * 16 + low;
      if (contains(set, character) && kNamed.find(static_cast<char>(character)) == std::string_view::npos)
        last.bytes.set(digit(low));
    }
    if (last.bytes.any()) choices.push_back(sequence({literal(fmt::format("\\u00{}", high)), last}));
  }
  return choice(std::move(choices));
}

}  // namespace prosa::grammar
