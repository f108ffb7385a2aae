// Building parts: UTF-8 of sets of characters, and decimal forms of ranges of integers.
#include "grammar/part.h"

#include <algorithm>
#include <array>
#include <limits>

namespace prosa::grammar {

Part literal(std::string_view text) { return {.kind = Part::Kind::text, .text = std::string(text)}; }

Part sequence(std::vector<Part> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  return {.kind = Part::Kind::sequence, .parts = std::move(parts)};
}

Part choice(std::vector<Part> parts) {
  if (parts.size() == 1) return std::move(parts.front());
  return {.kind = Part::Kind::choice, .parts = std::move(parts)};
}

Part repeat(Part part, int at_least, std::optional<int> at_most) {
  Part all{.kind = Part::Kind::repeat, .at_least = at_least, .at_most = at_most};
  all.parts.push_back(std::move(part));
  return all;
}

Part rule(uint32_t number) { return {.kind = Part::Kind::rule, .rule = number}; }

Part list(Part separator, std::vector<Part> parts, std::vector<bool> required) {
  parts.insert(parts.begin(), std::move(separator));
  return {.kind = Part::Kind::list, .parts = std::move(parts), .required = std::move(required)};
}

// ---- characters

namespace {

constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;

CharSet joined(CharSet set) {
  std::ranges::sort(set, {}, &CharRange::first);
  CharSet all;
  for (const CharRange& range : set) {
    if (range.last < range.first) continue;
    if (!all.empty() && range.first <= all.back().last + 1) {
      all.back().last = std::max(all.back().last, range.last);
    } else {
      all.push_back(range);
    }
  }
  return all;
}

}  // namespace

CharSet normalized(CharSet set) {
  CharSet apart;
  for (CharRange range : set) {
    range.last = std::min(range.last, kLastCharacter);
    if (range.first < kFirstSurrogate) apart.push_back({range.first, std::min(range.last, kFirstSurrogate - 1)});
    if (range.last > kLastSurrogate) apart.push_back({std::max(range.first, kLastSurrogate + 1), range.last});
  }
  return joined(std::move(apart));
}

CharSet complement(const CharSet& set) {
  CharSet all;
  uint32_t next = 0;
  for (const CharRange& range : set) {
    if (range.first > next) all.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastCharacter) all.push_back({next, kLastCharacter});
  return normalized(std::move(all));
}

CharSet both(const CharSet& a, const CharSet& b) {
  CharSet all;
  for (const CharRange& x : a) {
    for (const CharRange& y : b) {
      const CharRange common{std::max(x.first, y.first), std::min(x.last, y.last)};
      if (common.first <= common.last) all.push_back(common);
    }
  }
  return normalized(std::move(all));
}

bool contains(const CharSet& set, uint32_t character) noexcept {
  return std::ranges::any_of(
      set, [character](const CharRange& range) { return character >= range.first && character <= range.last; });
}

namespace {

ByteSet byte_range(uint32_t first, uint32_t last) {
  ByteSet bytes;
  for (uint32_t byte = first; byte <= last; ++byte) bytes.set(byte);
  return bytes;
}

Part one_byte(const ByteSet& bytes) { return {.kind = Part::Kind::bytes, .bytes = bytes}; }

/// The lower bits of the numbers of [first, last], in one byte of six bits and `digits` more of them. Both ends have
/// the same bits above these, which are written `before`.
void add_range(uint32_t first, uint32_t last, int digits, std::vector<Part>& choices, std::vector<Part> before) {
  if (digits == 0) {
    before.push_back(one_byte(byte_range(0x80 | (first & 0x3F), 0x80 | (last & 0x3F))));
    choices.push_back(sequence(std::move(before)));
    return;
  }
  const uint32_t unit = uint32_t{1} << (6 * digits);  // numbers that share this call's byte
  const auto byte_of = [&](uint32_t number) { return 0x80 | (number / unit & 0x3F); };
  for (uint32_t from = first; from <= last;) {
    uint32_t to = std::min(last, from | (unit - 1));
    std::vector<Part> parts = before;
    if (from % unit == 0 && to == (from | (unit - 1))) {
      while (to + unit <= last) to += unit;
      parts.push_back(one_byte(byte_range(byte_of(from), byte_of(to))));
      for (int i = 0; i < digits; ++i) parts.push_back(one_byte(byte_range(0x80, 0xBF)));
      choices.push_back(sequence(std::move(parts)));
    } else {
      parts.push_back(one_byte(byte_range(byte_of(from), byte_of(from))));
      add_range(from, to, digits - 1, choices, std::move(parts));
    }
    from = to + 1;
  }
}

}  // namespace

Part one_of(const CharSet& set) {
  std::vector<Part> choices;
  ByteSet ascii;
  struct Length {
    uint32_t first, last, lead;
    int digits;
  };
  constexpr std::array<Length, 3> kLengths = {
      {{0x80, 0x7FF, 0xC0, 1}, {0x800, 0xFFFF, 0xE0, 2}, {0x10000, kLastCharacter, 0xF0, 3}}};
  for (const CharRange& range : set) {
    if (range.first < 0x80) ascii |= byte_range(range.first, std::min<uint32_t>(range.last, 0x7F));
    for (const Length& length : kLengths) {
      const uint32_t first = std::max(range.first, length.first);
      const uint32_t last = std::min(range.last, length.last);
      const uint32_t unit = uint32_t{1} << (6 * length.digits);
      for (uint32_t from = first; from <= last;) {  // one leading byte after the other, or a range of whole ones
        uint32_t to = std::min(last, from | (unit - 1));
        if (from % unit == 0 && to == (from | (unit - 1))) {
          while (to + unit <= last) to += unit;
          std::vector<Part> whole = {one_byte(byte_range(length.lead | from / unit, length.lead | to / unit))};
          for (int i = 0; i < length.digits; ++i) whole.push_back(one_byte(byte_range(0x80, 0xBF)));
          choices.push_back(sequence(std::move(whole)));
        } else {
          const uint32_t lead = length.lead | from / unit;
          add_range(from, to, length.digits - 1, choices, {one_byte(byte_range(lead, lead))});
        }
        from = to + 1;
      }
    }
  }
  if (ascii.any()) choices.insert(choices.begin(), one_byte(ascii));
  return choice(std::move(choices));
}

// ---- rules

namespace {

void renumber(Part& part, uint32_t first, uint32_t shared) {
  if (part.kind == Part::Kind::rule && part.rule == 0) {
    part.rule = first;
  } else if (part.kind == Part::Kind::rule && part.rule > shared) {
    part.rule += first - shared;
  }
  for (Part& each : part.parts) renumber(each, first, shared);
}

}  // namespace

uint32_t append(Rules& to, Rules more, uint32_t shared) {
  const auto first = static_cast<uint32_t>(to.parts.size());
  to.names.resize(to.parts.size());
  more.names.resize(more.parts.size());
  for (size_t i = 0; i < more.parts.size(); ++i) {
    if (i > 0 && i <= shared) continue;
    renumber(more.parts[i], first, shared);
    to.parts.push_back(std::move(more.parts[i]));
    to.names.push_back(std::move(more.names[i]));
  }
  return first;
}

// ---- integers

namespace {

Part digits(char first, char last) {
  return one_byte(byte_range(static_cast<unsigned char>(first), static_cast<unsigned char>(last)));
}

Part any_digits(size_t count) { return repeat(digits('0', '9'), static_cast<int>(count), static_cast<int>(count)); }

/// What lies between two numbers of equally many digits, zeros in front included.
Part same_length(std::string_view low, std::string_view high) {
  if (low.empty()) return {};
  const auto only = [](std::string_view text, char digit) { return text.find_first_not_of(digit) == text.npos; };
  const std::string_view low_rest = low.substr(1);
  const std::string_view high_rest = high.substr(1);
  if (low[0] == high[0]) return sequence({digits(low[0], low[0]), same_length(low_rest, high_rest)});
  std::vector<Part> choices;
  char from = low[0];
  char to = high[0];
  const std::string nines(low_rest.size(), '9');
  const std::string zeros(low_rest.size(), '0');
  if (!only(low_rest, '0')) choices.push_back(sequence({digits(from, from), same_length(low_rest, nines)})), ++from;
  const bool partial_end = !only(high_rest, '9');
  if (partial_end) --to;
  if (from <= to) choices.push_back(sequence({digits(from, to), any_digits(low_rest.size())}));
  if (partial_end) choices.push_back(sequence({digits(high[0], high[0]), same_length(zeros, high_rest)}));
  return choice(std::move(choices));
}

/// low <= high; an unset high has no end.
Part unsigned_between(uint64_t low, std::optional<uint64_t> high) {
  std::vector<Part> choices;
  const std::string from = std::to_string(low);
  const std::string to = high ? std::to_string(*high) : "";
  const size_t last_length = high ? to.size() : from.size();
  for (size_t length = from.size(); length <= last_length; ++length) {
    const std::string first = length == from.size() ? from : "1" + std::string(length - 1, '0');
    const std::string last = high && length == to.size() ? to : std::string(length, '9');
    choices.push_back(same_length(first, last));
  }
  if (!high) {
    const auto more = static_cast<int>(from.size());
    choices.push_back(sequence({digits('1', '9'), repeat(digits('0', '9'), more, {})}));
  }
  return choice(std::move(choices));
}

uint64_t magnitude(int64_t number) {
  return number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
}

}  // namespace

Part integer_between(std::optional<int64_t> least, std::optional<int64_t> most) {
  std::vector<Part> choices;
  if (least && most && *least > *most) return choice({});
  if (!most || *most >= 0) {
    const uint64_t low = least && *least > 0 ? static_cast<uint64_t>(*least) : 0;
    choices.push_back(
        unsigned_between(low, most ? std::optional<uint64_t>(static_cast<uint64_t>(*most)) : std::nullopt));
  }
  if (!least || *least < 0) {
    const uint64_t low = most && *most < 0 ? magnitude(*most) : 1;
    choices.push_back(sequence(
        {literal("-"), unsigned_between(low, least ? std::optional<uint64_t>(magnitude(*least)) : std::nullopt)}));
  }
  return choice(std::move(choices));
}

}  // namespace prosa::grammar
