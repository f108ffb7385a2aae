// prosa tokenize: JSON lines of texts to ids, or of ids to texts. Needs only tokenizer.json of the model.
#include <array>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "chat/message_json.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/error.h"
#include "tokenizer/tokenizer.h"
#include "tools/commands.h"
#include "tools/eval/unknown_keys.h"
#include "tools/find_model.h"
#include "tools/json_lines.h"

namespace prosa::tools {
namespace {

std::vector<int32_t> ids_of(const nlohmann::ordered_json& line, const std::string& where) {
  const auto ids = line.find("ids");
  if (ids == line.end() || !ids->is_array()) {
    throw Error(ErrorCode::invalid_argument, "no array \"ids\"", where, "write {\"ids\": [1, 2, 3]}");
  }
  std::vector<int32_t> result;
  result.reserve(ids->size());
  for (const auto& id : *ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max()) {
      throw Error(ErrorCode::invalid_argument, fmt::format("{} is not a token id", id.dump()), where);
    }
    result.push_back(id.get<int32_t>());
  }
  return result;
}

std::string text_of(const nlohmann::ordered_json& line, const std::string& where) {
  const auto text = line.find("text");
  if (text == line.end() || !text->is_string()) {
    throw Error(ErrorCode::invalid_argument, "no string \"text\"", where, "write {\"text\": \"Hello\"}");
  }
  return text->get<std::string>();
}

void run(const std::string& model, const LoadOptions& load, bool decode, bool as_text) {
  const Tokenizer tokenizer = Tokenizer::load(find_model(model, load, true));
  cli::tell_warnings(tokenizer.warnings());
  constexpr std::array<std::string_view, 1> kText = {"text"};
  constexpr std::array<std::string_view, 1> kIds = {"ids"};
  eval::UnknownKeys unknown(decode ? kIds : kText);
  for_each_json_line([&](const nlohmann::ordered_json& line, const std::string& where) {
    nlohmann::ordered_json answer;
    if (decode) {
      answer["text"] = tokenizer.decode(ids_of(line, where));
    } else {
      const std::string text = text_of(line, where);
      answer["ids"] = as_text ? tokenizer.encode_given(text) : tokenizer.encode(text);
    }
    unknown.look_at(line, where);  // after what is wrong with the line itself
    cli::tell_warnings(unknown.take_warnings());
    return answer;
  });
}

}  // namespace

void add_tokenize(CLI::App& app) {
  struct Arguments {
    std::string model;
    LoadOptions load;
    bool decode = false, as_text = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* tokenize = app.add_subcommand("tokenize", "JSON lines {\"text\"} on stdin to {\"ids\"} on stdout");
  tokenize->add_option("MODEL", arguments->model, cli::model_help);
  tokenize->add_flag("--decode", arguments->decode, "the other way: {\"ids\"} to {\"text\"}");
  tokenize->add_flag("--as-text", arguments->as_text, "texts that spell control tokens stay characters, as in messages")
      ->excludes("--decode");
  cli::add_hub_options(*tokenize, arguments->load);
  tokenize->footer(
      "Only tokenizer.json of MODEL is read. Control tokens in a text become their ids, unless --as-text.\n"
      "\n"
      "Examples:\n"
      "  echo '{\"text\": \"Hello, world!\"}' | prosa tokenize MODEL\n"
      "  echo '{\"ids\": [9707, 11, 1879, 0]}' | prosa tokenize MODEL --decode");
  tokenize->callback([arguments] { run(arguments->model, arguments->load, arguments->decode, arguments->as_text); });
}

}  // namespace prosa::tools
