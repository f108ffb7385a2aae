// prosa choose: which of a list of commands a user's words mean, without generating anything.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/format_options.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/choice.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

constexpr size_t kMaxOptionFile = size_t{1} << 20;
constexpr size_t kMaxTextBytes = size_t{1} << 20;

struct ChooseArguments {
  ChatOptions chat;
  std::vector<std::string> positionals;  // [MODEL] [TEXT]
  std::string file;
  std::vector<std::string> options;
  std::vector<std::string> slots;  // NAME=KIND:…
  ChooseConfig config;
  bool json = false;
};

int64_t number(std::string_view text, const std::string& where) {
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size())
    throw UsageError(fmt::format("{}: '{}' is not an integer", where, text));
  return value;
}

/// NAME=one_of:a|b, NAME=number:1..120, NAME=pattern:REGEX, NAME=grammar:FILE, NAME=words:3
void add_slot(const std::string& text, ChooseConfig& config) {
  const size_t equals = text.find('=');
  const size_t colon = text.find(':', equals == std::string::npos ? 0 : equals);
  if (equals == std::string::npos || colon == std::string::npos || equals == 0)
    throw UsageError("--slot " + text + ": write NAME=one_of:a|b, number:1..9, pattern:REGEX, grammar:FILE or words:3");
  const std::string kind = text.substr(equals + 1, colon - equals - 1);
  const std::string_view rest = std::string_view(text).substr(colon + 1);
  const std::string where = "--slot " + text;
  Slot slot;
  if (kind == "one_of") {
    std::vector<std::string> values;
    for (size_t begin = 0; begin <= rest.size();) {
      const size_t end = std::min(rest.find('|', begin), rest.size());
      values.emplace_back(rest.substr(begin, end - begin));
      begin = end + 1;
    }
    slot = Slot::one_of(std::move(values));
  } else if (kind == "number") {
    const size_t dots = rest.find("..");
    if (dots == std::string_view::npos) throw UsageError(where + ": write LEAST..MOST");
    slot = Slot::number(number(rest.substr(0, dots), where), number(rest.substr(dots + 2), where));
  } else if (kind == "pattern") {
    slot = Slot::matching(std::string(rest));
  } else if (kind == "grammar") {
    slot = Slot::grammar(read_source(std::string(rest)));
  } else if (kind == "words") {
    const int64_t most = number(rest, where);
    slot = Slot::free_words(static_cast<int>(std::clamp<int64_t>(most, 0, kMaxSlotWords + 1)));
  } else {
    throw UsageError(where + ": the kinds are one_of, number, pattern, grammar and words");
  }
  config.slots.insert_or_assign(text.substr(0, equals), std::move(slot));
}

/// The lines of the file; empty ones and those that begin with '#' are none.
void add_options_of(const std::string& path, std::vector<std::string>& options) {
  const struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  } closer;
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "re"), closer);
  if (!file) throw Error(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "cannot read the options", path);
  size_t bytes = 0;
  while (auto line = read_input_line(file.get(), kMaxTextBytes, path)) {
    bytes += line->size() + 1;
    if (bytes > kMaxOptionFile) throw Error(ErrorCode::invalid_argument, "has more than 1 MiB", path);
    while (!line->empty() && (line->back() == '\r' || line->back() == ' ')) line->pop_back();
    if (!line->empty() && line->front() != '#') options.push_back(std::move(*line));
  }
}

