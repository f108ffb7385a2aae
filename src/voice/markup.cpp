// Blocks: what the beginning of a line says about the line. What stands within a line: markup_inline.cpp.
#include "voice/markup.h"

#include <algorithm>

#include "base/check.h"

namespace prosa::voice {
namespace {

bool is_bullet(char32_t c) {
  return c == U'•' || c == U'‣' || c == U'◦' || c == U'▪' || c == U'●' || c == U'–' || c == U'·';
}

}  // namespace

void Markup::write(const Glyph& glyph, Glyphs& out) {
  PROSA_CHECK(!finished_);
  text_.push_back(glyph);
  read(out);
}

void Markup::finish(Glyphs& out) {
  finished_ = true;
  read(out);
  out_ = &out;
  emit_mark(kBlockEnd);
}

void Markup::read(Glyphs& out) {
  out_ = &out;
  while (head_ < text_.size()) {
    while (!jumps_.empty() && jumps_.back().from < dropped_ + head_) jumps_.pop_back();
    if (!jumps_.empty() && jumps_.back().from == dropped_ + head_) {
      take(jumps_.back().to - jumps_.back().from);
      jumps_.pop_back();
      continue;
    }
    if (!step()) break;
  }
  // Rarely, so that each character is moved at most a few times.
  if (head_ > 2 * kMaxLookAhead) {
    text_.erase(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(head_));
    dropped_ += head_;
    head_ = 0;
  }
}

char32_t Markup::at(size_t ahead) const {
  if (head_ + ahead < text_.size()) return text_[head_ + ahead].code;
  return finished_ ? kNever : kNotYet;
}

size_t Markup::run_length(char32_t sign, size_t ahead, size_t limit) const {
  size_t length = 0;
  while (length < limit && at(ahead + length) == sign) ++length;
  return length;
}

void Markup::emit(char32_t code, size_t ahead) {
  if (item_ends_) emit_mark(kBlockEnd);
  const Glyph& here = text_[head_ + ahead];
  if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) code = ' ';
  spaces_ = code == ' ' ? spaces_ + 1 : 0;
  before_last_ = last_;
  last_ = code;
  out_->push_back({code, here.begin, here.end});
}

void Markup::emit_mark(char32_t mark, size_t count) {
  if (item_ends_ && mark != kBlockEnd) emit_mark(kBlockEnd);
  if (mark == kBlockEnd) {
    item_ends_ = false;
    in_item_ = false;
  }
  spaces_ = 0;
  before_last_ = 0;
  last_ = 0;
  Glyph glyph{mark, 0, 0};
  if (!text_.empty()) {
    glyph.begin = head_ < text_.size() ? text_[head_].begin : text_.back().end;
    glyph.end = count > 0 ? text_[head_ + count - 1].end : glyph.begin;
  }
  out_->push_back(glyph);
}

std::u32string Markup::slice(size_t from, size_t to) const {
  std::u32string text;
  for (size_t i = from; i < to; ++i) text.push_back(at(i));
  return text;
}

bool Markup::step() {
  if (at(0) == '\r') return take(1), true;
  if (fence_.sign != 0) return step_fence();
  return line_start_ ? step_line_start() : step_inline();
}

// Within a block of code: only a line of the block's own signs is of interest.
bool Markup::step_fence() {
  const char32_t c = at(0);
  if (c == '\n') {
    if (fence_.closing && fence_.run >= fence_.length) {
      fence_.sign = 0;
      line_start_ = true;
    }
    fence_.run = 0;
    fence_.closing = true;
  } else if (c == fence_.sign) {
    ++fence_.run;
  } else if (c != ' ' && c != '\t' && !(c == '>' && fence_.run == 0)) {
    fence_.closing = false;
  } else if (fence_.run > 0 && fence_.run < fence_.length) {
    fence_.closing = false;
  }
  return take(1), true;
}

