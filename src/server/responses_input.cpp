// Items to messages (responses_input.h).
#include "server/responses_input.h"

#include <algorithm>

#include <fmt/format.h>

#include "chat/message_json.h"

namespace prosa::server {
namespace {

/// A string, or parts of these types.
std::string read_parts(const Fields& item, const char* name, std::initializer_list<std::string_view> types) {
  const Json* content = item.find(name);
  if (content == nullptr) return {};
  if (content->is_string()) return content->get<std::string>();
  const Json* parts = item.list(name);
  std::string text;
  for (size_t i = 0; i < parts->size(); ++i) {
    const Fields part((*parts)[i], fmt::format("{}[{}]", item.path_of(name), i));
    const std::string type = part.required_text("type");
    if (std::ranges::find(types, type) == types.end()) {
      part.refuse_unsupported("type", fmt::format("parts of type \"{}\" are not read here", type), "Send text.");
    }
    text += part.required_text(type == "refusal" ? "refusal" : "text");
  }
  return text;
}

class Reader {
 public:
  explicit Reader(const StoredResponse* previous) {
    if (previous == nullptr) return;
    messages_ = previous->messages;
    call_ids_ = previous->call_ids;
  }

  void add(const Fields& item) {
    const std::string type = item.text("type").value_or(item.has("role") ? "message" : "");
    if (type.empty()) item.refuse("type", "is missing");
    if (type == "function_call_output") return add_output(item);
    if (type == "message") {
      add_message(item);
    } else if (type == "function_call") {
      add_call(item);
    } else if (type == "reasoning") {
      add_thoughts(item);
    } else {
      item.refuse_unsupported("type", fmt::format("items of type \"{}\" are not read here", type),
                              "Send message, function_call, function_call_output or reasoning items.");
    }
  }

  void add_text(std::string text) { messages_.push_back({Role::user, std::move(text)}); }

  std::vector<Message> take() && { return std::move(messages_); }

 private:
  void add_message(const Fields& item) {
    const std::string role = item.required_text("role");
    if (!item.has("content")) item.refuse("content", "is missing");
    if (role == "assistant") {
      Message& turn = turn_of_assistant(!is_open() || !messages_.back().content.empty() || has_calls());
      turn.content += read_parts(item, "content", {"output_text", "input_text", "text", "refusal"});
      return;
    }
    if (role != "user" && role != "system" && role != "developer") {
      item.refuse("role", fmt::format("is \"{}\", but must be user, assistant, system or developer", role));
    }
    const Role whose = role == "user" ? Role::user : Role::system;
    messages_.push_back({whose, read_parts(item, "content", {"input_text", "output_text", "text"})});
  }

  void add_thoughts(const Fields& item) {
    std::string thoughts = read_parts(item, "content", {"reasoning_text", "text"});
    if (thoughts.empty()) thoughts = read_parts(item, "summary", {"summary_text"});
    if (thoughts.empty()) return;  // encrypted by another server, which alone can read them
    turn_of_assistant(true).reasoning_content = std::move(thoughts);
  }

  void add_call(const Fields& item) {
    const std::string name = item.required_text("name");
    const Json* arguments = item.find("arguments");
    Message& turn = turn_of_assistant(!is_open());
    if (turn.tool_calls.empty()) call_ids_.clear();
    turn.tool_calls.push_back({name, arguments == nullptr ? "{}" : chat::arguments_from_json(*arguments, name)});
    call_ids_.push_back(item.required_text("call_id"));
  }

  /// The model reads answers in the order of its calls, and tells them apart by nothing else.
  void add_output(const Fields& item) {
    const std::string id = item.required_text("call_id");
    const auto call = std::ranges::find(call_ids_, id);
    if (call == call_ids_.end()) {
      item.refuse("call_id", fmt::format("is \"{}\", and no call with this id came right before it", id));
    }
    if (!item.has("output")) item.refuse("output", "is missing");
    const auto place = static_cast<size_t>(call - call_ids_.begin());
    Message answer = {Role::tool, read_parts(item, "output", {"input_text", "output_text", "text"})};
    if (messages_.empty() || messages_.back().role != Role::tool) places_.clear();
    const auto behind = std::ranges::upper_bound(places_, place);
    const auto before = places_.end() - behind;
    messages_.insert(messages_.end() - before, std::move(answer));
    places_.insert(behind, place);
  }

  /// The last message is the assistant's and may still grow.
  [[nodiscard]] bool is_open() const { return !messages_.empty() && messages_.back().role == Role::assistant; }
  [[nodiscard]] bool has_calls() const { return is_open() && !messages_.back().tool_calls.empty(); }

  Message& turn_of_assistant(bool begins) {
    if (begins) messages_.push_back({Role::assistant, ""});
    return messages_.back();
  }

  std::vector<Message> messages_;
  std::vector<std::string> call_ids_;  // of the last message with calls
  std::vector<size_t> places_;         // of the answers at the end: which calls they belong to, rising
};

}  // namespace

std::vector<Message> read_input(const Fields& body, const StoredResponse* previous) {
  Reader reader(previous);
  const Json* input = body.find("input");
  if (input == nullptr) body.refuse("input", "is missing");
  if (input->is_string()) {
    reader.add_text(input->get<std::string>());
    return std::move(reader).take();
  }
  if (!input->is_array()) body.refuse("input", "must be a string or a list of items");
  if (input->empty() && previous == nullptr) body.refuse("input", "is empty");
  for (size_t i = 0; i < input->size(); ++i) reader.add(Fields((*input)[i], fmt::format("input[{}]", i)));
  return std::move(reader).take();
}

}  // namespace prosa::server
