// One choice among options: prompt, scores, ranking (prosa/choice.h).
//
// Works on a fork of the engine's session: the conversation stands where it stood, unless the caller keeps the choice.
#pragma once

#include <span>
#include <string>

#include "chat/engine.h"
#include "prosa/choice.h"

namespace prosa::chat {

/// Errors: those of read_options(), Engine::plan() and OptionScorer, cancelled, busy, not_loaded.
Choice choose(Engine& engine, std::span<const Message> messages, std::span<const std::string> options,
              const ChooseConfig& config, std::span<const Tool> tools);

/// Brings the best to the front and gives each its share.
void rank(std::vector<ScoredOption>& scored, bool by_mean);

}  // namespace prosa::chat
