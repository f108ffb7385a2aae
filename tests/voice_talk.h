// A voice pipeline between ears and a mouth made for tests: sound stands for words.
//
// Ten milliseconds of sound pass in about one, so that a conversation of a minute is a test. What the microphone hears
// and what was played is kept.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "prosa/voice.h"

namespace prosa::test {

/// Any sound is speech.
class Loudness final : public VoiceActivity {
 public:
  float process(std::span<int16_t> heard, std::span<const int16_t>) override {
    return std::any_of(heard.begin(), heard.end(), [](int16_t sample) { return sample != 0; }) ? 1.0F : 0.0F;
  }
  void reset() override {}
};

/// What a part does wrong.
enum class Mood { well, dies, hangs, endless };

/// What the ears hear: `words`, a word every 100 ms of sound.
struct Script {
  std::mutex mutex;
  std::string words;
  std::atomic<Mood> ears = Mood::well;   // hangs: at the end of an utterance; endless: a word more at every call
  std::atomic<Mood> mouth = Mood::well;  // dies: after mouth_left characters; endless: for ever at the same text
  std::atomic<int> mouth_left = 0;
};

class ScriptedEars final : public SpeechToText {
 public:
  explicit ScriptedEars(Script& script) : script_(script) {}
  void begin() override {
    loud_ = 0;
    calls_ = 0;
    const std::lock_guard lock(mutex_);
    cancelled_ = false;
  }
  std::string push(std::span<const int16_t> samples) override {
    if (script_.ears == Mood::dies) throw Error(ErrorCode::io, "the recogniser died", "ears");
    loud_ += std::count_if(samples.begin(), samples.end(), [](int16_t sample) { return sample != 0; });
    if (script_.ears != Mood::endless) return words(static_cast<size_t>(loud_ / (kHeardRate / 10)));
    std::string text;
    const int count = 100 * ++calls_;
    for (int i = 0; i < count; ++i) text += "and on ";
    return text;
  }
  std::string end() override {
    if (script_.ears == Mood::hangs) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return cancelled_; });
      throw Error(ErrorCode::cancelled, "was cancelled", "ears");
    }
    return loud_ < kHeardRate / 20 ? "" : words(1000);
  }
  void cancel() noexcept override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    wake_.notify_all();
  }

 private:
  std::string words(size_t count) {
    const std::lock_guard lock(script_.mutex);
    size_t at = 0;
    while (count-- > 0 && at < script_.words.size())
      at = std::min(script_.words.find(' ', at + 1), script_.words.size());
    return script_.words.substr(0, at);
  }
  Script& script_;
  int64_t loud_ = 0;
  int calls_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool cancelled_ = false;
};

/// Twenty milliseconds of sound a character; the sound says which: a letter or a space.
class ToneMouth final : public TextToSpeech {
 public:
  explicit ToneMouth(Script& script) : script_(script) {}
  static constexpr size_t kFrames = 2;  // a character
  static int16_t tone(char c) {
    const int letter = c >= 'a' && c <= 'z' ? c - 'a' + 1 : c >= 'A' && c <= 'Z' ? c - 'A' + 1 : 0;
    return static_cast<int16_t>(1000 + 1000 * letter);
  }
  static char character(int16_t tone) {
    const int letter = (tone + 500) / 1000 - 1;
    return letter <= 0 ? ' ' : static_cast<char>('a' + letter - 1);
  }
  [[nodiscard]] int rate() const override { return kHeardRate; }
  void speak(std::string_view text, const Sink& sink) override {
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = false;
    }
    if (script_.mouth == Mood::hangs) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return cancelled_; });
      return;
    }
    for (size_t i = 0; !is_cancelled(); ++i) {
      if (i >= text.size() && script_.mouth != Mood::endless) return;
      if (script_.mouth == Mood::dies && script_.mouth_left-- <= 0) {
        script_.mouth = Mood::well;
        throw Error(ErrorCode::io, "the synthesizer died", "mouth");
      }
      if (!sink(std::vector<int16_t>(kFrameSamples * kFrames, tone(text[i % text.size()])))) return;
    }
  }
  void cancel() noexcept override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    wake_.notify_all();
  }

 private:
  bool is_cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }
  Script& script_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool cancelled_ = false;
};

