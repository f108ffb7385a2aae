// How a reply is made: how the next token is chosen from the logits, and what the chat template is told.
//
// Not the sampler itself (src/sampling/sampler.h). Order of the steps: penalties -> temperature -> top-k -> top-p ->
// min-p -> draw. Same seed and same logits give the same tokens, on any thread count.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/reply_format.h"

namespace prosa {

/// What is not set comes from the model's generation_config.json, where its authors say how it is to be sampled, and
/// what that leaves open from prosa (the default in the comment): with_defaults().
struct SamplingConfig {
  std::optional<float> temperature = {};  // 0.6; 0: greedy, the highest logit (after penalties) wins
  std::optional<int> top_k = {};          // 50; 0: all tokens
  std::optional<float> top_p = {};        // 0.95; (0, 1]; 1: off
  std::optional<float> min_p = {};        // 0; [0, 1); tokens less likely than min_p times the best are dropped
  int max_tokens = 512;                   // tokens of the answer; thinking is not counted
  std::optional<float> repetition_penalty =
      {};  // 1.1, greedy 1; > 0; over the last 64 tokens of prompt and reply; 1: off
  std::optional<float> presence_penalty = {};   // 0; subtracted once from the logit of every token of the reply so far
  std::optional<float> frequency_penalty = {};  // 0; subtracted once per occurrence in the reply so far
  std::vector<std::string> stop = {};  // the reply ends before the first of these strings (of the answer channel)
  std::optional<uint64_t> seed = {};   // unset: a fresh one for each reply, reported in ReplyStats
  bool disable_thinking = false;       // true: never think; false: as the model's template does by default
  bool enable_thinking = false;        // true: ask for thinking explicitly (disable_thinking wins)
  int max_thinking_tokens = 100;  // then the think block is closed for the model and the answer follows; 0: at once
  int64_t deadline_ms = 0;        // wall-clock from the call; then the reply ends where it is; 0: none
  /// Variables of the model's chat template by name, as JSON ("true", "[1, 2]", "\"text\""); what is no JSON is taken
  /// as text. They mean what that template does with them, such as {"preserve_thinking", "true"}.
  std::map<std::string, std::string> template_variables = {};
  bool continue_final_message = false;  // the last message is the beginning of the reply, which goes on from there
  ReplyFormat format = {};              // of the answer; a reply that calls tools instead is none
  ToolChoice tool_choice = {};
  bool parallel_tool_calls = true;  // false: at most one call a reply
};

/// All of them set: what is asked for, then `of_model` (ModelInfo::sampling), then prosa's defaults. Greedy decoding
/// (temperature 0) that the caller asks for has no penalty but the caller's own; where it is the model's choice, those
/// of the model's authors count, too.
SamplingConfig with_defaults(const SamplingConfig& asked, const SamplingConfig& of_model = {});

/// One value of the above, for people.
struct SamplingValue {
  std::string_view name;  // of the field
  double value = 0;
  std::string_view source;  // "asked for", "generation_config.json", "prosa's default"
};
/// Those that a model can have an opinion about, in the order of the fields.
std::vector<SamplingValue> explain_sampling(const SamplingConfig& asked, const SamplingConfig& of_model = {});

/// Error(invalid_argument) that names the field and its range.
void validate(const SamplingConfig& config);

}  // namespace prosa