bool Markup::step_line_start() {
  const char32_t c = at(0);
  switch (c) {
    case '\n': emit_mark(kBlockEnd); return take(1), true;
    case ' ':
    case '\t': item_ends_ = false; return take(1), true;
    case '>':  // a quotation is text like any other
      return take(1), true;
    case '#': {
      const size_t run = run_length('#', 0, 7);
      const char32_t next = at(run);
      if (next == kNotYet) return false;
      heading_ = run <= 6 && (next == ' ' || next == '\t' || next == '\n');
      if (heading_) {
        emit_mark(kBlockEnd);
        take(run);
      }
      line_start_ = false;
      return true;
    }
    case '-': return line_start_dash();
    case '+':
    case '*': {
      const char32_t next = at(1);
      if (next == kNotYet) return false;
      if (next == ' ' || next == '\t') {
        emit_mark(kBlockEnd);
        after_item_ = true;
        take(2);
      } else if (c == '*') {  // bold, or a line of stars: both say nothing
        take(1);
      } else {
        line_start_ = false;
      }
      return true;
    }
    case '_':
    case '=': return take(1), true;
    case '`':
    case '~': {
      const size_t run = run_length(c, 0, 3);
      if (run < 3 && at(run) == kNotYet) return false;
      if (run == 3) return fence_start(c);
      line_start_ = false;
      return true;
    }
    case '|':
      if (!table_row_) emit_mark(kBlockEnd);
      table_row_ = true;
      line_start_ = false;
      return take(1), true;
    case '[':  // a box to tick
      if (after_item_) {
        if (at(1) == kNotYet || at(2) == kNotYet) return false;
        if ((at(1) == ' ' || at(1) == 'x' || at(1) == 'X') && at(2) == ']') return take(3), true;
      }
      line_start_ = false;
      return true;
    default: break;
  }
  if (is_ascii_digit(c)) return line_start_number();
  if (is_bullet(c)) {
    if (at(1) == kNotYet) return false;
    if (at(1) == ' ') {
      emit_mark(kBlockEnd);
      after_item_ = true;
      return take(2), true;
    }
  }
  line_start_ = false;
  return true;
}

// "- item", "---" or "-5 degrees".
bool Markup::line_start_dash() {
  const char32_t next = at(1);
  if (next == kNotYet) return false;
  if (next == ' ' || next == '\t') {
    emit_mark(kBlockEnd);
    after_item_ = true;
    return take(2), true;
  }
  if (is_ascii_digit(next)) {
    line_start_ = false;
    emit('-', 0);
  }
  return take(1), true;
}

// "1. " and "1) " begin an item; its number is said, and a pause after it.
bool Markup::line_start_number() {
  size_t digits = 0;
  while (digits < 4 && is_ascii_digit(at(digits))) ++digits;
  if (digits < 4) {
    const char32_t dot = at(digits);
    const char32_t space = dot == '.' || dot == ')' ? at(digits + 1) : ' ';
    if (dot == kNotYet || space == kNotYet) return false;
    if ((dot == '.' || dot == ')') && space == ' ') {
      emit_mark(kBlockEnd);
      for (size_t i = 0; i < digits; ++i) emit(at(i), i);
      emit_mark(kCellEnd);
      take(digits + 1);
      after_item_ = true;
      line_start_ = false;
      return true;
    }
  }
  line_start_ = false;
  return true;
}

// Three signs at least and perhaps a language. With further backticks in its line it is a span of code instead.
bool Markup::fence_start(char32_t sign) {
  size_t length = run_length(sign, 0, kMaxLookAhead);
  size_t end = length;
  for (; end < kMaxLookAhead; ++end) {
    const char32_t c = at(end);
    if (c == kNotYet) return false;
    if (c == '\n' || c == kNever) break;
    if (c == '`' && sign == '`') {
      line_start_ = false;
      return true;
    }
  }
  emit_mark(kBlockEnd);
  if (announce_code_) emit_mark(kCodeBlock, end);
  fence_ = {.sign = sign, .length = std::min(length, kMaxLookAhead)};
  take(end);
  return true;
}

void Markup::finish_line() {
  in_item_ = in_item_ || after_item_;
  item_ends_ = in_item_;
  line_start_ = true;
  after_item_ = false;
  heading_ = false;
}

bool Markup::newline() {
  const bool hard = spaces_ >= 2;  // two spaces before it: a line on purpose
  if (heading_ || table_row_ || hard) {
    emit_mark(kBlockEnd);
  } else {
    emit(' ', 0);
  }
  table_row_ = false;
  finish_line();
  return take(1), true;
}

}  // namespace prosa::voice
