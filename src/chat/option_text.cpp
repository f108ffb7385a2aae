// Reading braces; slots as parts of a grammar; dividing a filled text among its slots.
#include "chat/option_text.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "chat/check_text.h"
#include "grammar/constraint.h"
#include "grammar/gbnf.h"
#include "grammar/regex.h"
#include "prosa/error.h"

namespace prosa {

Slot Slot::one_of(std::vector<std::string> values) { return {.kind = Kind::one_of, .values = std::move(values)}; }
Slot Slot::number(int64_t least, int64_t most) { return {.kind = Kind::number, .least = least, .most = most}; }
Slot Slot::matching(std::string pattern) { return {.kind = Kind::pattern, .pattern = std::move(pattern)}; }
Slot Slot::grammar(std::string gbnf) { return {.kind = Kind::grammar, .pattern = std::move(gbnf)}; }
Slot Slot::free_words(int most) { return {.kind = Kind::words, .least = 1, .most = most}; }

namespace chat {
namespace {

constexpr size_t kMaxOptionBytes = 4096;
constexpr int kMaxWordCharacters = 40;
constexpr int kMaxTries = 10'000;  // to divide a text among slots

[[noreturn]] void refuse(const std::string& what, const std::string& where, std::string remedy = {}) {
  throw Error(ErrorCode::invalid_argument, what, where, std::move(remedy));
}

grammar::Part words(int64_t most, const std::string& where) {
  if (most < 1 || most > kMaxSlotWords) refuse(fmt::format("takes 1 to {} words", kMaxSlotWords), where);
  grammar::CharSet inside;
  for (const char c : std::string_view(".,;:!?\""))
    inside.push_back({static_cast<uint32_t>(c), static_cast<uint32_t>(c)});
  for (const uint32_t space : {0x85U, 0xA0U, 0x1680U, 0x202FU, 0x205FU, 0x3000U}) inside.push_back({space, space});
  inside.insert(inside.end(), {{0, 0x20}, {0x7F, 0x9F}, {0x2000, 0x200F}, {0x2028, 0x202E}});
  const grammar::Part word = grammar::repeat(
      grammar::one_of(grammar::complement(grammar::normalized(std::move(inside)))), 1, kMaxWordCharacters);
  return grammar::sequence(
      {word, grammar::repeat(grammar::sequence({grammar::literal(" "), word}), 0, static_cast<int>(most - 1))});
}

grammar::Rules rules_of(const Slot& slot, const std::string& where) {
  switch (slot.kind) {
    case Slot::Kind::one_of: {
      if (slot.values.empty() || slot.values.size() > kMaxSlotValues)
        refuse(fmt::format("takes 1 to {} values", kMaxSlotValues), where);
      std::vector<grammar::Part> values;
      for (const std::string& value : slot.values) {
        check_text(value, where);
        if (value.empty() || value.size() > kMaxOptionBytes) refuse("a value is empty or too long", where);
        values.push_back(grammar::literal(value));
      }
      return {{grammar::choice(std::move(values))}};
    }
    case Slot::Kind::number:
      if (slot.least > slot.most) refuse(fmt::format("no number is in [{}, {}]", slot.least, slot.most), where);
      return {{grammar::integer_between(slot.least, slot.most)}};
    case Slot::Kind::pattern:
      check_text(slot.pattern, where);
      return {{grammar::read_regex(slot.pattern, {.where = where})}};
    case Slot::Kind::words: return {{words(slot.most, where)}};
    case Slot::Kind::grammar: check_text(slot.pattern, where); return grammar::read_gbnf(slot.pattern, where);
  }
  refuse(fmt::format("is of kind {}, which is none", static_cast<int>(slot.kind)), where);
}

}  // namespace

OptionText::OptionText(std::string_view text, const std::map<std::string, Slot>& slots, std::string where)
    : where_(std::move(where)) {
  std::string plain;
  const auto close_literal = [&] {
    if (!plain.empty()) parts_.push_back({false, plain, {{grammar::literal(plain)}}});
    plain.clear();
  };
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool doubled = at + 1 < text.size() && text[at + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      plain += c;
      ++at;
    } else if (c == '{') {
      const size_t close = text.find('}', at);
      if (close == std::string_view::npos) refuse("a '{' without its '}'", where_, "write '{{' for a brace");
      const std::string name(text.substr(at + 1, close - at - 1));
      const auto slot = slots.find(name);
      if (slot == slots.end()) refuse(fmt::format("there is no slot '{}'", name), where_, "write '{{' for a brace");
      close_literal();
      parts_.push_back({true, name, rules_of(slot->second, "slots." + name)});
      at = close;
    } else if (c == '}') {
      refuse("a '}' without its '{'", where_, "write '}}' for a brace");
    } else {
      plain += c;
    }
  }
  close_literal();
  if (parts_.empty()) refuse("is empty", where_);
}

std::string OptionText::plain_text() const {
  std::string text;
  for (const Piece& piece : parts_) text += piece.text;
  return text;
}

grammar::Rules OptionText::rules() const {
  grammar::Rules all = {{grammar::Part{}}};
  std::vector<grammar::Part> parts;
  for (const Piece& piece : parts_) {
    // A slot's own rules, even if it is one alone, may name each other by their numbers: these change here.
    parts.push_back(piece.slot ? grammar::rule(append(all, piece.may_be)) : piece.may_be.parts.front());
  }
  all.parts.front() = grammar::sequence(std::move(parts));
  return all;
}

bool OptionText::divide(size_t index, std::string_view rest, std::map<std::string, std::string>& found,
                        int& tries) const {
  if (index == parts_.size()) return rest.empty();
  if (--tries < 0) return false;
  const Piece& piece = parts_[index];
  if (!piece.slot)
    return rest.starts_with(piece.text) && divide(index + 1, rest.substr(piece.text.size()), found, tries);
  for (size_t length = rest.size() + 1; length-- > 0;) {
    const std::string_view value = rest.substr(0, length);
    if (index + 1 < parts_.size() && !parts_[index + 1].slot &&
        !rest.substr(length).starts_with(parts_[index + 1].text))
      continue;
    if (!grammar::matches(piece.may_be, value, where_) || !divide(index + 1, rest.substr(length), found, tries))
      continue;
    found[piece.text] = value;  // the first of several is written last
    return true;
  }
  return false;
}

std::map<std::string, std::string> OptionText::slots_of(std::string_view filled) const {
  std::map<std::string, std::string> found;
  int tries = kMaxTries;
  divide(0, filled, found, tries);
  return found;
}

std::vector<OptionText> read_options(std::span<const std::string> options, const ChooseConfig& config) {
  if (options.empty()) refuse("there is nothing to choose from", "options");
  if (options.size() > kMaxOptions)
    refuse(fmt::format("has {} entries, more than {}", options.size(), kMaxOptions), "options");
  std::vector<OptionText> texts;
  std::map<std::string_view, size_t> seen;
  for (size_t i = 0; i < options.size(); ++i) {
    const std::string where = fmt::format("options[{}]", i);
    check_text(options[i], where);
    if (options[i].size() > kMaxOptionBytes) refuse(fmt::format("has more than {} bytes", kMaxOptionBytes), where);
    const auto [same, fresh] = seen.try_emplace(options[i], i);
    if (!fresh) refuse(fmt::format("is the same as options[{}]", same->second), where);
    texts.emplace_back(options[i], config.slots, where);
  }
  return texts;
}

}  // namespace chat
}  // namespace prosa
