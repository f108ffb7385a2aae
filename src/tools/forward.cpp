// prosa forward: token ids in, logits out, as a safetensors file that other implementations can be compared with.
//
// Teacher-forced logits of the prompt, then K greedy steps one by one. The tensor names are fixed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/options.h"
#include "cli/terminal.h"
#include "format/safetensors_writer.h"
#include "prosa/files.h"
#include "prosa/model.h"
#include "tools/commands.h"
#include "tools/find_model.h"

namespace prosa::tools {
namespace {

struct ForwardArguments {
  std::string model;
  std::vector<int32_t> ids;
  int64_t greedy = 0;
  bool last = false;
  std::string out;
  LoadOptions load;
};

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

using format::TensorBytes;
using format::TensorType;

TensorBytes tensor(const char* name, TensorType type, std::vector<int64_t> shape, std::span<const std::byte> data) {
  return {{name, type, std::move(shape)}, data};
}

void write_result(const ForwardArguments& arguments, const Logits& logits, const std::vector<int32_t>& greedy_ids,
                  const std::vector<float>& greedy_logits) {
  std::vector<TensorBytes> tensors = {
      tensor("logits", TensorType::f32, {logits.rows, logits.vocab}, std::as_bytes(std::span(logits.values)))};
  if (arguments.greedy > 0) {
    tensors.push_back(tensor("greedy_ids", TensorType::i32, {arguments.greedy}, std::as_bytes(std::span(greedy_ids))));
    tensors.push_back(tensor("greedy_logits", TensorType::f32, {arguments.greedy, logits.vocab},
                             std::as_bytes(std::span(greedy_logits))));
  }
  format::write_safetensors(arguments.out, tensors);
}

void run(const ForwardArguments& arguments) {
  LoadOptions load = arguments.load;
  load.context = static_cast<int64_t>(arguments.ids.size()) + arguments.greedy;
  const std::string folder = find_model(arguments.model, load).string();
  load.revision.clear();  // it is the folder's
  require_no_input(arguments.out, {folder});
  const Model model = Model::from_pretrained(folder, load);
  cli::tell_warnings(model.info().warnings);
  State state = model.new_state();
  const Logits logits = model.forward(arguments.ids, state, {}, arguments.last);

  std::vector<int32_t> greedy_ids;   // [K]
  std::vector<float> greedy_logits;  // [K, vocab]: after feeding each of greedy_ids
  greedy_logits.reserve(static_cast<size_t>(arguments.greedy * logits.vocab));
  int32_t next = argmax(logits.row(logits.rows - 1));
  for (int64_t step = 0; step < arguments.greedy; ++step) {
    greedy_ids.push_back(next);
    const Logits row = model.forward(std::span(&next, 1), state, {}, true);
    greedy_logits.insert(greedy_logits.end(), row.values.begin(), row.values.end());
    next = argmax(row.row(0));
  }
  write_result(arguments, logits, greedy_ids, greedy_logits);
}

}  // namespace

void add_forward(CLI::App& app) {
  auto arguments = std::make_shared<ForwardArguments>();
  CLI::App* forward = app.add_subcommand("forward", "token ids to logits, into a safetensors file");
  forward->add_option("MODEL", arguments->model, cli::model_help);
  forward->add_option("--ids", arguments->ids, "the prompt's token ids: 1,2,3")->required()->delimiter(',');
  forward->add_option("--greedy", arguments->greedy, "then decode K tokens greedily")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20));
  forward->add_flag("--last", arguments->last, "logits of the last position only");
  forward->add_option("--out", arguments->out, "the file to write")->type_name("FILE")->required();
  cli::add_load_options(*forward, arguments->load, false);
  forward->footer(
      "FILE gets logits F32 [N, vocab] ([1, vocab] with --last), and with --greedy K greedy_ids I32 [K] and\n"
      "greedy_logits F32 [K, vocab]: the logits after feeding each of them.\n"
      "\n"
      "Example:\n"
      "  prosa forward MODEL --ids 1,2,3 --greedy 8 --backend reference --out logits.safetensors");
  forward->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
