// Thompson's construction, backwards: each part of a pattern is made knowing the state that follows it, so that no
// state is ever mended. A repetition makes its part as often as it says.
#include "base/pattern.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>

#include "prosa/error.h"

namespace prosa {

namespace {

using Bytes = std::bitset<256>;

constexpr int kMaxDepth = 50;     // of parentheses
constexpr int kMaxRepeats = 200;  // in {n,m}

/// A pattern as a tree; the parts of a repetition are made several times from it.
struct Part {
  enum class Kind { bytes, sequence, choice, repeat, begin, end };
  Kind kind = Kind::sequence;
  Bytes bytes = {};
  std::vector<Part> parts = {};
  int at_least = 0;
  std::optional<int> at_most = {};
};

Bytes one(char byte) { return Bytes().set(static_cast<unsigned char>(byte)); }

Bytes range(unsigned char first, unsigned char last) {
  Bytes bytes;
  for (unsigned byte = first; byte <= last; ++byte) bytes.set(byte);
  return bytes;
}

const Bytes kDigits = range('0', '9');
const Bytes kLetters = range('a', 'z') | range('A', 'Z');
const Bytes kWord = kDigits | kLetters | one('_');
const Bytes kSpace = range('\t', '\r') | one(' ');

std::optional<Bytes> named_class(std::string_view name) {
  if (name == "digit") return kDigits;
  if (name == "alpha") return kLetters;
  if (name == "alnum") return kDigits | kLetters;
  if (name == "lower") return range('a', 'z');
  if (name == "upper") return range('A', 'Z');
  if (name == "space") return kSpace;
  if (name == "punct") return range('!', '~') & ~(kDigits | kLetters);
  return std::nullopt;
}

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::invalid_argument, what, "pattern"); }

