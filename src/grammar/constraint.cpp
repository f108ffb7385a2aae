// Walks along the trie, and what is kept of them.
#include "grammar/constraint.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace prosa::grammar {
namespace {

constexpr size_t kMaxMasks = 256;                          // kept: 8 MiB for a vocabulary of 248,320
constexpr size_t kMaxInsideBytes = size_t{16} << 20;       // kept of what single rules decide
constexpr size_t kFewTokens = 1024;                        // are kept as a list
constexpr size_t kSharedStates = 120;                      // what has more is hardly the same in another language
constexpr size_t kManyExits = 8192;                        // then one plain walk is shorter than one below each
constexpr uint32_t kNearDepth = Automaton::kMaxDepth / 2;  // from here on the depth of all rules together decides

void allow_all(Mask& mask, std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) mask[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
}

}  // namespace

Constraint::Constraint(const Rules& rules, std::shared_ptr<const TokenTrie> trie, std::vector<int32_t> end_tokens,
                       const std::string& where)
    : where_(where),
      trie_(std::move(trie)),
      end_tokens_(std::move(end_tokens)),
      network_(std::make_shared<const Network>(rules, where)),
      automaton_(network_, where),
      trail_(trie_->max_depth() + 1) {
  for (const int32_t token : end_tokens_) PROSA_CHECK(token >= 0 && token < trie_->vocab_size());
}

void Constraint::set_plain(bool plain) {
  const std::lock_guard lock(mutex_);
  plain_ = plain;
  masks_.clear();
}

size_t Constraint::byte_size() {
  const std::lock_guard lock(mutex_);
  return automaton_.byte_size() + inside_bytes_ + masks_.size() * trie_->mask_words() * sizeof(uint32_t) +
         network_->state_count() * sizeof(NetworkState);
}

/// Makes `place` good again where what it points to was forgotten.
void Constraint::refresh(Place& place, std::string_view text) {
  if (automaton_.wants_reset()) {
    automaton_.reset();
    masks_.clear();
    insides_.clear();
    inside_bytes_ = 0;
    ++generation_;
  }
  if (place.generation == generation_) return;
  place = {generation_, automaton_.replay(text)};
}

/// Finds the tokens of the trie's nodes [begin, end) whose bytes can follow `node`; those nodes are one token's
/// descendants, or all. `exits`: gets the nodes after which a rule on the unknown stack may have ended.
void Constraint::walk(uint32_t begin, uint32_t end, uint32_t node, std::vector<int32_t>& found,
                      std::vector<uint32_t>* exits) {
  if (begin == end) return;
  const std::span<const TrieNode> nodes = trie_->nodes();
  const size_t above = nodes[begin].depth;
  trail_[above] = node;
  for (uint32_t i = begin; i < end;) {
    const TrieNode& at = nodes[i];
    const uint32_t now = automaton_.step(trail_[at.depth], at.byte);
    if (now == Automaton::kDead) {
      i = at.end;
      continue;
    }
    trail_[at.depth + 1U] = now;
    if (at.token >= 0) found.push_back(at.token);
    ++i;
    if (exits != nullptr && at.end > i && automaton_.leaves(now)) exits->push_back(i - 1);
  }
}

const Inside& Constraint::inside_of(std::span<const Way> ways) {
  const uint32_t node = automaton_.node_inside(ways);
  auto& kept = insides_[node];
  if (kept) return *kept;
  std::vector<uint32_t> states;
  for (const Way& way : ways) states.push_back(way.state);
  const std::string shape = network_->shape_of(states, kSharedStates);
  if (!shape.empty()) kept = trie_->shared().find(shape);
  if (kept) return *kept;
  const auto inside = std::make_shared<Inside>();
  walk(0, static_cast<uint32_t>(trie_->nodes().size()), node, inside->tokens, &inside->exits);
  if (inside->tokens.size() > kFewTokens) {
    inside->mask.assign(trie_->mask_words(), 0);
    allow_all(inside->mask, inside->tokens);
    inside->tokens = {};
  }
  inside->tokens.shrink_to_fit();
  if (!shape.empty() && !inside->mask.empty()) trie_->shared().add(shape, inside);
  inside_bytes_ += inside->bytes();
  kept = inside;
  return *kept;
}

