// prosa bench: prefill and decode speed of a model beside what this machine can do, measured in the same process.
//
// Here: the options, and the order of things. What is measured is in bench.h, how in bench_runs.cpp and
// bench_start.cpp.
#include "tools/bench.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "checkpoint/model_files.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/error.h"
#include "prosa/files.h"
#include "tools/commands.h"
#include "tools/find_model.h"

namespace prosa::tools {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

int64_t file_bytes(const std::filesystem::path& folder) {
  int64_t bytes = 0;
  const checkpoint::ModelFiles model = checkpoint::ModelFiles::open(folder);
  for (const format::SafetensorsFile& file : model.files()) {
    bytes += static_cast<int64_t>(std::filesystem::file_size(file.path()));
  }
  return bytes;
}

void run(BenchArguments arguments) {
  if (!arguments.child.empty()) return run_start_child(arguments);
  BenchReport report;
  const std::filesystem::path folder = find_model(arguments.model, arguments.load);
  report.name = arguments.model.empty() ? "the embedded model" : folder.filename().string();
  arguments.model = folder.string();
  if (!arguments.svg.empty()) require_no_input(arguments.svg, {arguments.model});
  arguments.load.revision.clear();  // it is the folder's
  report.processor = processor_name();
  report.file_bytes = file_bytes(folder);
  if (arguments.start) report.start = measure_start(arguments);
  if (arguments.threads.empty()) report.sets.push_back(measure_set(arguments, 0, report));
  for (const int threads : arguments.threads) report.sets.push_back(measure_set(arguments, threads, report));
  if (arguments.json) {
    cli::print_json(bench_json(report), 2);
  } else {
    cli::print_output(bench_table(report));
  }
  if (!arguments.svg.empty()) replace_file(arguments.svg, bench_svg(report));
}

void add_machine_options(CLI::App& bench, BenchArguments& arguments) {
  cli::add_load_options(bench, arguments.load, false);
  bench.remove_option(bench.get_option("--threads"));  // here a list
  bench.add_option("--threads", arguments.threads, "compute threads, or a list of them (default: physical cores)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->group("Machine");
}

void add_work_options(CLI::App& bench, BenchArguments& arguments) {
  constexpr int64_t kMaxTokens = int64_t{1} << 20;
  bench.add_option("--prompt", arguments.prompt, "prefill lengths; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  bench.add_option("--gen", arguments.gen, "decode steps; 0: none")
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  bench.add_option("--depth", arguments.depth, "tokens that stand before")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, kMaxTokens))
      ->capture_default_str();
  bench.add_option("--batch", arguments.batch, "sequences decoded together")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{256}))
      ->capture_default_str();
  bench.add_option("--repeat", arguments.repeat, "repetitions; the median counts")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  bench.add_flag("--profile", arguments.profile, "where the time goes, by stage");
  bench.add_flag("--start", arguments.start, "also time from process begin to first token, and memory");
}

}  // namespace

void add_bench(CLI::App& app) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* bench = app.add_subcommand("bench", "prefill and decode speed beside this machine's limits");
  bench->add_option("MODEL", arguments->model, cli::model_help);
  add_work_options(*bench, *arguments);
  bench->add_flag("--json", arguments->json, "one JSON object instead of a table");
  bench->add_option("--svg", arguments->svg, "a file for the picture: roofline, limits reached, stages")
      ->type_name("FILE");
  bench->add_option("--child", arguments->child)->check(CLI::IsMember({"token", "context"}))->group("");
  add_machine_options(*bench, *arguments);
  bench->footer(
      "tok/s is a median; repetitions alternate between the runs. bandwidth: weights once, state read and written, KV\n"
      "cache read, against the memory's measured read speed. int8 peak: multiply-adds of the weight matrices against\n"
      "the measured dot-product rate. Memory is read between the\n"
      "repetitions, and the median counts; dot products before and after them, and the better figure counts.\n"
      "\n"
      "Examples:\n"
      "  prosa bench MODEL\n"
      "  prosa bench MODEL --prompt 20,512 --depth 0,4096 --batch 1,4 --json\n"
      "  prosa bench MODEL --profile --start --svg bench.svg");
  bench->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
