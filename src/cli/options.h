// Options that several commands share, under the names of LoadOptions and SamplingConfig.
#pragma once

#include <string>

#include "prosa/model.h"
#include "prosa/sampling.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace prosa::cli {

inline constexpr const char* model_help =
    "a folder, a hub name (owner/name), a short name (prosa list), or nothing: the embedded model";

/// --threads, --isa, --backend, --activation-bits, --kv-bits, --offline, --revision, and --context where
/// `with_context`.
void add_load_options(CLI::App& command, LoadOptions& options, bool with_context);
/// --kv-bits: for commands that only count the memory. add_load_options() has it already.
void add_kv_option(CLI::App& command, LoadOptions& options);
/// --offline and --revision: for commands that find a model but do not load it. add_load_options() has them already.
void add_hub_options(CLI::App& command, LoadOptions& options);
/// Every SamplingConfig field with dashes for underscores.
void add_sampling_options(CLI::App& command, SamplingConfig& config);

/// validate() in the terms of the command line. UsageError names the option.
void check_sampling(const SamplingConfig& config);

/// What a word in the place of MODEL or PROMPT can be meant as.
enum class Meant {
  model,        // an existing folder, a path, owner/name, or a short name of a model
  maybe_model,  // written like the name of a model, but it is none: qwen3.5-1b, gemma-3-4b-it
  prompt,       // anything else
};
Meant meaning_of(const std::string& word);

}  // namespace prosa::cli
