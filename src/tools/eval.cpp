// prosa eval: how well a model predicts a text, how far it is from a reference, and how often it answers in strict
// JSON.
//
// Here: the options, and the order of things. What is measured is in src/eval/, how it is shown in eval_report.cpp and
// eval_svg.cpp.
#include "tools/eval.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/chat.h"
#include "prosa/files.h"
#include "runtime/load.h"
#include "tools/commands.h"
#include "tools/eval/corpus.h"
#include "tools/eval/logits_file.h"
#include "tools/find_model.h"
#include "tools/timing.h"

namespace prosa::tools {
namespace {

struct EvalArguments {
  std::string model, text, reference, reference_logits, save_logits, prompts, svg;
  eval::WindowOptions windows;
  int max_tokens = 512;
  bool json = false, verbose = false, control_tokens = false;
  LoadOptions load;

  [[nodiscard]] eval::TextEncoder encoder_of(const std::filesystem::path& folder) const {
    return eval::TextEncoder(folder, control_tokens ? ControlTokens::read : ControlTokens::as_text);
  }
};

/// On a terminal one line that changes; elsewhere a line every ten seconds.
class EvalProgress {
 public:
  void text(const eval::Progress& progress) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const auto done = static_cast<double>(progress.done), total = static_cast<double>(progress.total);
    std::string what =
        fmt::format("{} of {} tokens, perplexity {:.3f}", progress.done, progress.total, std::exp(progress.nll));
    if (progress.kl > 0) what += fmt::format(", KL {:.3g}", progress.kl);
    what += fmt::format(", {:.0f} s left,", seconds * (total - done) / done);
    show(done / total, what);
  }
  void answers(int64_t done, int64_t total, int64_t strict) {
    show(static_cast<double>(done) / static_cast<double>(total),
         fmt::format("{} of {} prompts, {} strict,", done, total, strict));
  }
  void clear() { line_.clear(); }

 private:
  void show(double fraction, const std::string& what) {
    line_.show(fraction, what);
    const auto now = Clock::now();
    if (cli::is_terminal(stderr) || now - last_ < std::chrono::seconds(10)) return;
    cli::tell(fmt::format("{} {:.0f} %", what, 100 * fraction));
    last_ = now;
  }

