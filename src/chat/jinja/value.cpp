// Making values, from JSON among others, and what Python says of their truth, equality and order (value.h).
#include "chat/jinja/value.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

using Json = nlohmann::ordered_json;

/// A plain word cannot spell a control token, nor end one that the template has begun.
bool is_plain_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

Value dict_of_json(const Json& json, bool is_message) {
  auto dict = std::make_shared<Dict>();
  dict->given = true;
  dict->entries.reserve(json.size());
  for (const auto& [key, member] : json.items()) {
    const bool is_role =
        is_message && key == "role" && member.is_string() && is_plain_word(member.get_ref<const std::string&>());
    dict->entries.emplace_back(Value::of(MarkedText::of_given(key)),
                               is_role ? Value::written(member.get_ref<const std::string&>()) : value_of_json(member));
    dict->depth = std::max(dict->depth, dict->entries.back().second.depth() + 1);
  }
  return {Value::Data(std::shared_ptr<const Dict>(std::move(dict))), true};
}

Value list_of_json(const Json& json, bool is_messages) {
  auto list = std::make_shared<List>();
  list->given = true;
  list->elements.reserve(json.size());
  for (const Json& element : json) {
    list->elements.push_back(is_messages && element.is_object() ? dict_of_json(element, true) : value_of_json(element));
    list->depth = std::max(list->depth, list->elements.back().depth() + 1);
  }
  return {Value::Data(std::shared_ptr<const List>(std::move(list))), true};
}

}  // namespace

Loop::~Loop() = default;

const Value* Dict::find(std::string_view key) const noexcept {
  for (const auto& [name, value] : entries) {
    if (name.is_string(key)) return &value;
  }
  return nullptr;
}

Value Value::written(std::string_view text) {
  MarkedText marked;
  marked.write(text);
  return of(std::move(marked));
}

Value Value::of(MarkedText text, bool safe) {
  return Value(Data(std::shared_ptr<const Text>(std::make_shared<Text>(Text{std::move(text), safe}))));
}

