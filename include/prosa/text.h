// Text from outside: what has to be known before it is given to a model.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace prosa {

/// Offset of the first byte that is no part of valid UTF-8; nothing when all of it is.
std::optional<size_t> find_invalid_utf8(std::string_view text) noexcept;

}  // namespace prosa
