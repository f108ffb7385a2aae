// The Qwen3.5 chat template (template.h), branch by branch. The order of the checks is the template's own: with two
// things wrong, the same one is reported.
#include "chat/template.h"

#include "chat/python_text.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view tools_head = "# Tools\n\nYou have access to the following functions:\n\n<tools>";
constexpr std::string_view tools_tail =
    "\n</tools>\n\n"
    "If you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n"
    "<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "<tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT "
    "after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge and do not "
    "tell the user about function calls\n"
    "</IMPORTANT>";

[[noreturn]] void fail(const char* message) { throw Error(ErrorCode::bad_template, message); }

/// `value.key` of the template language: null for an undefined one, also of things that have no members.
const Json* member(const Json& value, const char* key) {
  const auto it = value.find(key);
  return it == value.end() ? nullptr : &*it;
}

bool is(const Json* value, std::string_view text) {
  return value != nullptr && value->is_string() && value->get_ref<const std::string&>() == text;
}

/// Python's truth of a value.
bool truthy(const Json* value) {
  if (value == nullptr || value->is_null()) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_string()) return !value->get_ref<const std::string&>().empty();
  if (value->is_number()) return value->get<double>() != 0;
  return !value->empty();
}

/// `text in item`: a key of an object, a part of a string, an element of a list.
bool contains(const Json& item, const char* text) {
  if (item.is_object()) return item.contains(text);
  if (item.is_string()) return item.get_ref<const std::string&>().find(text) != std::string::npos;
  if (!item.is_array()) fail("A content part is neither an object nor a string.");
  for (const Json& element : item) {
    if (is(&element, text)) return true;
  }
  return false;
}

void render_part(const Json& part, bool is_system, MarkedText& out) {
  if (contains(part, "image") || contains(part, "image_url") || is(member(part, "type"), "image")) {
    if (is_system) fail("System message cannot contain images.");
    return out.write("<|vision_start|><|image_pad|><|vision_end|>");
  }
  if (contains(part, "video") || is(member(part, "type"), "video")) {
    if (is_system) fail("System message cannot contain videos.");
    return out.write("<|vision_start|><|video_pad|><|vision_end|>");
  }
  if (!contains(part, "text")) fail("Unexpected item type in content.");
  const Json* text = member(part, "text");
  if (text == nullptr) return;  // a bare string or list that has "text" in it
  if (text->is_structured()) fail("The text of a content part is not a string.");
  out.give(to_python_string(*text));
}

/// A message's content as stripped text.
MarkedText render_content(const Json& message, bool is_system = false) {
  const Json* content = member(message, "content");
  if (content == nullptr || content->is_null()) return {};
  if (content->is_string()) return MarkedText::of_given(python_strip(content->get_ref<const std::string&>()));
  if (!content->is_array()) fail("Unexpected content type.");
  MarkedText text;
  for (const Json& part : *content) render_part(part, is_system, text);
  return text.slice(python_strip(text.text()));
}

/// System message and tools.
void render_head(const Json& messages, const Json& tools, MarkedText& out) {
  const bool has_system = is(member(messages[0], "role"), "system");
  if (!tools.is_array() || tools.empty()) {
    if (tools.is_string() && truthy(&tools)) fail("The tools are not a list.");
    if (!has_system) return;
    out.write("<|im_start|>system\n");
    out.append(render_content(messages[0], true));
    out.write("<|im_end|>\n");
    return;
  }
  out.write("<|im_start|>system\n");
  out.write(tools_head);
  for (const Json& tool : tools) {
    out.write("\n");
    out.give(to_python_json(tool));
  }
  out.write(tools_tail);
  if (has_system) {
    const MarkedText content = render_content(messages[0], true);
    if (!content.text().empty()) out.write("\n\n");
    out.append(content);
  }
  out.write("<|im_end|>\n");
}

/// The last message in which the user says something, rather than hands back what a tool said. Replies after it keep
/// their thoughts.
size_t last_query(const Json& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (!is(member(messages[i], "role"), "user")) continue;
    const MarkedText rendered = render_content(messages[i]);
    const std::string& content = rendered.text();
    if (!(content.starts_with("<tool_response>") && content.ends_with("</tool_response>"))) return i;
  }
  fail("No user query found in messages.");
}

