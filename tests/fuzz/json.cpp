// Input: JSON from outside, as every file and answer is read. Both readers agree with each other and, within their
// bounds, with the JSON library's own parser; what is accepted survives being written and read again.
#include "base/json.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = text_of(data, size);
  const JsonSource source{"input"};
  nlohmann::json value;
  nlohmann::ordered_json ordered;
  const auto refused = error_of([&] { value = parse_json(text, source); });
  const auto ordered_refused = error_of([&] { ordered = parse_ordered_json(text, source); });
  require(refused.has_value() == ordered_refused.has_value(), "both readers agree");
  const auto strict = error_of([&] { (void)parse_json(text, source, {.unique_keys = true}); });
  require(!refused || strict, "unique keys make nothing valid");
  // A zero byte ends a text for the library; deeper than the limit is refused here alone.
  const auto openings = std::ranges::count_if(text, [](char c) { return c == '[' || c == '{'; });
  if (openings < 64 && text.find('\0') == std::string_view::npos) {
    require(nlohmann::json::accept(text) == !refused, "accepted is what is JSON", refused ? refused->what() : "");
  }
  if (refused) return 0;
  require(nlohmann::json(ordered) == value, "order changes nothing else");
  require(parse_json(value.dump(), source) == value, "a value survives", value.dump());
  require(parse_ordered_json(ordered.dump(), source) == ordered, "an ordered value survives", ordered.dump());
  return 0;
}
