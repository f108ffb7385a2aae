// Prompts, judging, asking.
#include "tools/eval/strict_json.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/json.h"
#include "base/keyed_hash.h"
#include "chat/message_json.h"
#include "prosa/error.h"
#include "tools/eval/corpus.h"
#include "tools/eval/json_schema.h"

namespace prosa::eval {
namespace {

using nlohmann::ordered_json;

JsonPrompt prompt_of(const ordered_json& line, const std::string& where) {
  JsonPrompt prompt;
  const auto text = line.find("prompt");
  const auto messages = line.find("messages");
  if ((text == line.end()) == (messages == line.end()) || (text != line.end() && !text->is_string())) {
    throw Error(ErrorCode::invalid_argument, "has neither a string \"prompt\" nor \"messages\", or both", where,
                R"(write {"prompt": "... as JSON with the keys a and b", "keys": ["a", "b"]})");
  }
  if (text != line.end()) {
    prompt.messages.push_back({Role::user, text->get<std::string>()});
  } else {
    prompt.messages = chat::messages_from_json(*messages);
  }
  if (const auto keys = line.find("keys"); keys != line.end()) {
    const auto is_text = [](const ordered_json& key) { return key.is_string(); };
    if (!keys->is_array() || !std::ranges::all_of(*keys, is_text)) {
      throw Error(ErrorCode::invalid_argument, "\"keys\" is no list of names", where);
    }
    prompt.keys = keys->get<std::vector<std::string>>();
  }
  if (const auto schema = line.find("schema"); schema != line.end()) {
    check_schema(*schema, where);
    prompt.schema = *schema;
  }
  return prompt;
}

std::string key_problem(const ordered_json& value, const std::vector<std::string>& keys) {
  if (!value.is_object()) return "not an object";
  KeyedSet there;
  for (const auto& [key, child] : value.items()) there.insert(key);
  for (const std::string& key : keys) {
    if (!there.contains(key)) return fmt::format("the key '{}' is missing", key);
  }
  const KeyedSet wanted(keys.begin(), keys.end());
  for (const auto& [key, child] : value.items()) {
    if (!wanted.contains(key)) return fmt::format("the key '{}' was not asked for", key);
  }
  return {};
}

}  // namespace

std::vector<JsonPrompt> read_json_prompts(const std::filesystem::path& path, std::vector<std::string>* warnings) {
  constexpr std::array<std::string_view, 4> kKeys = {"prompt", "messages", "keys", "schema"};
  std::vector<JsonPrompt> prompts;
  auto said = for_each_json_line(path, read_text(path), kKeys, [&](const ordered_json& line, const std::string& where) {
    prompts.push_back(prompt_of(line, where));
  });
  if (warnings != nullptr) *warnings = std::move(said);
  return prompts;
}

std::string why_not_strict(std::string_view reply, const JsonPrompt& prompt) {
  if (reply.find_first_not_of(" \t\r\n") == std::string_view::npos) return "empty";
  if (reply.starts_with("\xEF\xBB\xBF")) return "begins with a byte order mark";
  ordered_json value;
  try {
    value = parse_ordered_json(reply, {"reply"}, {.max_depth = chat::kMaxJsonDepth});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    return reply.find("```") != std::string_view::npos ? "fenced" : "not one JSON value";
  }
  try {
    (void)parse_json(reply, {"reply"}, {.max_depth = chat::kMaxJsonDepth, .unique_keys = true});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    return error.message();
  }
  if (prompt.keys) {
    if (std::string problem = key_problem(value, *prompt.keys); !problem.empty()) return problem;
  }
  return prompt.schema ? schema_violation(value, *prompt.schema) : std::string();
}

std::vector<JsonAnswer> answer_prompts(Chat& chat, const std::vector<JsonPrompt>& prompts, int max_tokens,
                                       const std::function<void(int64_t done, const JsonAnswer&)>& progress) {
  SamplingConfig greedy;
  greedy.temperature = 0;
  greedy.repetition_penalty = 1;
  greedy.max_tokens = max_tokens;
  std::vector<JsonAnswer> answers;
  for (const JsonPrompt& prompt : prompts) {
    // From the same state every time: a prompt's answer does not depend on those before it.
    chat.reset_state();
    const Reply reply = chat.generate(prompt.messages, greedy);
    answers.push_back({reply.text, why_not_strict(reply.text, prompt), reply.stats.finish});
    if (progress) progress(static_cast<int64_t>(answers.size()), answers.back());
  }
  return answers;
}

}  // namespace prosa::eval
