// A first check for each option, chosen by the type that CLI11 keeps of it.
#include "cli/check_values.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <CLI/CLI.hpp>

namespace prosa::cli {
namespace {

/// Into the form that CLI11 reads. What is wrong with it; "": nothing.
template <typename Number>
std::string read_whole_number(std::string& text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec == std::errc::result_out_of_range) return "'" + text + "' is beyond 64 bits";
  if (read.ec != std::errc() || read.ptr != end) {
    return "'" + text + "' is no whole number" + (std::is_unsigned_v<Number> ? " from 0 on" : "");
  }
  text = std::to_string(number);  // without leading zeros, which would make it octal
  return {};
}

std::string read_real_number(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  const bool whole = read.ec == std::errc() && read.ptr == end;
  if (whole && std::abs(number) <= double{std::numeric_limits<float>::max()}) return {};
  return "'" + text + "' is no number" +
         (whole || read.ec == std::errc::result_out_of_range ? " that can be meant" : "");
}

void check_values_of(CLI::Option& option) {
  const std::string type = option.get_type_name();  // with the names of its checks behind it
  const auto is = [&type](std::string_view name) {
    return type == name || (type.starts_with(name) && (type[name.size()] == ':' || type[name.size()] == ' '));
  };
  // First of its checks: those of ranges read numbers as CLI11 does.
  if (is("INT")) {
    option.transform(CLI::Validator(read_whole_number<int64_t>, ""));
  } else if (is("UINT")) {
    option.transform(CLI::Validator(read_whole_number<uint64_t>, ""));
  } else if (is("FLOAT")) {
    option.transform(CLI::Validator([](std::string& text) { return read_real_number(text); }, ""));
  } else if (is("FILE") || is("FOLDER")) {
    option.check([](const std::string& text) { return std::string(text.empty() ? "the name is empty" : ""); });
  }
}

}  // namespace

void check_values(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) check_values_of(*option);
  for (CLI::App* const command : app.get_subcommands({})) check_values(*command);
}

}  // namespace prosa::cli