nlohmann::ordered_json to_json(const std::string& user, const Choice& choice) {
  nlohmann::ordered_json options = nlohmann::ordered_json::array();
  for (const ScoredOption& option : choice.options) {
    const bool ended = std::isfinite(option.log_probability);  // JSON knows no infinity
    nlohmann::ordered_json slots = nlohmann::ordered_json::object();
    for (const auto& [name, value] : option.slots) slots[name] = value;
    options.push_back({{"index", option.index},
                       {"text", option.text},
                       {"slots", std::move(slots)},
                       {"probability", option.probability},
                       {"log_probability", ended ? nlohmann::ordered_json(option.log_probability) : nullptr},
                       {"mean_log_probability", ended ? nlohmann::ordered_json(option.mean_log_probability) : nullptr},
                       {"tokens", option.token_log_probabilities.size()}});
  }
  return {{"user", user},
          {"options", std::move(options)},
          {"prompt_tokens", choice.prompt_tokens},
          {"cached_tokens", choice.cached_tokens},
          {"scored_tokens", choice.scored_tokens},
          {"steps", choice.steps},
          {"total_ms", choice.total_ms}};
}

void choose(Chat& chat, const ChooseArguments& arguments, const std::string& text) {
  check_prompt(text, "the user's words");
  const Choice choice =
      chat.choose(Conversation(arguments.chat.system).with_user(text), arguments.options, arguments.config);
  if (arguments.json) return print_json(to_json(text, choice), -1);
  std::string lines;
  for (const ScoredOption& option : choice.options)
    lines += fmt::format("{:6.4f}  {}\n", option.probability, printable_line(option.text));
  stream_output(lines);
}

void run(ChooseArguments arguments) {
  std::vector<std::string> words = arguments.positionals;
  if (words.size() > 2 || (words.size() == 2 && !arguments.chat.model.empty()))
    throw UsageError("choose takes a model and the user's words; quote several words (see prosa choose --help)");
  if (words.size() == 2 ||
      (words.size() == 1 && arguments.chat.model.empty() && meaning_of(words[0]) != Meant::prompt)) {
    arguments.chat.model = words[0];
    words.erase(words.begin());
  }
  for (const std::string& slot : arguments.slots) add_slot(slot, arguments.config);
  if (!arguments.file.empty()) add_options_of(arguments.file, arguments.options);
  if (arguments.options.empty()) throw UsageError("give the options: --options FILE, or --option TEXT for each");
  if (!arguments.chat.system.empty()) check_prompt(arguments.chat.system, "--system");
  Chat chat = load_chat(arguments.chat);
  if (!words.empty()) return choose(chat, arguments, words[0]);
  while (const auto line = read_input_line(stdin, kMaxTextBytes, "standard input")) {
    if (!line->empty()) choose(chat, arguments, *line);
  }
}

}  // namespace

void add_choose(CLI::App& app) {
  auto arguments = std::make_shared<ChooseArguments>();
  CLI::App* command = app.add_subcommand("choose", "which of a list of commands is meant, without generating");
  command->add_option("arguments", arguments->positionals,
                      "[MODEL] [TEXT]: what the user said (default: each line of standard input by itself)");
  command->add_option("--model", arguments->chat.model, model_help);
  command->add_option("--options", arguments->file, "a file with an option on each line; {name} is a slot");
  command->add_option("--option", arguments->options, "an option; may stand several times")->allow_extra_args(false);
  command
      ->add_option("--slot", arguments->slots,
                   "NAME=one_of:a|b, NAME=number:1..9, NAME=pattern:REGEX, NAME=grammar:FILE or NAME=words:3; may "
                   "stand several times")
      ->allow_extra_args(false);
  command->add_flag("--by-mean", arguments->config.by_mean, "rank by the mean over an option's tokens, not their sum");
  command->add_option("--deadline-ms", arguments->config.deadline_ms, "give up after so long; 0: never")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--system", arguments->chat.system, "the system message");
  command->add_flag("--json", arguments->json, "a JSON line for each text");
  add_load_options(*command, arguments->chat.load, true);
  command->footer(
      "Prints every option with its probability among them, the most probable first.\n"
      "\n"
      "Examples:\n"
      "  prosa choose \"it is dark in here\" --option \"turn on the light\" --option \"turn off the light\"\n"
      "  prosa choose --options commands.txt --slot 'minutes=number:1..120' \"wake me in half an hour\"\n"
      "  prosa choose MODEL --options commands.txt --json < transcripts.txt");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
