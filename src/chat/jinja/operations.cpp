// What operators, attributes and subscripts do (runtime.h), as Python and the sandbox of Jinja have it.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

[[noreturn]] void fail_operands(const Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  runtime.fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", op, a.type_name(), b.type_name()));
}

[[noreturn]] void fail_size(const Runtime& runtime) { runtime.fail("a number of the template is too large"); }

Integer floor_div(Integer a, Integer b) {
  const Integer quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

double floor_mod(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value integer_power(const Runtime& runtime, Integer base, Integer exponent, bool given) {
  if (exponent < 0) return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)), given);
  if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base, given);
  if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1, given);
  Integer result = 1;
  for (; exponent > 0; --exponent) {  // at most 127 times: then it is too large
    if (__builtin_mul_overflow(result, base, &result)) fail_size(runtime);
  }
  return Value::integer(result, given);
}

Value integer_operation(const Runtime& runtime, std::string_view op, Integer a, Integer b, bool given) {
  Integer result = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &result)) fail_size(runtime);
  } else if (op == "-") {
    if (__builtin_sub_overflow(a, b, &result)) fail_size(runtime);
  } else if (op == "*") {
    if (__builtin_mul_overflow(a, b, &result)) fail_size(runtime);
  } else if (op == "**") {
    return integer_power(runtime, a, b, given);
  } else {
    if (b == 0) runtime.fail(op == "/" ? "division by zero" : "integer division or modulo by zero");
    if (op == "/") return Value::real(static_cast<double>(a) / static_cast<double>(b), given);
    if (b == -1) return op == "%" ? Value::integer(0, given) : integer_operation(runtime, "-", 0, a, given);
    result = op == "//" ? floor_div(a, b) : a - floor_div(a, b) * b;
  }
  return Value::integer(result, given);
}

Value real_operation(const Runtime& runtime, std::string_view op, double a, double b, bool given) {
  double result = 0;
  if (op == "+") {
    result = a + b;
  } else if (op == "-") {
    result = a - b;
  } else if (op == "*") {
    result = a * b;
  } else if (op == "**") {
    result = std::pow(a, b);
  } else {
    if (b == 0) runtime.fail(op == "/" ? "float division by zero" : "float floor division by zero");
    if (op == "/") {
      result = a / b;
    } else {
      const double rest = floor_mod(a, b);
      result = op == "%" ? rest : std::round((a - rest) / b);
    }
  }
  return Value::real(result, given);
}

Value joined_texts(Runtime& runtime, const Text& a, const Text& b) {
  // Markup takes in other text only after it was escaped.
  const bool safe = a.safe || b.safe;
  runtime.charge_bytes(a.bytes().size() + b.bytes().size());
  MarkedText out = safe && !a.safe ? escaped(a.marked) : a.marked;
  out.append(safe && !b.safe ? escaped(b.marked) : b.marked);
  return runtime.text(std::move(out), safe);
}

Value repeated(Runtime& runtime, const Value& value, const Value& times) {
  const int64_t count = std::max<int64_t>(0, to_int(runtime, times, "a repetition"));
  if (const Text* text = value.text()) {
    const double size = static_cast<double>(text->bytes().size()) * static_cast<double>(count);
    runtime.charge_bytes(size > 1e15 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(size));
    MarkedText out;
    if (text->bytes().empty()) return runtime.text({}, text->safe);
    for (int64_t i = 0; i < count; ++i) out.append(text->marked);
    return runtime.text(std::move(out), text->safe);
  }
  const List& list = *value.list();
  if (list.elements.empty()) return value;
  std::vector<Value> elements;
  for (int64_t i = 0; i < count; ++i) {
    runtime.charge(list.elements.size());
    elements.insert(elements.end(), list.elements.begin(), list.elements.end());
  }
  return runtime.list(std::move(elements), list.kind, list.given);
}

bool is_sequence(const Value& value) {
  const List* list = value.list();
  return list != nullptr && (list->kind == ListKind::list || list->kind == ListKind::tuple);
}

bool has_length(const List& list) { return list.kind != ListKind::generator; }
bool has_places(const List& list) { return list.kind <= ListKind::range && has_length(list); }

