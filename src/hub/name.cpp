// Hub names: what each part may hold.
#include "hub/name.h"

#include <algorithm>

namespace prosa::hub {
namespace {

/// Plain parts between single slashes.
bool is_plain_path(std::string_view text) {
  while (true) {
    const size_t slash = text.find('/');
    if (!is_plain_part(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

}  // namespace

std::string HubName::text() const {
  std::string text = repository();
  if (!subfolder.empty()) text += ":" + subfolder;
  if (!revision.empty()) text += "@" + revision;
  return text;
}

bool is_plain_part(std::string_view part) {
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !part.empty() && part.size() <= 200 && part.front() != '.' &&
         part.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_revision(std::string_view text) { return text.size() <= 200 && is_plain_path(text); }

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::optional<HubName> parse_hub_name(const std::string& text) {
  HubName hub;
  const size_t at = text.find('@');
  const std::string path = text.substr(0, at);
  if (at != std::string::npos) {
    hub.revision = text.substr(at + 1);
    if (!is_revision(hub.revision)) return std::nullopt;
  }
  const size_t colon = path.find(':');
  if (colon != std::string::npos) {
    hub.subfolder = path.substr(colon + 1);
    if (!is_plain_path(hub.subfolder)) return std::nullopt;
  }
  const std::string repository = path.substr(0, colon);
  const size_t slash = repository.find('/');
  if (slash == std::string::npos) return std::nullopt;
  hub.owner = repository.substr(0, slash);
  hub.name = repository.substr(slash + 1);
  if (!is_plain_part(hub.owner) || !is_plain_part(hub.name)) return std::nullopt;
  return hub;
}

}  // namespace prosa::hub
