// One pass; names get their numbers when they are first seen, and at the end every one must have a rule.
#include "grammar/gbnf.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/utf8.h"
#include "prosa/error.h"

namespace prosa::grammar {
namespace {

constexpr int kMaxNesting = 50;        // of parentheses
constexpr int kMaxRepetitions = 8;     // of one part, one after the other
constexpr int kMaxRepeated = 100'000;  // in {n,m}; what is written out is bounded by the network

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class GbnfReader {
 public:
  GbnfReader(std::string_view text, const std::string& where) : text_(text), where_(where) {
    if (text.size() > kMaxGbnfBytes) fail(fmt::format("it has more than {} bytes", kMaxGbnfBytes));
    if (!utf8::is_valid(text)) fail("it is not UTF-8");
  }

  Rules read() {
    number_of("root");
    for (skip_space(true); at_ < text_.size(); skip_space(true)) {
      const std::string name = take_name();
      skip_space(false);
      if (!skip("::=")) fail(fmt::format("'::=' is missing after '{}'", name));
      skip_space(true);
      const uint32_t number = number_of(name);
      if (defined_[number]) fail(fmt::format("'{}' stands twice", name));
      Part part = choice_of(0);
      rules_.parts[number] = std::move(part);
      defined_[number] = true;
    }
    for (size_t number = 0; number < defined_.size(); ++number) {
      if (!defined_[number]) fail(fmt::format("there is no rule '{}'", rules_.names[number]));
    }
    return std::move(rules_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const std::string_view before = text_.substr(0, std::min(at_, text_.size()));
    throw Error(ErrorCode::invalid_argument, fmt::format("{}, in line {}", what, std::ranges::count(before, '\n') + 1),
                where_);
  }

  [[nodiscard]] char front() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool skip(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  /// Spaces and comments; line ends too where `lines`.
  void skip_space(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string take_name() {
    const size_t begin = at_;
    while (is_name(front())) ++at_;
    if (at_ == begin) fail("a name is missing");
    return std::string(text_.substr(begin, at_ - begin));
  }

  uint32_t number_of(const std::string& name) {
    const auto [found, fresh] = numbers_.try_emplace(name, static_cast<uint32_t>(numbers_.size()));
    if (fresh) {
      rules_.parts.emplace_back();
      rules_.names.push_back(name);
      defined_.push_back(false);
    }
    return found->second;
  }

  Part choice_of(int depth) {
    std::vector<Part> choices = {sequence_of(depth)};
    for (;;) {
      const size_t here = at_;
      skip_space(true);
      if (!skip("|")) {
        if (depth == 0) at_ = here;
        return choice(std::move(choices));
      }
      skip_space(true);
      choices.push_back(sequence_of(depth));
    }
  }

  Part sequence_of(int depth) {
    std::vector<Part> parts;
    for (;;) {
      skip_space(depth > 0);
      const char c = front();
      if (c == '\0' || c == '|' || c == ')' || c == '\n' || c == '\r') break;
      Part part = atom(depth);
      int times = 0;
      for (std::optional<Part> more = repeated(part); more; more = repeated(part)) {
        if (++times > kMaxRepetitions) fail("too many repetitions of one part");
        part = std::move(*more);
      }
      parts.push_back(std::move(part));
    }
    return sequence(std::move(parts));
  }

  Part atom(int depth) {
    const char c = front();
    if (skip("\"")) return text_until('"');
    if (skip("[")) return class_of();
    if (skip(".")) return one_of({{0, kLastCharacter}});
    if (skip("(")) {
      if (depth >= kMaxNesting) fail("its parentheses are nested too deep");
      Part inside = choice_of(depth + 1);
      if (!skip(")")) fail("a '(' without its ')'");
      return inside;
    }
    if (is_name(c)) return rule(number_of(take_name()));
    fail(fmt::format("'{}' stands where a part should", c));
  }

  uint32_t character() {
    if (at_ >= text_.size() || front() == '\n') fail("a literal or a class does not end in its line");
    if (!skip("\\")) return static_cast<uint32_t>(utf8::next(text_, at_));
    const char c = front();
    ++at_;
    switch (c) {
      case 'n': return '\n';
      case 'r': return '\r';
      case 't': return '\t';
      case 'x': return hex(2);
      case 'u': return hex(4);
      case 'U': return hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '^':
      case '-': return static_cast<uint32_t>(c);
      default: fail("an escape that is not known");
    }
  }

  uint32_t hex(size_t digits) {
    uint32_t value = 0;
    const std::string_view text = text_.substr(std::min(at_, text_.size()), digits);
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.size() != digits || read.ec != std::errc() || read.ptr != text.data() + digits)
      fail("an escape with too few hexadecimal digits");
    if (value > kLastCharacter || (value >= 0xD800 && value <= 0xDFFF)) fail("an escape that is no character");
    at_ += digits;
    return value;
  }

  Part text_until(char end) {
    std::string text;
    while (front() != end) utf8::append(text, character());
    ++at_;
    return literal(text);
  }

  Part class_of() {
    const bool negated = skip("^");
    CharSet set;
    while (!skip("]")) {
      const uint32_t first = character();
      uint32_t last = first;
      if (front() == '-' && text_.substr(at_).size() > 1 && text_[at_ + 1] != ']') {
        ++at_;
        last = character();
        if (last < first) fail("a range that is none, in '[ ]'");
      }
      set.push_back({first, last});
    }
    set = normalized(std::move(set));
    return one_of(negated ? complement(set) : set);
  }

  int number() {
    int value = 0;
    const char* const begin = text_.data() + at_;
    const auto read = std::from_chars(begin, text_.data() + text_.size(), value);
    if (read.ec != std::errc() || value < 0 || value > kMaxRepeated)
      fail(fmt::format("a repetition is a number from 0 to {}", kMaxRepeated));
    at_ += static_cast<size_t>(read.ptr - begin);
    return value;
  }

  std::optional<Part> repeated(const Part& part) {
    if (skip("*")) return repeat(part, 0, {});
    if (skip("+")) return repeat(part, 1, {});
    if (skip("?")) return maybe(part);
    if (!skip("{")) return std::nullopt;
    const int least = number();
    std::optional<int> most = least;
    if (skip(",")) most = front() == '}' ? std::nullopt : std::optional(number());
    if (!skip("}")) fail("a '{' without its '}'");
    if (most && *most < least) fail("a repetition ends before it begins");
    return repeat(part, least, most);
  }

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
  Rules rules_;
  std::map<std::string, uint32_t> numbers_;
  std::vector<bool> defined_;  // [rules]
};

}  // namespace

Rules read_gbnf(std::string_view text, const std::string& where) { return GbnfReader(text, where).read(); }

}  // namespace prosa::grammar
