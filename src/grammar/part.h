// A language as a tree of parts: what regular expressions, JSON Schemas, GBNF texts and slots of commands are read
// into, and what an Automaton is made of.
//
// Values, without a state of their own. A part speaks of bytes; characters become bytes by one_of().
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prosa::grammar {

using ByteSet = std::bitset<256>;

struct Part {
  enum class Kind {
    bytes,     // one byte of `bytes`; none when that is empty
    text,      // these bytes
    sequence,  // `parts`, one after the other; of none: nothing
    choice,    // one of `parts`; of none: no text at all
    repeat,    // parts[0], at_least to at_most times
    rule,      // the rule with this number
    list,      // of parts[1 ..] those that are required and any of the others, in order, parts[0] between them
  };
  Kind kind = Kind::sequence;
  ByteSet bytes = {};
  std::string text = {};
  std::vector<Part> parts = {};
  int at_least = 0;
  std::optional<int> at_most = {};  // unset: any number
  uint32_t rule = 0;
  std::vector<bool> required = {};  // of a list: [parts - 1]
};

Part literal(std::string_view text);
Part sequence(std::vector<Part> parts);
Part choice(std::vector<Part> parts);
Part repeat(Part part, int at_least, std::optional<int> at_most);
inline Part maybe(Part part) { return repeat(std::move(part), 0, 1); }
Part rule(uint32_t number);
/// Some of `parts` in their order, `separator` between those that are there; those that are required always are.
Part list(Part separator, std::vector<Part> parts, std::vector<bool> required);

/// Characters as rising ranges that do not touch, both ends among them.
struct CharRange {
  uint32_t first = 0;
  uint32_t last = 0;
  friend bool operator==(const CharRange&, const CharRange&) = default;
};
using CharSet = std::vector<CharRange>;
inline constexpr uint32_t kLastCharacter = 0x10FFFF;

/// Rising and apart, whatever was given; without surrogates, which no UTF-8 holds.
CharSet normalized(CharSet set);
CharSet complement(const CharSet& set);
CharSet both(const CharSet& a, const CharSet& b);
bool contains(const CharSet& set, uint32_t character) noexcept;
/// The UTF-8 of one character of a normalized set.
Part one_of(const CharSet& set);

/// The decimal form of one integer of [least, most], without a plus sign or zeros in front. Either end may be unset.
Part integer_between(std::optional<int64_t> least, std::optional<int64_t> most);

/// A language: rule 0 is all of it.
struct Rules {
  std::vector<Part> parts;
  std::vector<std::string> names = {};  // of the rules, for messages; may be shorter
};

/// Puts the rules of `more` behind those of `to`: the number that its rule 0 has there. `shared`: the rules 1 to this
/// one are the same in both already.
uint32_t append(Rules& to, Rules more, uint32_t shared = 0);

}  // namespace prosa::grammar
