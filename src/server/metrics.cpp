// Counting, and Prometheus's text format (metrics.h).
#include "server/metrics.h"

#include <fmt/format.h>

namespace prosa::server {
namespace {

void head(std::string& out, std::string_view name, std::string_view help, std::string_view type) {
  out += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

void counter(std::string& out, std::string_view name, std::string_view help, int64_t value) {
  head(out, name, help, "counter");
  out += fmt::format("{} {}\n", name, value);
}

}  // namespace

void Histogram::observe(double seconds) noexcept {
  size_t at = 0;
  while (at < kBounds.size() && seconds > kBounds[at]) ++at;
  counts_[at].fetch_add(1, std::memory_order_relaxed);
  microseconds_.fetch_add(static_cast<int64_t>(seconds * 1e6), std::memory_order_relaxed);
}

void Histogram::write(std::string& out, std::string_view name, std::string_view help) const {
  head(out, name, help, "histogram");
  uint64_t below = 0;
  for (size_t i = 0; i < kBounds.size(); ++i) {
    below += counts_[i].load(std::memory_order_relaxed);
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, kBounds[i], below);
  }
  below += counts_.back().load(std::memory_order_relaxed);
  out += fmt::format("{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, below,
                     static_cast<double>(microseconds_.load(std::memory_order_relaxed)) / 1e6);
}

void Metrics::count_request(std::string_view path, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(path), status}];
}

void Metrics::count_reply(const ReplyStats& stats, double waited_seconds) {
  waited.observe(waited_seconds);
  prompt_tokens_ += stats.prompt_tokens;
  cached_tokens_ += stats.cached_tokens;
  generated_tokens_ += stats.generated_tokens;
  const std::lock_guard lock(mutex_);
  ++replies_[std::string(to_string(stats.finish))];
}

std::string Metrics::write(const std::vector<Gauge>& gauges) const {
  std::string out;
  {
    const std::lock_guard lock(mutex_);
    head(out, "prosa_requests_total", "Requests that were answered, by path and status.", "counter");
    for (const auto& [key, count] : requests_) {
      out += fmt::format("prosa_requests_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first, key.second, count);
    }
    head(out, "prosa_replies_total", "Replies, by how they ended.", "counter");
    for (const auto& [finish, count] : replies_) {
      out += fmt::format("prosa_replies_total{{finish=\"{}\"}} {}\n", finish, count);
    }
  }
  counter(out, "prosa_prompt_tokens_total", "Tokens of all prompts.", prompt_tokens_);
  counter(out, "prosa_cached_tokens_total", "Of these, found in a state and not computed.", cached_tokens_);
  counter(out, "prosa_generated_tokens_total", "Tokens of all replies, thoughts included.", generated_tokens_);
  waited.write(out, "prosa_queue_seconds", "From a request to the moment that a worker takes it.");
  first_token.write(out, "prosa_first_token_seconds", "From a request to the first piece of its reply.");
  between_pieces.write(out, "prosa_between_pieces_seconds", "From one piece of a reply to the next.");
  request_time.write(out, "prosa_request_seconds", "From a request's head to the end of its answer.");
  std::string_view last;
  for (const Gauge& gauge : gauges) {
    if (gauge.name != last) head(out, gauge.name, gauge.help, "gauge");
    last = gauge.name;
    out += fmt::format("{}{} {}\n", gauge.name, gauge.labels, gauge.value);
  }
  return out;
}

}  // namespace prosa::server
