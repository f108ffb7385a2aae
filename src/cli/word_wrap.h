// Lines of a terminal that end between words: text that comes in pieces is broken before a word that does not fit.
//
// A piece is shown at once, also when it ends within a word. Where the rest of that word no longer fits, what stands of
// it is erased and written again on the next line. Nothing is added to the text but line ends, and nothing is lost of
// it but the spaces in their place. Knows no terminal: it says what to write.
#pragma once

#include <string>
#include <string_view>

namespace prosa::cli {

class WordWrap {
 public:
  /// `columns` of the terminal; below kMinColumns text is left as it is.
  explicit WordWrap(int columns) : limit_(columns < kMinColumns ? 0 : columns - 1) {}

  /// What to write for the next piece: printable UTF-8 (prosa/text.h).
  std::string add(std::string_view text);

 private:
  static constexpr int kMinColumns = 20;

  void put(std::string_view character, int cells, std::string& out);
  void new_line(std::string& out);

  int limit_ = 0;       // the last column stays free: a cursor behind it would be neither on this line nor on the next
  int column_ = 0;      // where the next character goes
  std::string word_;    // since the last space, as far as it is written
  int word_cells_ = 0;  // the columns that it takes
  size_t word_at_ = 0;  // where it begins in what add() returns; npos: it was written by an earlier call
};

/// Columns of the terminal that standard output is; 0 where it is none or does not say.
int output_columns();

/// Characters are read by the locale, but all text here is UTF-8: a plain C locale is replaced by C.UTF-8, which glibc
/// always has. Numbers keep their C form.
void use_utf8_characters();

}  // namespace prosa::cli
