// Tests (`is defined`) and the functions of the environment (range, namespace, raise_exception …) by name (runtime.h).
#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"
#include "prosa/error.h"

namespace prosa::chat::jinja {
namespace {

const Value& operand(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.size() != 1) runtime.fail("the test needs one value to compare with");
  return arguments.positional.front();
}

Integer integral(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (!value.is_integral()) runtime.fail(fmt::format("an integer was expected, not '{}'", value.type_name()));
  return value.to_integer();
}

bool test_defined(Runtime&, const Value& value, const Arguments&) { return !value.is_undefined(); }
bool test_undefined(Runtime&, const Value& value, const Arguments&) { return value.is_undefined(); }
bool test_none(Runtime&, const Value& value, const Arguments&) { return value.is_none(); }
bool test_string(Runtime&, const Value& value, const Arguments&) { return value.text() != nullptr; }
bool test_mapping(Runtime&, const Value& value, const Arguments&) { return value.dict() != nullptr; }
bool test_boolean(Runtime&, const Value& value, const Arguments&) { return value.as<bool>() != nullptr; }
bool test_number(Runtime&, const Value& value, const Arguments&) { return value.is_number(); }
bool test_integer(Runtime&, const Value& value, const Arguments&) { return value.as<Integer>() != nullptr; }
bool test_float(Runtime&, const Value& value, const Arguments&) { return value.as<double>() != nullptr; }
bool test_callable(Runtime&, const Value& value, const Arguments&) {
  return value.callable() != nullptr || value.loop() != nullptr || value.is_undefined();
}
bool test_true(Runtime&, const Value& value, const Arguments&) {
  return value.as<bool>() != nullptr && *value.as<bool>();
}
bool test_false(Runtime&, const Value& value, const Arguments&) {
  return value.as<bool>() != nullptr && !*value.as<bool>();
}
bool test_iterable(Runtime&, const Value& value, const Arguments&) {
  return value.text() != nullptr || value.list() != nullptr || value.dict() != nullptr || value.loop() != nullptr ||
         value.is_undefined();
}
bool test_sequence(Runtime&, const Value& value, const Arguments&) {
  if (const List* list = value.list()) return list->kind <= ListKind::tuple || list->kind == ListKind::range;
  return value.text() != nullptr || value.dict() != nullptr || value.is_undefined();
}
bool test_escaped(Runtime&, const Value& value, const Arguments&) {
  return value.text() != nullptr && value.text()->safe;
}
bool test_odd(Runtime& runtime, const Value& value, const Arguments&) { return integral(runtime, value) % 2 != 0; }
bool test_even(Runtime& runtime, const Value& value, const Arguments&) { return integral(runtime, value) % 2 == 0; }
bool test_divisible(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Integer by = integral(runtime, operand(runtime, arguments));
  if (by == 0) runtime.fail("integer division or modulo by zero");
  return by == -1 || integral(runtime, value) % by == 0;
}
bool test_lower(Runtime& runtime, const Value& value, const Arguments&) {
  const MarkedText text = to_text(runtime, value);
  return lower(text).text() == text.text() && upper(text).text() != text.text();
}
bool test_upper(Runtime& runtime, const Value& value, const Arguments&) {
  const MarkedText text = to_text(runtime, value);
  return upper(text).text() == text.text() && lower(text).text() != text.text();
}
bool test_eq(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return equal(runtime, value, operand(runtime, arguments));
}
bool test_ne(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return !equal(runtime, value, operand(runtime, arguments));
}
bool test_lt(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, operand(runtime, arguments)) < 0;
}
bool test_le(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, operand(runtime, arguments)) <= 0;
}
bool test_gt(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, operand(runtime, arguments)) > 0;
}
bool test_ge(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return compare(runtime, value, operand(runtime, arguments)) >= 0;
}
bool test_in(Runtime& runtime, const Value& value, const Arguments& arguments) {
  return contains(runtime, operand(runtime, arguments), value);
}
bool test_sameas(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Value& other = operand(runtime, arguments);
  if (value.data().index() != other.data().index()) return false;
  if (const List* list = value.list()) return list == other.list();
  if (const Dict* dict = value.dict()) return dict == other.dict();
  return equal(runtime, value, other);
}
bool test_filter(Runtime&, const Value& value, const Arguments&) {
  return value.text() != nullptr && find_filter(value.text()->bytes()) != nullptr;
}
bool test_test(Runtime&, const Value& value, const Arguments&) {
  return value.text() != nullptr && find_test(value.text()->bytes()) != nullptr;
}

struct TestEntry {
  std::string_view name;
  Test test;
};
constexpr std::array<TestEntry, 39> kTests = {{{"!=", test_ne},
                                               {"<", test_lt},
                                               {"<=", test_le},
                                               {"==", test_eq},
                                               {">", test_gt},
                                               {">=", test_ge},
                                               {"boolean", test_boolean},
                                               {"callable", test_callable},
                                               {"defined", test_defined},
                                               {"divisibleby", test_divisible},
                                               {"eq", test_eq},
                                               {"equalto", test_eq},
                                               {"escaped", test_escaped},
                                               {"even", test_even},
                                               {"false", test_false},
                                               {"filter", test_filter},
                                               {"float", test_float},
                                               {"ge", test_ge},
                                               {"greaterthan", test_gt},
                                               {"gt", test_gt},
                                               {"in", test_in},
                                               {"integer", test_integer},
                                               {"iterable", test_iterable},
                                               {"le", test_le},
                                               {"lessthan", test_lt},
                                               {"lower", test_lower},
                                               {"lt", test_lt},
                                               {"mapping", test_mapping},
                                               {"ne", test_ne},
                                               {"none", test_none},
                                               {"number", test_number},
                                               {"odd", test_odd},
                                               {"sameas", test_sameas},
                                               {"sequence", test_sequence},
                                               {"string", test_string},
                                               {"test", test_test},
                                               {"true", test_true},
                                               {"undefined", test_undefined},
                                               {"upper", test_upper}}};

