// What people type for a model on the hub, taken apart: owner/name[:subfolder][@revision].
//
// Text only: knows neither folders nor the network. Invariant: no part of a HubName leads out of a folder it is
// appended to.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace prosa::hub {

struct HubName {
  std::string owner, name;
  std::string subfolder;  // "": the repository's root
  std::string revision;   // "": none was named
  [[nodiscard]] std::string repository() const { return owner + "/" + name; }
  /// As it may be typed, the revision included.
  [[nodiscard]] std::string text() const;
};

/// Nothing when `text` can't be a hub name.
std::optional<HubName> parse_hub_name(const std::string& text);

/// A branch, a tag, a commit, refs/pr/1: plain parts between single slashes.
bool is_revision(std::string_view text);
/// The full 40 hexadecimal digits, which never mean anything else later.
bool is_commit(std::string_view text);
/// One folder or file name of letters, digits, '_', '.', '-', not hidden.
bool is_plain_part(std::string_view part);

}  // namespace prosa::hub
