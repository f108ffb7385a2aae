// Values as text: str(), repr() and json.dumps(), with the marks of what they are made of (value.h).
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"
#include "chat/jinja/value.h"
#include "chat/python_text.h"

namespace prosa::chat::jinja {
namespace {

void add(MarkedText& out, std::string_view text, bool given) {
  if (given) {
    out.give(text);
  } else {
    out.write(text);
  }
}

std::string scalar_text(const Value& value) {
  if (value.is_none()) return "None";
  if (const bool* flag = value.as<bool>()) return *flag ? "True" : "False";
  if (value.is_integral()) return integer_text(value.to_integer());
  return to_python_string(nlohmann::ordered_json(value.to_real()));
}

void append_quoted_code(std::string& out, std::string_view text, size_t begin, size_t end, char32_t code, char quote) {
  if (code == static_cast<char32_t>(quote) || code == '\\') {
    out += '\\';
    out += static_cast<char>(code);
  } else if (code == '\n') {
    out += "\\n";
  } else if (code == '\r') {
    out += "\\r";
  } else if (code == '\t') {
    out += "\\t";
  } else if (is_printable(code)) {
    out += text.substr(begin, end - begin);
  } else if (code < 0x100) {
    out += fmt::format("\\x{:02x}", static_cast<uint32_t>(code));
  } else if (code < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
  } else {
    out += fmt::format("\\U{:08x}", static_cast<uint32_t>(code));
  }
}

/// Each part of a text through `change`, with its mark.
template <typename Change>
void add_changed(MarkedText& out, const MarkedText& text, Change change) {
  const std::string_view bytes = text.text();
  size_t at = 0;
  for (const auto& [begin, end] : text.given()) {
    out.write(change(bytes.substr(at, begin - at)));
    out.give(change(bytes.substr(begin, end - begin)));
    at = end;
  }
  out.write(change(bytes.substr(at)));
}

char quote_for(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  return has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
}

std::string quoted_inside(std::string_view text, char quote) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t code = utf8::next(text, at);
    append_quoted_code(out, text, begin, at, code, quote);
  }
  return out;
}

void add_repr(Runtime& runtime, const Value& value, MarkedText& out);

void add_repr_list(Runtime& runtime, const List& list, MarkedText& out) {
  std::string_view open = "[", close = "]";
  switch (list.kind) {
    case ListKind::tuple: open = "(", close = list.elements.size() == 1 ? ",)" : ")"; break;
    case ListKind::generator: return add(out, "<generator object>", list.given);
    case ListKind::range: runtime.fail("a range cannot be written as it is", "write it as a list: range(3)|list");
    case ListKind::keys: open = "dict_keys([", close = "])"; break;
    case ListKind::values: open = "dict_values([", close = "])"; break;
    case ListKind::items: open = "dict_items([", close = "])"; break;
    case ListKind::list: break;
  }
  add(out, open, list.given);
  bool first = true;
  for (const Value& element : list.elements) {
    if (!first) add(out, ", ", list.given);
    first = false;
    add_repr(runtime, element, out);
  }
  add(out, close, list.given);
}

void add_repr(Runtime& runtime, const Value& value, MarkedText& out) {
  runtime.charge(1);
  runtime.charge_bytes(out.text().size() / 64);  // what has grown so far is bounded too
  if (value.is_undefined()) {
    add(out, "Undefined", false);
  } else if (const Text* text = value.text()) {
    runtime.charge_bytes(text->bytes().size());
    const char quote = quote_for(text->bytes());
    const bool given = !text->marked.given().empty();
    if (text->safe) add(out, "Markup(", given);
    add(out, {&quote, 1}, given);
    add_changed(out, text->marked, [&](std::string_view part) { return quoted_inside(part, quote); });
    add(out, {&quote, 1}, given);
    if (text->safe) add(out, ")", given);
  } else if (const List* list = value.list()) {
    add_repr_list(runtime, *list, out);
  } else if (const Dict* dict = value.dict()) {
    add(out, "{", dict->given);
    bool first = true;
    for (const auto& [key, member] : dict->entries) {
      if (!first) add(out, ", ", dict->given);
      first = false;
      add_repr(runtime, key, out);
      add(out, ": ", dict->given);
      add_repr(runtime, member, out);
    }
    add(out, "}", dict->given);
  } else if (value.space() != nullptr) {
    add(out, "<Namespace>", false);
  } else if (const Callable* function = value.callable()) {
    add(out, fmt::format("<{}>", function->name), false);
  } else if (const Loop* loop = value.loop()) {
    add(out, fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items->elements.size()), false);
  } else {
    add(out, scalar_text(value), value.given());
  }
}

// ---- JSON

