// The speaker's thread: written pieces as they come, and the clock where a reply is slow.
#include "voice/speaker.h"

#include <optional>
#include <utility>

#include "voice/leading_silence.h"
#include "voice/resample.h"

namespace prosa::voice {
namespace {

/// How often a reply that has not said enough for a unit is looked at again.
constexpr std::chrono::milliseconds kPoll{10};
constexpr std::chrono::milliseconds kCancelAgain{5};

double seconds(std::chrono::steady_clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Speaker::Speaker(std::unique_ptr<TextToSpeech> engine, const SpeakableOptions& speakable, int rate, Playback& playback,
                 SpeakerEvents& events)
    : engine_(std::move(engine)),
      rate_(rate),
      playback_(playback),
      events_(events),
      speakable_(speakable),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

/// A call that was about to begin does not see a cancel() that came just before it: the next one reaches it.
Speaker::~Speaker() {
  thread_.request_stop();
  drop();
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (busy_) engine_->cancel();
    wake_.wait_for(lock, kCancelAgain);
  }
}

void Speaker::begin(int64_t revision, std::chrono::microseconds waited) {
  const std::lock_guard lock(mutex_);
  items_.clear();
  newest_ = revision;
  playback_.begin(revision);
  if (busy_) engine_->cancel();
  items_.push_back({Item::Kind::begin, revision});
  if (waited.count() > 0)
    items_.back().waiting_since = seconds(std::chrono::steady_clock::now().time_since_epoch() - waited);
  wake_.notify_all();
}

void Speaker::write(int64_t revision, const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (revision != newest_) return;
  // One item, however many pieces: as bounded as the reply.
  if (!items_.empty() && items_.back().kind == Item::Kind::write) {
    items_.back().text += text;
  } else {
    items_.push_back({Item::Kind::write, revision, text});
  }
  wake_.notify_all();
}

void Speaker::complete(int64_t revision) { end(Item::Kind::complete, revision); }
void Speaker::finish(int64_t revision) { end(Item::Kind::finish, revision); }

void Speaker::end(Item::Kind kind, int64_t revision) {
  const std::lock_guard lock(mutex_);
  if (revision != newest_) return;
  items_.push_back({kind, revision});
  wake_.notify_all();
}

void Speaker::drop() {
  const std::lock_guard lock(mutex_);
  items_.clear();
  newest_ = 0;
  playback_.drop();
  if (busy_) engine_->cancel();
}

void Speaker::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      const auto ready = [&] { return !items_.empty(); };
      if (open_) {
        wake_.wait_for(lock, stop, kPoll, ready);
      } else {
        wake_.wait(lock, stop, ready);
      }
      if (!items_.empty()) {
        item = std::move(items_.front());
        items_.pop_front();
      }
      busy_ = true;
    }
    if (item) {
      obey(*item);
    } else if (open_) {
      if (current()) say_all(speakable_.poll(state()));
      if (!current()) open_ = false;
    }
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  wake_.notify_all();
}

void Speaker::obey(Item& item) {
  switch (item.kind) {
    case Item::Kind::begin:
      speakable_.reset();
      speaking_ = item.revision;
      first_ = open_ = true;
      failed_ = false;
      waiting_since_ = item.waiting_since;
      break;
    case Item::Kind::write: {
      SpeechState now = state();
      if (const auto since = std::exchange(waiting_since_, std::nullopt)) now.now_seconds = *since;
      say_all(speakable_.write(item.text, now));
      break;
    }
    case Item::Kind::complete:
      open_ = false;
      say_all(speakable_.finish());
      break;
    case Item::Kind::finish:
      open_ = false;
      say_all(speakable_.finish());
      playback_.finish(item.revision);
      break;
  }
  if (!current()) open_ = false;
}

void Speaker::say_all(std::vector<SpokenUnit> units) {
  for (SpokenUnit& unit : units) {
    if (failed_ || !current()) return;
    say(std::move(unit));
  }
}

void Speaker::say(SpokenUnit unit) {
  const int64_t revision = speaking_;
  std::optional<LeadingSilence> silence;  // of the reply's first unit: the user waits for no pause
  if (first_) silence.emplace(rate_);
  events_.sentence(revision, unit, std::exchange(first_, false));
  const std::string text = unit.text;
  if (!playback_.add_unit(revision, std::move(unit))) return;
  std::optional<Resampler> resampler;
  bool wanted = true;
  const auto add = [&](std::span<const int16_t> samples) {
    return wanted = silence ? playback_.add(revision, silence->push(samples)) : playback_.add(revision, samples);
  };
  try {
    engine_->speak(text, [&](std::span<const int16_t> samples) {
      const int made = engine_->rate();
      if (made == rate_ || made <= 0) return add(samples);
      if (!resampler) resampler.emplace(made, rate_);
      return add(resampler->push(samples));
    });
    if (resampler && wanted) add(resampler->push({}, true));
    if (silence && wanted) playback_.add(revision, silence->finish());
  } catch (const std::exception& error) {
    failed_ = true;
    if (current()) events_.speaking_failed(revision, error.what());
  }
  playback_.end_unit(revision);
}

bool Speaker::current() const {
  const std::lock_guard lock(mutex_);
  return newest_ == speaking_ && speaking_ != 0;
}

SpeechState Speaker::state() const {
  return {seconds(std::chrono::steady_clock::now().time_since_epoch()), seconds(playback_.queued())};
}

bool Speaker::idle() const {
  const std::lock_guard lock(mutex_);
  return items_.empty() && !busy_ && !open_;
}

}  // namespace prosa::voice