  cli::ProgressLine line_;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

LoadedModel load(const std::string& name, const LoadOptions& options) {
  cli::ProgressLine line;
  LoadOptions with_progress = options;
  with_progress.progress = [&line](double fraction, std::string_view what) { line.show(fraction, what); };
  LoadedModel loaded = load_model(name, with_progress);
  line.clear();
  cli::tell_warnings(loaded.info.warnings);
  return loaded;
}

std::string display_name(const std::string& name) { return name.empty() ? "the embedded model" : name; }

/// The reference must read the text as the same tokens. A folder without a tokenizer is not asked.
void check_tokenizer(const std::filesystem::path& folder, const EvalArguments& arguments, const eval::Corpus& corpus) {
  if (!std::filesystem::exists(folder / "tokenizer.json")) return;
  eval::TextEncoder encoder = arguments.encoder_of(folder);
  const eval::Corpus other = eval::read_corpus(arguments.text, encoder);
  if (std::ranges::equal(corpus.documents, other.documents, {}, &eval::Document::tokens, &eval::Document::tokens))
    return;
  throw Error(ErrorCode::invalid_argument, "reads the text as other tokens than the model does", arguments.reference,
              "compare models that share a tokenizer");
}

/// Where the reference's logits come from; null: there is none.
struct Reference {
  LoadedModel loaded;
  std::unique_ptr<eval::LogitSource> source;
  std::string name;
};

Reference open_reference(const EvalArguments& arguments, const eval::Corpus& corpus) {
  Reference reference;
  if (!arguments.reference_logits.empty()) {
    reference.name = arguments.reference_logits;
    reference.source = eval::open_logits_file(arguments.reference_logits);
  } else if (!arguments.reference.empty()) {
    reference.name = arguments.reference;
    LoadOptions options = arguments.load;
    options.revision.clear();  // --revision is MODEL's; the reference's may stand in its name
    check_tokenizer(find_model(arguments.reference, options), arguments, corpus);
    reference.loaded = load(arguments.reference, options);
    reference.source = eval::make_backend_source(*reference.loaded.backend);
  }
  return reference;
}

TextOutcome evaluate_text(const EvalArguments& arguments, EvalOutcome& outcome) {
  TextOutcome text;
  text.file = arguments.text;
  // Before anything is loaded: most mistakes show here.
  const std::filesystem::path folder = find_model(arguments.model, arguments.load);
  for (const std::string& output : {arguments.save_logits, arguments.svg}) {
    if (output.empty()) continue;
    require_no_input(
        output, {arguments.text, arguments.prompts, arguments.reference_logits, arguments.reference, folder.string()});
  }
  eval::TextEncoder encoder = arguments.encoder_of(folder);
  const eval::Corpus corpus = eval::read_corpus(arguments.text, encoder);
  cli::tell_warnings(corpus.warnings);
  text.windows = arguments.windows;
  text.windows.tail = corpus.lines || text.windows.stride != 0 ? eval::Tail::keep : eval::Tail::drop;
  const eval::WindowPlan plan = eval::plan_windows(corpus.documents, text.windows);
  Reference reference = open_reference(arguments, corpus);
  text.reference = reference.name;
  const LoadedModel model = load(arguments.model, arguments.load);
  outcome.info = model.info;

  eval::EvalOptions options;
  options.windows = text.windows;
  if (encoder.tokenizer() != nullptr) {
    options.token_bytes = [&encoder](int32_t token) {
      return static_cast<int64_t>(encoder.tokenizer()->token_bytes(token).size());
    };
  }
  std::atomic<bool> cancel = false;
  options.cancel = &cancel;
  const cli::interrupt::Catch catch_interrupt([&cancel] { cancel = true; });
  EvalProgress progress;
  options.progress = [&progress](const eval::Progress& now) { progress.text(now); };
  std::unique_ptr<eval::LogitSink> save;
  if (!arguments.save_logits.empty()) {
    const int64_t bytes = eval::logits_file_bytes(plan.scored, model.info.vocab_size);
    cli::tell(fmt::format("{} will hold {}", arguments.save_logits, cli::human_bytes(static_cast<double>(bytes))));
    save = eval::make_logits_writer(arguments.save_logits, display_name(arguments.model));
    options.save = save.get();
  }
  const auto source = eval::make_backend_source(*model.backend);
  const auto start = Clock::now();
  text.report = eval::kl_and_perplexity(*source, reference.source.get(), corpus.documents, options);
  text.seconds = seconds_since(start);
  progress.clear();
  return text;
}

std::vector<eval::JsonAnswer> evaluate_prompts(const EvalArguments& arguments,
                                               const std::vector<eval::JsonPrompt>& prompts, EvalOutcome& outcome) {
  cli::ProgressLine loading;
  LoadOptions options = arguments.load;
  options.progress = [&loading](double fraction, std::string_view what) { loading.show(fraction, what); };
  Chat chat = Chat::from_pretrained(arguments.model, options);
  loading.clear();
  outcome.info = chat.info();
  cli::tell_warnings(outcome.info.warnings);
  EvalProgress progress;
  int64_t strict = 0;
  return eval::answer_prompts(chat, prompts, arguments.max_tokens, [&](int64_t done, const eval::JsonAnswer& answer) {
    strict += answer.problem.empty() ? 1 : 0;
    progress.answers(done, static_cast<int64_t>(prompts.size()), strict);
  });
}

void check(const EvalArguments& arguments) {
  if (arguments.text.empty() && arguments.prompts.empty())
    throw cli::UsageError("nothing to do (give --text or --prompts)");
  if (!arguments.text.empty()) return;
  for (const auto& [option, value] :
       {std::pair{"--reference", &arguments.reference}, std::pair{"--reference-logits", &arguments.reference_logits},
        std::pair{"--save-logits", &arguments.save_logits}, std::pair{"--svg", &arguments.svg}}) {
    if (!value->empty()) throw cli::UsageError(fmt::format("{} needs a text (give --text)", option));
  }
}

void run(const EvalArguments& arguments) {
  check(arguments);
  EvalOutcome outcome;
  outcome.model = display_name(arguments.model);
  std::vector<eval::JsonPrompt> prompts;
  if (!arguments.prompts.empty()) {
    std::vector<std::string> warnings;
    prompts = eval::read_json_prompts(arguments.prompts, &warnings);
    cli::tell_warnings(warnings);
  }
  if (!arguments.text.empty()) outcome.text = evaluate_text(arguments, outcome);
  if (!arguments.prompts.empty()) outcome.answers = evaluate_prompts(arguments, prompts, outcome);
  if (arguments.json) {
    cli::print_json(eval_json(outcome), 2);
  } else {
    cli::print_output(eval_table(outcome, arguments.verbose));
  }
  if (!arguments.svg.empty()) replace_file(arguments.svg, eval_svg(outcome));
}

void add_text_options(CLI::App& command, EvalArguments& arguments) {
  const char* const group = "Text";
  command.add_option("--text", arguments.text, "the text, or JSON lines (*.jsonl) of {\"text\"} or {\"messages\"}")
      ->type_name("FILE")
      ->group(group);
  command
      .add_flag("--control-tokens", arguments.control_tokens,
                "texts that spell control tokens (<|im_end|>) are read as those tokens, not as characters")
      ->group(group);
  CLI::Option* reference = command.add_option("--reference", arguments.reference, "the model to compare with")
                               ->type_name("FOLDER")
                               ->group(group);
  command.add_option("--reference-logits", arguments.reference_logits, "a file of --save-logits instead of that model")
      ->type_name("FILE")
      ->excludes(reference)
      ->group(group);
  command.add_option("--save-logits", arguments.save_logits, "keep MODEL's logits in a file")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--window", arguments.windows.window, "tokens read from an empty state")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--stride", arguments.windows.stride, "tokens between the begins of windows (default: the window)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->group(group);
  command.add_option("--skip", arguments.windows.skip, "first predictions of each window that do not count")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str()
      ->group(group);
  command.add_option("--limit", arguments.windows.limit, "use only the first tokens of the text; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str()
      ->group(group);
  command.add_option("--svg", arguments.svg, "a file for the picture: KL by position, histogram")
      ->type_name("FILE")
      ->group(group);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "perplexity, KL against a reference, strict-JSON rate");
  command->add_option("MODEL", arguments->model, cli::model_help);
  add_text_options(*command, *arguments);
  command
      ->add_option("--prompts", arguments->prompts, "JSON lines of {\"prompt\", \"keys\"?}: how many replies are JSON")
      ->type_name("FILE")
      ->group("Strict JSON");
  command->add_option("--max-tokens", arguments->max_tokens, "tokens of a reply to --prompts")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group("Strict JSON");
  command->add_flag("--verbose", arguments->verbose, "show the replies that are not strict JSON")->group("Strict JSON");
  command->add_flag("--json", arguments->json, "one JSON object instead of a table");
  cli::add_load_options(*command, arguments->load, false);
  command->footer(
      "Which tokens are scored, and how the numbers are defined: docs/reference/eval.md.\n"
      "\n"
      "Examples:\n"
      "  prosa eval MODEL --text wiki.test.raw\n"
      "  prosa eval q4 --reference bf16 --text wiki.test.raw --limit 20000 --svg kl.svg\n"
      "  prosa eval bf16 --text wiki.test.raw --save-logits wiki.logits\n"
      "  prosa eval q4 --reference-logits wiki.logits --text wiki.test.raw --json\n"
      "  prosa eval MODEL --prompts prompts.jsonl --verbose");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::tools
