// Cutting text into the pieces within which BPE merges: words, single digits, runs of punctuation, white space.
//
// Hand-written scanners that give exactly the matches of the regular expressions in the tokenizer files of Qwen2 and
// Qwen3, of Qwen3.5, and of transformers' option fix_mistral_regex; other expressions are not known. Pieces are
// contiguous and cover the text.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace prosa {

enum class PreTokenizer {
  qwen2,   // marks (\p{M}) count as punctuation
  qwen35,  // marks belong to words
  cased,   // fix_mistral_regex: a word also ends where upper case follows lower case
};

/// By the expression in tokenizer.json, letter for letter; empty for any other.
std::optional<PreTokenizer> pretokenizer_for(std::string_view expression) noexcept;
std::string_view expression_of(PreTokenizer kind) noexcept;

/// The end of the piece that begins at `begin` (< text.size()). `text`: valid UTF-8.
size_t piece_end(PreTokenizer kind, std::string_view text, size_t begin) noexcept;

}  // namespace prosa
