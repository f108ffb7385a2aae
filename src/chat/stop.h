// Stop strings: finds the first of several strings in a text that arrives in pieces, and says what of it may be shown.
//
// Knows text only: no tokens, no channels. Invariant: what push() and flush() returned, put together, is exactly the
// text before the first occurrence of any stop string (of several that begin at different places the leftmost, of those
// that begin at the same place it makes no difference), and no returned part ends inside a character. Time is linear in
// the text, whatever the strings (Aho-Corasick); at most the longest string is held back.
#pragma once

#include <array>
#include <cstdint>
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
  /// The text ends here: what was held back.
  std::string flush();

  /// The text so far holds a stop string; all later text is swallowed.
  [[nodiscard]] bool matched() const noexcept { return match_ >= 0; }
  /// Index of the string that matched; -1 before.
  [[nodiscard]] int match() const noexcept { return match_; }
  /// Bytes held back now.
  [[nodiscard]] size_t held() const noexcept { return pending_.size(); }

 private:
  struct Node {
    std::array<int32_t, 256> next;  // goto with failure links already followed
    int32_t depth = 0;              // bytes matched = the bytes that must be held back
    int32_t string = -1;            // the longest stop string that ends here
  };
  void advance(size_t from);

  std::vector<size_t> lengths_;
  std::vector<Node> nodes_;
  int32_t node_ = 0;
  int match_ = -1;
  std::string pending_;  // pushed and not yet returned
};

}  // namespace prosa::chat
