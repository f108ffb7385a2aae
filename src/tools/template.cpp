// prosa template: JSON lines of messages to the prompt the model would get. Needs only the template files of the model,
// and for --ids its tokenizer.
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "chat/chat_template.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/error.h"
#include "tokenizer/tokenizer.h"
#include "tools/commands.h"
#include "tools/find_model.h"
#include "tools/json_lines.h"

namespace prosa::tools {
namespace {

using nlohmann::ordered_json;

std::optional<bool> flag_of(const ordered_json& line, const char* key, const std::string& where) {
  const auto value = line.find(key);
  if (value == line.end() || value->is_null()) return std::nullopt;
  if (!value->is_boolean())
    throw Error(ErrorCode::invalid_argument, std::string(key) + " is neither true nor false", where);
  return value->get<bool>();
}

/// The prompt in its parts: {"template": text} for what the template wrote, {"given": text} for what came from outside.
ordered_json parts_of(const MarkedText& prompt) {
  const std::string_view text = prompt.text();
  ordered_json parts = ordered_json::array();
  const auto add = [&](const char* hand, size_t begin, size_t end) {
    if (begin < end) parts.push_back({{hand, text.substr(begin, end - begin)}});
  };
  size_t at = 0;
  for (const auto& [begin, end] : prompt.given()) {
    add("template", at, begin);
    add("given", begin, end);
    at = end;
  }
  add("template", at, text.size());
  return parts;
}

/// What the template sees besides: "chat_template_kwargs", and every key of the line that is not a request's own.
void add_variables(const ordered_json& line, const std::string& where, ordered_json& variables) {
  constexpr std::array<std::string_view, 6> kOwn = {"messages",
                                                    "tools",
                                                    "enable_thinking",
                                                    "add_generation_prompt",
                                                    "continue_final_message",
                                                    "chat_template_kwargs"};
  for (const auto& [name, value] : line.items()) {
    if (std::ranges::find(kOwn, name) == kOwn.end()) variables[name] = value;
  }
  const auto more = line.find("chat_template_kwargs");
  if (more == line.end() || more->is_null()) return;
  if (!more->is_object()) throw Error(ErrorCode::invalid_argument, "chat_template_kwargs is no object", where);
  for (const auto& [name, value] : more->items()) variables[name] = value;
}

/// `tokenizer`: null, or to show parts and ids too. What the template rejects is an answer here ({"error"}); a line
/// that is no request at all is not.
ordered_json render_line(const ordered_json& line, const std::string& where, const chat::ChatTemplate& chat_template,
                         const Tokenizer* tokenizer) {
  const auto messages = line.find("messages");
  if (messages == line.end() || !messages->is_array()) {
    throw Error(ErrorCode::invalid_argument, "no array \"messages\"", where,
                R"(write {"messages": [{"role": "user", "content": "Hi"}]})");
  }
  const auto tools = line.find("tools");
  chat::RenderOptions options;
  options.enable_thinking = flag_of(line, "enable_thinking", where);
  options.add_generation_prompt = flag_of(line, "add_generation_prompt", where).value_or(true);
  options.continue_final_message = flag_of(line, "continue_final_message", where).value_or(false);
  const JsonGuard guard(options.variables);
  add_variables(line, where, options.variables);
  try {
    const MarkedText prompt = chat_template.render(*messages, tools == line.end() ? ordered_json() : *tools, options);
    ordered_json answer = {{"prompt", prompt.text()}};
    if (tokenizer != nullptr) {
      answer["parts"] = parts_of(prompt);
      answer["ids"] = tokenizer->encode(prompt);
    }
    return answer;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_template) throw;
    return {{"error", error.message()}};
  }
}

void run(const std::string& model, const LoadOptions& load, bool ids) {
  const std::filesystem::path folder = find_model(model, load, true);
  const auto chat_template = chat::ChatTemplate::load(folder);
  std::optional<Tokenizer> tokenizer;
  if (ids) tokenizer = Tokenizer::load(folder);
  if (tokenizer) cli::tell_warnings(tokenizer->warnings());
  for_each_json_line([&](const ordered_json& line, const std::string& where) {
    return render_line(line, where, chat_template, tokenizer ? &*tokenizer : nullptr);
  });
}

}  // namespace

void add_template(CLI::App& app) {
  struct Arguments {
    std::string model;
    LoadOptions load;
    bool ids = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("template", "JSON lines {\"messages\"} on stdin to {\"prompt\"} on stdout");
  command->add_option("MODEL", arguments->model, cli::model_help);
  command->add_flag("--ids", arguments->ids, "adds \"parts\" (what the template wrote, what it was given) and \"ids\"");
  cli::add_hub_options(*command, arguments->load);
  command->footer(
      "A line: {\"messages\": [...], \"tools\"?: [...], \"enable_thinking\"?: bool, \"add_generation_prompt\"?: "
      "bool, \"continue_final_message\"?: bool, \"chat_template_kwargs\"?: {...}}. Other keys are variables of the "
      "template too.\n"
      "What the model's template rejects is answered by {\"error\": ...}.\n"
      "\n"
      "Example:\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | prosa template MODEL");
  command->callback([arguments] { run(arguments->model, arguments->load, arguments->ids); });
}

}  // namespace prosa::tools
