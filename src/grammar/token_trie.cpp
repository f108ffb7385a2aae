// The tree is read off the sorted tokens: each shares with the one before it what they have in common.
#include "grammar/token_trie.h"

#include <algorithm>

#include "base/check.h"

namespace prosa::grammar {
namespace {

// Longer tokens (a vocabulary's runs of spaces and lines have some 128 bytes) are never allowed by a grammar.
constexpr size_t kMaxTokenBytes = 1024;

std::vector<TokenTrie::Token> plain_tokens(const Tokenizer& tokenizer) {
  std::vector<TokenTrie::Token> tokens;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_special(id) || tokenizer.is_control(id)) continue;
    tokens.push_back({tokenizer.token_bytes(id), id});
  }
  return tokens;
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer, int64_t vocab_size) : vocab_size_(vocab_size) {
  PROSA_CHECK(vocab_size >= tokenizer.vocab_size());
  build(plain_tokens(tokenizer));
}

TokenTrie::TokenTrie(std::vector<Token> tokens, int64_t vocab_size) : vocab_size_(vocab_size) {
  build(std::move(tokens));
}

void TokenTrie::build(std::vector<Token> tokens) {
  std::erase_if(tokens, [](const Token& each) { return each.bytes.empty() || each.bytes.size() > kMaxTokenBytes; });
  std::ranges::sort(tokens, [](const Token& a, const Token& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.id < b.id;  // string_view compares bytes without sign
  });
  std::vector<uint32_t> open;  // the nodes that the last token went through
  std::string_view last;
  const auto close_to = [&](size_t depth) {
    while (open.size() > depth) {
      nodes_[open.back()].end = static_cast<uint32_t>(nodes_.size());
      open.pop_back();
    }
  };
  for (const Token& token : tokens) {
    PROSA_CHECK(token.id >= 0 && token.id < vocab_size_);
    if (token.bytes == last) continue;
    const auto parting = std::mismatch(last.begin(), last.end(), token.bytes.begin(), token.bytes.end());
    close_to(static_cast<size_t>(parting.first - last.begin()));
    while (open.size() < token.bytes.size()) {
      TrieNode node;
      node.depth = static_cast<uint16_t>(open.size());
      node.byte = static_cast<unsigned char>(token.bytes[open.size()]);
      open.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(node);
    }
    nodes_.back().token = token.id;
    max_depth_ = std::max(max_depth_, token.bytes.size());
    last = token.bytes;
  }
  close_to(0);
  nodes_.shrink_to_fit();
}

bool TokenTrie::goes_on(std::string_view bytes) const {
  uint32_t at = 0;
  auto end = static_cast<uint32_t>(nodes_.size());
  for (const char byte : bytes) {
    while (at < end && nodes_[at].byte != static_cast<unsigned char>(byte)) at = nodes_[at].end;
    if (at == end) return false;
    end = nodes_[at].end;
    ++at;  // what is below it
  }
  return at < end;
}

}  // namespace prosa::grammar
