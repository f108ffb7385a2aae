// Progress of a download: the speed is that of the last five seconds.
#include "hub/reporter.h"

#include <algorithm>
#include <utility>

namespace prosa::hub {

void Reporter::notice(std::string line) {
  const std::scoped_lock lock(mutex_);
  if (notices_.size() < 100) notices_.push_back(std::move(line));
}

double Reporter::speed(Clock::time_point now) {
  using namespace std::chrono_literals;
  samples_.push_back({now, received_});
  while (samples_.size() > 2 && now - samples_.front().time > 5s) samples_.pop_front();
  const double seconds = std::chrono::duration<double>(now - samples_.front().time).count();
  return seconds < 0.2 ? 0 : static_cast<double>(samples_.back().received - samples_.front().received) / seconds;
}

void Reporter::emit(bool force) {
  using namespace std::chrono_literals;
  if (!callback_) return;
  std::deque<std::string> notices;
  {
    const std::scoped_lock lock(mutex_);
    notices.swap(notices_);
  }
  const auto now = Clock::now();
  if (!force && notices.empty() && now - last_ < 100ms) return;
  last_ = now;
  DownloadProgress progress;
  progress.file = file_;
  progress.total_bytes = total_;
  progress.done_bytes = std::min<int64_t>(done_, total_);
  progress.bytes_per_second = speed(now);
  if (progress.bytes_per_second > 0) {
    progress.seconds_left = static_cast<double>(total_ - progress.done_bytes) / progress.bytes_per_second;
  }
  for (const std::string& line : notices) {
    progress.notice = line;
    callback_(progress);
  }
  progress.notice = {};
  callback_(progress);
}

}  // namespace prosa::hub
