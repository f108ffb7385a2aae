// The trie, and the four flags of an added token. Their meaning follows the official library, down to order: first the
// matches are found, then the flags are looked at, and a match that a flag rejects still hides what lies within it.
#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace prosa {
namespace {

/// Where the character before `at` (> 0) begins.
size_t previous(std::string_view text, size_t at) noexcept {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U);
  return at;
}

bool touches_word(std::string_view text, size_t begin, size_t end) noexcept {
  if (begin > 0) {
    size_t at = previous(text, begin);
    if (unicode::is_word(utf8::next(text, at))) return true;
  }
  return end < text.size() && unicode::is_word(utf8::next(text, end));
}

size_t space_begin(std::string_view text, size_t at, size_t limit) noexcept {
  while (at > limit) {
    const size_t before = previous(text, at);
    size_t behind = before;
    if (before < limit || !unicode::is_space(utf8::next(text, behind))) break;
    at = before;
  }
  return at;
}

size_t space_end(std::string_view text, size_t at) noexcept {
  while (at < text.size()) {
    size_t behind = at;
    if (!unicode::is_space(utf8::next(text, behind))) break;
    at = behind;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<unsigned char>(c);
      uint32_t below = child(node, byte);
      if (below == 0) {
        below = static_cast<uint32_t>(nodes_.size());
        auto& children = nodes_[node].children;
        children.insert(std::ranges::lower_bound(children, std::pair(byte, 0U)), {byte, below});
        nodes_.emplace_back();
      }
      node = below;
    }
    nodes_[node].token = static_cast<int32_t>(i);
  }
  for (const auto& [byte, node] : nodes_[0].children) may_begin_[byte] = true;
  if (nodes_[0].children.size() == 1) only_first_ = static_cast<char>(nodes_[0].children[0].first);
}

uint32_t AddedTokens::child(uint32_t node, unsigned char byte) const noexcept {
  const auto& children = nodes_[node].children;
  const auto found = std::ranges::lower_bound(children, byte, {}, &std::pair<unsigned char, uint32_t>::first);
  return found != children.end() && found->first == byte ? found->second : 0;
}

int32_t AddedTokens::longest_at(std::string_view text, size_t at, size_t control_end) const noexcept {
  int32_t best = -1;
  for (uint32_t node = 0; at < text.size(); ++at) {
    node = child(node, static_cast<unsigned char>(text[at]));
    if (node == 0) break;
    const int32_t token = nodes_[node].token;
    if (token >= 0 && (at < control_end || !tokens_[static_cast<size_t>(token)].control)) best = token;
  }
  return best;
}

size_t AddedTokens::skip(std::string_view text, size_t at) const noexcept {
  if (only_first_) {
    const void* found = std::memchr(text.data() + at, *only_first_, text.size() - at);
    return found == nullptr ? text.size() : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  }
  while (at < text.size() && !may_begin_[static_cast<unsigned char>(text[at])]) ++at;
  return at;
}

AddedTokens::Found AddedTokens::next(std::string_view text, size_t begin, bool parse_special,
                                     WrittenReach& reach) const {
  for (size_t at = begin; !empty() && at < text.size();) {
    at = skip(text, at);
    if (at == text.size()) break;
    const int32_t index = longest_at(text, at, reach.from(at));
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    const size_t end = at + token.content.size();
    if ((token.special && !parse_special) || (token.single_word && touches_word(text, at, end))) {
      at = end;
      continue;
    }
    const Span match = {.begin = token.lstrip ? space_begin(text, at, begin) : at,
                        .end = token.rstrip ? space_end(text, end) : end,
                        .id = token.id};
    Found found{.plain = {}, .token = match};
    if (match.begin > begin) found.plain = Span{.begin = begin, .end = match.begin};
    return found;
  }
  return {.plain = Span{.begin = begin, .end = text.size()}, .token = {}};
}

}  // namespace prosa
