// A download on standard error: a bar that moves on a terminal, a line now and then elsewhere.
//
// Silent until something is really fetched. Invariant: standard output stays untouched, and the bar is gone when the
// object is.
#pragma once

#include <chrono>
#include <string>

#include "prosa/hub.h"

namespace prosa::cli {

class DownloadLine {
 public:
  /// `name`: the model, for the first line.
  explicit DownloadLine(std::string name);
  ~DownloadLine();
  DownloadLine(const DownloadLine&) = delete;
  DownloadLine& operator=(const DownloadLine&) = delete;

  void show(const DownloadProgress& progress);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void show_plain(const DownloadProgress& progress);
  void show_bar(const DownloadProgress& progress);

  std::string name_;
  bool terminal_;
  bool announced_ = false;
  bool shown_ = false;
  std::string file_;
  Clock::time_point last_{};
};

}  // namespace prosa::cli
