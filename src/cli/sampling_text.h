// How a reply is sampled, in words: the values that apply and where each comes from.
//
// Only public headers.
#pragma once

#include <string>
#include <vector>

#include "prosa/sampling.h"

namespace prosa::cli {

/// "temperature 0.6, top_k 20 (generation_config.json); min_p 0, … (prosa's default)".
std::string sampling_text(const std::vector<SamplingValue>& values);

}  // namespace prosa::cli
