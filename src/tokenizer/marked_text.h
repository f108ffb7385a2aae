// A text that remembers which of its parts were given from outside (what users, tools and data files write) and which
// were written here (by a chat template). Control tokens are only read in what was written here; given text stays
// characters, whatever it spells (Tokenizer::encode).
//
// Knows bytes, no tokens. Invariant: the given ranges rise, are not empty and do not touch each other; a text without
// marks is one that was written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prosa {

class MarkedText {
 public:
  struct Range {
    size_t begin = 0, end = 0;  // bytes of the text
    friend bool operator==(const Range&, const Range&) = default;
  };

  /// All of it given.
  static MarkedText of_given(std::string_view text);

  void write(std::string_view text) { text_ += text; }
  void give(std::string_view text);
  /// `part`: a stretch of other.text(), which is not this text. It keeps its marks.
  void append(const MarkedText& other, std::string_view part);
  void append(const MarkedText& other) { append(other, other.text_); }

  [[nodiscard]] const std::string& text() const& noexcept { return text_; }
  [[nodiscard]] std::string text() && noexcept { return std::move(text_); }
  [[nodiscard]] std::span<const Range> given() const noexcept { return given_; }
  /// `part` as in append(), as a text of its own.
  [[nodiscard]] MarkedText slice(std::string_view part) const;

 private:
  void mark(size_t begin, size_t end);
  std::string text_;
  std::vector<Range> given_;
};

/// How far a control token may reach that begins at a place of the text: to the next given byte. Asked for places that
/// rise, so that all answers together cost one walk through the ranges.
class WrittenReach {
 public:
  explicit WrittenReach(std::span<const MarkedText::Range> given) : given_(given) {}
  /// `at` itself where that byte is given.
  [[nodiscard]] size_t from(size_t at) noexcept {
    while (next_ < given_.size() && given_[next_].end <= at) ++next_;
    if (next_ == given_.size()) return std::string_view::npos;
    return given_[next_].begin <= at ? at : given_[next_].begin;
  }

 private:
  std::span<const MarkedText::Range> given_;
  size_t next_ = 0;
};

/// Invalid UTF-8 becomes U+FFFD, in each part by itself.
MarkedText replace_invalid(const MarkedText& text);
/// The NFC form. Text that NFC may join with given text across its border counts as given too. `text`: valid UTF-8.
MarkedText to_nfc(const MarkedText& text);

}  // namespace prosa
