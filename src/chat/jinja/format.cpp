// The two notations of Python for putting values into a text: "%s" % value and "{}".format(value) (runtime.h).
//
// Values keep their marks. Of the notation itself what templates use: signs, zeros, widths, precisions; flags and types
// beyond it are errors.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

constexpr int kMaxWidth = 10'000;

/// How one value is written.
struct Field {
  char align = 0;  // < > ^ =; 0: as the type has it
  std::string fill = " ";
  bool plus = false, blank = false, alternate = false, comma = false;
  int width = 0;
  int precision = -1;
  char type = 0;
};

/// A number at `at`, which moves behind it; -1 where there is none.
int read_number(const Runtime& runtime, std::string_view text, size_t& at) {
  int number = -1;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = (number < 0 ? 0 : number * 10) + (text[at] - '0');
    if (number > kMaxWidth) runtime.fail("a width of a format is too large");
  }
  return number;
}

void write_padded(const Field& field, const MarkedText& text, bool is_number, MarkedText& out) {
  const size_t length = length_of(text.text());
  const size_t missing = static_cast<size_t>(field.width) > length ? static_cast<size_t>(field.width) - length : 0;
  const char align = field.align != 0 ? field.align : (is_number ? '>' : '<');
  const auto fill = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) out.write(field.fill);
  };
  std::string_view rest = text.text();
  if (align == '=' && !rest.empty() && (rest.front() == '-' || rest.front() == '+' || rest.front() == ' ')) {
    out.append(text, rest.substr(0, 1));
    rest.remove_prefix(1);
  }
  const size_t left = align == '<' ? 0 : (align == '^' ? missing / 2 : missing);
  fill(left);
  out.append(text, rest);
  fill(missing - left);
}

std::string with_sign(const Field& field, bool negative, std::string digits) {
  if (negative) return "-" + digits;
  if (field.plus) return "+" + digits;
  if (field.blank) return " " + digits;
  return digits;
}

std::string with_commas(std::string digits) {
  const size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = end; at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string real_digits(double value, char type, int precision) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return "inf";
  switch (type) {
    case 'e': return fmt::format("{:.{}e}", value, precision);
    case 'E': return fmt::format("{:.{}E}", value, precision);
    case 'g': return fmt::format("{:.{}g}", value, std::max(precision, 1));
    case 'G': return fmt::format("{:.{}G}", value, std::max(precision, 1));
    default: return fmt::format("{:.{}f}", value, precision);
  }
}

std::string integer_digits(Integer value, char type, bool alternate) {
  auto magnitude = static_cast<unsigned __int128>(value);
  if (value < 0) magnitude = 0 - magnitude;
  const unsigned base = type == 'x' || type == 'X' ? 16 : (type == 'o' ? 8 : (type == 'b' ? 2 : 10));
  std::string digits;
  do {
    const auto digit = static_cast<unsigned>(magnitude % base);
    digits += static_cast<char>(digit < 10 ? '0' + digit : (type == 'X' ? 'A' : 'a') + digit - 10);
    magnitude /= base;
  } while (magnitude != 0);
  if (alternate && base != 10) digits += std::string{type, '0'};
  std::ranges::reverse(digits);
  return digits;
}

/// A number by its type letter; Error for what is none.
MarkedText number_text(Runtime& runtime, const Field& field, const Value& value, char type) {
  if (value.is_undefined()) runtime.fail_undefined(value);
  if (!value.is_number())
    runtime.fail(fmt::format("%{} format: a number is required, not {}", type, value.type_name()));
  const bool whole = std::string_view("dioxXbu").find(type) != std::string_view::npos;
  std::string text;
  if (whole) {
    const double real = value.to_real();
    const bool fits = std::isfinite(real) && std::abs(real) < 1e38;
    if (!value.is_integral() && !fits) runtime.fail("cannot convert this float to an integer");
    const Integer number = value.is_integral() ? value.to_integer() : static_cast<Integer>(real);
    std::string digits = integer_digits(number, type, field.alternate);
    if (field.precision > static_cast<int>(digits.size()))
      digits.insert(0, static_cast<size_t>(field.precision) - digits.size(), '0');
    text = with_sign(field, number < 0, field.comma ? with_commas(digits) : digits);
  } else {
    const double real = value.to_real();
    std::string digits;
    const double magnitude = std::abs(type == '%' ? real * 100 : real);
    digits = real_digits(magnitude, type == '%' ? 'f' : type, field.precision < 0 ? 6 : field.precision);
    if (type == '%') digits += '%';
    text = with_sign(field, std::signbit(real) && !std::isnan(real), field.comma ? with_commas(digits) : digits);
  }
  MarkedText out;
  if (value.given()) {
    out.give(text);
  } else {
    out.write(text);
  }
  return out;
}

