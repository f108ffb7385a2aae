// The search, and the four flags of an added token. Their meaning follows the official library, down to order: first
// the matches are found, then the flags are looked at, and a match that a flag rejects still hides what lies within it.
//
// The search at one place: among the tokens in the order of their bytes, the last one that is not greater than the text
// there. Every token that the text begins with is that one or the beginning of it, so the longest is the first on the
// way from it to shorter ones that is no longer than what the two have in common. The halving is that of Manber and
// Myers' suffix arrays: what a token has in common with the two it lies between tells, but in one case, on which side
// of the text it is without a look at it, and in that case from which byte on to look.
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

/// How many bytes two texts have in common at their beginnings, given that it is at least `known`.
size_t common_prefix(std::string_view a, std::string_view b, size_t known) noexcept {
  const size_t end = std::min(a.size(), b.size());
  size_t at = known;
  for (; at + 8 <= end; at += 8) {
    uint64_t left = 0;
    uint64_t right = 0;
    std::memcpy(&left, a.data() + at, 8);
    std::memcpy(&right, b.data() + at, 8);
    if (left != right) break;
  }
  while (at < end && a[at] == b[at]) ++at;
  return at;
}

unsigned char first_byte(std::string_view text) noexcept { return static_cast<unsigned char>(text.front()); }

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) {
  std::ranges::stable_sort(tokens, {}, &AddedToken::content);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const AddedToken& token = tokens[i];
    // Of equal ones, which normalization may make, the last counts.
    if (i + 1 < tokens.size() && tokens[i + 1].content == token.content) continue;
    texts_.add(token.content);
    rules_.push_back({.id = token.id,
                      .special = token.special,
                      .control = token.control,
                      .single_word = token.single_word,
                      .lstrip = token.lstrip,
                      .rstrip = token.rstrip});
  }
  const auto count = static_cast<uint32_t>(rules_.size());
  uint32_t index = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    first_of_[byte] = index;
    while (index < count && first_byte(texts_[index]) == byte) ++index;
  }
  first_of_[256] = index;
  if (count > 0 && first_byte(texts_[0]) == first_byte(texts_[count - 1])) only_first_ = texts_[0].front();
  link();
  common_.resize(count);
  for (size_t byte = 0; byte < 256; ++byte) {
    prepare(first_of_[byte], first_of_[byte], first_of_[byte + 1], first_of_[byte + 1]);
  }
}

/// In the order of their bytes, a token follows those that it begins with: they are the latest that still fit.
void AddedTokens::link() {
  shorter_.resize(rules_.size());
  std::vector<uint32_t> depths(rules_.size());  // how many tokens the way has, this one among them
  const auto depth_of = [&](uint32_t token) { return token == kNone ? 0 : depths[token]; };
  const auto jump_of = [&](uint32_t token) { return token == kNone ? kNone : shorter_[token].jump; };
  uint32_t open = kNone;
  for (uint32_t i = 0; i < rules_.size(); ++i) {
    while (open != kNone && !texts_[i].starts_with(texts_[open])) open = shorter_[open].next;
    depths[i] = depth_of(open) + 1;
    // As far as the two jumps before together when these are of one length (jumps of 1, 3, 7, …), else one step.
    const uint32_t middle = jump_of(open);
    const uint32_t far = jump_of(middle);
    const bool equal = depth_of(open) - depth_of(middle) == depth_of(middle) - depth_of(far);
    const uint32_t plain = !rules_[i].control ? i : open == kNone ? kNone : shorter_[open].plain;
    shorter_[i] = {.next = open, .jump = equal ? far : open, .plain = plain};
    open = i;
  }
}

/// [begin, end): the tokens with one first byte; [low, high): those that a search has left.
void AddedTokens::prepare(uint32_t begin, uint32_t low, uint32_t high, uint32_t end) {
  if (low == high) return;
  const uint32_t middle = low + (high - low) / 2;
  const auto common_with = [&](uint32_t other) {
    return static_cast<uint32_t>(common_prefix(texts_[middle], texts_[other], 1));
  };
  if (low > begin) common_[middle].below = common_with(low - 1);
  if (high < end) common_[middle].above = common_with(high);
  prepare(begin, low, middle, end);
  prepare(begin, middle + 1, high, end);
}

uint32_t AddedTokens::longest_at(std::string_view text, size_t at, size_t control_bytes) const noexcept {
  const std::string_view rest = text.substr(at);
  const auto byte = static_cast<unsigned char>(rest.front());
  uint32_t low = first_of_[byte];        // the tokens below are not greater than the text,
  uint32_t high = first_of_[byte + 1U];  // those from here on are
  const uint32_t begin = low;
  size_t common_low = 1;   // of the text and the last token below `low`
  size_t common_high = 1;  // and the one at `high`
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const bool by_low = common_low >= common_high;
    const size_t known = by_low ? common_low : common_high;
    size_t common = by_low ? common_[middle].below : common_[middle].above;
    bool greater = (common < known) == by_low;  // it parts from its neighbour where the text does not, or the other way
    if (common == known) {
      const std::string_view token = texts_[middle];
      common = common_prefix(token, rest, known);
      greater = common < token.size() && (common == rest.size() || static_cast<unsigned char>(token[common]) >
                                                                       static_cast<unsigned char>(rest[common]));
    } else {
      common = std::min(common, known);
    }
    (greater ? high : low) = greater ? middle : middle + 1;
    (greater ? common_high : common_low) = common;
  }
  if (low == begin) return kNone;
  const uint32_t found = at_most(low - 1, common_low);
  if (found == kNone || texts_[found].size() <= control_bytes) return found;
  // A control token that does not end in time: the longest of those that are none, or of those that do.
  const uint32_t plain = shorter_[found].plain;
  const uint32_t control = at_most(found, control_bytes);
  if (plain == kNone || control == kNone) return plain == kNone ? control : plain;
  return texts_[plain].size() > texts_[control].size() ? plain : control;
}

uint32_t AddedTokens::at_most(uint32_t token, size_t bytes) const noexcept {
  const auto too_long = [&](uint32_t each) { return each != kNone && texts_[each].size() > bytes; };
  while (too_long(token)) token = too_long(shorter_[token].jump) ? shorter_[token].jump : shorter_[token].next;
  return token;
}

size_t AddedTokens::skip(std::string_view text, size_t at) const noexcept {
  if (only_first_) {
    const void* found = std::memchr(text.data() + at, *only_first_, text.size() - at);
    return found == nullptr ? text.size() : static_cast<size_t>(static_cast<const char*>(found) - text.data());
  }
  const auto may_begin = [&](unsigned char byte) { return first_of_[byte] < first_of_[byte + 1]; };
  while (at < text.size() && !may_begin(static_cast<unsigned char>(text[at]))) ++at;
  return at;
}

AddedTokens::Found AddedTokens::next(std::string_view text, size_t begin, bool parse_special,
                                     WrittenReach& reach) const {
  for (size_t at = begin; !empty() && at < text.size();) {
    at = skip(text, at);
    if (at == text.size()) break;
    const uint32_t index = longest_at(text, at, reach.from(at) - at);
    if (index == kNone) {
      ++at;
      continue;
    }
    const Rule& token = rules_[index];
    const size_t end = at + texts_[index].size();
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
