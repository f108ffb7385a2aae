// How often a model answers with JSON and nothing else, when asked to.
//
// Strict: the whole reply is one JSON value (white space around it is allowed; fences, words and a second value are
// not), no key stands twice in an object, and what the prompt asks for holds: exactly these keys, or a schema. Greedy
// decoding: the same model gives the same rate.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "prosa/chat.h"

namespace prosa::eval {

struct JsonPrompt {
  std::vector<Message> messages;
  std::optional<std::vector<std::string>> keys;  // the reply is an object with exactly these
  std::optional<nlohmann::ordered_json> schema;  // see check_schema()
};

/// JSON lines of {"prompt"} or {"messages"}, and "keys"? or "schema"?. Errors: not_found, io, invalid_argument (names
/// the line), unsupported (a keyword of a schema).
/// `warnings`: gets sentences about keys that mean nothing here.
std::vector<JsonPrompt> read_json_prompts(const std::filesystem::path& path,
                                          std::vector<std::string>* warnings = nullptr);

/// Why the reply is not strict; empty: it is.
std::string why_not_strict(std::string_view reply, const JsonPrompt& prompt);

struct JsonAnswer {
  std::string reply;
  std::string problem;  // empty: strict
  FinishReason finish = FinishReason::stop;
};

/// Greedy replies of at most `max_tokens`. `progress` gets the number of answers. Errors: those of Chat::generate().
std::vector<JsonAnswer> answer_prompts(Chat& chat, const std::vector<JsonPrompt>& prompts, int max_tokens,
                                       const std::function<void(int64_t done, const JsonAnswer&)>& progress);

}  // namespace prosa::eval
