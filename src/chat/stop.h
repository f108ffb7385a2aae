// Stop strings: finds the first of several strings in a text that arrives in pieces, and says what of it may be shown.
//
// Knows text only: no tokens, no channels. The first string to be complete wins, of several that end at the same place
// the longest; where the text was cut into pieces makes no difference. Invariant: what push() and flush() returned, put
// together, is exactly the text before the match (all of it without one), and no returned part ends inside a character.
// Time is linear in the text for each string (Knuth-Morris-Pratt); at most the longest string is held back.
// A value: a copy shares the strings and costs a few numbers and what is held back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace prosa::chat {

/// Error(invalid_argument) for an empty string, invalid UTF-8, more than 64 strings or one longer than 4,096 bytes.
void validate_stop_strings(std::span<const std::string> stop);

class StopMatcher {
 public:
  /// Validates. Without strings everything passes at once.
  explicit StopMatcher(std::span<const std::string> stop);

  /// Whole UTF-8 characters in; out, the text that can no longer belong to a stop string. Empty after a match.
  std::string push(std::string_view text);
  /// The text ends here: what was held back. What is pushed next is a new text.
  std::string flush();

  /// The text so far holds a stop string; all later text is swallowed.
  [[nodiscard]] bool matched() const noexcept { return match_ >= 0; }
  /// Index of the string that matched; -1 before.
  [[nodiscard]] int match() const noexcept { return match_; }
  /// Bytes held back now.
  [[nodiscard]] size_t held() const noexcept { return pending_.size(); }

 private:
  struct Pattern {
    std::string text;
    std::vector<size_t> border;  // [n]: of text's first n+1 bytes, the longest proper prefix that is also a suffix
  };
  std::shared_ptr<const std::vector<Pattern>> patterns_;
  std::vector<size_t> lengths_;  // [patterns]: bytes of each string that the input now ends with
  int match_ = -1;
  std::string pending_;  // pushed and not yet returned
};

}  // namespace prosa::chat
