// The queue between synthesis and loudspeaker.
#include "voice/playback.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace prosa::voice {
namespace {

/// Of speech, where a unit's sound is not complete: what people read aloud in a second.
constexpr double kBytesPerSecond = 15;

}  // namespace

Playback::Playback(int rate, Time most) : rate_(rate), most_(most) { PROSA_CHECK(rate > 0); }

void Playback::begin(int64_t revision) {
  const std::lock_guard lock(mutex_);
  begin_locked(revision);
  finished_ = false;
  told_ = false;
}

void Playback::begin_locked(int64_t revision) {
  revision_ = revision;
  units_.clear();
  heard_ = 0;
  samples_ = 0;
  any_ = false;
  paused_ = false;
  faded_ = false;
  room_.notify_all();
}

bool Playback::add_unit(int64_t revision, SpokenUnit unit) {
  const std::lock_guard lock(mutex_);
  if (revision != revision_ || finished_) return false;
  units_.push_back({std::move(unit)});
  return true;
}

bool Playback::add(int64_t revision, std::span<const int16_t> samples) {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return revision != revision_ || finished_ || queued_locked() < most_; });
  if (revision != revision_ || finished_) return false;
  PROSA_CHECK(!units_.empty() && !units_.back().complete);
  std::vector<int16_t>& sound = units_.back().samples;
  sound.insert(sound.end(), samples.begin(), samples.end());
  samples_ += std::ssize(samples);
  return true;
}

void Playback::end_unit(int64_t revision) {
  const std::lock_guard lock(mutex_);
  if (revision == revision_ && !units_.empty()) units_.back().complete = true;
}

void Playback::finish(int64_t revision) {
  const std::lock_guard lock(mutex_);
  if (revision == revision_) finished_ = true;
}

void Playback::drop() {
  const std::lock_guard lock(mutex_);
  begin_locked(0);
  finished_ = true;
  told_ = true;
}

Playback::Played Playback::pull(std::span<int16_t> out) {
  const std::lock_guard lock(mutex_);
  std::fill(out.begin(), out.end(), int16_t{0});
  Played played{.revision = revision_};
  if (!paused_ || !faded_) {
    const size_t taken = take(out);
    played.first = taken > 0 && !std::exchange(any_, any_ || taken > 0);
    if (paused_) {  // the last sound before a pause: down to silence, without a click
      for (size_t i = 0; i < taken; ++i) {
        out[i] = static_cast<int16_t>(out[i] * static_cast<int64_t>(taken - i) / static_cast<int64_t>(taken + 1));
      }
      faded_ = true;
    }
    room_.notify_all();
  }
  if (finished_ && samples_ == 0 && !told_ && !paused_) {
    while (!units_.empty()) {  // units without sound
      heard_ = std::max(heard_, units_.front().spoken.written_end);
      units_.pop_front();
    }
    told_ = true;
    played.last = true;
  }
  return played;
}

size_t Playback::take(std::span<int16_t> out) {
  size_t taken = 0;
  while (taken < out.size() && !units_.empty()) {
    Unit& unit = units_.front();
    const size_t count = std::min(out.size() - taken, unit.samples.size() - unit.played);
    std::copy_n(unit.samples.begin() + static_cast<std::ptrdiff_t>(unit.played), count,
                out.begin() + static_cast<std::ptrdiff_t>(taken));
    unit.played += count;
    taken += count;
    if (unit.played < unit.samples.size()) break;
    if (!unit.complete) break;  // more of it comes
    heard_ = unit.spoken.written_end;
    units_.pop_front();
  }
  samples_ -= static_cast<int64_t>(taken);
  return taken;
}

void Playback::pause() {
  const std::lock_guard lock(mutex_);
  paused_ = true;
  faded_ = false;
}

void Playback::resume() {
  const std::lock_guard lock(mutex_);
  paused_ = false;
}

size_t Playback::heard() const {
  const std::lock_guard lock(mutex_);
  if (units_.empty() || units_.front().played == 0) return heard_;
  const Unit& unit = units_.front();
  const auto bytes = static_cast<double>(unit.spoken.text.size());
  const auto played = static_cast<double>(unit.played);
  auto whole = static_cast<double>(unit.samples.size());
  if (!unit.complete) whole = std::max(whole, bytes / kBytesPerSecond * rate_);
  const double share = std::min(1.0, played / whole);
  return std::max(heard_, unit.spoken.written_after(static_cast<size_t>(bytes * share)));
}

Playback::Time Playback::queued_locked() const { return Time(samples_ * 1'000'000 / rate_); }

Playback::Time Playback::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_locked();
}

std::optional<Playback::Time> Playback::left() const {
  const std::lock_guard lock(mutex_);
  if (!finished_) return std::nullopt;
  return queued_locked();
}

}  // namespace prosa::voice
