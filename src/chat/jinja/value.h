// The values of a chat template: what Python has where Jinja runs, as far as templates can tell.
//
// Strings carry marks (MarkedText): which of their bytes were given by messages, tools and variables, and which the
// template wrote. Numbers, lists and objects say by a flag whether they were given, so that their text is marked too.
// Lists, objects and strings never change once they are made (the sandbox of transformers allows no more); only a
// namespace() does. Invariant: no value is nested deeper than kMaxValueDepth, so that everything here may recurse.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tokenizer/marked_text.h"

namespace prosa::chat::jinja {

/// Python's integers have no bounds. These hold the product of any two numbers of a JSON file; what is larger is an
/// error, never another number.
__extension__ typedef __int128 Integer;

inline constexpr int kMaxValueDepth = 400;

class Value;
class Runtime;

struct Undefined {
  std::shared_ptr<const std::string> why;  // what an error says where it is used
};
struct None {};

struct Text {
  MarkedText marked;
  bool safe = false;  // Markup: `|safe`, `|escape`
  [[nodiscard]] const std::string& bytes() const noexcept { return marked.text(); }
};

/// Everything with elements in a row. A generator can be walked through once, and has no length.
enum class ListKind : uint8_t { list, tuple, generator, range, keys, values, items };
struct List {
  std::vector<Value> elements;
  ListKind kind = ListKind::list;
  bool given = false;
  int depth = 1;
  mutable bool used = false;  // a generator that was walked through
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // in the order in which they were put in
  bool given = false;
  int depth = 1;
  [[nodiscard]] const Value* find(std::string_view key) const noexcept;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> entries;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// A macro, a function of the environment, or a method with the value that it belongs to.
struct Callable {
  std::string name;
  std::function<Value(Runtime&, const Arguments&)> call;
  int depth = 1;
};

/// The variable `loop` of a for statement.
struct Loop {
  std::shared_ptr<const List> items;
  size_t index = 0;
  int nesting = 1;
  std::unique_ptr<Value> last_changed;  // of loop.changed(); null: not asked yet
  ~Loop();
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, Integer, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            std::shared_ptr<const Callable>, std::shared_ptr<Loop>>;

  Value() = default;  // undefined, with no more to say about it
  Value(Data data, bool given = false) : data_(std::move(data)), given_(given) {}  // NOLINT: values are made everywhere

  /// A text that the template wrote.
  static Value written(std::string_view text);
  static Value of(MarkedText text, bool safe = false);
  static Value none() { return Value(None{}); }
  static Value boolean(bool value) { return Value(Data(std::in_place_type<bool>, value)); }
  static Value integer(Integer value, bool given = false) { return {Data(std::in_place_type<Integer>, value), given}; }
  static Value real(double value, bool given = false) { return {Data(std::in_place_type<double>, value), given}; }
  static Value undefined(std::string why);

  template <typename T>
  [[nodiscard]] const T* as() const noexcept {
    return std::get_if<T>(&data_);
  }
  /// Null where it is of another kind.
  [[nodiscard]] const Text* text() const noexcept { return pointee<const Text>(); }
  [[nodiscard]] const List* list() const noexcept { return pointee<const List>(); }
  [[nodiscard]] const Dict* dict() const noexcept { return pointee<const Dict>(); }
  [[nodiscard]] Namespace* space() const noexcept { return pointee<Namespace>(); }
  [[nodiscard]] const Callable* callable() const noexcept { return pointee<const Callable>(); }
  [[nodiscard]] Loop* loop() const noexcept { return pointee<Loop>(); }
  [[nodiscard]] const Data& data() const noexcept { return data_; }

  [[nodiscard]] bool is_undefined() const noexcept { return as<Undefined>() != nullptr; }
  [[nodiscard]] bool is_none() const noexcept { return as<None>() != nullptr; }
  [[nodiscard]] bool is_string(std::string_view bytes) const noexcept {
    return text() != nullptr && text()->bytes() == bytes;
  }
  /// bool, int or float.
  [[nodiscard]] bool is_number() const noexcept;
  /// bool or int.
  [[nodiscard]] bool is_integral() const noexcept { return as<bool>() != nullptr || as<Integer>() != nullptr; }
  [[nodiscard]] Integer to_integer() const noexcept;  // of bool or int
  [[nodiscard]] double to_real() const noexcept;      // of a number

  [[nodiscard]] bool truthy() const noexcept;
  [[nodiscard]] bool given() const noexcept;  // of a scalar, list or object
  [[nodiscard]] int depth() const noexcept;
  /// Python's name of its type.
  [[nodiscard]] std::string_view type_name() const noexcept;
  /// As errors about its attributes have it: "'dict object'".
  [[nodiscard]] std::string described() const;

 private:
  template <typename T>
  [[nodiscard]] T* pointee() const noexcept {
    const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }
  Data data_;
  bool given_ = false;
};

/// From outside: all of it given.
Value value_of_json(const nlohmann::ordered_json& json);
/// The same for a list of messages. Their roles count as written where they are plain words ("user"): templates put
/// headers together from them, and a plain word cannot end a token that the template has begun.
Value value_of_messages(const nlohmann::ordered_json& messages);

/// Python's ==. Values of different kinds are not equal.
bool equal(Runtime& runtime, const Value& a, const Value& b);
/// Python's <, as -1, 0 or 1. Errors for kinds that have no order.
int compare(Runtime& runtime, const Value& a, const Value& b);
/// `item in container`.
bool contains(Runtime& runtime, const Value& container, const Value& item);

/// str(value), what {{ }} writes.
MarkedText to_text(Runtime& runtime, const Value& value);
/// The same as a value: a string is returned as it is.
Value to_string_value(Runtime& runtime, const Value& value);
/// repr(value).
MarkedText to_repr(Runtime& runtime, const Value& value);
std::string integer_text(Integer value);
/// Of a string in Python's notation: 'it\'s'.
std::string python_quoted(std::string_view text);

struct JsonStyle {
  int indent = -1;  // none
  std::string indent_text;
  std::string between = ", ";
  std::string colon = ": ";
  bool ascii = false;
  bool sort_keys = false;
};
/// json.dumps(value, …).
MarkedText to_json_text(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace prosa::chat::jinja
