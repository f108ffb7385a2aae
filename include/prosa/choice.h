// Commands without generation: a list of what may be said, scored by the model, in one reading of the conversation.
//
// The reliable way to use a small model for "turn on the light": it cannot say anything but what stands in the list.
// An option is a whole reply. Its score is the model's probability of saying exactly that and then ending, token by
// token, given the conversation. A `{name}` in an option is a slot, which the model fills within what the slot allows;
// `{{` and `}}` are braces. How to use it well: docs/guide/commands.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace prosa {

/// What may stand for a `{name}` of an option.
struct Slot {
  enum class Kind { one_of, number, pattern, words, grammar };

  /// One of these texts.
  static Slot one_of(std::vector<std::string> values);
  /// A decimal integer of [least, most].
  static Slot number(int64_t least, int64_t most);
  /// Whatever a regular expression matches as a whole: classes, groups, alternatives and repetitions; what would need
  /// to look back or ahead is refused.
  static Slot matching(std::string pattern);
  /// A text of a grammar in GBNF, the notation of llama.cpp.
  static Slot grammar(std::string gbnf);
  /// One to `most` words, with single spaces between them; no punctuation that ends a sentence.
  static Slot free_words(int most);

  Kind kind = Kind::one_of;
  std::vector<std::string> values = {};
  int64_t least = 0;
  int64_t most = 0;
  std::string pattern = {};  // or the grammar
};

struct ChooseConfig {
  /// By name. Every slot of the options has to be here.
  std::map<std::string, Slot> slots = {};
  /// Ranks by the mean over an option's tokens instead of their sum: for lists of very different lengths.
  bool by_mean = false;
  /// The conversation goes on as if the best option had been the reply: it is read ahead as history will show it, and
  /// Chat::heard() cuts it.
  bool keep = false;
  int64_t deadline_ms = 0;  // wall-clock from the call; then Error(cancelled); 0: none
};

/// Limits, all Error(invalid_argument).
inline constexpr size_t kMaxOptions = 256;
inline constexpr size_t kMaxOptionTokens = 256;
inline constexpr size_t kMaxSlotValues = 1000;
inline constexpr int kMaxSlotWords = 32;

struct ScoredOption {
  size_t index = 0;                          // in the list given
  std::string text;                          // with its slots filled
  std::map<std::string, std::string> slots;  // what they were filled with; of a slot that stands twice the first
  /// Natural logarithms: of the whole reply, and of each of its tokens, the end token last. -infinity: its slots came
  /// to no end within kMaxOptionTokens.
  double log_probability = 0;
  std::vector<double> token_log_probabilities;
  /// The mean of those; what by_mean ranks by.
  double mean_log_probability = 0;
  /// Among the options of the list: they sum up to 1.
  double probability = 0;
};

struct Choice {
  std::vector<ScoredOption> options;  // the best first
  int64_t prompt_tokens = 0;          // the whole prompt
  int64_t cached_tokens = 0;          // of these: not computed again
  int64_t scored_tokens = 0;          // computed after the prompt, for all options together
  int64_t steps = 0;                  // passes that took
  double total_ms = 0;
  [[nodiscard]] const ScoredOption& best() const { return options.front(); }
};

}  // namespace prosa