/// Reads a text into parts.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {
    if (text.size() > Pattern::kMaxBytes) fail("it has more than " + std::to_string(Pattern::kMaxBytes) + " bytes");
  }

  Part glob() {
    Part all;
    while (!rest_.empty()) {
      const char c = take();
      if (c == '*') {
        all.parts.push_back({.kind = Part::Kind::repeat, .parts = {bytes(Bytes().set())}});
      } else if (c == '?') {
        all.parts.push_back(bytes(Bytes().set()));
      } else if (c == '[') {
        all.parts.push_back(bytes(bracket("!^", false)));
      } else if (c == '\\' && !rest_.empty()) {
        all.parts.push_back(bytes(one(take())));
      } else {
        all.parts.push_back(bytes(one(c)));
      }
    }
    return all;
  }

  Part regex() {
    Part all = choice(0);
    if (!rest_.empty()) fail("a ')' without its '('");
    return all;
  }

 private:
  static Part bytes(const Bytes& which) { return {.kind = Part::Kind::bytes, .bytes = which}; }

  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  bool skip(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  Part choice(int depth) {
    if (depth > kMaxDepth) fail("its parentheses are nested too deep");
    Part all{.kind = Part::Kind::choice, .parts = {sequence(depth)}};
    while (skip("|")) all.parts.push_back(sequence(depth));
    return all.parts.size() == 1 ? std::move(all.parts.front()) : all;
  }

  Part sequence(int depth) {
    Part all;
    while (!rest_.empty() && rest_.front() != '|' && rest_.front() != ')') {
      Part part = atom(depth);
      while (repetition(part)) {
      }
      all.parts.push_back(std::move(part));
    }
    return all;
  }

  Part atom(int depth) {
    const char c = take();
    switch (c) {
      case '(': {
        skip("?:");
        if (!rest_.empty() && rest_.front() == '?') fail("looking ahead or behind is not known");
        Part inside = choice(depth + 1);
        if (!skip(")")) fail("a '(' without its ')'");
        return inside;
      }
      case '[': return bytes(bracket("^", true));
      case '.': return bytes(Bytes().set());
      case '^': return {.kind = Part::Kind::begin};
      case '$': return {.kind = Part::Kind::end};
      case '\\': return bytes(escape());
      case '*':
      case '+':
      case '?':
      case '{': fail(std::string("nothing stands in front of '") + c + "'");
      default: return bytes(one(c));
    }
  }

  /// Whether one stands here; `part` is then the repeated one.
  bool repetition(Part& part) {
    Part repeated{.kind = Part::Kind::repeat};
    if (skip("*")) {
    } else if (skip("+")) {
      repeated.at_least = 1;
    } else if (skip("?")) {
      repeated.at_most = 1;
    } else if (skip("{")) {
      repeated.at_least = number();
      if (skip(",")) {
        if (!rest_.empty() && rest_.front() != '}') repeated.at_most = number();
      } else {
        repeated.at_most = repeated.at_least;
      }
      if (!skip("}")) fail("a '{' without its '}'");
      if (repeated.at_most && *repeated.at_most < repeated.at_least) fail("a repetition ends before it begins");
    } else {
      return false;
    }
    if (part.kind == Part::Kind::begin || part.kind == Part::Kind::end) fail("'^' and '$' cannot be repeated");
    repeated.parts.push_back(std::move(part));
    part = std::move(repeated);
    return true;
  }

  int number() {
    int value = 0;
    const auto read = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (read.ec != std::errc() || value < 0 || value > kMaxRepeats) {
      fail("a repetition is a number from 0 to " + std::to_string(kMaxRepeats));
    }
    rest_.remove_prefix(static_cast<size_t>(read.ptr - rest_.data()));
    return value;
  }

  Bytes escape() {
    if (rest_.empty()) fail("it ends with a '\\'");
    const char c = take();
    switch (c) {
      case 'd': return kDigits;
      case 'D': return ~kDigits;
      case 'w': return kWord;
      case 'W': return ~kWord;
      case 's': return kSpace;
      case 'S': return ~kSpace;
      case 't': return one('\t');
      case 'n': return one('\n');
      default: break;
    }
    if (kWord[static_cast<unsigned char>(c)]) fail(std::string("'\\") + c + "' is not known");
    return one(c);
  }

  /// Behind the '['. `negations`: what may stand first to mean all others. `classes`: whether \d and the like are some.
  Bytes bracket(std::string_view negations, bool classes) {
    const auto element = [&] {
      const char c = take();
      if (c != '\\') return one(c);
      if (classes) return escape();
      if (rest_.empty()) fail("it ends with a '\\'");
      return one(take());
    };
    const bool negated = !rest_.empty() && negations.find(rest_.front()) != std::string_view::npos;
    if (negated) take();
    Bytes all;
    for (bool first = true;; first = false) {
      if (rest_.empty()) fail("a '[' without its ']'");
      if (!first && skip("]")) return negated ? ~all : all;
      if (skip("[:")) {
        const size_t close = rest_.find(":]");
        const auto known = named_class(rest_.substr(0, close));
        if (close == std::string_view::npos || !known) fail("a class between '[:' and ':]' that is not known");
        rest_.remove_prefix(close + 2);
        all |= *known;
        continue;
      }
      const Bytes low = element();
      if (rest_.size() < 2 || rest_.front() != '-' || rest_[1] == ']') {
        all |= low;
        continue;
      }
      take();  // the '-'
      const Bytes high = element();
      if (low.count() != 1 || high.count() != 1 || first_of(high) < first_of(low))
        fail("a range that is none, in '[ ]'");
      all |= range(first_of(low), first_of(high));
    }
  }

  static unsigned char first_of(const Bytes& bytes) {
    unsigned byte = 0;
    while (!bytes[byte]) ++byte;
    return static_cast<unsigned char>(byte);
  }

  std::string_view rest_;
};

}  // namespace

/// Makes the states of parts.
class PatternMaker {
 public:
  static Pattern of_glob(const Part& part) {
    Pattern pattern;
    PatternMaker maker(pattern);
    const uint32_t whole = maker.make(part, maker.add({.kind = State::Kind::done}));
    const uint32_t behind_dot = maker.add({.kind = State::Kind::bytes, .next = whole, .bytes = one('.')});
    pattern.start_ = maker.add({.kind = State::Kind::split, .next = whole, .other = maker.loop(behind_dot)});
    return pattern;
  }
  static Pattern of_regex(const Part& part) {
    Pattern pattern;
    PatternMaker maker(pattern);
    pattern.start_ = maker.loop(maker.make(part, maker.loop(maker.add({.kind = State::Kind::done}))));
    return pattern;
  }

 private:
  using State = Pattern::State;
  explicit PatternMaker(Pattern& pattern) : states_(pattern.states_) {}

  uint32_t add(const State& state) {
    if (states_.size() >= Pattern::kMaxStates) fail("it repeats too much");
    states_.push_back(state);
    return static_cast<uint32_t>(states_.size() - 1);
  }

