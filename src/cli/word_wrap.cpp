// Counting columns and breaking lines.
#include "cli/word_wrap.h"

#include <clocale>
#include <cstdio>
#include <cwchar>

#include <langinfo.h>
#include <sys/ioctl.h>

namespace prosa::cli {
namespace {

constexpr size_t kMaxWordBytes = 4096;  // what can stand on one line of any terminal

/// Bytes of the character that begins with this one, as far as UTF-8 has it.
size_t length_of(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/// Columns of one character; 0 for those that stand upon the one before.
int cells_of(std::string_view character) {
  if (character.size() == 1) return 1;
  wchar_t wide = 0;
  std::mbstate_t state = {};
  const size_t length = std::mbrtowc(&wide, character.data(), character.size(), &state);
  if (length == 0 || length > character.size()) return 1;
  const int cells = wcwidth(wide);
  return cells < 0 ? 1 : cells;
}

}  // namespace

void use_utf8_characters() {
  if (std::setlocale(LC_CTYPE, "") != nullptr && std::string_view(nl_langinfo(CODESET)) == "UTF-8") return;
  std::setlocale(LC_CTYPE, "C.UTF-8");
}

int output_columns() {
  winsize size = {};
  return ioctl(fileno(stdout), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void WordWrap::new_line(std::string& out) {
  out += '\n';
  column_ = 0;
  word_.clear();
  word_cells_ = 0;
}

void WordWrap::put(std::string_view character, int cells, std::string& out) {
  if (column_ + cells > limit_) {
    if (word_cells_ > 0 && word_cells_ < column_ && word_cells_ + cells <= limit_) {
      // Take the word back: out of what is still to be written, or off the screen.
      if (word_at_ != std::string::npos) {
        out.resize(word_at_);
      } else {
        out += "\033[" + std::to_string(word_cells_) + "D\033[K";
      }
      out += '\n';
      word_at_ = out.size();
      out += word_;
      column_ = word_cells_;
    } else {
      new_line(out);
    }
  }
  if (word_.empty()) word_at_ = out.size();
  out += character;
  column_ += cells;
  if (cells > 1) {  // a line may end behind each character of scripts without spaces
    word_.clear();
    word_cells_ = 0;
    return;
  }
  word_ += character;
  word_cells_ += cells;
  if (word_.size() > kMaxWordBytes) {
    word_.clear();
    word_cells_ = 0;
  }
}

std::string WordWrap::add(std::string_view text) {
  if (limit_ == 0) return std::string(text);
  std::string out;
  word_at_ = std::string::npos;
  for (size_t at = 0; at < text.size();) {
    const std::string_view character = text.substr(at, length_of(text[at]));
    at += character.size();
    if (character == "\n") {
      new_line(out);
    } else if (character == " " || character == "\t") {
      const int cells = character == " " ? 1 : 8 - column_ % 8;
      word_.clear();
      word_cells_ = 0;
      if (column_ + cells > limit_) {
        new_line(out);
      } else {
        out += character;
        column_ += cells;
      }
    } else {
      put(character, cells_of(character), out);
    }
  }
  return out;
}

}  // namespace prosa::cli
