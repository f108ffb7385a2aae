// What people see of text from outside (prosa/text.h). One walk over code points decides for all three forms what is
// shown as it is.
//
// Not for what a model reads or a file keeps. Invariant: printable text is printable already: escaping it again changes
// nothing, so that it may be done wherever text is composed and once more where it is printed.
#include <array>
#include <cstdint>
#include <cstdio>
#include <new>

#include "base/boundary.h"
#include "base/utf8.h"
#include "prosa/text.h"

namespace prosa {
namespace {

constexpr std::string_view kEllipsis = "\xe2\x80\xa6";  // U+2026

/// Makes text read in another order than it is written, or marks where such text begins.
bool is_bidi_control(char32_t code) noexcept {
  return code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

bool is_control(char32_t code) noexcept { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

void append_escape(std::string& out, char kind, int digits, unsigned number) {
  std::array<char, 16> text{};
  const int length = std::snprintf(text.data(), text.size(), "\\%c%0*x", kind, digits, number);
  out.append(text.data(), static_cast<size_t>(length));
}

/// Whether nothing in it needs a look: the usual case.
bool is_plain(std::string_view text) noexcept {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) return false;
  }
  return true;
}

std::string escaped(std::string_view text, bool one_line) {
  if (is_plain(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const utf8::Step here = utf8::step(text, at);
    if (here.code == '\n' || here.code == '\t') {
      out += one_line ? ' ' : text[at];
    } else if (!here.valid) {
      for (size_t i = 0; i < here.size; ++i) append_escape(out, 'x', 2, static_cast<unsigned char>(text[at + i]));
    } else if (is_control(here.code)) {
      append_escape(out, 'x', 2, here.code);
    } else if (is_bidi_control(here.code)) {
      append_escape(out, 'u', 4, here.code);
    } else {
      out.append(text, at, here.size);
    }
    at += here.size;
  }
  return out;
}

/// Byte offset of the character number `index` of valid UTF-8, or its size when there are no more.
size_t offset_of(std::string_view text, size_t index) noexcept {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) utf8::next(text, at);
  return at;
}

size_t count_characters(std::string_view text) noexcept {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) utf8::next(text, at);
  return count;
}

std::string cut_line(std::string_view text, size_t most) {
  std::string line = escaped(text, true);
  if (line.size() <= most) return line;
  const size_t count = count_characters(line);
  if (count <= most || most == 0) return line;
  const size_t behind = (most - 1) * 2 / 5;  // the end of a message is its advice
  const size_t front = most - 1 - behind;
  const size_t begin = offset_of(line, front);
  return line.replace(begin, offset_of(line, count - behind) - begin, kEllipsis);
}

std::string escaped_json(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (size_t at = 0; at < json.size();) {
    const utf8::Step here = utf8::step(json, at);
    if (here.valid && here.code >= 0x7f && (is_control(here.code) || is_bidi_control(here.code))) {
      append_escape(out, 'u', 4, here.code);
    } else {
      out.append(json, at, here.size);
    }
    at += here.size;
  }
  return out;
}

/// The part of at_boundary() that an Error being made can use.
template <typename Work>
std::string in_memory(Work work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    throw_out_of_memory();
  }
}

}  // namespace

std::string printable(std::string_view text) {
  return in_memory([&] { return escaped(text, false); });
}

std::string printable_line(std::string_view text, size_t most) {
  return in_memory([&] { return cut_line(text, most); });
}

std::string printable_json(std::string_view json) {
  return in_memory([&] { return escaped_json(json); });
}

}  // namespace prosa
