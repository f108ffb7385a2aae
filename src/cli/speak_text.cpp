// prosa speak-text: a written reply from standard input, as a synthesiser is to say it; a line for each unit, as soon
// as the unit is certain.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "prosa/speakable.h"

namespace prosa::cli {
namespace {

struct SpeakArguments {
  SpeakableOptions options;
  std::string text;
  bool words = false;
  bool skip_code = false;
  bool ranges = false;
  bool json = false;
  double queued_seconds = 0;
};

std::string line_of(const SpokenUnit& unit, const SpeakArguments& arguments) {
  if (arguments.json) {
    nlohmann::ordered_json parts = nlohmann::ordered_json::array();
    for (const SpokenPart& part : unit.parts) parts.push_back({part.text_end, part.written_begin, part.written_end});
    const nlohmann::ordered_json line = {{"text", unit.text},
                                         {"begin", unit.written_begin},
                                         {"end", unit.written_end},
                                         {"ends_sentence", unit.ends_sentence},
                                         {"parts", std::move(parts)}};
    return line.dump() + "\n";
  }
  if (arguments.ranges) return fmt::format("{}-{}\t{}\n", unit.written_begin, unit.written_end, unit.text);
  return unit.text + "\n";
}

void print(const std::vector<SpokenUnit>& units, const SpeakArguments& arguments) {
  for (const SpokenUnit& unit : units) stream_output(line_of(unit, arguments));
}

/// What has come, without waiting until a buffer is full: the input may be a reply that is still being written.
std::string read_some() {
  std::array<char, 4096> buffer{};
  ssize_t count = 0;
  do count = read(STDIN_FILENO, buffer.data(), buffer.size());
  while (count < 0 && errno == EINTR);
  if (count < 0) throw Error(ErrorCode::io, "can't be read", "standard input");
  return {buffer.data(), static_cast<size_t>(count)};
}

void run(SpeakArguments arguments) {
  if (arguments.words) arguments.options.numbers = SpokenNumbers::words;
  if (arguments.skip_code) arguments.options.code = SpokenCode::skip;
  SpeakableText speakable(arguments.options);
  const auto start = std::chrono::steady_clock::now();
  const auto state = [&] {
    const std::chrono::duration<double> now = std::chrono::steady_clock::now() - start;
    return SpeechState{.now_seconds = now.count(), .queued_seconds = arguments.queued_seconds};
  };
  if (!arguments.text.empty()) {
    print(speakable.write(arguments.text, state()), arguments);
  } else {
    for (std::string piece = read_some(); !piece.empty(); piece = read_some()) {
      print(speakable.write(piece, state()), arguments);
    }
  }
  print(speakable.finish(), arguments);
}

}  // namespace

void add_speak_text(CLI::App& app) {
  auto arguments = std::make_shared<SpeakArguments>();
  SpeakableOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand("speak-text", "a written reply as a speech synthesiser is to say it");
  command->add_option("TEXT", arguments->text, "the reply (default: standard input, as it comes)");
  command->add_option("--language", options.language, "en, de, fr, es, pt, ja or zh, with or without a region")
      ->capture_default_str();
  command->add_flag("--words", arguments->words, "numbers in words");
  command->add_flag("--skip-code", arguments->skip_code, "say nothing in place of code");
  command
      ->add_option("--first-clause", options.first_clause_characters,
                   "the first unit may be a clause of so many characters; 0: whole sentences")
      ->capture_default_str();
  command->add_option("--max-characters", options.max_characters, "longer sentences are cut")->capture_default_str();
  command->add_option("--queued-seconds", arguments->queued_seconds, "speech that waits to be played: longer units")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  CLI::Option* ranges = command->add_flag("--ranges", arguments->ranges, "the bytes of the reply before each unit");
  command->add_flag("--json", arguments->json, "a JSON object for each unit, with the bytes of each word")
      ->excludes(ranges);
  command->footer(
      "Needs no model. A line for each unit that a synthesiser gets, as soon as the unit is certain.\n"
      "\n"
      "Examples:\n"
      "  prosa speak-text 'It costs **$3.50**, see [the page](https://example.com).'\n"
      "  prosa chat \"Explain DNS\" | prosa speak-text --ranges\n"
      "  prosa speak-text --language de --words < antwort.md");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
