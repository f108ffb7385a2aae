// Markdown and HTML out of a stream of characters: what is left is text, with marks where blocks and cells end.
//
// Not a Markdown parser: it builds no tree, and where Markdown asks for more text than kMaxLookAhead to decide, it
// decides that a sign is only a sign. Signs are never text. It does not know languages, sentences or numbers.
//
// Invariant: what comes out depends on the characters alone, not on when they came: a decision that needs a character
// which is not there yet waits for it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "voice/glyph.h"

namespace prosa::voice {

class Markup {
 public:
  static constexpr size_t kMaxLookAhead = 300;

  /// With `announce_code`, code leaves a mark.
  explicit Markup(bool announce_code) : announce_code_(announce_code) {}

  /// Appends to `out` what is decided.
  void write(const Glyph& glyph, Glyphs& out);
  void finish(Glyphs& out);

 private:
  // Of a place in the text that is not there: it may come, or never will.
  static constexpr char32_t kNotYet = 0x110010;
  static constexpr char32_t kNever = 0x110011;

  struct Fence {
    char32_t sign = 0;  // 0: not in a block of code
    size_t length = 0;
    size_t run = 0;        // signs seen on this line
    bool closing = false;  // this line may close the block
  };
  struct Jump {  // the target of a link: left out once its text has been read
    size_t from = 0;
    size_t to = 0;
  };
  enum class Found { yes, no, wait };

  [[nodiscard]] char32_t at(size_t ahead) const;
  [[nodiscard]] size_t run_length(char32_t sign, size_t ahead, size_t limit) const;
  void emit(char32_t code, size_t ahead);           // with the place of at(ahead)
  void emit_mark(char32_t mark, size_t count = 0);  // with the place of the next `count`
  void take(size_t count) { head_ += count; }
  void read(Glyphs& out);
  // Each handles the next characters and returns true, or waits and returns false.
  bool step();
  bool step_fence();
  bool step_line_start();
  bool step_inline();
  bool line_start_dash();
  bool line_start_number();
  bool fence_start(char32_t sign);
  bool newline();
  bool code_span();
  bool bracket(size_t ahead);
  bool angle();
  bool entity();
  bool backslash();
  bool star();
  bool underscore();
  bool tilde();
  bool digit();
  void finish_line();
  Found find_closing_bracket(size_t open, size_t& close) const;
  Found find_closing_parenthesis(size_t open, size_t& close) const;
  [[nodiscard]] std::u32string slice(size_t from, size_t to) const;

  bool announce_code_;
  Glyphs text_;         // read, but for what stands before head_ not yet decided
  size_t head_ = 0;     // of text_
  size_t dropped_ = 0;  // glyphs that were removed from the front of text_: jumps count all
  bool finished_ = false;
  Glyphs* out_ = nullptr;
  bool line_start_ = true;
  bool after_item_ = false;  // the line began with the sign of a list item
  bool in_item_ = false;     // so did this line or one that it goes on
  bool item_ends_ = false;   // before the next text, if the line is not indented: models leave out the empty line
  bool heading_ = false;
  bool table_row_ = false;
  size_t spaces_ = 0;  // at the end of what was emitted
  char32_t last_ = 0;  // the last two that were emitted
  char32_t before_last_ = 0;
  Fence fence_;
  std::vector<Jump> jumps_;
};

}  // namespace prosa::voice
