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

inline constexpr const char* model_help = "a folder, a hub name (owner/name), or nothing: the embedded model";

/// --threads, --isa, --backend, --activation-bits, --kv-bits, --offline, --revision, and --context where
/// `with_context`.
void add_load_options(CLI::App& command, LoadOptions& options, bool with_context);
/// --kv-bits: for commands that only count the memory. add_load_options() has it already.
void add_kv_option(CLI::App& command, LoadOptions& options);
/// --offline and --revision: for commands that find a model but do not load it. add_load_options() has them already.
void add_hub_options(CLI::App& command, LoadOptions& options);
/// Every SamplingConfig field with dashes for underscores.
void add_sampling_options(CLI::App& command, SamplingConfig& config);

/// Whether `text` can only be meant as a model: an existing folder, a path, or owner/name.
bool looks_like_model(const std::string& text);

}  // namespace prosa::cli
