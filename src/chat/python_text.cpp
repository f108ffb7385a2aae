// str.strip(), str() and json.dumps() as the official template has them from Python (python_text.h).
#include "chat/python_text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/check.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;

bool is_ascii_space(char c) noexcept { return (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= ' '); }

/// White space outside ASCII, as UTF-8.
bool is_wide_space(std::string_view character) noexcept {
  if (character.size() == 2) return character == "\xC2\x85" || character == "\xC2\xA0";
  if (character.size() != 3) return false;
  if (character == "\xE1\x9A\x80" || character == "\xE2\x81\x9F" || character == "\xE3\x80\x80") return true;
  const auto last = static_cast<unsigned char>(character[2]);
  return character.starts_with("\xE2\x80") &&
         ((last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF);
}

size_t leading_space(std::string_view text) noexcept {
  if (text.empty()) return 0;
  if (is_ascii_space(text.front())) return 1;
  for (const size_t length : {size_t{2}, size_t{3}}) {
    if (text.size() >= length && is_wide_space(text.substr(0, length))) return length;
  }
  return 0;
}

size_t trailing_space(std::string_view text) noexcept {
  if (text.empty()) return 0;
  if (is_ascii_space(text.back())) return 1;
  for (const size_t length : {size_t{2}, size_t{3}}) {
    if (text.size() >= length && is_wide_space(text.substr(text.size() - length))) return length;
  }
  return 0;
}

/// repr() of a finite float: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16.
std::string float_repr(double value) {
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer.data(), static_cast<size_t>(end - buffer.data()));  // -d.ddde-XX
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(std::string(scientific.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(scientific);  // C++ and Python agree: two digits, a sign

  std::string sign, digits;
  for (const char c : scientific.substr(0, e)) {
    if (c == '-') sign = "-";
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const auto integer_digits = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= integer_digits) {
    return sign + digits + std::string(integer_digits - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, integer_digits) + "." + digits.substr(integer_digits);
}

void write_json_string(std::string_view text, std::string& out) {
  constexpr std::string_view hex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\f': out += "\\f"; break;
      case '\b': out += "\\b"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += hex[static_cast<size_t>(c) >> 4];
          out += hex[static_cast<size_t>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void write_json(const Json& value, std::string& out) {
  switch (value.type()) {
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, member] : value.items()) {
        if (!first) out += ", ";
        first = false;
        write_json_string(key, out);
        out += ": ";
        write_json(member, out);
      }
      out += '}';
      break;
    }
    case Json::value_t::array: {
      out += '[';
      bool first = true;
      for (const Json& element : value) {
        if (!first) out += ", ";
        first = false;
        write_json(element, out);
      }
      out += ']';
      break;
    }
    case Json::value_t::string: write_json_string(value.get_ref<const std::string&>(), out); break;
    case Json::value_t::boolean: out += value.get<bool>() ? "true" : "false"; break;
    case Json::value_t::null: out += "null"; break;
    case Json::value_t::number_float: {
      const double number = value.get<double>();
      if (std::isnan(number))
        out += "NaN";
      else if (std::isinf(number))
        out += number < 0 ? "-Infinity" : "Infinity";
      else
        out += float_repr(number);
      break;
    }
    default: out += to_python_string(value);
  }
}

}  // namespace

std::string_view python_strip(std::string_view text) noexcept {
  while (const size_t length = leading_space(text)) text.remove_prefix(length);
  while (const size_t length = trailing_space(text)) text.remove_suffix(length);
  return text;
}

std::string_view strip_front(std::string_view text, char character) noexcept {
  while (!text.empty() && text.front() == character) text.remove_prefix(1);
  return text;
}

std::string_view strip_back(std::string_view text, char character) noexcept {
  while (!text.empty() && text.back() == character) text.remove_suffix(1);
  return text;
}

std::string to_python_json(const Json& value) {
  std::string out;
  write_json(value, out);
  return out;
}

std::string to_python_string(const Json& scalar) {
  PROSA_CHECK(scalar.is_primitive() && !scalar.is_binary() && !scalar.is_discarded());
  switch (scalar.type()) {
    case Json::value_t::null: return "None";
    case Json::value_t::boolean: return scalar.get<bool>() ? "True" : "False";
    case Json::value_t::string: return scalar.get<std::string>();
    case Json::value_t::number_unsigned: return std::to_string(scalar.get<uint64_t>());
    case Json::value_t::number_integer: return std::to_string(scalar.get<int64_t>());
    default: break;
  }
  const double number = scalar.get<double>();
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  return float_repr(number);
}

}  // namespace prosa::chat