#ifdef PROSA_THREAD_SANITIZER
inline constexpr std::chrono::microseconds kPace{3000};  // for 10 ms of sound
#else
inline constexpr std::chrono::microseconds kPace{1000};
#endif

class Talk {
 public:
  using MakeParts = std::function<VoiceParts(Script&)>;

  /// What `make` leaves out is scripted.
  explicit Talk(const Model& model, VoiceOptions options = {}, const MakeParts& make = {}) {
    VoiceParts parts = make ? make(script) : VoiceParts{};
    options.sampling.temperature = 0;
    if (options.sampling.max_tokens == SamplingConfig{}.max_tokens) options.sampling.max_tokens = 40;
    options.on_event = [this](const VoiceEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    };
    if (!parts.activity) parts.activity = std::make_unique<Loudness>();
    if (!parts.hears) parts.hears = std::make_unique<ScriptedEars>(script);
    if (!parts.speaks) parts.speaks = std::make_unique<ToneMouth>(script);
    ChatOptions chat;
    chat.context_policy = ContextPolicy::drop_oldest;
    pipeline = std::make_unique<VoicePipeline>(Chat(model, chat), std::move(parts), options);
  }
  explicit Talk(VoiceOptions options = {}) : Talk(mini(), std::move(options)) {}
  static const Model& mini() {
    static const Model model = Model::from_pretrained("", LoadOptions{.threads = 1, .context = 2048});
    return model;
  }

  void sound(int milliseconds, int16_t loudness) {
    std::vector<int16_t> out(kFrameSamples);
    for (int i = 0; i < milliseconds / 10; ++i) {
      pipeline->pull(out);
      if (out[0] != 0) {
        ++played;
        played_text.push_back(ToneMouth::character(out[0]));
      }
      last_played = out;
      pipeline->push(std::vector<int16_t>(kFrameSamples, loudness));
      std::this_thread::sleep_for(kPace);
    }
  }
  void silence(int milliseconds) { sound(milliseconds, 0); }
  void hears(const std::string& words) {
    const std::lock_guard lock(script.mutex);
    script.words = words;
  }
  /// Without the silence that ends the turn.
  void speak(const std::string& words) {
    hears(words);
    sound(100 * static_cast<int>(1 + std::count(words.begin(), words.end(), ' ')), 1);
  }
  void say(const std::string& words) {
    speak(words);
    silence(250);
  }
  /// Until the reply is over.
  void listen(int most_ms = 60'000) {
    for (int waited = 0; waited < most_ms && !pipeline->idle(); waited += 50) silence(50);
    ASSERT_TRUE(pipeline->idle());
  }
  /// Until some of the reply was played.
  void listen_a_little(int frames = 20) {
    const int before = played;
    for (int i = 0; i < 20'000 && played < before + frames; ++i) silence(10);
    ASSERT_GE(played, before + frames);
  }
  /// What the loudspeaker said since last asked, a letter a character.
  std::string said() {
    std::string text;
    for (size_t at = 0; at < played_text.size(); at += ToneMouth::kFrames) text.push_back(played_text[at]);
    played_text.clear();
    return text;
  }
  std::vector<VoiceEvent> events() {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // they are told by a thread of their own
    const std::lock_guard lock(mutex_);
    return events_;
  }
  int count(VoiceEvent::Kind kind) {
    const auto all = events();
    return static_cast<int>(
        std::count_if(all.begin(), all.end(), [&](const VoiceEvent& event) { return event.kind == kind; }));
  }

  Script script;
  int played = 0;           // frames that were not silent
  std::string played_text;  // of each of them
  std::vector<int16_t> last_played;

 private:
  std::mutex mutex_;
  std::vector<VoiceEvent> events_;

 public:
  std::unique_ptr<VoicePipeline> pipeline;  // last: it uses all of the above
};

}  // namespace prosa::test
