// The options of a choice as they are given: text with slots, read and held to the limits of prosa/choice.h; and what a
// filled text has in each slot.
//
// No tokens and no model. Immutable after construction.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/part.h"
#include "prosa/choice.h"

namespace prosa::chat {

class OptionText {
 public:
  /// `where` names the option in errors: "options[3]". Errors: invalid_argument (braces, a slot that is not there or
  /// allows nothing), unsupported (a pattern that cannot be honoured).
  OptionText(std::string_view text, const std::map<std::string, Slot>& slots, std::string where);

  [[nodiscard]] bool has_slots() const noexcept { return parts_.size() > 1 || (!parts_.empty() && parts_[0].slot); }
  /// The text where there are no slots.
  [[nodiscard]] std::string plain_text() const;
  /// All texts that the option may become.
  [[nodiscard]] grammar::Rules rules() const;
  /// The slots of one of these texts. Where it can be divided in several ways, earlier slots get as much as they can.
  [[nodiscard]] std::map<std::string, std::string> slots_of(std::string_view filled) const;
  [[nodiscard]] const std::string& where() const noexcept { return where_; }

 private:
  struct Piece {
    bool slot = false;
    std::string text;  // literal, or the slot's name
    grammar::Rules may_be = {};
  };
  bool divide(size_t piece, std::string_view rest, std::map<std::string, std::string>& found, int& tries) const;

  std::string where_;
  std::vector<Piece> parts_;
};

/// All of a list, none twice. Errors as above, and invalid_argument: none, too many, too long, not UTF-8, the same
/// twice.
std::vector<OptionText> read_options(std::span<const std::string> options, const ChooseConfig& config);

}  // namespace prosa::chat
