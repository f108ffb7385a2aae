// The budget, the errors, and new values that are charged to it (runtime.h).
#include "chat/jinja/runtime.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::chat::jinja {
namespace {

constexpr const char* kChangeTemplate = "change the template, or take the one of the model's authors";
constexpr const char* kCheckMessages = "check the messages, or the template at that line";

}  // namespace

void Runtime::allow(int64_t values, size_t bytes) noexcept {
  constexpr int64_t kMost = int64_t{1} << 40;  // far beyond any input, far from overflow
  const auto size = static_cast<int64_t>(std::min<size_t>(bytes, static_cast<size_t>(kMost)));
  steps_left_ += std::min(values, kMost) * kStepsPerInputValue + size * kStepsPerInputByte;
  max_text_ += static_cast<size_t>(size) * 4;
}

void Runtime::fail(const std::string& message, const std::string& remedy) const {
  throw Error(ErrorCode::bad_template, message, fmt::format("{}, line {}", where_, line),
              remedy.empty() ? kCheckMessages : remedy);
}

void Runtime::fail_undefined(const Value& value) const {
  const auto* undefined = value.as<Undefined>();
  fail(undefined != nullptr && undefined->why ? *undefined->why : "a value is undefined");
}

void Runtime::fail_steps() const { fail("the template does not come to an end in reasonable time", kChangeTemplate); }
void Runtime::fail_text() const { fail("the template makes a text without end", kChangeTemplate); }
void Runtime::fail_depth() const { fail("the template is nested too deep", kChangeTemplate); }

Value Runtime::text(MarkedText text, bool safe) {
  charge_bytes(text.text().size() + text.given().size() * sizeof(MarkedText::Range));
  return Value::of(std::move(text), safe);
}

Value Runtime::written(std::string_view text) {
  charge_bytes(text.size());
  return Value::written(text);
}

Value Runtime::list(std::vector<Value> elements, ListKind kind, bool given) {
  charge(1 + elements.size());
  auto list = std::make_shared<List>();
  list->kind = kind;
  list->given = given;
  for (const Value& element : elements) list->depth = std::max(list->depth, element.depth() + 1);
  if (list->depth > kMaxValueDepth) fail_depth();
  list->elements = std::move(elements);
  return {Value::Data(std::shared_ptr<const List>(std::move(list))), given};
}

Value Runtime::dict(std::vector<std::pair<Value, Value>> entries, bool given) {
  charge(1 + entries.size());
  auto dict = std::make_shared<Dict>();
  dict->given = given;
  for (const auto& [key, value] : entries) {
    const bool hashable = key.dict() == nullptr && (key.list() == nullptr || key.list()->kind != ListKind::list);
    if (!hashable) fail(fmt::format("unhashable type: '{}'", key.type_name()));
    dict->depth = std::max({dict->depth, value.depth() + 1, key.depth() + 1});
  }
  if (dict->depth > kMaxValueDepth) fail_depth();
  // A key that comes again has the new value at its old place.
  for (auto& entry : entries) {
    charge(dict->entries.size() / 8);
    const auto old =
        std::ranges::find_if(dict->entries, [&](const auto& other) { return equal(*this, other.first, entry.first); });
    if (old != dict->entries.end()) {
      old->second = std::move(entry.second);
    } else {
      dict->entries.push_back(std::move(entry));
    }
  }
  return {Value::Data(std::shared_ptr<const Dict>(std::move(dict))), given};
}

Value Runtime::space() {
  charge(1);
  spaces_.push_back(std::make_shared<Namespace>());
  return Value(Value::Data(spaces_.back()));
}

Value Runtime::function(std::string name, std::function<Value(Runtime&, const Arguments&)> call, int depth) {
  charge(1);
  if (depth > kMaxValueDepth) fail_depth();
  auto made = std::make_shared<Callable>(Callable{std::move(name), std::move(call), depth});
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(made))));
}

Runtime::~Runtime() {
  for (const auto& space : spaces_) {
    const auto entries = std::move(space->entries);  // what they hold may hold the namespace
    space->entries.clear();
  }
}

std::shared_ptr<const List> iterate(Runtime& runtime, const Value& value) {
  if (const auto* list = value.as<std::shared_ptr<const List>>()) {
    runtime.charge(1);
    if ((*list)->kind != ListKind::generator) return *list;
    if (std::exchange((*list)->used, true)) return std::make_shared<List>();
    return *list;
  }
  std::vector<Value> elements;
  if (const Text* text = value.text()) {
    const std::string_view bytes = text->bytes();
    for (size_t at = 0; at < bytes.size();) {
      size_t end = at + 1;
      while (end < bytes.size() && (static_cast<unsigned char>(bytes[end]) & 0xC0U) == 0x80U) ++end;
      elements.push_back(runtime.text(text->marked.slice(bytes.substr(at, end - at))));
      at = end;
      runtime.charge(1);
    }
  } else if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries) elements.push_back(entry.first);
  } else if (!value.is_undefined()) {
    runtime.fail(fmt::format("'{}' object is not iterable", value.type_name()));
  }
  return *runtime.list(std::move(elements), ListKind::list, value.given()).as<std::shared_ptr<const List>>();
}

Value call(Runtime& runtime, const Value& function, const Arguments& arguments) {
  if (function.is_undefined()) runtime.fail_undefined(function);
  const Callable* callable = function.callable();
  if (callable == nullptr) runtime.fail(fmt::format("'{}' object is not callable", function.type_name()));
  const Runtime::Level level(runtime);
  return callable->call(runtime, arguments);
}

std::vector<const Value*> bind(Runtime& runtime, std::string_view function, const Arguments& arguments,
                               std::initializer_list<std::string_view> names) {
  if (arguments.positional.size() > names.size()) {
    runtime.fail(
        fmt::format("{}() takes {} arguments but {} were given", function, names.size(), arguments.positional.size()));
  }
  std::vector<const Value*> bound(names.size(), nullptr);
  for (size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto* place = std::ranges::find(names, name);
    if (place == names.end()) runtime.fail(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    const Value*& slot = bound[static_cast<size_t>(place - names.begin())];
    if (slot != nullptr) runtime.fail(fmt::format("{}() got multiple values for argument '{}'", function, name));
    slot = &value;
  }
  return bound;
}

int64_t to_int(Runtime& runtime, const Value& value, std::string_view what) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (!value.is_integral()) runtime.fail(fmt::format("{} is no integer but '{}'", what, value.type_name()));
  const Integer number = value.to_integer();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  if (number > kMost) return kMost;
  if (number < -Integer{kMost}) return -kMost;
  return static_cast<int64_t>(number);
}

}  // namespace prosa::chat::jinja
