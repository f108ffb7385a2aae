// Text from outside: what has to be known before it is given to a model, and what it must look like before people see
// it. Names in files, answers of servers and replies of models may hold characters that a terminal obeys (colours,
// cursor, title) or that make a line read in another order than it is written (bidi controls).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace prosa {

/// Offset of the first byte that is no part of valid UTF-8; nothing when all of it is.
std::optional<size_t> find_invalid_utf8(std::string_view text) noexcept;

/// `text` for a terminal or a log: controls (C0 but for newline and tab, DEL, C1), bidi controls and bytes that are no
/// UTF-8 are written out, as \x1b, \x9f, \u202e. Anything else is unchanged.
std::string printable(std::string_view text);

inline constexpr size_t kMaxLineCharacters = 500;
/// The same as one line: newlines and tabs become spaces, and of what is longer than `most` characters the middle is
/// replaced by "…".
std::string printable_line(std::string_view text, size_t most = kMaxLineCharacters);

/// JSON text (valid UTF-8, as a serializer gives it) with DEL, C1 and bidi controls as \u escapes: the same document.
std::string printable_json(std::string_view json);

}  // namespace prosa
