// prosa pull: a model of the hub into the cache, ahead of its use. Prints the folder it then lies in.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/download_line.h"
#include "cli/terminal.h"
#include "prosa/hub.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

struct PullArguments {
  std::string name;
  PullOptions options;
  bool json = false;
};

int64_t received_bytes(const PullReport& report) {
  int64_t bytes = 0;
  for (const PulledFile& file : report.files) bytes += file.received_bytes;
  return bytes;
}

void print_json(const PullArguments& arguments, const PullReport& report, double seconds) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  int64_t bytes = 0;
  for (const PulledFile& file : report.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"received_bytes", file.received_bytes}});
    bytes += file.bytes;
  }
  const nlohmann::ordered_json object = {{"name", arguments.name},
                                         {"folder", report.folder},
                                         {"commit", report.commit},
                                         {"bytes", bytes},
                                         {"received_bytes", received_bytes(report)},
                                         {"seconds", seconds},
                                         {"files", files}};
  cli::print_json(object, 2);
}

void run(PullArguments arguments) {
  DownloadLine line(arguments.name);
  arguments.options.progress = [&line](const DownloadProgress& progress) { line.show(progress); };
  const auto start = std::chrono::steady_clock::now();
  const PullReport report = pull(arguments.name, arguments.options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  line.clear();
  if (arguments.json) return print_json(arguments, report, seconds);
  for (const PulledFile& file : report.files) {
    print_output(fmt::format("{:>10}  {}{}\n", human_bytes(static_cast<double>(file.bytes)), printable_line(file.name),
                             file.received_bytes > 0 ? "" : "  (was here)"));
  }
  if (const int64_t received = received_bytes(report); received > 0) {
    print_output(fmt::format("received {} in {:.1f} s, {}/s\n", human_bytes(static_cast<double>(received)), seconds,
                             human_bytes(static_cast<double>(received) / seconds)));
  }
  print_output(report.folder + "\n");  // as it is: scripts read it
}

}  // namespace

void add_pull(CLI::App& app) {
  auto arguments = std::make_shared<PullArguments>();
  CLI::App* command = app.add_subcommand("pull", "download a model into the Hugging Face cache");
  command->add_option("NAME", arguments->name, "owner/name[:subfolder][@revision], or a short name (prosa list)")
      ->required();
  command->add_option("--revision", arguments->options.revision, "a branch, tag or commit (default: main)");
  command->add_flag("--offline", arguments->options.offline, "only look whether the cache has it");
  command->add_flag("--text-only", arguments->options.text_only, "tokenizer and template without the weights");
  command->add_flag("--verify", arguments->options.verify, "hash what the cache has, and replace what is damaged");
  command->add_flag("--json", arguments->json, "one JSON object instead of text");
  command->footer(
      "Only the files of one model are fetched, into the cache that Python's tools share. What an interrupted pull "
      "has\n"
      "left is continued. The last line is the folder.\n"
      "Environment: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, https_proxy.\n"
      "\n"
      "Examples:\n"
      "  prosa pull qwen3.5-0.8b\n"
      "  prosa pull owner/name:int4@main\n"
      "  HF_TOKEN=hf_... prosa pull owner/gated --json");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
