// Filters on single values: numbers, defaults, attributes, JSON (runtime.h). Those on texts and on lists are in
// filters_text.cpp and filters_list.cpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include <fmt/format.h>

#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

constexpr double kMostInteger = 1e38;  // what Integer holds, rounded down

// ---- numbers

/// int(text, base), with blanks around it, a sign and underscores between digits.
std::optional<Integer> parse_integer(std::string_view text, int base) {
  text = strip_space(text, Side::both);
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const auto prefixed = [&](char letter) {
    return text.size() > 2 && text[0] == '0' && (text[1] == letter || text[1] == static_cast<char>(letter - 32));
  };
  if ((base == 16 && prefixed('x')) || (base == 8 && prefixed('o')) || (base == 2 && prefixed('b')))
    text.remove_prefix(2);
  if (text.empty() || text.front() == '_' || text.back() == '_') return std::nullopt;
  Integer value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '_' && text[i - 1] != '_') continue;
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'z') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') digit = c - 'A' + 10;
    if (digit < 0 || digit >= base) return std::nullopt;
    if (__builtin_mul_overflow(value, Integer{base}, &value) || __builtin_add_overflow(value, Integer{digit}, &value))
      return std::nullopt;
  }
  return negative ? -value : value;
}

/// float(text).
std::optional<double> parse_real(std::string_view text) {
  std::string digits;
  for (const char c : strip_space(text, Side::both)) {
    if (c != '_') digits += c;
  }
  std::string_view rest = digits;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.empty() || rest.starts_with('+')) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::nullopt;
  return value;
}

std::optional<Integer> truncated(double value) {
  if (!(std::abs(value) < kMostInteger)) return std::nullopt;
  return static_cast<Integer>(value);
}

Value filter_int(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "int", arguments, {"default", "base"});
  if (self.is_undefined()) runtime.fail_undefined(self);
  const int64_t base = bound[1] == nullptr ? 10 : to_int(runtime, *bound[1], "the base");
  if (base < 2 || base > 36) runtime.fail("int() base must be >= 2 and <= 36");
  std::optional<Integer> value;
  if (const Text* text = self.text()) {
    value = parse_integer(text->bytes(), static_cast<int>(base));
    if (!value) {
      const auto real = parse_real(text->bytes());
      if (real) value = truncated(*real);
    }
    if (value) return Value::integer(*value, !text->marked.given().empty());
  } else if (self.is_integral()) {
    value = self.to_integer();
  } else if (self.is_number()) {
    value = truncated(self.to_real());
  }
  if (value) return Value::integer(*value, self.given());
  return bound[0] == nullptr ? Value::integer(0) : *bound[0];
}

Value filter_float(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "float", arguments, {"default"});
  if (self.is_undefined()) runtime.fail_undefined(self);
  if (self.is_number()) return Value::real(self.to_real(), self.given());
  if (const Text* text = self.text()) {
    if (const auto value = parse_real(text->bytes())) return Value::real(*value, !text->marked.given().empty());
  }
  return bound[0] == nullptr ? Value::real(0) : *bound[0];
}

/// round(value, digits): the decimal notation with that many digits, read back, as Python has it.
double rounded(double value, int digits) {
  if (!std::isfinite(value)) return value;
  if (digits >= 0) {
    std::array<char, 400> buffer{};
    if (digits > 30) return value;
    std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
    return std::strtod(buffer.data(), nullptr);
  }
  const double scale = std::pow(10.0, -digits);
  return std::nearbyint(value / scale) * scale;
}

Value filter_round(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "round", arguments, {"precision", "method"});
  if (!self.is_number()) runtime.fail(fmt::format("type {} doesn't define __round__ method", self.type_name()));
  const int64_t digits = bound[0] == nullptr ? 0 : to_int(runtime, *bound[0], "the precision");
  if (digits < -300 || digits > 300) runtime.fail("the precision of round is out of range");
  const std::string method = bound[1] != nullptr && bound[1]->text() ? bound[1]->text()->bytes() : "common";
  if (method == "common") {
    if (self.is_integral() && digits >= 0) return Value::integer(self.to_integer(), self.given());
    const double value = rounded(self.to_real(), static_cast<int>(digits));
    if (!self.is_integral()) return Value::real(value, self.given());
    return Value::integer(truncated(value).value_or(self.to_integer()), self.given());
  }
  if (method != "ceil" && method != "floor") runtime.fail("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = self.to_real() * scale;
  return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale, self.given());
}

