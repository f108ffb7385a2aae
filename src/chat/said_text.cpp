// Counting and cutting of what was said (said_text.h).
#include "chat/said_text.h"

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::chat {

void SaidText::append(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (!is_cut_) text_ += text;
}

std::string SaidText::text() const {
  const std::lock_guard lock(mutex_);
  return text_;
}

std::string SaidText::cut(size_t characters) {
  const std::lock_guard lock(mutex_);
  const auto continues = [&](size_t at) { return (static_cast<unsigned char>(text_[at]) & 0xC0U) == 0x80U; };
  size_t count = 0;
  size_t end = 0;
  while (end < text_.size() && count < characters) {
    ++count;
    do ++end;
    while (end < text_.size() && continues(end));
  }
  if (count < characters) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} characters were heard of a reply of {}", characters, count), "heard");
  }
  text_.resize(end);
  is_cut_ = true;
  return text_;
}

}  // namespace prosa::chat
