// What a caller may ask of the rules of turns.
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "prosa/voice.h"

namespace prosa {

void validate(const TurnRules& rules) {
  const auto check = [](const char* field, double value, double least, double most) {
    if (value >= least && value <= most) return;  // NaN is not
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}; allowed are {} to {}", value, least, most), field);
  };
  constexpr double kDay = 86'400'000;
  check("start_ms", rules.start_ms, 10, 300);
  for (const auto& [field, value] : {std::pair{"soft_end_ms", rules.soft_end_ms},
                                     {"end_ms", rules.end_ms},
                                     {"unfinished_end_ms", rules.unfinished_end_ms},
                                     {"stable_ms", rules.stable_ms},
                                     {"max_turn_ms", rules.max_turn_ms},
                                     {"final_ms", rules.final_ms}})
    check(field, value, 10, kDay);
  for (const auto& [field, value] : {std::pair{"reopen_ms", rules.reopen_ms},
                                     {"reopen_unfinished_ms", rules.reopen_unfinished_ms},
                                     {"resume_ms", rules.resume_ms}})
    check(field, value, 0, kDay);
  check("speech", rules.speech, 0.01, 1);
  check("speech_over_voice", rules.speech_over_voice, 0.01, 1);
  check("max_drafts", rules.max_drafts, 0, 1000);
  check("max_draft_tokens", rules.max_draft_tokens, 1, 1'000'000);
  check("max_early_work", rules.max_early_work, 0, 1000);
  check("ends_above", rules.ends_above, 0, 1);
  check("goes_on_below", rules.goes_on_below, 0, 1);
}

}  // namespace prosa