MarkedText cut(const MarkedText& text, int precision) {
  if (precision < 0) return text;
  const std::string_view bytes = text.text();
  return text.slice(bytes.substr(0, offset_of(bytes, static_cast<size_t>(precision))));
}

// ---- "%s" % value

/// The values in order, or those of an object by name.
class PercentArguments {
 public:
  PercentArguments(Runtime& runtime, const Value& values) : runtime_(runtime), values_(values) {
    is_tuple_ = values.list() != nullptr && values.list()->kind == ListKind::tuple;
  }
  const Value& next() {
    const size_t count = is_tuple_ ? values_.list()->elements.size() : 1;
    if (used_ >= count) runtime_.fail("not enough arguments for format string");
    ++used_;
    return is_tuple_ ? values_.list()->elements[used_ - 1] : values_;
  }
  const Value& named(std::string_view name) {
    const Dict* dict = values_.dict();
    if (dict == nullptr) runtime_.fail("format requires a mapping");
    const Value* found = dict->find(name);
    if (found == nullptr) runtime_.fail(python_quoted(name));
    used_ = 1;
    return *found;
  }
  void finish() const {
    const bool all = is_tuple_ ? used_ == values_.list()->elements.size()
                               : used_ > 0 || values_.dict() != nullptr || values_.list() != nullptr;
    if (!all) runtime_.fail("not all arguments converted during string formatting");
  }

 private:
  Runtime& runtime_;
  const Value& values_;
  bool is_tuple_ = false;
  size_t used_ = 0;
};

int star_or_number(Runtime& runtime, std::string_view text, size_t& at, PercentArguments& values) {
  if (at < text.size() && text[at] == '*') {
    ++at;
    return static_cast<int>(std::clamp<int64_t>(to_int(runtime, values.next(), "a width"), 0, kMaxWidth));
  }
  return read_number(runtime, text, at);
}

/// Behind the % sign.
void write_percent_field(Runtime& runtime, std::string_view text, size_t& at, PercentArguments& values,
                         MarkedText& out) {
  Field field;
  std::optional<std::string_view> name;
  if (at < text.size() && text[at] == '(') {
    const size_t close = text.find(')', at);
    if (close == std::string_view::npos) runtime.fail("incomplete format key");
    name = text.substr(at + 1, close - at - 1);
    at = close + 1;
  }
  for (; at < text.size() && std::string_view("-+ #0").find(text[at]) != std::string_view::npos; ++at) {
    if (text[at] == '-') field.align = '<';
    if (text[at] == '+') field.plus = true;
    if (text[at] == ' ') field.blank = true;
    if (text[at] == '#') field.alternate = true;
    if (text[at] == '0' && field.align == 0) field.align = '=';
  }
  field.width = std::max(0, star_or_number(runtime, text, at, values));
  if (at < text.size() && text[at] == '.') {
    ++at;
    field.precision = std::max(0, star_or_number(runtime, text, at, values));
  }
  if (at == text.size()) runtime.fail("incomplete format");
  const char type = text[at++];
  if (type == '%') return out.write("%");
  const Value& value = name ? values.named(*name) : values.next();
  const bool is_number = std::string_view("diouxXeEfFgG").find(type) != std::string_view::npos;
  if (is_number) {
    if (field.align == '=') field.fill = "0";
    return write_padded(field, number_text(runtime, field, value, type == 'F' ? 'f' : type), true, out);
  }
  if (field.align != '<') field.align = '>';
  if (type == 's') return write_padded(field, cut(to_text(runtime, value), field.precision), false, out);
  if (type == 'r') return write_padded(field, cut(to_repr(runtime, value), field.precision), false, out);
  runtime.fail(fmt::format("unsupported format character '{}'", type));
}

// ---- "{}".format(value)

class BraceFormat {
 public:
  BraceFormat(Runtime& runtime, const MarkedText& format, const Arguments& arguments)
      : runtime_(runtime), format_(format), text_(format.text()), arguments_(arguments) {}

  MarkedText run() && {
    size_t at = 0;
    while (at < text_.size()) {
      const size_t brace = std::min(text_.find_first_of("{}", at), text_.size());
      out_.append(format_, text_.substr(at, brace - at));
      at = brace;
      if (at == text_.size()) break;
      if (at + 1 < text_.size() && text_[at + 1] == text_[at]) {
        out_.append(format_, text_.substr(at, 1));
        at += 2;
        continue;
      }
      if (text_[at] == '}') runtime_.fail("Single '}' encountered in format string");
      const size_t close = text_.find('}', at);
      if (close == std::string_view::npos) runtime_.fail("expected '}' before end of string");
      field(text_.substr(at + 1, close - at - 1));
      at = close + 1;
      runtime_.charge_bytes(out_.text().size() / 64);
    }
    return std::move(out_);
  }

