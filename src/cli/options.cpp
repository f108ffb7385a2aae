// Options that several commands share.
#include "cli/options.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <regex>
#include <system_error>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "prosa/error.h"
#include "prosa/hub_cache.h"

namespace prosa::cli {

void add_load_options(CLI::App& command, LoadOptions& options, bool with_context) {
  command.add_option("--threads", options.threads, "compute threads (default: physical cores)")
      ->check(CLI::Range(1, 1024))
      ->group("Machine");
#ifdef PROSA_HAS_MLX
  constexpr auto backends = "cpu, cuda, mlx (a Mac's GPU), or reference (float32, slow)";
  const CLI::IsMember known({"cpu", "cuda", "mlx", "reference"});
#else
  constexpr auto backends = "cpu, cuda, or reference (float32, slow)";
  const CLI::IsMember known({"cpu", "cuda", "reference"});
#endif
  command.add_option("--backend", options.backend, backends)->check(known)->capture_default_str()->group("Machine");
  command.add_option("--isa", options.isa, "amx, avx512vnni, avx2, i8mm, neon or portable (default: the best here)")
      ->check(CLI::IsMember({"amx", "avx512vnni", "avx2", "i8mm", "neon", "portable"}))
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

namespace {

/// An option that stays unset when it is not given. CLI11's own handling of std::optional takes "" for that, too.
template <typename T>
CLI::Option* add_unset(CLI::App& command, const char* name, std::optional<T>& value, const char* help) {
  return command.add_option_function<T>(
      name, [&value](const T& given) { value = given; }, help);
}

}  // namespace

void add_sampling_options(CLI::App& command, SamplingConfig& config) {
  const char* const group = "Sampling";
  add_unset(command, "--temperature", config.temperature, "0: always the likeliest token; no penalty unless asked for")
      ->group(group);
  add_unset(command, "--top-k", config.top_k, "draw among the k likeliest; 0: all")->group(group);
  add_unset(command, "--top-p", config.top_p, "draw among the likeliest that sum to p")->group(group);
  add_unset(command, "--min-p", config.min_p, "drop tokens below min-p times the likeliest")->group(group);
  command.add_option("--max-tokens", config.max_tokens, "tokens of the answer; thinking is not counted")
      ->capture_default_str()
      ->group(group);
  add_unset(command, "--repetition-penalty", config.repetition_penalty, "over the last 64 tokens; 1: off")
      ->group(group);
  add_unset(command, "--presence-penalty", config.presence_penalty, "once for each token of the reply")->group(group);
  add_unset(command, "--frequency-penalty", config.frequency_penalty, "for each time a token stands in the reply")
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

void check_sampling(const SamplingConfig& config) {
  if (config.enable_thinking && config.disable_thinking) {
    throw UsageError("--enable-thinking and --disable-thinking exclude each other");
  }
  try {
    validate(config);
  } catch (const Error& error) {
    std::string option = error.where().substr(error.where().find_last_of('.') + 1);  // SamplingConfig.top_p
    std::ranges::replace(option, '_', '-');
    throw UsageError(fmt::format("--{} {}", option, error.message()));
  }
}

Meant meaning_of(const std::string& word) {
  std::error_code ignored;
  if (std::filesystem::is_directory(word, ignored)) return Meant::model;
  // Bounded before the expressions: std::regex recurses with the length of the text.
  if (word.empty() || word.size() > 256 || word.find_first_of(" \t\n") != std::string::npos) return Meant::prompt;
  if (word.starts_with("/") || word.starts_with("./") || word.starts_with("../")) return Meant::model;
  if (expand_alias(word)) return Meant::model;
  static const std::regex hub_name(
      "[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+(:[A-Za-z0-9_./-]+)?(@[A-Za-z0-9_./-]+)?");
  if (std::regex_match(word, hub_name)) return Meant::model;
  // A family by its name, or a size or a format at the end of one part of several: 0.8b, 4bit, gguf.
  static const std::regex like_a_model(
      "(qwen|llama|gemma|mistral|mixtral|phi|smollm|deepseek|olmo|granite)[0-9._-].*|"
      ".+[-_.:]([0-9]+(\\.[0-9]+)?[bm]|[2-8]-?bit|int[2-8]|bf16|fp16|mlx|gguf|safetensors)([-_.:].*)?",
      std::regex::icase);
  return std::regex_match(word, like_a_model) ? Meant::maybe_model : Meant::prompt;
}

}  // namespace prosa::cli
