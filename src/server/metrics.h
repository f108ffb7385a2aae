// What the server counts, and how Prometheus reads it.
//
// Counters and histograms only: what stands somewhere else (memory, queues) is asked when it is written. No text of any
// message. Thread safety: any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prosa/chat.h"

namespace prosa::server {

/// How many observations lie below each of some bounds, in seconds.
class Histogram {
 public:
  static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                         0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0, 120.0};
  void observe(double seconds) noexcept;
  void write(std::string& out, std::string_view name, std::string_view help) const;

 private:
  std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_{};  // the last: above all bounds
  std::atomic<int64_t> microseconds_ = 0;
};

class Metrics {
 public:
  Histogram waited;          // for a worker
  Histogram first_token;     // since the request came
  Histogram between_pieces;  // of a reply
  Histogram request_time;

  void count_request(std::string_view path, int status);
  void count_reply(const ReplyStats& stats, double waited_seconds);
  /// A value of the moment: a line with its name, for write().
  struct Gauge {
    std::string name;
    std::string help;
    double value = 0;
    std::string labels = {};  // {kind="kv"}
  };
  /// The text format 0.0.4.
  [[nodiscard]] std::string write(const std::vector<Gauge>& gauges) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;  // by path and status
  std::map<std::string, uint64_t, std::less<>> replies_;      // by how they ended
  std::atomic<int64_t> prompt_tokens_ = 0;
  std::atomic<int64_t> cached_tokens_ = 0;
  std::atomic<int64_t> generated_tokens_ = 0;
};

}  // namespace prosa::server
