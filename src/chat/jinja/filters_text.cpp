// Filters on texts (runtime.h). What is no text becomes one first, as Jinja's soft_str() does it.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

const Text* text_argument(Runtime& runtime, const Value* value) {
  if (value == nullptr || value->is_none()) return nullptr;
  if (value->text() == nullptr) runtime.fail(fmt::format("a text was expected, not '{}'", value->type_name()));
  return value->text();
}

/// A filter that changes characters and takes nothing.
template <MarkedText (*change)(const MarkedText&)>
Value changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "the filter", arguments, {});
  const Value text = to_string_value(runtime, self);
  runtime.charge_bytes(text.text()->bytes().size());
  return runtime.text(change(text.text()->marked), text.text()->safe);
}

Value filter_string(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "string", arguments, {});
  return to_string_value(runtime, self);
}

Value filter_safe(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "safe", arguments, {});
  return runtime.text(to_text(runtime, self), true);
}

Value filter_escape(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "escape", arguments, {});
  if (self.text() != nullptr && self.text()->safe) return self;
  return runtime.text(escaped(to_text(runtime, self)), true);
}

Value filter_forceescape(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "forceescape", arguments, {});
  return runtime.text(escaped(to_text(runtime, self)), true);
}

Value filter_trim(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Text* set = text_argument(runtime, bind(runtime, "trim", arguments, {"chars"})[0]);
  const Value value = to_string_value(runtime, self);
  const Text& text = *value.text();
  const std::string_view kept =
      set == nullptr ? strip_space(text.bytes(), Side::both) : strip_set(text.bytes(), set->bytes(), Side::both);
  return runtime.text(text.marked.slice(kept), text.safe);
}

Value filter_replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "replace", arguments, {"old", "new", "count"});
  if (bound[0] == nullptr || bound[1] == nullptr) runtime.fail("replace needs what is replaced, and by what");
  const MarkedText text = to_text(runtime, self), old = to_text(runtime, *bound[0]),
                   fresh = to_text(runtime, *bound[1]);
  Arguments passed;
  passed.positional = {Value::of(old), Value::of(fresh)};
  if (bound[2] != nullptr && !bound[2]->is_none()) passed.positional.push_back(*bound[2]);
  return call(runtime, string_method(runtime, Value::of(text), "replace"), passed);
}

Value filter_indent(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "indent", arguments, {"width", "first", "blank"});
  constexpr int64_t kMaxIndent = 1000;
  MarkedText indention;
  if (bound[0] != nullptr && bound[0]->text() != nullptr) {
    indention = bound[0]->text()->marked;
  } else {
    const int64_t width = bound[0] == nullptr ? 4 : to_int(runtime, *bound[0], "the width");
    indention.write(std::string(static_cast<size_t>(std::clamp<int64_t>(width, 0, kMaxIndent)), ' '));
  }
  const bool first = bound[1] != nullptr && bound[1]->truthy(), blank = bound[2] != nullptr && bound[2]->truthy();
  const Value value = to_string_value(runtime, self);
  MarkedText text = value.text()->marked;
  text.write("\n");
  const auto lines = split_lines(text.text(), false);
  runtime.charge(lines.size());
  runtime.charge_bytes(text.text().size() + lines.size() * indention.text().size());
  MarkedText out;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out.write("\n");
    if (i == 0 ? first : (blank || !lines[i].empty())) out.append(indention);
    out.append(text, lines[i]);
  }
  return runtime.text(std::move(out), value.text()->safe);
}

Value filter_format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    runtime.fail("can't handle positional and keyword arguments at the same time");
  Value values;
  if (!arguments.named.empty()) {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [name, value] : arguments.named) entries.emplace_back(Value::written(name), value);
    values = runtime.dict(std::move(entries));
  } else {
    values = runtime.list(arguments.positional, ListKind::tuple);
  }
  const Value text = to_string_value(runtime, self);
  return runtime.text(format_percent(runtime, text.text()->marked, values), text.text()->safe);
}

Value filter_center(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "center", arguments, {"width"});
  Arguments passed;
  passed.positional = {bound[0] == nullptr ? Value::integer(80) : *bound[0]};
  return call(runtime, string_method(runtime, to_string_value(runtime, self), "center"), passed);
}

Value filter_wordcount(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "wordcount", arguments, {});
  const Value value = to_string_value(runtime, self);
  const std::string& text = value.text()->bytes();
  Integer words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t code = utf8::next(text, at);
    const bool belongs = is_letter(code) || is_digit(code) || code == '_';
    if (belongs && !in_word) ++words;
    in_word = belongs;
  }
  return Value::integer(words);
}

Value filter_truncate(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  const int64_t length = bound[0] == nullptr ? 255 : to_int(runtime, *bound[0], "the length");
  const int64_t leeway = bound[3] == nullptr || bound[3]->is_none() ? 5 : to_int(runtime, *bound[3], "the leeway");
  const Text* end_argument = text_argument(runtime, bound[2]);
  MarkedText end = end_argument != nullptr ? end_argument->marked : MarkedText();
  if (end_argument == nullptr) end.write("...");
  const Value value = to_string_value(runtime, self);
  const Text& text = *value.text();
  const auto size = static_cast<int64_t>(length_of(text.bytes())), tail = static_cast<int64_t>(length_of(end.text()));
  if (length < tail || leeway < 0) runtime.fail("truncate's length is too short for its end");
  if (size <= length + leeway) return value;
  std::string_view kept = text.bytes();
  kept = kept.substr(0, offset_of(kept, static_cast<size_t>(length - tail)));
  if ((bound[1] == nullptr || !bound[1]->truthy()) && kept.find(' ') != std::string_view::npos)
    kept = kept.substr(0, kept.rfind(' '));
  MarkedText out = text.marked.slice(kept);
  out.append(end);
  return runtime.text(std::move(out), text.safe);
}

struct TextFilterEntry {
  std::string_view name;
  Filter filter;
};
constexpr std::array<TextFilterEntry, 16> kTextFilters = {{{"capitalize", changed<capitalize>},
                                                           {"center", filter_center},
                                                           {"e", filter_escape},
                                                           {"escape", filter_escape},
                                                           {"forceescape", filter_forceescape},
                                                           {"format", filter_format},
                                                           {"indent", filter_indent},
                                                           {"lower", changed<lower>},
                                                           {"replace", filter_replace},
                                                           {"safe", filter_safe},
                                                           {"string", filter_string},
                                                           {"title", changed<title_filter>},
                                                           {"trim", filter_trim},
                                                           {"truncate", filter_truncate},
                                                           {"upper", changed<upper>},
                                                           {"wordcount", filter_wordcount}}};

}  // namespace

Filter find_text_filter(std::string_view name) {
  const auto* entry = std::ranges::find(kTextFilters, name, &TextFilterEntry::name);
  return entry == kTextFilters.end() ? nullptr : entry->filter;
}

}  // namespace prosa::chat::jinja
