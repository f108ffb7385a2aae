// What was handed out of a reply's speech. The reply that hands it out and the conversation that remembers the reply
// hold it together: pieces may still be taken after the reply has been computed to its end and the conversation has
// moved on.
//
// Not the text that was computed: pieces that nobody took are not in it. Invariant: once cut() it never grows again, so
// that what a caller was told to keep as the assistant's message stays true. Thread safety: every call from any thread.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

namespace prosa::chat {

class SaidText {
 public:
  /// Whole UTF-8 characters. Without effect after cut().
  void append(std::string_view text);
  [[nodiscard]] std::string text() const;
  /// Keeps the first `characters` (Unicode code points) and returns them. Error(invalid_argument) when there are fewer;
  /// then nothing has changed.
  std::string cut(size_t characters);

 private:
  mutable std::mutex mutex_;
  std::string text_;
  bool is_cut_ = false;
};

}  // namespace prosa::chat
