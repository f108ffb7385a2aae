// prosa synth: a synthetic checkpoint, equal on every machine, for tests and benchmarks. It speaks no language.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/synth.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "prosa/files.h"
#include "tools/commands.h"

namespace prosa::tools {
namespace {

struct SynthArguments {
  std::string preset;
  std::string config_file;
  std::string out;
  checkpoint::SynthOptions options;
};

void run(SynthArguments arguments) {
  if (arguments.preset.empty() == arguments.config_file.empty()) {
    throw cli::UsageError(
        fmt::format("synth takes a preset ({}) or --config FILE", fmt::join(checkpoint::synth_preset_names(), ", ")));
  }
  for (const char* name : {"config.json", "model.safetensors"}) {
    require_no_input((std::filesystem::path(arguments.out) / name).string(), {arguments.config_file});
  }
  const ModelConfig config = arguments.preset.empty() ? checkpoint::read_config_file(arguments.config_file)
                                                      : checkpoint::synth_preset(arguments.preset);
  cli::ProgressLine line;
  arguments.options.progress = [&line](double fraction, std::string_view) { line.show(fraction, "writing"); };
  checkpoint::synthesize(config, arguments.out, arguments.options);
}

}  // namespace

void add_synth(CLI::App& app) {
  auto arguments = std::make_shared<SynthArguments>();
  CLI::App* synth = app.add_subcommand("synth", "write a synthetic checkpoint, for tests and benchmarks");
  synth->add_option("PRESET", arguments->preset, fmt::format("{}", fmt::join(checkpoint::synth_preset_names(), ", ")));
  synth->add_option("--config", arguments->config_file, "the dimensions of this config.json instead of a preset's")
      ->type_name("FILE");
  synth->add_option("--seed", arguments->options.seed, "same seed, same bytes")->capture_default_str();
  synth->add_option("--out", arguments->out, "the folder to make")->type_name("FOLDER")->required();
  synth->add_option("--bits", arguments->options.bits, "quantize: 2, 3, 4, 5, 6 or 8 (default: bfloat16)");
  synth->add_option("--group", arguments->options.group_size, "columns that share a scale: 32, 64 or 128")
      ->capture_default_str();
  synth->footer(
      "Every weight is a function of (seed, tensor name, index). The folder has no tokenizer.\n"
      "\n"
      "Examples:\n"
      "  prosa synth tiny --seed 1 --out /tmp/tiny\n"
      "  prosa synth qwen3.5-0.8b --bits 4 --group 64 --out /tmp/0.8b-4bit");
  synth->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
