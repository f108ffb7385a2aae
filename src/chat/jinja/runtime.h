// What a rendering may cost, and where it stands: steps, bytes and depth are counted here, and every error of a
// template is made here, with the line that it belongs to.
//
// Knows no syntax. One Runtime serves one rendering on one thread. Invariant: what is charged never exceeds the budget,
// so that a template that would not end, or would fill the memory, ends in an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/value.h"

namespace prosa::chat::jinja {

/// What a rendering may cost without any input, and what it may cost more for what it is given. A step is one
/// expression, one element of a list, or kBytesPerStep bytes of a new string.
inline constexpr int64_t kMaxSteps = 1'000'000;
inline constexpr int64_t kStepsPerInputValue = 500;
inline constexpr int64_t kStepsPerInputByte = 50;
inline constexpr int64_t kBytesPerStep = 16;
inline constexpr size_t kMaxTextBytes = size_t{64} << 20;  // of one string
inline constexpr int kMaxEvaluationDepth = 700;            // expressions in statements in macros
inline constexpr int64_t kMaxRange = 100'000;              // as the sandbox of Jinja

class Runtime {
 public:
  explicit Runtime(std::string where) : where_(std::move(where)) {}

  /// For inputs of that size.
  void allow(int64_t values, size_t bytes) noexcept;
  void charge(size_t steps) {
    steps_left_ -= static_cast<int64_t>(steps);
    if (steps_left_ < 0) fail_steps();
  }
  void charge_bytes(size_t bytes) {
    if (bytes > max_text_) fail_text();
    charge(bytes / kBytesPerStep);
  }

  int line = 0;  // of the template, where it is now

  /// Error(bad_template) at this line.
  [[noreturn]] void fail(const std::string& message, const std::string& remedy = {}) const;
  /// What Undefined says when it is used.
  [[noreturn]] void fail_undefined(const Value& value) const;

  // New values, charged.
  Value text(MarkedText text, bool safe = false);
  Value written(std::string_view text);
  Value list(std::vector<Value> elements, ListKind kind = ListKind::list, bool given = false);
  Value dict(std::vector<std::pair<Value, Value>> entries, bool given = false);
  Value space();
  Value function(std::string name, std::function<Value(Runtime&, const Arguments&)> call, int depth = 1);

  /// Counts a level of evaluation for as long as it lives.
  class Level {
   public:
    explicit Level(Runtime& runtime) : runtime_(runtime) {
      if (++runtime.depth_ > kMaxEvaluationDepth) {
        --runtime.depth_;
        runtime.fail_depth();
      }
    }
    ~Level() { --runtime_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Runtime& runtime_;
  };

  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

 private:
  [[noreturn]] void fail_steps() const;
  [[noreturn]] void fail_text() const;
  [[noreturn]] void fail_depth() const;

  std::string where_;
  int64_t steps_left_ = kMaxSteps;
  size_t max_text_ = kMaxTextBytes;
  int depth_ = 0;
  std::vector<std::shared_ptr<Namespace>> spaces_;  // they may refer to each other in circles
};

/// The elements of what can be walked through: a generator is used up by it. Error: "'int' object is not iterable".
std::shared_ptr<const List> iterate(Runtime& runtime, const Value& value);

/// `value.name` and `value[key]` of the template language.
Value attribute(Runtime& runtime, const Value& value, std::string_view name);
Value subscript(Runtime& runtime, const Value& value, const Value& key);
Value slice(Runtime& runtime, const Value& value, const Value& begin, const Value& end, const Value& step);
/// Error for what cannot be called.
Value call(Runtime& runtime, const Value& function, const Arguments& arguments);

/// `a + b`, by the operator's text: + - * / // % **.
Value binary(Runtime& runtime, std::string_view op, const Value& a, const Value& b);
Value negated(Runtime& runtime, const Value& value);

/// Parameters by their names, as Python binds them: null for those that were not given. Errors for too many, and for
/// names that there are not.
std::vector<const Value*> bind(Runtime& runtime, std::string_view function, const Arguments& arguments,
                               std::initializer_list<std::string_view> names);
/// Error where it is no whole number.
int64_t to_int(Runtime& runtime, const Value& value, std::string_view what);

/// The methods of strings, objects and lists; undefined where there is none of that name.
Value method(Runtime& runtime, const Value& value, std::string_view name);
Value string_method(Runtime& runtime, const Value& value, std::string_view name);

/// Filters and tests by name; null where there is none.
using Filter = Value (*)(Runtime&, const Value&, const Arguments&);
using Test = bool (*)(Runtime&, const Value&, const Arguments&);
Filter find_filter(std::string_view name);
Filter find_text_filter(std::string_view name);
Filter find_list_filter(std::string_view name);
Test find_test(std::string_view name);
/// range, dict, namespace, raise_exception, strftime_now, cycler, joiner; undefined where there is none.
Value global(Runtime& runtime, std::string_view name);

/// "%s and %d" % arguments.
MarkedText format_percent(Runtime& runtime, const MarkedText& format, const Value& arguments);
/// "{} and {name:>3}".format(arguments).
MarkedText format_braces(Runtime& runtime, const MarkedText& format, const Arguments& arguments);

}  // namespace prosa::chat::jinja
