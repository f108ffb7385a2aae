// prosa convert: a checkpoint in another format, written so that prosa and mlx-lm read it.
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "checkpoint/convert.h"
#include "checkpoint/convert_rules.h"
#include "checkpoint/staging_folder.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/files.h"
#include "prosa/text.h"
#include "tools/commands.h"
#include "tools/convert_method.h"
#include "tools/find_model.h"
#include "tools/kinds.h"

namespace prosa::tools {
namespace {

using checkpoint::QuantizationReport;
using checkpoint::TensorReport;
using nlohmann::ordered_json;

struct ConvertArguments {
  std::string source;
  std::string destination;
  int bits = 4;
  int group = 0;  // 0: what the mode has
  std::string mode = "affine";
  std::string layout = "mlx";
  std::string shard_size = "5GB";
  std::vector<std::string> overrides;
  MethodArguments method;
  checkpoint::ConvertOptions options;
  LoadOptions load;  // where SRC comes from
  bool dry_run = false;
  bool json = false;
};

/// "5GB", "500MB", "4GiB", or bytes.
int64_t parse_size(const std::string& text) {
  constexpr std::array<std::pair<std::string_view, double>, 9> kUnits{{{"GiB", 0x1p30},
                                                                       {"MiB", 0x1p20},
                                                                       {"KiB", 0x1p10},
                                                                       {"GB", 1e9},
                                                                       {"MB", 1e6},
                                                                       {"KB", 1e3},
                                                                       {"G", 1e9},
                                                                       {"M", 1e6},
                                                                       {"B", 1}}};
  std::string_view number = text;
  double unit = 1;
  for (const auto& [name, factor] : kUnits) {
    if (!number.ends_with(name)) continue;
    number.remove_suffix(name.size());
    unit = factor;
    break;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  const double bytes = value * unit;
  if (error != std::errc() || end != number.data() + number.size() || !(bytes >= 1 && bytes < 0x1p60)) {
    throw cli::UsageError(fmt::format("--shard-size {}: a size such as 5GB, 500MB or 4GiB is needed", text));
  }
  return static_cast<int64_t>(bytes);
}

void show_progress(cli::ProgressNews& news, const checkpoint::ConvertProgress& progress) {
  constexpr size_t kWidth = 30;
  const auto done = static_cast<double>(progress.bytes_done);
  const double fraction = done / static_cast<double>(std::max<int64_t>(progress.bytes_total, 1));
  const std::string total = cli::human_bytes(static_cast<double>(progress.bytes_total));
  const auto filled = static_cast<size_t>(fraction * kWidth);
  news.show(fraction,
            fmt::format("[{:#<{}}{:.<{}}] {} of {}, {}", "", filled, "", kWidth - filled, cli::human_bytes(done), total,
                        printable_line(progress.tensor)),
            fmt::format("converting: {:.0f} %, {} of {}", 100 * fraction, cli::human_bytes(done), total));
}

void print_json(const QuantizationReport& report, bool dry_run) {
  ordered_json kinds = ordered_json::object();
  for (const auto& [kind, sum] : sum_kinds(report)) {
    kinds[kind] = {{"tensors", sum.tensors},
                   {"weights", sum.weights},
                   {"source_bytes", sum.source_bytes},
                   {"bytes", sum.bytes},
                   {"bits_per_weight", sum.bits_per_weight()}};
  }
  ordered_json notes = ordered_json::array();
  for (const TensorReport& tensor : report.tensors) {
    if (!tensor.note.empty()) notes.push_back({{"name", tensor.name}, {"note", tensor.note}});
  }
  const ordered_json result = {{"path", dry_run ? ordered_json(nullptr) : ordered_json(report.folder.string())},
                               {"dry_run", dry_run},
                               {"method", report.method},
                               {"bytes", report.bytes()},
                               {"bits_per_weight", report.bits_per_weight()},
                               {"kinds", std::move(kinds)},
                               {"warnings", report.warnings},
                               {"notes", std::move(notes)}};
  cli::print_json(result, 2);
}

void print_row(const std::string& kind, const KindSum& sum) {
  cli::print_output(fmt::format("{:<12}{:>8}{:>14}{:>14}{:>14.2f}\n", kind, sum.tensors,
                                cli::human_bytes(static_cast<double>(sum.source_bytes)),
                                cli::human_bytes(static_cast<double>(sum.bytes)), sum.bits_per_weight()));
}

void print_text(const QuantizationReport& report, bool dry_run) {
  cli::print_output(fmt::format("{:<12}{:>8}{:>14}{:>14}{:>14}\n", "", "tensors", "before", "after", "bits/weight"));
  const KindSums sums = sum_kinds(report);
  for (const auto& [kind, sum] : sums) print_row(kind, sum);
  print_row("all", sum_all(sums));
  for (const TensorReport& tensor : report.tensors) {
    if (!tensor.note.empty()) cli::print_output(fmt::format("{}: {}\n", printable_line(tensor.name), tensor.note));
  }
  if (!dry_run) cli::print_output(fmt::format("written to {}\n", printable_line(report.folder.string())));
}

/// --mode, with what goes with it.
WeightFormat small_float_format(const ConvertArguments& arguments) {
  const WeightFormat format = WeightFormat::small_floats(WeightCoding::mxfp4);
  if (arguments.bits != format.bits || (arguments.group != 0 && arguments.group != format.group_size)) {
    throw cli::UsageError("--mode mxfp4 has 4 bits in groups of 32: leave out --bits and --group");
  }
  if (arguments.method.method != "rtn") throw cli::UsageError("--mode mxfp4 goes with --method rtn only");
  return format;
}

void run(ConvertArguments& arguments) {
  checkpoint::ConvertOptions& options = arguments.options;
  const bool affine = arguments.mode == "affine";
  const WeightFormat small = affine ? WeightFormat{} : small_float_format(arguments);
  if (arguments.group == 0) arguments.group = 64;  // also of exceptions, which are affine
  options.method = arguments.method.method;
  arguments.method.threads = options.threads;
  arguments.method.bits = arguments.bits;
  arguments.method.group = arguments.group;
  options.layout = arguments.layout == "flat" ? checkpoint::Layout::flat : checkpoint::Layout::mlx;
  options.shard_bytes = parse_size(arguments.shard_size);
  if (arguments.source.empty()) throw cli::UsageError("convert takes SRC and DST");
  if (arguments.destination.empty() && !arguments.dry_run) throw cli::UsageError("convert needs DST, or --dry-run");
  check_method(arguments.method);
  if (arguments.dry_run && arguments.method.method == "mixed")
    throw cli::UsageError("--dry-run with --method mixed: its formats are known only after the text was read");
  std::vector<checkpoint::FormatOverride> overrides;
  try {
    for (const std::string& text : arguments.overrides) {
      overrides.push_back(checkpoint::FormatOverride::parse(text, arguments.group));
    }
  } catch (const Error& error) {
    throw cli::UsageError(fmt::format("--override {}", error.what()));
  }
  const auto source = find_model(arguments.source, arguments.load);
  const auto rules = affine
                         ? std::make_shared<checkpoint::RulePlan>(arguments.bits, arguments.group, std::move(overrides))
                         : std::make_shared<checkpoint::RulePlan>(small, std::move(overrides));
  rules->require_matches(checkpoint::list_matrices(source, options.keep_mtp));

  // Its kind of file may stand in a checkpoint, which --force replaces.
  if (!arguments.method.calibration.empty()) {
    require_no_input(arguments.method.calibration, {arguments.destination});
  }
  QuantizationReport report;
  if (arguments.dry_run) {
    report = plan_conversion(source, *rules, options);
  } else {
    std::atomic<bool> stop = false;
    const cli::interrupt::Catch catching([&stop] { stop = true; });
    cli::ProgressNews news;
    options.cancelled = [&stop] { return stop.load(); };
    options.progress = [&news](const checkpoint::ConvertProgress& progress) { show_progress(news, progress); };
    if (options.method != "rtn" && options.layout == checkpoint::Layout::mlx) {
      // Minutes of work must not end in a destination that can't be written. (A flat folder's name waits for the
      // formats.)
      const checkpoint::StagingFolder possible(arguments.destination, source, options.replace, 0);
    }
    const auto plan = choose_plan(source, rules, arguments.method, options.cancelled);
    report = convert(source, arguments.destination, *plan, options);
  }
  cli::tell_warnings(report.warnings);
  arguments.json ? print_json(report, arguments.dry_run) : print_text(report, arguments.dry_run);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* convert = app.add_subcommand("convert", "write a checkpoint with other bits, for prosa and mlx-lm");
  convert->add_option("SRC", arguments->source, "a folder or a hub name (owner/name): bfloat16, float or quantized")
      ->type_name("FOLDER");
  convert->add_option("DST", arguments->destination, "the folder to make")->type_name("FOLDER");
  convert->add_option("--bits", arguments->bits, "2, 3, 4, 5, 6 or 8; 16: bfloat16")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8, 16}))
      ->capture_default_str();
  convert->add_option("--group", arguments->group, "columns that share a scale: 32, 64 or 128 (default: 64)")
      ->check(CLI::IsMember({32, 64, 128}));
  convert
      ->add_option("--mode", arguments->mode,
                   "affine, or mxfp4: codes that are small floats, as MLX's mode of that name")
      ->check(CLI::IsMember({"affine", "mxfp4"}))
      ->capture_default_str();
  convert
      ->add_option("--method", arguments->method.method,
                   "how codes are chosen: rtn, to nearest as MLX does; clip, awq, gptq: by a text; mixed: bits too")
      ->check(CLI::IsMember({"rtn", "clip", "awq", "gptq", "mixed"}))
      ->capture_default_str();
  convert
      ->add_option("--calibration", arguments->method.calibration,
                   "the text for clip, awq, gptq and mixed: plain, or JSON lines as eval takes them")
      ->type_name("FILE");
  convert->add_flag("--calibration-control-tokens", arguments->method.control_tokens,
                    "its texts that spell control tokens (<|im_end|>) are read as those tokens, not as characters");
  convert->add_option("--calibration-tokens", arguments->method.tokens, "tokens of it to use")
      ->check(CLI::Range(256, 1 << 22))
      ->capture_default_str();
  convert
      ->add_option("--budget", arguments->method.budget,
                   "mixed: as large as codes of so many bits in groups of --group (default: --bits)")
      ->check(CLI::Range(3.0, 8.0));
  convert
      ->add_option("--override", arguments->overrides,
                   "PATTERN=BITS[:GROUP] for some matrices (repeatable; the last one that matches counts)")
      ->take_all()
      ->allow_extra_args(false);
  convert->add_flag("--keep-mtp", arguments->options.keep_mtp, "keep the multi-token-prediction head");
  convert->add_option("--layout", arguments->layout, "mlx, or flat: flat config.json in DST/int5, DST/int8, …")
      ->check(CLI::IsMember({"mlx", "flat"}))
      ->capture_default_str();
  convert->add_option("--shard-size", arguments->shard_size, "largest file")->capture_default_str();
  convert->add_flag("--force", arguments->options.replace, "replace a checkpoint at DST");
  convert->add_flag("--dry-run", arguments->dry_run, "print sizes, write nothing");
  convert->add_flag("--json", arguments->json, "one JSON object instead of text");
  convert->add_option("--threads", arguments->options.threads, "threads (default: all cores)")
      ->check(CLI::Range(1, 1024))
      ->group("Machine");
  cli::add_hub_options(*convert, arguments->load);
  convert->footer(
      "PATTERN is a glob for a module's path or its end (down_proj, layers.0.*), or /a regular expression/.\n"
      "\n"
      "Examples:\n"
      "  prosa convert Qwen/Qwen3.5-0.8B q4 --bits 4 --group 64\n"
      "  prosa convert MODEL q4 --override embed_tokens=6 --override down_proj=8:32\n"
      "  prosa convert MODEL --bits 5 --dry-run\n"
      "  prosa convert MODEL chat --layout flat --bits 5");
  convert->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
