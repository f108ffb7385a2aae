// Keys of a JSON line that mean nothing to whoever reads it: mistyped ones above all. They are named, not ignored.
//
// Each key once, however many lines have it, and not without bound. Knows no file and prints nothing.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace prosa::eval {

class UnknownKeys {
 public:
  /// `known` must outlive this.
  explicit UnknownKeys(std::span<const std::string_view> known) : known_(known) {}

  /// `line`: an object; `where` names it. Where messages are known, their keys are looked at too.
  void look_at(const nlohmann::ordered_json& line, const std::string& where);
  /// The sentences about keys that have come up since the last call.
  [[nodiscard]] std::vector<std::string> take_warnings() { return std::exchange(warnings_, {}); }

 private:
  void look_at_object(const nlohmann::ordered_json& object, std::string_view whose, const std::string& where,
                      std::span<const std::string_view> known);

  std::span<const std::string_view> known_;
  std::set<std::string, std::less<>> named_;
  std::vector<std::string> warnings_;
};

}  // namespace prosa::eval