void render_call(const Json& entry, MarkedText& out) {
  const Json* function = member(entry, "function");
  const Json& call = function != nullptr ? *function : entry;
  const Json* name = member(call, "name");
  if (name == nullptr || !name->is_string()) fail("A tool call has no function name.");
  out.write("<tool_call>\n<function=");
  out.give(name->get_ref<const std::string&>());
  out.write(">\n");
  if (const Json* arguments = member(call, "arguments")) {
    if (!arguments->is_object()) fail("The arguments of a tool call are not an object.");
    for (const auto& [key, value] : arguments->items()) {
      out.write("<parameter=");
      out.give(key);
      out.write(">\n");
      out.give(value.is_structured() ? to_python_json(value) : to_python_string(value));
      out.write("\n</parameter>\n");
    }
  }
  out.write("</function>\n</tool_call>");
}

void render_assistant(const Json& message, const MarkedText& content, bool after_query, MarkedText& out) {
  std::string_view text = content.text();
  MarkedText reasoning;
  const Json* given = member(message, "reasoning_content");
  if (given != nullptr && given->is_string()) {
    reasoning.give(given->get_ref<const std::string&>());
  } else if (const size_t close = text.find("</think>"); close != std::string_view::npos) {
    std::string_view thought = strip_back(text.substr(0, close), '\n');
    if (const size_t open = thought.rfind("<think>"); open != std::string_view::npos) {
      thought.remove_prefix(open + std::string_view("<think>").size());
    }
    reasoning.append(content, thought);
    text = strip_front(text.substr(text.rfind("</think>") + std::string_view("</think>").size()), '\n');
  }
  out.write("<|im_start|>assistant\n");
  if (after_query) {
    out.write("<think>\n");
    out.append(reasoning, python_strip(reasoning.text()));
    out.write("\n</think>\n\n");
  }
  out.append(content, text);

  const Json* calls = member(message, "tool_calls");
  if (truthy(calls) && calls->is_string()) fail("The tool calls are not a list.");
  if (calls != nullptr && calls->is_array()) {
    bool first = true;
    for (const Json& call : *calls) {
      if (!first)
        out.write("\n");
      else if (!python_strip(text).empty())
        out.write("\n\n");
      first = false;
      render_call(call, out);
    }
  }
  out.write("<|im_end|>\n");
}

/// Answers of tools in a row become one user turn.
void render_tool_response(const Json& messages, size_t index, const MarkedText& content, MarkedText& out) {
  const auto is_tool = [&](size_t i) { return is(member(messages[i], "role"), "tool"); };
  if (index > 0 && !is_tool(index - 1)) out.write("<|im_start|>user");
  out.write("\n<tool_response>\n");
  out.append(content);
  out.write("\n</tool_response>");
  if (index + 1 == messages.size() || !is_tool(index + 1)) out.write("<|im_end|>\n");
}

bool thinks(const TemplateOptions& options) {
  return options.enable_thinking.value_or(options.thinking_default == ThinkingDefault::on);
}

}  // namespace

MarkedText render_marked(const Json& messages, const Json& tools, const TemplateOptions& options) {
  if (!truthy(&messages)) fail("No messages provided.");
  if (!messages.is_array()) fail("The messages are not a list.");
  MarkedText out;
  render_head(messages, tools, out);
  const size_t query = last_query(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    const Json* role = member(message, "role");
    const MarkedText content = render_content(message);
    if (is(role, "system")) {
      if (i > 0) fail("System message must be at the beginning.");
    } else if (is(role, "user")) {
      out.write("<|im_start|>user\n");
      out.append(content);
      out.write("<|im_end|>\n");
    } else if (is(role, "assistant")) {
      render_assistant(message, content, i > query, out);
    } else if (is(role, "tool")) {
      render_tool_response(messages, i, content, out);
    } else {
      fail("Unexpected message role.");
    }
  }
  if (options.add_generation_prompt) {
    out.write("<|im_start|>assistant\n");
    out.write(thinks(options) ? "<think>\n" : "<think>\n\n</think>\n\n");
  }
  return out;
}

std::string render(const Json& messages, const Json& tools, const TemplateOptions& options) {
  return render_marked(messages, tools, options).text();
}

}  // namespace prosa::chat