std::string json_inside(std::string_view text, bool ascii) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    char32_t code = utf8::next(text, at);
    switch (code) {
      case '"': out += "\\\""; continue;
      case '\\': out += "\\\\"; continue;
      case '\n': out += "\\n"; continue;
      case '\r': out += "\\r"; continue;
      case '\t': out += "\\t"; continue;
      case '\f': out += "\\f"; continue;
      case '\b': out += "\\b"; continue;
      default: break;
    }
    if (code >= 0x20 && (code < 0x7F || !ascii)) {
      out += text.substr(begin, at - begin);
      continue;
    }
    if (code >= 0x10000) {
      code -= 0x10000;
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + static_cast<uint32_t>(code >> 10),
                         0xDC00 + static_cast<uint32_t>(code & 0x3FFU));
    } else {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
    }
  }
  return out;
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  MarkedText take() && { return std::move(out_); }

  void value(const Value& value) {
    runtime_.charge(1);
    runtime_.charge_bytes(out_.text().size() / 64);
    if (const Text* text = value.text()) {
      string(*text);
    } else if (const Dict* dict = value.dict()) {
      object(*dict);
    } else if (const List* list = value.list();
               list != nullptr && (list->kind == ListKind::list || list->kind == ListKind::tuple)) {
      array(*list);
    } else if (value.is_none()) {
      add(out_, "null", value.given());
    } else if (const bool* flag = value.as<bool>()) {
      add(out_, *flag ? "true" : "false", value.given());
    } else if (value.is_integral()) {
      add(out_, integer_text(value.to_integer()), value.given());
    } else if (const double* number = value.as<double>()) {
      add(out_, to_python_json(nlohmann::ordered_json(*number)), value.given());
    } else {
      runtime_.fail(fmt::format("Object of type {} is not JSON serializable", value.type_name()));
    }
  }

 private:
  void string(const Text& text) {
    runtime_.charge_bytes(text.bytes().size());
    const bool given = !text.marked.given().empty();
    add(out_, "\"", given);
    add_changed(out_, text.marked, [&](std::string_view part) { return json_inside(part, style_.ascii); });
    add(out_, "\"", given);
  }

  void key(const Value& key) {
    if (key.text() != nullptr) return string(*key.text());
    const bool scalar = key.is_number() || key.is_none();
    if (!scalar) runtime_.fail(fmt::format("keys must be str, int, float, bool or None, not {}", key.type_name()));
    add(out_, "\"", key.given());
    value(key);
    add(out_, "\"", key.given());
  }

  void new_line(bool given) {
    if (style_.indent < 0) return;
    std::string line = "\n";
    for (int i = 0; i < level_; ++i) line += style_.indent_text;
    runtime_.charge_bytes(line.size());
    add(out_, line, given);
  }

  void object(const Dict& dict) {
    if (dict.entries.empty()) return add(out_, "{}", dict.given);
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::ranges::stable_sort(entries,
                               [&](const auto* a, const auto* b) { return compare(runtime_, a->first, b->first) < 0; });
    }
    add(out_, "{", dict.given);
    ++level_;
    bool first = true;
    for (const auto* entry : entries) {
      if (!first) add(out_, style_.between, dict.given);
      first = false;
      new_line(dict.given);
      key(entry->first);
      add(out_, style_.colon, dict.given);
      value(entry->second);
    }
    --level_;
    new_line(dict.given);
    add(out_, "}", dict.given);
  }

  void array(const List& list) {
    if (list.elements.empty()) return add(out_, "[]", list.given);
    add(out_, "[", list.given);
    ++level_;
    bool first = true;
    for (const Value& element : list.elements) {
      if (!first) add(out_, style_.between, list.given);
      first = false;
      new_line(list.given);
      value(element);
    }
    --level_;
    new_line(list.given);
    add(out_, "]", list.given);
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  int level_ = 0;
  MarkedText out_;
};

}  // namespace

std::string integer_text(Integer value) {
  std::string digits;
  const bool negative = value < 0;
  do {
    const int digit = static_cast<int>(value % 10);
    digits += static_cast<char>('0' + (digit < 0 ? -digit : digit));
    value /= 10;
  } while (value != 0);
  if (negative) digits += '-';
  std::ranges::reverse(digits);
  return digits;
}

std::string python_quoted(std::string_view text) {
  const char quote = quote_for(text);
  return std::string(1, quote) + quoted_inside(text, quote) + quote;
}

MarkedText to_repr(Runtime& runtime, const Value& value) {
  MarkedText out;
  add_repr(runtime, value, out);
  return out;
}

MarkedText to_text(Runtime& runtime, const Value& value) {
  if (const Text* text = value.text()) return text->marked;
  if (value.is_undefined()) return {};
  return to_repr(runtime, value);
}

Value to_string_value(Runtime& runtime, const Value& value) {
  if (value.text() != nullptr) return value;
  return runtime.text(to_text(runtime, value));
}

MarkedText to_json_text(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.value(value);
  return std::move(writer).take();
}

}  // namespace prosa::chat::jinja