  /// Any bytes, then `next`.
  uint32_t loop(uint32_t next) {
    const uint32_t split = add({.kind = State::Kind::split, .other = next});
    states_[split].next = add({.kind = State::Kind::bytes, .next = split, .bytes = Bytes().set()});
    return split;
  }

  /// Where `part` begins that goes on at `next`.
  uint32_t make(const Part& part, uint32_t next) {
    switch (part.kind) {
      case Part::Kind::bytes: return add({.kind = State::Kind::bytes, .next = next, .bytes = part.bytes});
      case Part::Kind::begin: return add({.kind = State::Kind::begin, .next = next});
      case Part::Kind::end: return add({.kind = State::Kind::end, .next = next});
      case Part::Kind::sequence:
        for (auto each = part.parts.rbegin(); each != part.parts.rend(); ++each) next = make(*each, next);
        return next;
      case Part::Kind::choice: {
        uint32_t start = make(part.parts.back(), next);
        for (auto each = part.parts.rbegin() + 1; each != part.parts.rend(); ++each) {
          start = add({.kind = State::Kind::split, .next = make(*each, next), .other = start});
        }
        return start;
      }
      case Part::Kind::repeat: return repeat(part, next);
    }
    return next;
  }

  uint32_t repeat(const Part& part, uint32_t next) {
    uint32_t start = next;
    if (part.at_most) {
      for (int i = part.at_least; i < *part.at_most; ++i) {
        start = add({.kind = State::Kind::split, .next = make(part.parts[0], start), .other = next});
      }
    } else {
      const uint32_t split = add({.kind = State::Kind::split, .other = next});
      const uint32_t inside = make(part.parts[0], split);
      states_[split].next = inside;
      start = split;
    }
    for (int i = 0; i < part.at_least; ++i) {
      // A part that takes no state stays as it is, however often.
      const uint32_t before = std::exchange(start, make(part.parts[0], start));
      if (start == before) break;
    }
    return start;
  }

  std::vector<State>& states_;
};

/// The states that a name may be in, each once.
class Pattern::Walk {
 public:
  explicit Walk(const std::vector<State>& states) : states_(&states), seen_(states.size(), 0) {}

  void clear() {
    now_.clear();
    ++round_;
  }
  /// `state`, and what it leads to without a byte. `at_begin`, `at_end`: of the name.
  void enter(uint32_t state, bool at_begin, bool at_end) {
    stack_.push_back(state);
    while (!stack_.empty()) {
      const uint32_t each = stack_.back();
      stack_.pop_back();
      if (std::exchange(seen_[each], round_) == round_) continue;
      const State& entered = (*states_)[each];
      switch (entered.kind) {
        case State::Kind::split:
          stack_.push_back(entered.other);
          stack_.push_back(entered.next);
          break;
        case State::Kind::begin:
          if (at_begin) stack_.push_back(entered.next);
          break;
        case State::Kind::end:
          if (at_end) stack_.push_back(entered.next);
          break;
        default: now_.push_back(each);
      }
    }
  }
  [[nodiscard]] const std::vector<uint32_t>& now() const noexcept { return now_; }

 private:
  const std::vector<State>* states_;
  std::vector<uint32_t> seen_;  // [states]: the round that has entered it last
  std::vector<uint32_t> now_;
  std::vector<uint32_t> stack_;
  uint32_t round_ = 1;
};

Pattern Pattern::glob(std::string_view text) { return PatternMaker::of_glob(Reader(text).glob()); }

Pattern Pattern::regex(std::string_view text) { return PatternMaker::of_regex(Reader(text).regex()); }

bool Pattern::matches(std::string_view name) const {
  Walk now(states_);
  Walk then(states_);
  now.enter(start_, true, name.empty());
  for (size_t at = 0; at < name.size() && !now.now().empty(); ++at) {
    then.clear();
    for (const uint32_t state : now.now()) {
      if (states_[state].kind != State::Kind::bytes || !states_[state].bytes[static_cast<unsigned char>(name[at])])
        continue;
      then.enter(states_[state].next, false, at + 1 == name.size());
    }
    std::swap(now, then);
  }
  return std::ranges::any_of(now.now(), [&](uint32_t state) { return states_[state].kind == State::Kind::done; });
}

}  // namespace prosa
