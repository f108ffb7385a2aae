// Finding added tokens ("<|im_end|>") in text: leftmost, and the longest of those that begin there.
//
// Says where they are; what lies between is the tokenizer's business. Positions are bytes of valid UTF-8. Immutable
// after construction. Beside the tokens' own text it holds a few numbers a token, whatever their length. Time is linear
// in the text for tokens of bounded length (tokenizer_file.cpp bounds it): at each place no more bytes are looked at
// than the longest token has, and one number for each halving of the list.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/marked_text.h"
#include "tokenizer/string_pool.h"
#include "tokenizer/tokenizer_file.h"

namespace prosa {

class AddedTokens {
 public:
  /// A stretch of the text: one added token, or (id < 0) plain text between them.
  struct Span {
    size_t begin = 0;
    size_t end = 0;
    int32_t id = -1;
  };

  explicit AddedTokens(std::vector<AddedToken> tokens);

  [[nodiscard]] bool empty() const noexcept { return rules_.empty(); }
  /// The stretch at `begin` (< text.size()) and after it, plain text first: {plain, token}, either may be missing.
  /// Without `parse_special` those that are special are plain text. Control tokens are found up to where `reach` says
  /// that they may lie; begins of calls with the same `reach` rise.
  struct Found {
    std::optional<Span> plain;
    std::optional<Span> token;
  };
  [[nodiscard]] Found next(std::string_view text, size_t begin, bool parse_special, WrittenReach& reach) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Rule {  // as in AddedToken
    int32_t id = 0;
    bool special : 1 = false;
    bool control : 1 = false;
    bool single_word : 1 = false;
    bool lstrip : 1 = false;
    bool rstrip : 1 = false;
  };
  /// The ways from a token to those it begins with: log n jumps and steps lead to any length.
  struct Shorter {
    uint32_t next = kNone;   // the longest of them
    uint32_t jump = kNone;   // one farther on, or the same
    uint32_t plain = kNone;  // the longest of them and of this one that is no control token
  };
  /// What the token that a search looks at has in common with those it is known to lie between.
  struct Common {
    uint32_t below = 1;
    uint32_t above = 1;
  };
  void link();
  void prepare(uint32_t begin, uint32_t low, uint32_t high, uint32_t end);
  /// Index of the longest token that begins at `at`, or kNone. Control tokens have at most `control_bytes`.
  [[nodiscard]] uint32_t longest_at(std::string_view text, size_t at, size_t control_bytes) const noexcept;
  /// The longest of `token` and those it begins with that has at most so many bytes.
  [[nodiscard]] uint32_t at_most(uint32_t token, size_t bytes) const noexcept;
  /// The first place from `at` on where a token may begin.
  [[nodiscard]] size_t skip(std::string_view text, size_t at) const noexcept;

  StringPool texts_;                      // [tokens] rising, distinct
  std::vector<Rule> rules_;               // [tokens]
  std::vector<Shorter> shorter_;          // [tokens]
  std::vector<Common> common_;            // [tokens]; every token is looked at between the same two
  std::array<uint32_t, 257> first_of_{};  // [byte]: the first token that begins with this byte or a later one
  std::optional<char> only_first_;        // if all tokens begin with the same byte
};

}  // namespace prosa