// ---- functions

Value make_range(Runtime& runtime, const Arguments& arguments) {
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.named.empty()) runtime.fail("range expected 1 to 3 arguments");
  int64_t begin = 0, end = 0, step = 1;
  if (given.size() == 1) {
    end = to_int(runtime, given[0], "a bound of range");
  } else {
    begin = to_int(runtime, given[0], "a bound of range");
    end = to_int(runtime, given[1], "a bound of range");
    if (given.size() == 3) step = to_int(runtime, given[2], "the step of range");
  }
  if (step == 0) runtime.fail("range() arg 3 must not be zero");
  const Integer span = step > 0 ? Integer{end} - begin : Integer{begin} - end;
  const Integer stride = step > 0 ? Integer{step} : -Integer{step};
  const Integer count = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (count > kMaxRange)
    runtime.fail(fmt::format("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange));
  std::vector<Value> elements;
  for (Integer i = 0; i < count; ++i) elements.push_back(Value::integer(Integer{begin} + i * step));
  return runtime.list(std::move(elements), ListKind::range);
}

Value make_dict(Runtime& runtime, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional.front();
    if (const Dict* dict = source.dict()) {
      entries = dict->entries;
    } else {
      const auto list = iterate(runtime, source);
      for (const Value& pair : list->elements) {
        const auto both = iterate(runtime, pair);
        if (both->elements.size() != 2) runtime.fail("dictionary update sequence element is no pair");
        entries.emplace_back(both->elements[0], both->elements[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) entries.emplace_back(Value::written(name), value);
  return runtime.dict(std::move(entries));
}

Value make_namespace(Runtime& runtime, const Arguments& arguments) {
  Value made = runtime.space();
  const Value from = make_dict(runtime, arguments);
  for (const auto& [name, value] : from.dict()->entries) {
    if (name.text() != nullptr) made.space()->entries.emplace_back(name.text()->bytes(), value);
  }
  return made;
}

Value raise_exception(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind(runtime, "raise_exception", arguments, {"message"});
  if (bound[0] == nullptr) runtime.fail("raise_exception() missing 1 required positional argument: 'message'");
  runtime.fail(to_text(runtime, *bound[0]).text(), "the model's chat template refuses these messages: change them");
}

Value strftime_now(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind(runtime, "strftime_now", arguments, {"format"});
  if (bound[0] == nullptr || bound[0]->text() == nullptr) runtime.fail("strftime_now needs a format");
  // A byte in front tells an empty result from one that does not fit.
  const std::string format = "." + bound[0]->text()->bytes();
  constexpr size_t kMaxDate = 4096;
  std::string text(kMaxDate, '\0');
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  if (text.empty()) runtime.fail("the format of strftime_now is too long");
  return runtime.written(utf8::replace_invalid(std::string_view(text).substr(1)));
}

/// An object with `next`, `current` and `reset` that walks through its items again and again.
Value make_cycler(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.empty()) runtime.fail("at least one item has to be provided");
  const Value items = runtime.list(arguments.positional);
  const auto place = std::make_shared<size_t>(0);
  Value made = runtime.space();
  const auto add = [&](const char* name, auto step) {
    made.space()->entries.emplace_back(name, runtime.function(
                                                 name,
                                                 [items, place, step](Runtime&, const Arguments&) {
                                                   const auto& elements = items.list()->elements;
                                                   const Value current = elements[*place % elements.size()];
                                                   *place = step(*place) % elements.size();
                                                   return current;
                                                 },
                                                 items.depth() + 1));
  };
  add("next", [](size_t at) { return at + 1; });
  add("reset", [](size_t) { return size_t{0}; });
  return made;
}

Value make_joiner(Runtime& runtime, const Arguments& arguments) {
  const auto bound = bind(runtime, "joiner", arguments, {"sep"});
  const Value between = bound[0] == nullptr ? Value::written(", ") : *bound[0];
  const auto used = std::make_shared<bool>(false);
  return runtime.function(
      "joiner",
      [between, used](Runtime&, const Arguments&) { return std::exchange(*used, true) ? between : Value::written(""); },
      between.depth() + 1);
}

struct GlobalEntry {
  std::string_view name;
  Value (*call)(Runtime&, const Arguments&);
};
constexpr std::array<GlobalEntry, 7> kGlobals = {{{"cycler", make_cycler},
                                                  {"dict", make_dict},
                                                  {"joiner", make_joiner},
                                                  {"namespace", make_namespace},
                                                  {"raise_exception", raise_exception},
                                                  {"range", make_range},
                                                  {"strftime_now", strftime_now}}};

}  // namespace

Test find_test(std::string_view name) {
  const auto* entry = std::ranges::find(kTests, name, &TestEntry::name);
  return entry == kTests.end() ? nullptr : entry->test;
}

Value global(Runtime& runtime, std::string_view name) {
  const auto* entry = std::ranges::find(kGlobals, name, &GlobalEntry::name);
  if (entry == kGlobals.end()) return {};
  return runtime.function(std::string(name), entry->call);
}

}  // namespace prosa::chat::jinja
