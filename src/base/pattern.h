// Patterns that people write to choose names: globs and a plain kind of regular expression, matched in linear time.
//
// Both become one list of states, and a name goes through it byte by byte with the set of states it may be in: no
// pattern makes that take longer than bytes times states, both of which are limited. So there are no back-references
// and no looking ahead or behind, which would need more. Bytes, not characters. Immutable.
#pragma once

#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

namespace prosa {

class Pattern {
 public:
  static constexpr size_t kMaxBytes = 256;    // of a pattern
  static constexpr size_t kMaxStates = 1000;  // that it takes, repetitions written out

  /// `*`, `?`, `[a-z]`, `[!a-z]`, `[[:digit:]]`, and `\` in front of any of these; matches a whole name, or what
  /// follows a dot in it. Error(invalid_argument) says what is wrong.
  static Pattern glob(std::string_view text);
  /// `.` `[…]` `[^…]` `\d` `\w` `\s` (and the same in capitals), `( )` `(?: )` `|`, `*` `+` `?` `{n}` `{n,}` `{n,m}`,
  /// `^` `$`, and `\` in front of punctuation; matches anywhere in a name. Errors as above.
  static Pattern regex(std::string_view text);

  [[nodiscard]] bool matches(std::string_view name) const;

 private:
  friend class PatternMaker;
  using Bytes = std::bitset<256>;
  struct State {
    enum class Kind : uint8_t { bytes, split, begin, end, done };
    Kind kind = Kind::done;
    uint32_t next = 0;   // where it goes on
    uint32_t other = 0;  // of a split: or there
    Bytes bytes = {};    // of bytes: those that lead on
  };
  class Walk;

  std::vector<State> states_;
  uint32_t start_ = 0;
};

}  // namespace prosa
