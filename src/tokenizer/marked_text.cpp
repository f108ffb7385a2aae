// Keeping the marks while a text is joined, cut, repaired and normalized (marked_text.h).
#include "tokenizer/marked_text.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/unicode.h"

namespace prosa {
namespace {

/// Each part of `text` through `change`, with its mark.
MarkedText part_by_part(std::string_view text, std::span<const MarkedText::Range> given,
                        const std::function<std::string(std::string_view)>& change) {
  MarkedText out;
  size_t at = 0;
  for (const auto& [begin, end] : given) {
    if (begin > at) out.write(change(text.substr(at, begin - at)));
    out.give(change(text.substr(begin, end - begin)));
    at = end;
  }
  if (at < text.size()) out.write(change(text.substr(at)));
  return out;
}

/// NFC of the two sides of `at` is NFC of the whole.
bool parts_nfc(std::string_view text, size_t at) noexcept {
  if (at == 0 || at == text.size()) return true;
  if ((static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) return false;  // inside a character
  return unicode::CharTable::get().nfc_boundary(utf8::next(text, at));
}

}  // namespace

MarkedText MarkedText::of_given(std::string_view text) {
  MarkedText marked;
  marked.give(text);
  return marked;
}

void MarkedText::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!given_.empty() && given_.back().end == begin) {
    given_.back().end = end;
  } else {
    given_.push_back({begin, end});
  }
}

void MarkedText::give(std::string_view text) {
  text_ += text;
  mark(text_.size() - text.size(), text_.size());
}

void MarkedText::append(const MarkedText& other, std::string_view part) {
  if (part.empty()) return;
  PROSA_CHECK(&other != this && part.data() >= other.text_.data() &&
              part.data() + part.size() <= other.text_.data() + other.text_.size());
  const auto from = static_cast<size_t>(part.data() - other.text_.data());
  const size_t to = from + part.size(), base = text_.size();
  text_ += part;
  auto range = std::ranges::upper_bound(other.given_, from, {}, &Range::end);
  for (; range != other.given_.end() && range->begin < to; ++range) {
    mark(base + std::max(range->begin, from) - from, base + std::min(range->end, to) - from);
  }
}

MarkedText MarkedText::slice(std::string_view part) const {
  MarkedText out;
  out.append(*this, part);
  return out;
}

MarkedText replace_invalid(const MarkedText& text) {
  return part_by_part(text.text(), text.given(), utf8::replace_invalid);
}

MarkedText to_nfc(const MarkedText& text) {
  const std::string& bytes = text.text();
  std::vector<MarkedText::Range> wide;  // what was given, up to where NFC parts the text
  for (auto [begin, end] : text.given()) {
    while (!parts_nfc(bytes, begin)) --begin;
    while (!parts_nfc(bytes, end)) ++end;
    if (!wide.empty() && begin <= wide.back().end) {
      wide.back().end = std::max(wide.back().end, end);
    } else {
      wide.push_back({begin, end});
    }
  }
  return part_by_part(bytes, wide, [](std::string_view part) {
    return unicode::is_surely_nfc(part) ? std::string(part) : unicode::to_nfc(part);
  });
}

}  // namespace prosa