/// The element at an index that may count from the end; nothing outside.
std::optional<size_t> place_of(Runtime& runtime, const Value& key, size_t size) {
  const int64_t index = to_int(runtime, key, "an index");
  const auto length = static_cast<int64_t>(size);
  if (index >= length || index < -length) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + length : index);
}

/// `value[key]`, undefined where it has no such element.
std::optional<Value> element(Runtime& runtime, const Value& value, const Value& key) {
  if (const Dict* dict = value.dict()) {
    runtime.charge(dict->entries.size() / 16);
    for (const auto& [name, member] : dict->entries) {
      const bool same = key.text() != nullptr ? name.is_string(key.text()->bytes()) : equal(runtime, name, key);
      if (same) return member;
    }
    return std::nullopt;
  }
  if (!key.is_integral()) return std::nullopt;
  if (const List* list = value.list(); list != nullptr && has_places(*list)) {
    const auto place = place_of(runtime, key, list->elements.size());
    if (place) return list->elements[*place];
  } else if (const Text* text = value.text()) {
    const auto place = place_of(runtime, key, length_of(text->bytes()));
    if (!place) return std::nullopt;
    const std::string_view bytes = text->bytes();
    const size_t begin = offset_of(bytes, *place);
    return runtime.text(text->marked.slice(bytes.substr(begin, offset_of(bytes.substr(begin), 1))), text->safe);
  }
  return std::nullopt;
}

Value loop_attribute(Runtime& runtime, const Value& value, std::string_view name) {
  Loop& loop = *value.loop();
  const auto count = static_cast<Integer>(loop.items->elements.size());
  const auto index = static_cast<Integer>(loop.index);
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(count - index);
  if (name == "revindex0") return Value::integer(count - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index + 1 == count);
  if (name == "length") return Value::integer(count);
  if (name == "depth") return Value::integer(loop.nesting);
  if (name == "depth0") return Value::integer(loop.nesting - 1);
  if (name == "previtem")
    return index > 0 ? loop.items->elements[loop.index - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < count ? loop.items->elements[loop.index + 1] : Value::undefined("there is no next item");
  const auto held = *value.as<std::shared_ptr<Loop>>();
  if (name == "cycle") {
    return runtime.function(
        "cycle",
        [held](Runtime& at, const Arguments& arguments) {
          if (arguments.positional.empty()) at.fail("no items for cycling given");
          return arguments.positional[held->index % arguments.positional.size()];
        },
        value.depth() + 1);
  }
  if (name == "changed") {
    return runtime.function(
        "changed",
        [held](Runtime& at, const Arguments& arguments) {
          Value now = at.list(arguments.positional, ListKind::tuple);
          const bool changed = !held->last_changed || !equal(at, *held->last_changed, now);
          // What a loop remembers must not hold loops, which would hold each other.
          if (now.depth() > 1) now = at.text(to_repr(at, now));
          held->last_changed = std::make_unique<Value>(std::move(now));
          return Value::boolean(changed);
        },
        value.depth() + 1);
  }
  return Value::undefined(fmt::format("'LoopContext object' has no attribute '{}'", name));
}

}  // namespace

Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b) {
  if (a.is_undefined()) runtime.fail_undefined(a);
  if (op == "%" && a.text() != nullptr)
    return runtime.text(format_percent(runtime, a.text()->marked, b), a.text()->safe);
  if (b.is_undefined()) runtime.fail_undefined(b);
  if (a.is_number() && b.is_number()) {
    const bool given = a.given() || b.given();
    if (a.is_integral() && b.is_integral())
      return integer_operation(runtime, op, a.to_integer(), b.to_integer(), given);
    return real_operation(runtime, op, a.to_real(), b.to_real(), given);
  }
  if (op == "+") {
    if (a.text() != nullptr && b.text() != nullptr) return joined_texts(runtime, *a.text(), *b.text());
    if (a.text() != nullptr) runtime.fail(fmt::format("can only concatenate str (not \"{}\") to str", b.type_name()));
    if (is_sequence(a) && is_sequence(b) && a.list()->kind == b.list()->kind) {
      runtime.charge(a.list()->elements.size() + b.list()->elements.size());
      std::vector<Value> elements = a.list()->elements;
      elements.insert(elements.end(), b.list()->elements.begin(), b.list()->elements.end());
      return runtime.list(std::move(elements), a.list()->kind, a.given() && b.given());
    }
  }
  if (op == "*") {
    if ((a.text() != nullptr || is_sequence(a)) && b.is_integral()) return repeated(runtime, a, b);
    if ((b.text() != nullptr || is_sequence(b)) && a.is_integral()) return repeated(runtime, b, a);
  }
  fail_operands(runtime, op, a, b);
}

