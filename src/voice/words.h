// Words as recognisers hear them: what two transcripts of the same sound have in common.
//
// Case, punctuation and spacing are no part of a word: "Turn on the light." and "turn on the light" are the same words.
// No language is known here; a script without spaces (Chinese, Japanese) has one word a character.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace prosa::voice {

/// The words of `text` (UTF-8; damage counts as a space), folded for comparing.
std::vector<std::string> words_of(std::string_view text);
/// Whether both say the same words.
bool same_words(std::string_view a, std::string_view b);
/// How many bytes of `now` lie before the first word that `before` does not begin with: what stood in two transcripts.
size_t common_prefix(std::string_view before, std::string_view now);
/// Two utterances of one turn, with one space between them.
std::string join(std::string_view first, std::string_view second);

}  // namespace prosa::voice
