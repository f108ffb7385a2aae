// Finding the first sound.
#include "voice/leading_silence.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace prosa::voice {
namespace {

constexpr int kQuiet = 100;  // a sample up to that is silence: -50 dB

}  // namespace

std::vector<int16_t> LeadingSilence::push(std::span<const int16_t> samples) {
  if (sounds_) return {samples.begin(), samples.end()};
  const auto loud = std::ranges::find_if(samples, [](int16_t sample) { return std::abs(int{sample}) > kQuiet; });
  quiet_.insert(quiet_.end(), samples.begin(), loud);
  if (quiet_.size() > kept_) {
    const size_t gone = std::min(quiet_.size() - kept_, most_ - taken_);
    quiet_.erase(quiet_.begin(), quiet_.begin() + static_cast<std::ptrdiff_t>(gone));
    taken_ += gone;
  }
  if (loud == samples.end() && taken_ < most_) return {};
  sounds_ = true;
  quiet_.insert(quiet_.end(), loud, samples.end());
  return std::exchange(quiet_, {});
}

std::vector<int16_t> LeadingSilence::finish() { return std::exchange(quiet_, {}); }

}  // namespace prosa::voice
