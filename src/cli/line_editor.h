// Lines from a terminal, with editing and a history file (libedit). Nothing about chat.
//
// Pasted text of several lines is one line of this, with newlines in it. What is typed while no line is read is not
// shown; it waits for the next one. The line is drawn anew when the terminal changes its width, and after Ctrl-Z.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace prosa::cli {

/// $XDG_STATE_HOME/prosa/history, by default below ~/.local/state; empty when there is no home.
std::filesystem::path history_file();

class LineEditor {
 public:
  enum class Result { line, interrupted, end };

  /// `prompt` is plain ASCII. The history is read from `file`, and each line is added to what stands there by then, so
  /// that several conversations share it. Without a file (or when it can't be written, or is none of libedit's
  /// histories and thus left alone) it lives as long as the object.
  LineEditor(std::string prompt, std::filesystem::path file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// `line`: without its newline; pasted text may have some within. `prompt`: another one for this line; null: the one
  /// of all. `interrupted`: Ctrl-C (while an interrupt::Catch lives).
  Result read(std::string& line, const char* prompt = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace prosa::cli
