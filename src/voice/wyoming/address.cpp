// Reading addresses and splitting commands into words.
#include "voice/wyoming/address.h"

#include <sys/un.h>

#include <charconv>

#include "prosa/error.h"

namespace prosa::wyoming {
namespace {

constexpr std::string_view kTcp = "tcp://", kUnix = "unix://", kStdio = "stdio:";
constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;  // of the system

[[noreturn]] void bad_address(const std::string& text, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what, text, "give tcp://HOST:PORT, unix:///PATH or stdio:COMMAND");
}

void read_host_and_port(Address& address, std::string_view rest) {
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) bad_address(address.text, "no port in it");
  std::string_view host = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);  // IPv6
  if (host.empty()) bad_address(address.text, "no host in it");
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    bad_address(address.text, "its port is not a number up to 65535");
  }
  address.host = host;
}

}  // namespace

bool is_address(std::string_view name) noexcept {
  return name.starts_with(kStdio) || name.find("://") != std::string_view::npos;
}

Address parse_address(const std::string& text) {
  Address address;
  address.text = text;
  const std::string_view view = text;
  if (text.find('\0') != std::string::npos) bad_address(text, "a zero byte in it");
  if (view.starts_with(kTcp)) {
    read_host_and_port(address, view.substr(kTcp.size()));
  } else if (view.starts_with(kUnix)) {
    address.kind = Address::Kind::unix_socket;
    address.path = view.substr(kUnix.size());
    if (!address.path.starts_with('/')) bad_address(text, "its path does not begin with /");
    if (address.path.size() > kMaxSocketPath) {
      bad_address(text, "its path is longer than " + std::to_string(kMaxSocketPath) + " bytes, the system's limit");
    }
  } else if (view.starts_with(kStdio)) {
    address.kind = Address::Kind::child;
    address.words = split_command(view.substr(kStdio.size()));
  } else {
    bad_address(text, "not an address of a Wyoming program");
  }
  return address;
}

std::vector<std::string> split_command(std::string_view command) {
  std::vector<std::string> words;
  bool inside = false;  // of a word, which may be empty: ''
  char quote = 0;
  for (size_t at = 0; at < command.size(); ++at) {
    const char c = command[at];
    const bool space = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (quote == 0 && space) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    inside = true;
    if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (quote != 0 && c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && at + 1 < command.size() &&
               (quote == 0 || command[at + 1] == '"' || command[at + 1] == '\\')) {
      words.back() += command[++at];
    } else {
      words.back() += c;
    }
  }
  if (quote != 0) bad_address("stdio:" + std::string(command), "a quote in it is not closed");
  if (words.empty() || words.front().empty()) bad_address("stdio:" + std::string(command), "no command in it");
  return words;
}

}  // namespace prosa::wyoming
