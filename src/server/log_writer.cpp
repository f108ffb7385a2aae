// The thread that hands lines on (log_writer.h).
#include "server/log_writer.h"

#include <utility>

#include <fmt/format.h>

namespace prosa::server {

LogWriter::LogWriter(Sink sink) : sink_(std::move(sink)) {
  if (sink_) thread_ = std::thread([this] { work(); });
}

LogWriter::~LogWriter() {
  if (!sink_) return;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void LogWriter::add(std::string line) {
  if (!sink_) return;
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMaxLines) {
      ++dropped_;
      return;
    }
    if (dropped_ > 0) lines_.push_back(fmt::format(R"({{"event":"lines_dropped","count":{}}})", dropped_));
    dropped_ = 0;
    lines_.push_back(std::move(line));
  }
  changed_.notify_all();
}

void LogWriter::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return lines_.empty() && !writing_; });
}

void LogWriter::write(std::string_view line) noexcept {
  try {
    sink_(line);
  } catch (...) {
    // A log that fails must not end the server; there is nowhere else to say it.
  }
}

void LogWriter::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closed_ || !lines_.empty(); });
    if (lines_.empty()) return;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    writing_ = true;
    lock.unlock();
    write(line);
    lock.lock();
    writing_ = false;
    changed_.notify_all();
  }
}

}  // namespace prosa::server
