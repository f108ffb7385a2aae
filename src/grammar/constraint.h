// What a language allows next, as masks over the tokens of a vocabulary, and how far each text has come in it.
//
// A Constraint is a language over a vocabulary with everything that has been found out about it so far: made once,
// shared by any number of texts. A Matcher is one text: a value, cheap to copy.
//
// How a mask is found: a walk along the token trie says which tokens fit. Most of them are decided by the innermost
// open rule alone, whatever is open around it; that part of the answer is kept by the rule's states, with the places in
// the trie where the rule may end. From there on, and only there, the walk goes on in the rules around it. Whole masks
// are kept as well. Which of these ways is taken changes no bit of a mask.
//
// Thread safety: a Constraint from any thread (it has a lock); a Matcher by one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/automaton.h"
#include "grammar/inside.h"
#include "grammar/part.h"
#include "grammar/token_trie.h"

namespace prosa::grammar {

class Constraint {
 public:
  /// `end_tokens`: allowed where the text may end. `where`: what errors name. Errors: those of Network.
  Constraint(const Rules& rules, std::shared_ptr<const TokenTrie> trie, std::vector<int32_t> end_tokens,
             const std::string& where);

  [[nodiscard]] const TokenTrie& trie() const noexcept { return *trie_; }

  /// Of what has been found out so far.
  [[nodiscard]] size_t byte_size();

  /// For tests and measurements: masks without what was kept, by the plain walk.
  void set_plain(bool plain);

 private:
  friend class Matcher;

  /// A place in the automaton, good as long as `generation` is the current one.
  struct Place {
    uint64_t generation = 0;
    uint32_t node = 0;
  };
  // Under the lock:
  void refresh(Place& place, std::string_view text);
  std::shared_ptr<const Mask> mask_at(uint32_t node);
  const Inside& inside_of(std::span<const Way> ways);
  bool combine(uint32_t node, Mask& mask);
  void walk(uint32_t begin, uint32_t end, uint32_t node, std::vector<int32_t>& found, std::vector<uint32_t>* exits);

  const std::string where_;
  const std::shared_ptr<const TokenTrie> trie_;
  const std::vector<int32_t> end_tokens_;
  const std::shared_ptr<const Network> network_;
  std::mutex mutex_;  // guards what follows
  Automaton automaton_;
  bool plain_ = false;
  uint64_t generation_ = 1;
  std::unordered_map<uint32_t, std::shared_ptr<const Mask>> masks_;      // by node
  std::unordered_map<uint32_t, std::shared_ptr<const Inside>> insides_;  // by node on the unknown stack
  size_t inside_bytes_ = 0;
  std::vector<uint32_t> trail_;  // of walk(): the node before each byte of the token
  std::vector<int32_t> found_;   // a buffer
};

class Matcher {
 public:
  explicit Matcher(std::shared_ptr<Constraint> constraint);

  /// The tokens that may follow; valid until the next call. Error(unsupported): too many ways at once.
  std::span<const uint32_t> mask();
  /// Whether the text may end here.
  [[nodiscard]] bool may_end();
  /// Whether the text is whole and nothing may follow.
  [[nodiscard]] bool is_over();
  /// Appends to the text. False where it cannot follow: nothing has changed. Error(unsupported) as mask().
  bool accept(std::string_view bytes);
  /// What has to follow, whatever is chosen: at most kMaxForced bytes, often none. `over`: gets whether nothing may
  /// follow behind them.
  [[nodiscard]] std::string forced(bool* over = nullptr);
  static constexpr size_t kMaxForced = 512;
  [[nodiscard]] const TokenTrie& trie() const noexcept { return constraint_->trie(); }
  /// The text so far.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

 private:
  std::shared_ptr<Constraint> constraint_;
  Constraint::Place place_;
  std::string text_;
  std::shared_ptr<const Mask> mask_;  // the last one given out
};

/// Whether `text` belongs to the language; no vocabulary is needed. Error(unsupported): too many ways at once.
bool matches(const Rules& rules, std::string_view text, const std::string& where);

/// The first tokens of `bytes`, which has to be written next, that are right whatever follows: a last one that might
/// come out longer is left for later, unless nothing follows.
std::vector<int32_t> settled_tokens(const Tokenizer& tokenizer, const TokenTrie& trie, std::string_view bytes,
                                    bool over = false);

}  // namespace prosa::grammar