Value filter_abs(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "abs", arguments, {});
  if (self.is_undefined()) runtime.fail_undefined(self);
  if (!self.is_number()) runtime.fail(fmt::format("bad operand type for abs(): '{}'", self.type_name()));
  if (!self.is_integral()) return Value::real(std::abs(self.to_real()), self.given());
  return self.to_integer() < 0 ? negated(runtime, self) : Value::integer(self.to_integer(), self.given());
}

// ---- values

Value filter_default(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "default", arguments, {"default_value", "boolean"});
  const bool falsy = bound[1] != nullptr && bound[1]->truthy() && !self.truthy();
  if (!self.is_undefined() && !falsy) return self;
  return bound[0] == nullptr ? Value::written("") : *bound[0];
}

Value filter_attr(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "attr", arguments, {"name"});
  if (bound[0] == nullptr || bound[0]->text() == nullptr) runtime.fail("attr needs the name of an attribute");
  const std::string& name = bound[0]->text()->bytes();
  if (self.loop() != nullptr || self.space() != nullptr) return attribute(runtime, self, name);
  Value found = method(runtime, self, name);
  if (!found.is_undefined()) return found;
  return Value::undefined(fmt::format("{} has no attribute '{}'", self.described(), name));
}

Value filter_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "items", arguments, {});
  if (!self.is_undefined() && self.dict() == nullptr) runtime.fail("Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  if (const Dict* dict = self.dict()) {
    for (const auto& [key, value] : dict->entries)
      pairs.push_back(runtime.list({key, value}, ListKind::tuple, dict->given));
  }
  return runtime.list(std::move(pairs), ListKind::generator, self.given());
}

/// As transformers has it: no HTML escapes, all of Unicode as it is.
Value filter_tojson(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound[0] != nullptr && bound[0]->truthy();
  style.sort_keys = bound[3] != nullptr && bound[3]->truthy();
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    if (const Text* text = bound[1]->text()) {
      style.indent = 0;
      style.indent_text = text->bytes();
    } else {
      constexpr int64_t kMaxIndent = 1000;
      const int64_t width = to_int(runtime, *bound[1], "the indent");
      style.indent = 0;
      style.indent_text = std::string(static_cast<size_t>(std::clamp<int64_t>(width, 0, kMaxIndent)), ' ');
    }
    style.between = ",";
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    const List* pair = bound[2]->list();
    const bool two = pair != nullptr && pair->elements.size() == 2 && pair->elements[0].text() != nullptr &&
                     pair->elements[1].text() != nullptr;
    if (!two) runtime.fail("separators of tojson are a pair of texts");
    style.between = pair->elements[0].text()->bytes();
    style.colon = pair->elements[1].text()->bytes();
  }
  return runtime.text(to_json_text(runtime, self, style));
}

Value filter_length(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "length", arguments, {});
  size_t length = 0;
  if (const Text* text = self.text()) {
    length = length_of(text->bytes());
  } else if (const Dict* dict = self.dict()) {
    length = dict->entries.size();
  } else if (const List* list = self.list(); list != nullptr && list->kind != ListKind::generator) {
    length = list->elements.size();
  } else if (const Loop* loop = self.loop()) {
    length = loop->items->elements.size();
  } else if (!self.is_undefined()) {
    runtime.fail(fmt::format("object of type '{}' has no len()", self.type_name()));
  }
  return Value::integer(static_cast<Integer>(length));
}

struct FilterEntry {
  std::string_view name;
  Filter filter;
};
constexpr std::array<FilterEntry, 11> kValueFilters = {{{"abs", filter_abs},
                                                        {"attr", filter_attr},
                                                        {"count", filter_length},
                                                        {"d", filter_default},
                                                        {"default", filter_default},
                                                        {"float", filter_float},
                                                        {"int", filter_int},
                                                        {"items", filter_items},
                                                        {"length", filter_length},
                                                        {"round", filter_round},
                                                        {"tojson", filter_tojson}}};

}  // namespace

Filter find_filter(std::string_view name) {
  const auto* entry = std::ranges::find(kValueFilters, name, &FilterEntry::name);
  if (entry != kValueFilters.end()) return entry->filter;
  if (const Filter filter = find_text_filter(name)) return filter;
  return find_list_filter(name);
}

}  // namespace prosa::chat::jinja
