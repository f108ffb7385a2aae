// The bytes of all tokens of a vocabulary as one tree, laid out in the order of a walk through it.
//
// What a grammar allows next is found by one walk along this tree: tokens that begin alike are looked at together, and
// a byte that cannot follow skips all tokens below it. Control tokens are not in it (no text spells them), nor tokens
// without bytes. Of several tokens with the same bytes only the lowest id is there. Made once a tokenizer and shared by
// all threads: immutable, but for what it keeps of earlier walks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "grammar/inside.h"
#include "tokenizer/tokenizer.h"

namespace prosa::grammar {

/// One byte of one or more tokens. The nodes below it follow it directly.
struct TrieNode {
  uint32_t end = 0;    // the first node that is not below this one
  int32_t token = -1;  // the token that ends here; -1: none
  uint16_t depth = 0;  // bytes before this one
  unsigned char byte = 0;
};

class TokenTrie {
 public:
  /// `vocab_size`: of the model, at least the tokenizer's.
  TokenTrie(const Tokenizer& tokenizer, int64_t vocab_size);
  /// From pairs of bytes and id, for tests.
  struct Token {
    std::string_view bytes;
    int32_t id = 0;
  };
  TokenTrie(std::vector<Token> tokens, int64_t vocab_size);

  [[nodiscard]] std::span<const TrieNode> nodes() const noexcept { return nodes_; }
  /// Bytes of the longest token.
  [[nodiscard]] size_t max_depth() const noexcept { return max_depth_; }
  [[nodiscard]] int64_t vocab_size() const noexcept { return vocab_size_; }
  [[nodiscard]] size_t mask_words() const noexcept { return static_cast<size_t>((vocab_size_ + 31) / 32); }
  /// What walks along it have found that other languages may ask for too.
  [[nodiscard]] SharedInsides& shared() const noexcept { return *shared_; }
  /// Whether a token begins with `bytes` and goes on behind them.
  [[nodiscard]] bool goes_on(std::string_view bytes) const;

 private:
  void build(std::vector<Token> tokens);

  std::vector<TrieNode> nodes_;
  size_t max_depth_ = 0;
  int64_t vocab_size_ = 0;
  std::unique_ptr<SharedInsides> shared_ = std::make_unique<SharedInsides>();
};

}  // namespace prosa::grammar
