// Lines of the log on their way to whoever takes them, who may be slow: a thread of its own waits for that.
//
// Knows nothing of what is in a line. Invariants: add() never waits; lines come in the order of add(), one call at a
// time; at most kMaxLines wait, and the next line that finds room is preceded by one that says how many did not.
// Thread safety: any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace prosa::server {

class LogWriter {
 public:
  static constexpr size_t kMaxLines = 4096;
  using Sink = std::function<void(std::string_view)>;

  /// Without a sink nothing is written. What a sink throws is dropped with its line.
  explicit LogWriter(Sink sink);
  /// Writes what waits.
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  [[nodiscard]] bool enabled() const noexcept { return static_cast<bool>(sink_); }
  void add(std::string line);
  /// Returns when all that was added before has been written.
  void flush();

 private:
  void work();
  void write(std::string_view line) noexcept;

  const Sink sink_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  size_t dropped_ = 0;  // since the last line that was added
  bool writing_ = false;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace prosa::server
