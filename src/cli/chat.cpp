// prosa chat: which of its forms the command line means (interactive, one shot, script).
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/format_options.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace prosa::cli {
namespace {

constexpr size_t kMaxStdinBytes = size_t{16} << 20;

struct ChatArguments {
  ChatOptions options;
  std::vector<std::string> positionals;  // [MODEL] [PROMPT]
  std::string script;
  FormatArguments format;
  bool json = false;
  bool verbose = false;
  std::string begin;
};

/// Splits the positionals into model and prompt. Nothing that looks like the one is silently taken for the other.
void read_positionals(const ChatArguments& arguments, std::string& model, std::string& prompt, bool& has_prompt) {
  const auto& words = arguments.positionals;
  const bool model_given = !model.empty();
  if (words.size() > 2 || (words.size() == 2 && model_given)) {
    throw UsageError("chat takes a model and one prompt; quote a prompt of several words (see prosa chat --help)");
  }
  if (words.size() == 2) {
    if (!words[0].empty() && meaning_of(words[0]) == Meant::prompt) {
      throw UsageError(fmt::format("\"{}\" is no model; quote a prompt of several words: prosa chat \"{} {}\"",
                                   words[0], words[0], words[1]));
    }
    model = words[0];
    prompt = words[1];
    has_prompt = true;
  } else if (words.size() == 1) {
    const Meant meant = model_given ? Meant::prompt : meaning_of(words[0]);
    if (meant == Meant::maybe_model) {
      throw UsageError(
          fmt::format("\"{0}\" looks like a model, but there is no such folder and no such short name (prosa list "
                      "shows them; others "
                      "are owner/name); if it is meant as a prompt: prosa chat \"\" \"{0}\"",
                      words[0]));
    }
    has_prompt = meant == Meant::prompt;
    (has_prompt ? prompt : model) = words[0];
  }
}

std::string prompt_from_stdin() {
  std::string text = read_standard_input(kMaxStdinBytes);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

void run(ChatArguments arguments) {
  ChatOptions& options = arguments.options;
  std::string prompt;
  bool has_prompt = false;
  read_positionals(arguments, options.model, prompt, has_prompt);
  check_sampling(options.sampling);
  options.sampling.format = read_format(arguments.format);
  if (!options.system.empty()) check_prompt(options.system, "--system");
  if (!options.session.empty() && !arguments.script.empty()) {
    throw UsageError("--session and --script exclude each other");
  }
  if (options.read_only && options.session.empty()) throw UsageError("--read-only goes with --session FILE");
  if (!arguments.begin.empty() && !arguments.script.empty()) {
    throw UsageError("--continue-final-message and --script exclude each other");
  }
  if (!arguments.script.empty()) {
    if (has_prompt) throw UsageError("--script and a prompt exclude each other");
    return run_script(options, arguments.script, arguments.json);
  }
  if (!is_terminal(stdin)) {
    // What is piped in belongs to the question: prosa chat "What does this do?" < program.c
    const std::string piped = prompt_from_stdin();
    if (!has_prompt || prompt == "-") {
      prompt = piped;
    } else if (!piped.empty()) {
      prompt += "\n\n" + piped;
    }
    has_prompt = true;
  } else if (has_prompt && prompt == "-") {
    prompt = prompt_from_stdin();
  }
  if (has_prompt) return run_once(options, prompt, {arguments.json, arguments.verbose, arguments.begin});
  if (!arguments.begin.empty()) throw UsageError("--continue-final-message goes with a prompt");
  if (arguments.json || arguments.verbose) {
    throw UsageError("--json and --verbose go with a prompt or --script FILE; in a conversation there is /stats");
  }
  run_interactive(options);
}

}  // namespace

void add_chat(CLI::App& app) {
  auto arguments = std::make_shared<ChatArguments>();
  CLI::App* chat = app.add_subcommand("chat", "talk with a model, or get one answer");
  chat->add_option("arguments", arguments->positionals,
                   "[MODEL] [PROMPT]: one argument is the prompt, unless it is a folder, a path, owner/name or a short "
                   "name; what comes from standard input is appended to it");
  chat->add_option("--model", arguments->options.model, model_help);
  chat->add_option("--system", arguments->options.system, "the system message");
  chat->add_option("--script", arguments->script, "play the lines of FILE (- for standard input) as user turns")
      ->type_name("FILE");
  chat->add_option("--session", arguments->options.session,
                   "resume the conversation in FILE, if it is there, and keep it there")
      ->type_name("FILE");
  chat->add_flag("--read-only", arguments->options.read_only,
                 "with --session: resume it and save nothing, also while another process uses it");
  LoadOptions& load = arguments->options.load;
  chat->add_option("--cache-dir", load.cache_dir, "a folder that keeps system prompts across restarts")
      ->type_name("FOLDER");
  chat->add_option("--cache-bytes", load.cache_bytes, "limit of that folder")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50))
      ->capture_default_str();
  chat->add_flag_callback(
      "--drop-oldest", [&load] { load.context_policy = ContextPolicy::drop_oldest; },
      "leave out the oldest turns of a conversation that outgrows the context (default: an error)");
  chat->add_flag("--json", arguments->json,
                 "the answer and what it cost as a JSON line; with --script one for each turn");
  chat->add_flag("--verbose", arguments->verbose, "with a prompt: what the answer cost, on standard error");
  add_format_options(*chat, arguments->format);
  chat->add_option("--continue-final-message", arguments->begin,
                   "with a prompt: the reply begins with TEXT, and the model goes on from there");
  add_sampling_options(*chat, arguments->options.sampling);
  add_load_options(*chat, arguments->options.load, true);
  chat->footer(
      "In a conversation: Ctrl-C stops the reply, Ctrl-D ends, /help lists the commands.\n"
      "On a terminal thoughts are shown dim; into a pipe or file goes the answer alone.\n"
      "\n"
      "Examples:\n"
      "  prosa chat\n"
      "  prosa chat \"What is Swift?\" --temperature 0\n"
      "  prosa chat qwen3.5-0.8b \"Tell me a joke\" --system \"Be funny.\"\n"
      "  prosa chat \"What does this program do?\" < program.c\n"
      "  prosa chat \"Anna is 31 and lives in Oslo.\" --json-schema person.json\n"
      "  prosa chat --session ~/talk.session --cache-dir ~/.cache/prosa/prompts\n"
      "  prosa chat MODEL --script turns.txt --json --seed 1");
  chat->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
