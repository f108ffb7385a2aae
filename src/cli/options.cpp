// Options that several commands share.
#include "cli/options.h"

#include <cstdint>
#include <filesystem>
#include <regex>
#include <system_error>

#include <CLI/CLI.hpp>

namespace prosa::cli {

void add_load_options(CLI::App& command, LoadOptions& options, bool with_context) {
  command.add_option("--threads", options.threads, "compute threads (default: physical cores)")
      ->check(CLI::Range(1, 1024))
      ->group("Machine");
  command.add_option("--backend", options.backend, "cpu or reference (float32, slow)")
      ->capture_default_str()
      ->group("Machine");
  command.add_option("--isa", options.isa, "amx, avx512vnni, avx2, i8mm, neon or portable (default: the best here)")
      ->group("Machine");
  command
      .add_option("--activation-bits", options.activation_bits,
                  "8: reads prompts faster; 15: as exact as float32 (default: 8 for weights of up to 6 bits, else 15)")
      ->check(CLI::IsMember({15, 8}))
      ->group("Machine");
  add_kv_option(command, options);
  if (with_context) {
    command.add_option("--context", options.context, "tokens a conversation may hold")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
        ->capture_default_str()
        ->group("Machine");
  }
  add_hub_options(command, options);
}

void add_kv_option(CLI::App& command, LoadOptions& options) {
  command.add_option("--kv-bits", options.kv_bits, "8, or 16: a KV cache twice as large, and closer to float32")
      ->check(CLI::IsMember({8, 16}))
      ->capture_default_str()
      ->group("Machine");
}

void add_hub_options(CLI::App& command, LoadOptions& options) {
  command.add_flag("--offline", options.offline, "never download: a model of the hub has to be in the cache")
      ->group("Model");
  command.add_option("--revision", options.revision, "of a model of the hub: a branch, tag or commit (default: main)")
      ->group("Model");
}

void add_sampling_options(CLI::App& command, SamplingConfig& config) {
  const char* const group = "Sampling";
  command.add_option("--temperature", config.temperature, "0: always the likeliest token")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", config.top_k, "draw among the k likeliest; 0: all")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-p", config.top_p, "draw among the likeliest that sum to p")
      ->capture_default_str()
      ->group(group);
  command.add_option("--min-p", config.min_p, "drop tokens below min-p times the likeliest")
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-tokens", config.max_tokens, "tokens of the answer; thinking is not counted")
      ->capture_default_str()
      ->group(group);
  command.add_option("--repetition-penalty", config.repetition_penalty, "over the last 64 tokens; 1: off")
      ->capture_default_str()
      ->group(group);
  command.add_option("--presence-penalty", config.presence_penalty, "once for each token of the reply")
      ->capture_default_str()
      ->group(group);
  command.add_option("--frequency-penalty", config.frequency_penalty, "for each time a token stands in the reply")
      ->capture_default_str()
      ->group(group);
  command.add_option("--stop", config.stop, "end the reply before this text (repeatable)")
      ->take_all()
      ->allow_extra_args(false)
      ->group(group);
  command
      .add_option_function<uint64_t>(
          "--seed", [&config](const uint64_t& seed) { config.seed = seed; },
          "same seed, same reply (default: a fresh one)")
      ->group(group);
  command.add_flag("--enable-thinking", config.enable_thinking, "let the model think before it answers")->group(group);
  command.add_flag("--disable-thinking", config.disable_thinking, "never think")->group(group);
  command.add_option("--max-thinking-tokens", config.max_thinking_tokens, "then the answer has to follow")
      ->capture_default_str()
      ->group(group);
  command
      .add_option_function<std::vector<std::string>>(
          "--template-variable",
          [&config](const std::vector<std::string>& variables) {
            for (const std::string& variable : variables) {
              const size_t equals = variable.find('=');
              if (equals == std::string::npos || equals == 0)
                throw CLI::ValidationError("--template-variable", "write NAME=VALUE, the value as JSON or text");
              config.template_variables[variable.substr(0, equals)] = variable.substr(equals + 1);
            }
          },
          "NAME=VALUE: a variable of the model's chat template, as JSON or text (repeatable)")
      ->take_all()
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--deadline-ms", config.deadline_ms, "end a reply after so many milliseconds; 0: none")
      ->capture_default_str()
      ->group(group);
}

bool looks_like_model(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::is_directory(text, ignored)) return true;
  // Bounded before the expression: std::regex recurses with the length of the text.
  if (text.empty() || text.size() > 256 || text.find_first_of(" \t\n") != std::string::npos) return false;
  if (text.starts_with("/") || text.starts_with("./") || text.starts_with("../")) return true;
  static const std::regex hub_name(
      "[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+(:[A-Za-z0-9_./-]+)?(@[A-Za-z0-9_./-]+)?");
  return std::regex_match(text, hub_name);
}

}  // namespace prosa::cli
