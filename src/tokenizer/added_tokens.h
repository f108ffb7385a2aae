// Finding added tokens ("<|im_end|>") in text: leftmost, and the longest of those that begin there.
//
// Says where they are; what lies between is the tokenizer's business. Positions are bytes of valid UTF-8. Immutable
// after construction. Time is linear in the text for tokens of bounded length (tokenizer_file.h bounds it).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/marked_text.h"
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

  [[nodiscard]] bool empty() const noexcept { return tokens_.empty(); }
  /// The stretch at `begin` (< text.size()) and after it, plain text first: {plain, token}, either may be missing.
  /// Without `parse_special` those that are special are plain text. Control tokens are found up to where `reach` says
  /// that they may lie; begins of calls with the same `reach` rise.
  struct Found {
    std::optional<Span> plain;
    std::optional<Span> token;
  };
  [[nodiscard]] Found next(std::string_view text, size_t begin, bool parse_special, WrittenReach& reach) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> children;  // sorted by byte
    int32_t token = -1;                                        // index in tokens_
  };
  [[nodiscard]] uint32_t child(uint32_t node, unsigned char byte) const noexcept;
  /// Index of the longest token that begins at `at`, or -1. Control tokens end at `control_end` at the latest.
  [[nodiscard]] int32_t longest_at(std::string_view text, size_t at, size_t control_end) const noexcept;
  /// The first place from `at` on where a token may begin.
  [[nodiscard]] size_t skip(std::string_view text, size_t at) const noexcept;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;            // a trie; node 0 is its root
  std::array<bool, 256> may_begin_{};  // first bytes
  std::optional<char> only_first_;     // if all tokens begin with the same byte
};

}  // namespace prosa
