// A state is the longest end of what was read that one of the strings begins with.
#include "grammar/text_until.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/check.h"
#include "grammar/regex.h"

namespace prosa::grammar {

TextRules add_text_until(const TextUntil& text, Rules& rules) {
  std::vector<std::string> strings = text.never;
  if (!text.in_json) strings.push_back(text.end);
  std::set<std::string> prefixes = {""};
  std::set<char> letters;
  for (const std::string& each : strings) {
    PROSA_CHECK(!each.empty());
    for (size_t length = 1; length < each.size(); ++length) prefixes.insert(each.substr(0, length));
    letters.insert(each.begin(), each.end());
  }
  std::map<std::string, uint32_t> numbers;
  for (const std::string& prefix : prefixes) {
    numbers.emplace(prefix, static_cast<uint32_t>(rules.parts.size()));
    rules.parts.emplace_back();
  }
  const auto state_of = [&](std::string read) {
    while (!prefixes.contains(read)) read.erase(0, 1);
    return numbers.at(read);
  };
  CharSet known;
  for (const char letter : letters) known.push_back({static_cast<uint8_t>(letter), static_cast<uint8_t>(letter)});
  const CharSet others = both(text.alphabet, complement(normalized(known)));
  const auto characters = [&](const CharSet& set) { return text.in_json ? one_of_in_json(set) : one_of(set); };
  for (const auto& [prefix, number] : numbers) {
    std::map<uint32_t, CharSet> next = {{numbers.at(""), others}};
    std::vector<Part> choices;
    if (text.in_json) choices.push_back(literal("\""));
    for (const char letter : letters) {
      const std::string read = prefix + letter;
      const auto ends_with = [&](const std::string& string) { return read.ends_with(string); };
      if (!text.in_json && ends_with(text.end)) {
        choices.push_back(literal(std::string(1, letter)));
      } else if (std::ranges::none_of(text.never, ends_with)) {
        next[state_of(read)].push_back({static_cast<uint8_t>(letter), static_cast<uint8_t>(letter)});
      }
    }
    for (auto& [to, set] : next) {
      if (!set.empty()) choices.push_back(sequence({characters(normalized(std::move(set))), rule(to)}));
    }
    rules.parts[number] = choice(std::move(choices));
  }
  return {state_of(text.behind), numbers.at("")};
}

}  // namespace prosa::grammar
