// The methods of objects, lists and strings (runtime.h). What would change a value is refused, as the sandbox does.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

constexpr std::array<std::string_view, 6> kDictChanges = {"clear",   "fromkeys",   "pop",
                                                          "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear",  "extend",  "insert",
                                                          "pop",    "remove", "reverse", "sort"};

Value unsafe(const Value& value, std::string_view name) {
  return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, value.type_name()));
}

Value pairs_of(Runtime& runtime, const Dict& dict) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.entries)
    pairs.push_back(runtime.list({key, value}, ListKind::tuple, dict.given));
  return runtime.list(std::move(pairs), ListKind::items, dict.given);
}

/// What is asked of an object that is alive as long as the method.
using DictMethod = Value (*)(Runtime&, const Value&, const Arguments&);

Value dict_get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "get", arguments, {"key", "default"});
  if (bound[0] == nullptr) runtime.fail("get expected at least 1 argument, got 0");
  runtime.charge(self.dict()->entries.size() / 16);
  for (const auto& [key, value] : self.dict()->entries) {
    if (equal(runtime, key, *bound[0])) return value;
  }
  return bound[1] == nullptr ? Value::none() : *bound[1];
}

Value dict_keys(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "keys", arguments, {});
  std::vector<Value> keys;
  for (const auto& entry : self.dict()->entries) keys.push_back(entry.first);
  return runtime.list(std::move(keys), ListKind::keys, self.given());
}

Value dict_values(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "values", arguments, {});
  std::vector<Value> values;
  for (const auto& entry : self.dict()->entries) values.push_back(entry.second);
  return runtime.list(std::move(values), ListKind::values, self.given());
}

Value dict_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "items", arguments, {});
  return pairs_of(runtime, *self.dict());
}

Value itself(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "copy", arguments, {});
  return self;
}

Value list_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "count", arguments, {"value"});
  if (bound[0] == nullptr) runtime.fail("count() takes exactly one argument (0 given)");
  return Value::integer(std::ranges::count_if(
      self.list()->elements, [&](const Value& element) { return equal(runtime, element, *bound[0]); }));
}

Value list_index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "index", arguments, {"value"});
  if (bound[0] == nullptr) runtime.fail("index expected at least 1 argument, got 0");
  const auto& elements = self.list()->elements;
  for (size_t i = 0; i < elements.size(); ++i) {
    if (equal(runtime, elements[i], *bound[0])) return Value::integer(static_cast<Integer>(i));
  }
  runtime.fail("the value is not in the list");
}

Value bound_method(Runtime& runtime, const Value& self, std::string_view name, DictMethod what) {
  return runtime.function(
      std::string(name), [self, what](Runtime& at, const Arguments& arguments) { return what(at, self, arguments); },
      self.depth() + 1);
}

Value dict_method(Runtime& runtime, const Value& value, std::string_view name) {
  if (std::ranges::find(kDictChanges, name) != kDictChanges.end()) return unsafe(value, name);
  if (name == "get") return bound_method(runtime, value, name, dict_get);
  if (name == "items") return bound_method(runtime, value, name, dict_items);
  if (name == "keys") return bound_method(runtime, value, name, dict_keys);
  if (name == "values") return bound_method(runtime, value, name, dict_values);
  if (name == "copy") return bound_method(runtime, value, name, itself);
  return {};
}

Value list_method(Runtime& runtime, const Value& value, std::string_view name) {
  const ListKind kind = value.list()->kind;
  if (kind == ListKind::list && std::ranges::find(kListChanges, name) != kListChanges.end()) return unsafe(value, name);
  if (kind > ListKind::tuple && kind != ListKind::range) return {};
  if (name == "count") return bound_method(runtime, value, name, list_count);
  if (name == "index") return bound_method(runtime, value, name, list_index);
  if (name == "copy" && kind == ListKind::list) return bound_method(runtime, value, name, itself);
  return {};
}

}  // namespace

Value method(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.text() != nullptr) return string_method(runtime, value, name);
  if (value.dict() != nullptr) return dict_method(runtime, value, name);
  if (value.list() != nullptr) return list_method(runtime, value, name);
  return {};
}

}  // namespace prosa::chat::jinja