/// The mask of a node from what its rules decide one by one. False where a plain walk is the better way.
bool Constraint::combine(uint32_t node, Mask& mask) {
  if (automaton_.depth(node) > kNearDepth) return false;
  const std::span<const Way> found = automaton_.ways(node);
  const std::vector<Way> ways(found.begin(), found.end());
  for (size_t begin = 0; begin < ways.size();) {
    size_t end = begin;
    while (end < ways.size() && ways[end].stack == ways[begin].stack) ++end;
    const Inside& inside = inside_of(std::span(ways).subspan(begin, end - begin));
    if (inside.exits.size() > kManyExits && ways[begin].stack != Automaton::kWhole) return false;
    for (size_t i = 0; i < inside.mask.size(); ++i) mask[i] |= inside.mask[i];
    allow_all(mask, inside.tokens);
    if (ways[begin].stack != Automaton::kWhole && !inside.exits.empty()) {
      const uint32_t behind = automaton_.node_behind(ways[begin].stack);
      found_.clear();
      for (const uint32_t exit : inside.exits) walk(exit + 1, trie_->nodes()[exit].end, behind, found_, nullptr);
      allow_all(mask, found_);
    }
    begin = end;
  }
  return true;
}

std::shared_ptr<const Mask> Constraint::mask_at(uint32_t node) {
  if (const auto kept = masks_.find(node); kept != masks_.end()) return kept->second;
  if (inside_bytes_ > kMaxInsideBytes) {
    insides_.clear();
    inside_bytes_ = 0;
  }
  auto mask = std::make_shared<Mask>(trie_->mask_words(), 0);
  if (plain_ || !combine(node, *mask)) {
    mask->assign(trie_->mask_words(), 0);
    found_.clear();
    walk(0, static_cast<uint32_t>(trie_->nodes().size()), node, found_, nullptr);
    allow_all(*mask, found_);
  }
  if (automaton_.accepts(node)) allow_all(*mask, end_tokens_);
  if (masks_.size() >= kMaxMasks) masks_.clear();
  masks_.emplace(node, mask);
  return mask;
}

Matcher::Matcher(std::shared_ptr<Constraint> constraint) : constraint_(std::move(constraint)) {}

std::span<const uint32_t> Matcher::mask() {
  const std::lock_guard lock(constraint_->mutex_);
  constraint_->refresh(place_, text_);
  mask_ = constraint_->mask_at(place_.node);
  return *mask_;
}

bool Matcher::may_end() {
  const std::lock_guard lock(constraint_->mutex_);
  constraint_->refresh(place_, text_);
  return constraint_->automaton_.accepts(place_.node);
}

bool Matcher::is_over() {
  const std::lock_guard lock(constraint_->mutex_);
  constraint_->refresh(place_, text_);
  return constraint_->automaton_.is_over(place_.node);
}

bool Matcher::accept(std::string_view bytes) {
  const std::lock_guard lock(constraint_->mutex_);
  constraint_->refresh(place_, text_);
  uint32_t node = place_.node;
  for (const char byte : bytes) node = constraint_->automaton_.step(node, static_cast<unsigned char>(byte));
  if (node == Automaton::kDead) return false;
  text_ += bytes;
  place_.node = node;
  return true;
}

std::string Matcher::forced(bool* over) {
  const std::lock_guard lock(constraint_->mutex_);
  constraint_->refresh(place_, text_);
  std::string bytes;
  uint32_t node = place_.node;
  for (int only = 0; bytes.size() < kMaxForced; bytes += static_cast<char>(only)) {
    only = constraint_->automaton_.only_byte(node);
    if (only < 0) break;
    node = constraint_->automaton_.step(node, static_cast<unsigned char>(only));
  }
  if (over != nullptr) *over = constraint_->automaton_.is_over(node);
  return bytes;
}

bool matches(const Rules& rules, std::string_view text, const std::string& where) {
  Automaton automaton(std::make_shared<const Network>(rules, where), where);
  return automaton.accepts(automaton.replay(text));
}

std::vector<int32_t> settled_tokens(const Tokenizer& tokenizer, const TokenTrie& trie, std::string_view bytes,
                                    bool over) {
  std::vector<int32_t> tokens = tokenizer.encode_given(bytes);
  size_t end = 0;
  for (const int32_t token : tokens) end += tokenizer.token_bytes(token).size();
  if (end != bytes.size()) return {};  // the tokenizer would write it in another way
  while (!over && !tokens.empty()) {
    const size_t begin = end - tokenizer.token_bytes(tokens.back()).size();
    if (!trie.goes_on(bytes.substr(begin))) break;
    tokens.pop_back();
    end = begin;
  }
  return tokens;
}

}  // namespace prosa::grammar