Value Value::undefined(std::string why) {
  return Value(Data(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

bool Value::is_number() const noexcept { return is_integral() || as<double>() != nullptr; }

Integer Value::to_integer() const noexcept {
  if (const bool* flag = as<bool>()) return *flag ? 1 : 0;
  const Integer* number = as<Integer>();
  return number == nullptr ? 0 : *number;
}

double Value::to_real() const noexcept {
  if (const double* number = as<double>()) return *number;
  return static_cast<double>(to_integer());
}

bool Value::truthy() const noexcept {
  if (is_undefined() || is_none()) return false;
  if (is_integral()) return to_integer() != 0;
  if (const double* number = as<double>()) return *number != 0;
  if (const Text* held = text()) return !held->bytes().empty();
  if (const List* held = list()) return held->kind == ListKind::generator || !held->elements.empty();
  if (const Dict* held = dict()) return !held->entries.empty();
  return true;
}

bool Value::given() const noexcept {
  if (const List* held = list()) return held->given;
  if (const Dict* held = dict()) return held->given;
  return given_;
}

int Value::depth() const noexcept {
  if (const List* held = list()) return held->depth;
  if (const Dict* held = dict()) return held->depth;
  if (const Callable* held = callable()) return held->depth;
  if (const Loop* held = loop()) return held->items->depth + 1;
  return 0;
}

std::string_view Value::type_name() const noexcept {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (as<bool>() != nullptr) return "bool";
  if (as<Integer>() != nullptr) return "int";
  if (as<double>() != nullptr) return "float";
  if (text() != nullptr) return "str";
  if (dict() != nullptr) return "dict";
  if (space() != nullptr) return "Namespace";
  if (callable() != nullptr) return "function";
  if (loop() != nullptr) return "LoopContext";
  switch (list()->kind) {
    case ListKind::list: return "list";
    case ListKind::tuple: return "tuple";
    case ListKind::generator: return "generator";
    case ListKind::range: return "range";
    case ListKind::keys: return "dict_keys";
    case ListKind::values: return "dict_values";
    case ListKind::items: return "dict_items";
  }
  return "list";
}

std::string Value::described() const {
  if (is_none()) return "'None'";
  return fmt::format("'{} object'", type_name());
}

Value value_of_json(const Json& json) {
  switch (json.type()) {
    case Json::value_t::object: return dict_of_json(json, false);
    case Json::value_t::array: return list_of_json(json, false);
    case Json::value_t::string: return Value::of(MarkedText::of_given(json.get_ref<const std::string&>()));
    case Json::value_t::boolean: return {Value::Data(std::in_place_type<bool>, json.get<bool>()), true};
    case Json::value_t::number_integer: return Value::integer(json.get<int64_t>(), true);
    case Json::value_t::number_unsigned: return Value::integer(static_cast<Integer>(json.get<uint64_t>()), true);
    case Json::value_t::number_float: return Value::real(json.get<double>(), true);
    default: return Value::none();
  }
}

Value value_of_messages(const Json& messages) {
  return messages.is_array() ? list_of_json(messages, true) : value_of_json(messages);
}

// ---- equality and order

namespace {

int sign(auto a, auto b) { return a < b ? -1 : (a == b ? 0 : 1); }

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.to_integer() == b.to_integer();
  return a.to_real() == b.to_real();
}

bool equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::ranges::all_of(a.entries, [&](const auto& entry) {
    return std::ranges::any_of(b.entries, [&](const auto& other) {
      return equal(runtime, entry.first, other.first) && equal(runtime, entry.second, other.second);
    });
  });
}

/// Lists of one kind have an order and can be equal; all others only to themselves.
bool comparable(const List& a, const List& b) {
  return a.kind == b.kind && a.kind != ListKind::generator && a.kind != ListKind::values;
}

[[noreturn]] void fail_order(const Runtime& runtime, const Value& a, const Value& b) {
  runtime.fail(fmt::format("'<' not supported between instances of '{}' and '{}'", a.type_name(), b.type_name()));
}

}  // namespace

bool equal(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.data().index() != b.data().index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.text() != nullptr) {
    runtime.charge_bytes(std::min(a.text()->bytes().size(), b.text()->bytes().size()));
    return a.text()->bytes() == b.text()->bytes();
  }
  if (const List* left = a.list()) {
    const List* right = b.list();
    if (left == right) return true;
    if (!comparable(*left, *right)) return false;
    return std::ranges::equal(left->elements, right->elements,
                              [&](const Value& x, const Value& y) { return equal(runtime, x, y); });
  }
  if (const Dict* left = a.dict()) return left == b.dict() || equal_dicts(runtime, *left, *b.dict());
  if (a.space() != nullptr) return a.space() == b.space();
  if (a.loop() != nullptr) return a.loop() == b.loop();
  return a.callable() == b.callable();
}

int compare(Runtime& runtime, const Value& a, const Value& b) {
  runtime.charge(1);
  if (a.is_undefined()) runtime.fail_undefined(a);
  if (b.is_undefined()) runtime.fail_undefined(b);
  if (a.is_integral() && b.is_integral()) return sign(a.to_integer(), b.to_integer());
  if (a.is_number() && b.is_number()) return sign(a.to_real(), b.to_real());
  if (a.text() != nullptr && b.text() != nullptr) {
    runtime.charge_bytes(std::min(a.text()->bytes().size(), b.text()->bytes().size()));
    return sign(a.text()->bytes().compare(b.text()->bytes()), 0);
  }
  const List *left = a.list(), *right = b.list();
  const bool ordered = left != nullptr && right != nullptr && left->kind == right->kind &&
                       (left->kind == ListKind::list || left->kind == ListKind::tuple);
  if (!ordered) fail_order(runtime, a, b);
  for (size_t i = 0; i < std::min(left->elements.size(), right->elements.size()); ++i) {
    if (!equal(runtime, left->elements[i], right->elements[i]))
      return compare(runtime, left->elements[i], right->elements[i]);
  }
  return sign(left->elements.size(), right->elements.size());
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (item.is_undefined()) runtime.fail_undefined(item);
    if (item.text() == nullptr)
      runtime.fail(fmt::format("'in <string>' requires string as left operand, not {}", item.type_name()));
    runtime.charge_bytes(text->bytes().size());
    return text->bytes().find(item.text()->bytes()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    return std::ranges::any_of(dict->entries, [&](const auto& entry) { return equal(runtime, entry.first, item); });
  }
  if (container.list() == nullptr && !container.is_undefined())
    runtime.fail(fmt::format("argument of type '{}' is not iterable", container.type_name()));
  const auto list = iterate(runtime, container);
  return std::ranges::any_of(list->elements, [&](const Value& element) { return equal(runtime, element, item); });
}

}  // namespace prosa::chat::jinja
