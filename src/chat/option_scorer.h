// Scores continuations of a prompt: those of a list that are fixed, as a tree of their tokens, so that what several
// begin with is computed once; and those with slots, which the model fills token by token under a mask.
//
// Knows tokens and grammars, not messages. All of it is computed in waves of forks (runtime/forks.h): each token's
// probability has the bits that decoding alone would give. Lives as long as one choice.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chat/option_text.h"
#include "grammar/constraint.h"
#include "runtime/forks.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

class OptionScorer {
 public:
  struct Score {
    std::string text;
    std::vector<double> tokens;  // logarithms, the end token's last
    bool ended = false;          // false: its slots came to no end
  };

  /// `session` stands at the end of the prompt, with its row. `trie`: may be null where no option has slots. `end`: the
  /// token that ends a reply. Errors:
  /// invalid_argument (an option of too many tokens, or one that no token can write).
  OptionScorer(const runtime::Session& session, const Tokenizer& tokenizer,
               std::shared_ptr<const grammar::TokenTrie> trie, int32_t end, std::span<const OptionText> options,
               const Cancel& cancel);
  ~OptionScorer();

  /// By option. Errors: those of Forks, and bad_checkpoint: the model's logits are no numbers.
  std::vector<Score> run();
  [[nodiscard]] const runtime::Forks& forks() const noexcept { return forks_; }

 private:
  struct Node;
  struct Line;

  size_t child_of(size_t node, int32_t token);
  void insert(std::span<const int32_t> tokens, size_t option, bool filled);
  void read_row(const backend::State& state, int64_t row, size_t node);
  void feed_tree();
  void fill(std::vector<Line*> lines);
  void choose(Line& line, const backend::State& state, int64_t row);
  [[nodiscard]] std::vector<double> log_probabilities(const backend::State& state, int64_t row,
                                                      std::span<const int32_t> tokens) const;
  [[nodiscard]] std::vector<double> path_to(size_t node) const;

  const runtime::Session& session_;
  const Tokenizer& tokenizer_;
  const std::shared_ptr<const grammar::TokenTrie> trie_;
  const int32_t end_;
  const int64_t room_;  // tokens that fit behind the prompt
  runtime::Forks forks_;
  std::vector<Node> nodes_;  // 0: the end of the prompt
  std::vector<Line> lines_;
  std::vector<Score> scores_;
};

}  // namespace prosa::chat
