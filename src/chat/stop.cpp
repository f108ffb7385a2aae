// Stop strings (stop.h): one Knuth-Morris-Pratt automaton a string, all fed the same bytes.
#include "chat/stop.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "chat/check_text.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

constexpr size_t kMaxStrings = 64;
constexpr size_t kMaxBytes = 4096;

}  // namespace

void validate_stop_strings(std::span<const std::string> stop) {
  if (stop.size() > kMaxStrings) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} stop strings given, at most {} allowed", stop.size(), kMaxStrings), "stop");
  }
  for (size_t i = 0; i < stop.size(); ++i) {
    const std::string where = fmt::format("stop[{}]", i);
    if (stop[i].empty()) {
      throw Error(ErrorCode::invalid_argument, "an empty stop string would end every reply at once", where,
                  "Leave it out.");
    }
    if (stop[i].size() > kMaxBytes) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a stop string of {} bytes, at most {} allowed", stop[i].size(), kMaxBytes), where);
    }
    check_text(stop[i], where);
  }
}

StopMatcher::StopMatcher(std::span<const std::string> stop) {
  validate_stop_strings(stop);
  std::vector<Pattern> patterns;
  for (const std::string& text : stop) {
    Pattern pattern{text, std::vector<size_t>(text.size(), 0)};
    for (size_t i = 1, length = 0; i < text.size(); ++i) {
      while (length > 0 && text[i] != text[length]) length = pattern.border[length - 1];
      if (text[i] == text[length]) ++length;
      pattern.border[i] = length;
    }
    patterns.push_back(std::move(pattern));
  }
  lengths_.resize(patterns.size(), 0);
  patterns_ = std::make_shared<const std::vector<Pattern>>(std::move(patterns));
}

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return {};
  const std::vector<Pattern>& patterns = *patterns_;
  if (patterns.empty()) return std::string(text);
  for (const char c : text) {
    pending_ += c;
    for (size_t i = 0; i < patterns.size(); ++i) {
      const Pattern& pattern = patterns[i];
      size_t& length = lengths_[i];
      while (length > 0 && c != pattern.text[length]) length = pattern.border[length - 1];
      if (c == pattern.text[length]) ++length;
      if (length < pattern.text.size()) continue;
      if (!matched() || length > patterns[static_cast<size_t>(match_)].text.size()) match_ = static_cast<int>(i);
      length = pattern.border[length - 1];
    }
    if (matched()) {
      pending_.resize(pending_.size() - patterns[static_cast<size_t>(match_)].text.size());
      return std::exchange(pending_, {});
    }
  }
  // A prefix of a stop string begins with a whole character, so the cut before it lies between characters.
  size_t held = 0;
  for (const size_t length : lengths_) held = std::max(held, length);
  std::string safe = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, safe.size());
  return safe;
}

std::string StopMatcher::flush() {
  std::fill(lengths_.begin(), lengths_.end(), 0);
  return std::exchange(pending_, {});
}

}  // namespace prosa::chat