 private:
  void field(std::string_view inside) {
    const size_t colon = inside.find(':');
    std::string_view name = inside.substr(0, colon);
    const std::string_view spec = colon == std::string_view::npos ? std::string_view() : inside.substr(colon + 1);
    char conversion = 0;
    if (const size_t mark = name.find('!'); mark != std::string_view::npos && mark + 2 == name.size()) {
      conversion = name[mark + 1];
      name = name.substr(0, mark);
    }
    Value value = value_of(name);
    if (conversion == 'r') value = runtime_.text(to_repr(runtime_, value));
    if (conversion == 's') value = to_string_value(runtime_, value);
    write(parse(spec), value);
  }

  Value value_of(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = root(name.substr(0, end));
    for (size_t at = end; at < name.size();) {
      if (name[at] == '.') {
        const size_t stop = std::min(name.find_first_of(".[", at + 1), name.size());
        value = attribute(runtime_, value, name.substr(at + 1, stop - at - 1));
        at = stop;
      } else {
        const size_t stop = name.find(']', at);
        if (name[at] != '[' || stop == std::string_view::npos) runtime_.fail("Missing ']' in format string");
        const std::string_view key = name.substr(at + 1, stop - at - 1);
        size_t digits = 0;
        const int index = read_number(runtime_, key, digits);
        const bool is_index = !key.empty() && digits == key.size();
        value = subscript(runtime_, value, is_index ? Value::integer(index) : Value::written(key));
        at = stop + 1;
      }
      if (value.is_undefined()) runtime_.fail_undefined(value);
    }
    return value;
  }

  Value root(std::string_view name) {
    size_t digits = 0;
    int index = read_number(runtime_, name, digits);
    if (name.empty()) index = next_++;
    if (digits != name.size()) {
      for (const auto& [key, value] : arguments_.named) {
        if (key == name) return value;
      }
      runtime_.fail(python_quoted(name));
    }
    if (static_cast<size_t>(index) >= arguments_.positional.size())
      runtime_.fail(fmt::format("Replacement index {} out of range for positional args tuple", index));
    return arguments_.positional[static_cast<size_t>(index)];
  }

  Field parse(std::string_view spec) {
    Field field;
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    size_t at = 0;
    const size_t first = offset_of(spec, 1);
    if (first < spec.size() && is_align(spec[first])) {
      field.fill = spec.substr(0, first);
      field.align = spec[first];
      at = first + 1;
    } else if (!spec.empty() && is_align(spec[0])) {
      field.align = spec[at++];
    }
    const auto take = [&](char c) { return at < spec.size() && spec[at] == c && ++at > 0; };
    if (take('+')) field.plus = true;
    if (take(' ')) field.blank = true;
    if (take('#')) field.alternate = true;
    if (take('0') && field.align == 0) {
      field.fill = "0";
      field.align = '=';
    }
    field.width = std::max(0, read_number(runtime_, spec, at));
    if (take(',')) field.comma = true;
    if (take('.')) field.precision = std::max(0, read_number(runtime_, spec, at));
    if (at < spec.size()) field.type = spec[at++];
    if (at != spec.size()) runtime_.fail("Invalid format specifier");
    return field;
  }

  void write(const Field& field, const Value& value) {
    if (std::string_view("dxXobeEfFgG%").find(field.type) != std::string_view::npos && field.type != 0)
      return write_padded(field, number_text(runtime_, field, value, field.type == 'F' ? 'f' : field.type), true, out_);
    const bool real = value.as<double>() != nullptr;
    if (field.type != 0 && field.type != 's') runtime_.fail(fmt::format("Unknown format code '{}'", field.type));
    if (real && field.precision >= 0) return write_padded(field, number_text(runtime_, field, value, 'g'), true, out_);
    if (value.is_integral() && (field.comma || field.plus))
      return write_padded(field, number_text(runtime_, field, value, 'd'), true, out_);
    write_padded(field, cut(to_text(runtime_, value), field.precision), value.is_number(), out_);
  }

  Runtime& runtime_;
  const MarkedText& format_;
  std::string_view text_;
  const Arguments& arguments_;
  int next_ = 0;
  MarkedText out_;
};

}  // namespace

MarkedText format_percent(Runtime& runtime, const MarkedText& format, const Value& arguments) {
  PercentArguments values(runtime, arguments);
  const std::string_view text = format.text();
  MarkedText out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t percent = std::min(text.find('%', at), text.size());
    out.append(format, text.substr(at, percent - at));
    at = percent;
    if (at == text.size()) break;
    ++at;
    write_percent_field(runtime, text, at, values, out);
    runtime.charge_bytes(out.text().size() / 64);
  }
  values.finish();
  return out;
}

MarkedText format_braces(Runtime& runtime, const MarkedText& format, const Arguments& arguments) {
  return BraceFormat(runtime, format, arguments).run();
}

}  // namespace prosa::chat::jinja
