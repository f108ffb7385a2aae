// The variables that Python's huggingface_hub reads, with the same meaning.
#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "base/files.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;

/// The first that is set and not empty.
std::optional<std::string> variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return std::nullopt;
}

bool is_true(const std::string& text) {
  std::string upper = text;
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
  return upper == "1" || upper == "ON" || upper == "YES" || upper == "TRUE";
}

fs::path user_home() { return variable({"HOME"}).value_or("/"); }

/// A shell leaves the ~ of HF_HOME="~/models" as it is.
fs::path to_path(const std::string& text) {
  if (text == "~") return user_home();
  if (text.starts_with("~/")) return user_home() / text.substr(2);
  return text;
}

fs::path hub_home() {
  if (const auto home = variable({"HF_HOME"})) return to_path(*home);
  if (const auto caches = variable({"XDG_CACHE_HOME"})) return to_path(*caches) / "huggingface";
  return user_home() / ".cache/huggingface";
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const size_t begin = text.find_first_not_of(blank);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(blank) - begin + 1));
}

constexpr size_t kMaxTokenBytes = 4096;

std::string token_file() {
  const auto named = variable({"HF_TOKEN_PATH"});
  try {
    return read_optional_file(named ? to_path(*named) : hub_home() / "token", kMaxTokenBytes, ErrorCode::io)
        .value_or("");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::io) throw;
    return {};  // without it public models are there all the same
  }
}

std::string find_token() {
  const auto value = variable({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"});
  std::string token = trimmed(value ? *value : token_file());
  // It becomes a line of an HTTP request: nothing in it may end that line.
  if (std::ranges::any_of(token, [](char c) { return c <= ' ' || c >= 0x7f; })) {
    throw Error(ErrorCode::invalid_argument, "holds blanks or control characters",
                value ? "HF_TOKEN" : "the token file", "a token looks like hf_…");
  }
  return token;
}

std::string find_endpoint() {
  std::string endpoint = variable({"HF_ENDPOINT"}).value_or(Settings{}.endpoint);
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")) {
    throw Error(ErrorCode::invalid_argument, "'" + endpoint + "' is no http or https address", "HF_ENDPOINT");
  }
  return endpoint;
}

}  // namespace

fs::path hub_cache_folder() {
  if (const auto cache = variable({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})) return to_path(*cache);
  return hub_home() / "hub";
}

Settings settings_from_environment() {
  Settings settings;
  settings.endpoint = find_endpoint();
  settings.token = find_token();
  settings.offline = is_true(variable({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}).value_or(""));
  settings.cache = hub_cache_folder();
  return settings;
}

}  // namespace prosa::hub
