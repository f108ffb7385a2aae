// Lines from a terminal, with editing and a history file (libedit). Nothing about chat.
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

  /// `line`: without its newline. `interrupted`: Ctrl-C (while an interrupt::Catch with Waiting::ends lives).
  Result read(std::string& line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace prosa::cli
