// Folding and comparing of words, with utf8proc's tables.
#include "voice/words.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace prosa::voice {
namespace {

struct Word {
  std::string folded;
  size_t begin = 0;  // bytes in the text
};

bool is_inside_word(char32_t code) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||  // letters
         (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME) ||  // marks
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);    // numbers
}

/// Scripts that are written without spaces.
bool stands_alone(char32_t code) {
  return (code >= 0x3040 && code <= 0x30ff) || (code >= 0x3400 && code <= 0x9fff) ||
         (code >= 0xf900 && code <= 0xfaff) || (code >= 0x20000 && code <= 0x3ffff);
}

std::vector<Word> split(std::string_view text) {
  std::vector<Word> words;
  bool open = false;  // the last word goes on
  for (size_t at = 0; at < text.size();) {
    const utf8::Step step = utf8::step(text, at);
    const bool alone = step.valid && stands_alone(step.code);
    // An apostrophe inside a word is silent: recognisers disagree on "don't".
    const bool silent = step.code == U'\'' || step.code == U'’';
    if (step.valid && !silent && is_inside_word(step.code)) {
      if (!open || alone) words.push_back({{}, at});
      utf8::append(words.back().folded,
                   static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(step.code))));
      open = !alone;
    } else if (!silent) {
      open = false;
    }
    at += std::max<size_t>(step.size, 1);
  }
  return words;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> folded;
  for (Word& word : split(text)) folded.push_back(std::move(word.folded));
  return folded;
}

bool same_words(std::string_view a, std::string_view b) { return a == b || words_of(a) == words_of(b); }

size_t common_prefix(std::string_view before, std::string_view now) {
  const std::vector<Word> old_words = split(before);
  const std::vector<Word> new_words = split(now);
  const size_t most = std::min(old_words.size(), new_words.size());
  size_t same = 0;
  while (same < most && old_words[same].folded == new_words[same].folded) ++same;
  return same == new_words.size() ? now.size() : new_words[same].begin;
}

std::string join(std::string_view first, std::string_view second) {
  if (first.empty()) return std::string(second);
  if (second.empty()) return std::string(first);
  return std::string(first) + " " + std::string(second);
}

}  // namespace prosa::voice