Value negated(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (value.is_integral()) return integer_operation(runtime, "-", 0, value.to_integer(), value.given());
  if (!value.is_number()) runtime.fail(fmt::format("bad operand type for unary -: '{}'", value.type_name()));
  return Value::real(-value.to_real(), value.given());
}

Value attribute(Runtime& runtime, const Value& value, std::string_view name) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (value.loop() != nullptr) return loop_attribute(runtime, value, name);
  if (const Namespace* space = value.space()) {
    const auto found = std::ranges::find(space->entries, name, &std::pair<std::string, Value>::first);
    if (found != space->entries.end()) return found->second;
    return Value::undefined(fmt::format("the namespace has no attribute '{}'", name));
  }
  // Methods come before members of the same name.
  Value found = method(runtime, value, name);
  if (!found.is_undefined() || found.as<Undefined>()->why) return found;
  if (const Dict* dict = value.dict()) {
    runtime.charge(dict->entries.size() / 16);
    if (const Value* member = dict->find(name)) return *member;
  }
  return Value::undefined(fmt::format("{} has no attribute '{}'", value.described(), name));
}

Value subscript(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (auto found = element(runtime, value, key)) return *found;
  if (const Text* name = key.text()) {
    if (value.dict() == nullptr || !value.dict()->find(name->bytes())) return attribute(runtime, value, name->bytes());
  }
  const std::string shown = key.is_integral() ? integer_text(key.to_integer()) : std::string(key.type_name());
  return Value::undefined(fmt::format("{} has no element {}", value.described(), shown));
}

Value slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  const Text* text = value.text();
  const List* list = value.list();
  if (text == nullptr && (list == nullptr || !has_places(*list)))
    return Value::undefined(fmt::format("{} cannot be sliced", value.described()));
  const auto size = static_cast<int64_t>(text != nullptr ? length_of(text->bytes()) : list->elements.size());
  const int64_t stride = step.is_none() ? 1 : to_int(runtime, step, "a slice");
  if (stride == 0) runtime.fail("slice step cannot be zero");
  // As slice.indices(): beyond the ends means the ends.
  const int64_t lowest = stride < 0 ? -1 : 0, highest = stride < 0 ? size - 1 : size;
  const auto bound = [&](const Value& place, int64_t unset) {
    if (place.is_none()) return unset;
    const int64_t at = to_int(runtime, place, "a slice");
    return std::clamp(at < 0 ? (at < -size ? lowest : at + size) : at, lowest, highest);
  };
  const int64_t from = bound(begin, stride < 0 ? highest : lowest), to = bound(end, stride < 0 ? lowest : highest);
  if (text != nullptr && stride == 1) {
    const std::string_view bytes = text->bytes();
    const size_t first = offset_of(bytes, static_cast<size_t>(from));
    const size_t count = to > from ? offset_of(bytes.substr(first), static_cast<size_t>(to - from)) : 0;
    return runtime.text(text->marked.slice(bytes.substr(first, count)), text->safe);
  }
  const auto source = iterate(runtime, value);
  std::vector<Value> picked;
  for (int64_t i = from; stride > 0 ? i < to : i > to; i += stride) {
    picked.push_back(source->elements[static_cast<size_t>(i)]);
    if (stride > size || stride < -size) break;  // the only one, and the next sum might overflow
  }
  if (text == nullptr) {
    return runtime.list(std::move(picked), list->kind == ListKind::range ? ListKind::range : list->kind, list->given);
  }
  MarkedText out;
  for (const Value& character : picked) out.append(character.text()->marked);
  return runtime.text(std::move(out), text->safe);
}

}  // namespace prosa::chat::jinja
