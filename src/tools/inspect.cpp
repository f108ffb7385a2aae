// prosa inspect: what a checkpoint holds and what it will need, without loading a model into memory.
//
// Opening a file checks its header and every tensor's place, so inspect is also the quick test of a download.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_files.h"
#include "checkpoint/names.h"
#include "cli/options.h"
#include "cli/sampling_text.h"
#include "cli/terminal.h"
#include "model/for_each_matrix.h"
#include "prosa/files.h"
#include "prosa/text.h"
#include "tools/commands.h"
#include "tools/find_model.h"
#include "tools/inspect_formats.h"
#include "tools/kinds.h"
#include "tools/process_memory.h"
#include "tools/sizes.h"

namespace prosa::tools {
namespace {

using nlohmann::ordered_json;

struct InspectArguments {
  std::string model;
  LoadOptions load;  // offline and revision
  int64_t context = 4096;
  bool json = false;
  bool tensors = false;
  std::string compare;
  std::string svg;
};

/// Tensors and bytes of one kind.
struct Tally {
  int64_t count = 0;
  int64_t bytes = 0;
};

struct TensorLine {
  std::string name, type;
  std::vector<int64_t> shape;
  std::string role;
  int64_t bytes = 0;
};

/// What the files hold, whatever the model makes of it.
struct Contents {
  std::vector<TensorLine> tensors;     // in file order
  std::map<std::string, Tally> types;  // by dtype
  std::map<std::string, Tally> roles;  // text, mtp, vision, ignored
};

Contents list_contents(const checkpoint::ModelFiles& files) {
  Contents contents;
  for (const checkpoint::FileTensor& tensor : files.tensors()) {
    const format::TensorEntry& entry = *tensor.entry;
    const auto role = std::string(to_string(checkpoint::canonical_name(entry.name).role));
    const auto type = std::string(to_string(entry.type));
    const auto bytes = static_cast<int64_t>(entry.bytes);
    for (Tally* tally : {&contents.types[type], &contents.roles[role]}) {
      ++tally->count;
      tally->bytes += bytes;
    }
    contents.tensors.push_back({entry.name, type, entry.shape, role, bytes});
  }
  return contents;
}

ordered_json tallies_json(const std::map<std::string, Tally>& tallies) {
  ordered_json object = ordered_json::object();
  for (const auto& [name, tally] : tallies) object[name] = {{"tensors", tally.count}, {"bytes", tally.bytes}};
  return object;
}

/// Everything that both forms of the report show.
struct Report {
  std::string folder;
  std::shared_ptr<const Weights> weights;
  StepSizes sizes;
  ProcessMemory process;
  int64_t context = 0;
  SamplingConfig sampling;            // what its authors say
  std::vector<std::string> warnings;  // about all that was read
  Contents contents;
  std::map<std::string, Tally> formats;  // of the main model's matrices
  FormatReport bits;
};

Report make_report(const InspectArguments& arguments) {
  const auto folder = find_model(arguments.model, arguments.load);
  Report report;
  report.folder = folder.string();
  report.process = measure_process(folder);
  report.weights = checkpoint::load_weights(folder);
  report.warnings = report.weights->config.warnings;
  report.sampling = checkpoint::read_sampling(folder, report.warnings);
  report.sizes = step_sizes(*report.weights, arguments.load.kv_bits);
  report.context = arguments.context;
  add_weights(*report.weights, report.process);
  report.contents = list_contents(checkpoint::ModelFiles::open(folder));
  for_each_matrix(*report.weights, [&](const MatrixPlace&, const Matrix& matrix) {
    Tally& tally = report.formats[matrix.format.name()];
    ++tally.count;
    tally.bytes += matrix.byte_size();
  });
  LoadOptions other = arguments.load;
  other.revision.clear();  // --revision is MODEL's; the other's may stand in its name
  report.bits = make_format_report(folder, arguments.compare.empty() ? "" : find_model(arguments.compare, other));
  return report;
}

ordered_json config_json(const ModelConfig& config) {
  const auto attention = std::ranges::count(config.layer_types, LayerType::full_attention);
  return {{"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_layers", config.num_layers},
          {"num_attention_layers", attention},
          {"num_attention_heads", config.num_attention_heads},
          {"num_key_value_heads", config.num_key_value_heads},
          {"head_dim", config.head_dim},
          {"rotary_dim", config.rotary_dim},
          {"linear_num_key_heads", config.linear_num_key_heads},
          {"linear_num_value_heads", config.linear_num_value_heads},
          {"linear_key_head_dim", config.linear_key_head_dim},
          {"linear_value_head_dim", config.linear_value_head_dim},
          {"linear_conv_kernel_dim", config.linear_conv_kernel_dim},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"max_position_embeddings", config.max_position_embeddings},
          {"bits", config.quantized ? config.quantization.bits : 0},
          {"group_size", config.quantized ? config.quantization.group_size : 0},
          {"mode", config.quantized ? to_string(config.quantization.coding) : std::string_view()}};
}

/// What applies to a reply that asks for nothing, and where it comes from.
ordered_json sampling_json(const SamplingConfig& of_model) {
  ordered_json object = ordered_json::object();
  for (const SamplingValue& value : explain_sampling({}, of_model)) {
    object[std::string(value.name)] = {{"value", value.value}, {"source", value.source}};
  }
  return object;
}

void print_json(const Report& report, bool with_tensors) {
  const Weights& weights = *report.weights;
  const int64_t kv = report.sizes.kv_bytes_per_token * report.context;
  ordered_json result = {{"path", report.folder},
                         {"config", config_json(weights.config)},
                         {"parameters", weights.parameter_count()},
                         {"weight_bytes", weights.byte_size()},
                         {"mtp", weights.mtp.has_value()},
                         {"sampling", sampling_json(report.sampling)},
                         {"warnings", report.warnings},
                         {"matrices", tallies_json(report.formats)},
                         {"types", tallies_json(report.contents.types)},
                         {"roles", tallies_json(report.contents.roles)},
                         {"memory",
                          {{"context", report.context},
                           {"weights", report.process.weights},
                           {"state", report.sizes.state_bytes},
                           {"kv_per_token", report.sizes.kv_bytes_per_token},
                           {"kv", kv},
                           {"program", report.process.program},
                           {"tokenizer", report.process.tokenizer},
                           {"scratch", report.process.scratch},
                           {"total", report.process.total(report.sizes, report.context)},
                           {"peak_loading", report.process.peak_loading()}}}};
  add_format_json(report.bits, with_tensors, result);
  if (with_tensors) {
    ordered_json list = ordered_json::array();
    for (const TensorLine& tensor : report.contents.tensors) {
      list.push_back({{"name", tensor.name},
                      {"dtype", tensor.type},
                      {"shape", tensor.shape},
                      {"bytes", tensor.bytes},
                      {"role", tensor.role}});
    }
    result["tensors"] = std::move(list);
  }
  cli::print_json(result, 2);
}

void print_line(const char* label, const std::string& text) {
  cli::print_output(fmt::format("{:<14}{}\n", label, text));
}

void print_tallies(const char* label, const std::map<std::string, Tally>& tallies) {
  for (const auto& [name, tally] : tallies) {
    print_line(label, fmt::format("{:<18}{:>5} tensors{:>12}", name, tally.count,
                                  cli::human_bytes(static_cast<double>(tally.bytes))));
    label = "";
  }
}

void print_architecture(const Report& report) {
  const ModelConfig& config = report.weights->config;
  const auto attention = std::ranges::count(config.layer_types, LayerType::full_attention);
  print_line("folder", printable_line(report.folder));
  print_line("layers",
             fmt::format("{}: {} Gated DeltaNet ({} key and {} value heads of {}), {} gated attention ({} query and "
                         "{} KV heads of {})",
                         config.num_layers, config.num_layers - attention, config.linear_num_key_heads,
                         config.linear_num_value_heads, config.linear_value_head_dim, attention,
                         config.num_attention_heads, config.num_key_value_heads, config.head_dim));
  print_line("sizes", fmt::format("hidden {}, intermediate {}, vocabulary {}, head {}", config.hidden_size,
                                  config.intermediate_size, config.vocab_size,
                                  config.tie_word_embeddings ? "tied to the embedding" : "of its own"));
  print_line("parameters", fmt::format("{:.2f} M", static_cast<double>(report.weights->parameter_count()) / 1e6));
  print_line("MTP head", report.weights->mtp ? "yes" : "no");
}

/// Here rather than on standard error: they are a part of what was asked for.
void print_warnings(const Report& report) {
  const char* label = "warnings";
  for (const std::string& warning : report.warnings) {
    print_line(label, printable_line(warning));
    label = "";
  }
}

void print_memory(const Report& report) {
  const auto bytes = [](int64_t count) { return cli::human_bytes(static_cast<double>(count)); };
  const ProcessMemory& process = report.process;
  const StepSizes& sizes = report.sizes;
  print_line("memory",
             fmt::format("{} for the process with {} tokens of context; at most {} while it loads",
                         bytes(process.total(sizes, report.context)), report.context, bytes(process.peak_loading())));
  print_line("", fmt::format("weights {}, state {}, KV {} ({} a token), tokenizer {}, scratch {}, program {}",
                             bytes(process.weights), bytes(sizes.state_bytes),
                             bytes(sizes.kv_bytes_per_token * report.context), bytes(sizes.kv_bytes_per_token),
                             bytes(process.tokenizer), bytes(process.scratch), bytes(process.program)));
  print_line("", fmt::format("each state kept to come back to: {} more, all of them at most {}",
                             bytes(sizes.state_bytes), bytes(LoadOptions{}.state_store_bytes)));
}

void print_tensor(const char* label, const TensorLine& tensor) {
  print_line(label,
             fmt::format("{:>10}  {:<5}{:<18}{:<8}{}", cli::human_bytes(static_cast<double>(tensor.bytes)), tensor.type,
                         format::shape_string(tensor.shape), tensor.role, printable_line(tensor.name)));
}

void print_biggest(const Contents& contents) {
  constexpr size_t shown = 5;
  std::vector<TensorLine> sorted = contents.tensors;
  std::ranges::stable_sort(sorted, std::ranges::greater{}, &TensorLine::bytes);
  sorted.resize(std::min(shown, sorted.size()));
  const char* label = "biggest";
  for (const TensorLine& tensor : sorted) {
    print_tensor(label, tensor);
    label = "";
  }
}

void run(const InspectArguments& arguments) {
  const Report report = make_report(arguments);
  if (!arguments.svg.empty()) {
    require_no_input(arguments.svg, {report.folder, arguments.compare});
    const std::string name = std::filesystem::path(report.folder).filename().string();
    replace_file(arguments.svg, kinds_svg(report.bits.kinds, name));
  }
  if (arguments.json) return print_json(report, arguments.tensors);
  print_architecture(report);
  print_line("sampling", cli::sampling_text(explain_sampling({}, report.sampling)));
  print_warnings(report);
  print_memory(report);
  print_tallies("matrices", report.formats);
  print_tallies("in the files", report.contents.roles);
  print_tallies("types", report.contents.types);
  print_formats(report.bits, arguments.tensors);
  if (!arguments.tensors) return print_biggest(report.contents);
  const char* label = "tensors";
  for (const TensorLine& tensor : report.contents.tensors) {
    print_tensor(label, tensor);
    label = "";
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* inspect = app.add_subcommand("inspect", "what a checkpoint holds, and the memory it needs");
  inspect->add_option("MODEL", arguments->model, cli::model_help);
  inspect->add_option("--context", arguments->context, "tokens to count the memory for")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  cli::add_kv_option(*inspect, arguments->load);
  inspect->add_flag("--tensors", arguments->tensors, "list every tensor");
  inspect->add_option("--compare", arguments->compare, "how far the weights lie from this checkpoint of the same model")
      ->type_name("FOLDER");
  inspect->add_option("--svg", arguments->svg, "a picture of where the bytes lie, into this file")->type_name("FILE");
  inspect->add_flag("--json", arguments->json, "one JSON object instead of text");
  cli::add_hub_options(*inspect, arguments->load);
  inspect->footer(
      "Roles: text is the model, mtp its multi-token-prediction head; vision and ignored tensors are not read.\n"
      "\n"
      "Examples:\n"
      "  prosa inspect\n"
      "  prosa inspect MODEL --tensors | grep conv1d\n"
      "  prosa inspect MODEL --json --context 32768\n"
      "  prosa inspect q4 --compare Qwen/Qwen3.5-0.8B");
  inspect->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
