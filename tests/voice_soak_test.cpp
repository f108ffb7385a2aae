// A long conversation in which everything goes wrong: the user interrupts, corrects himself, coughs and types; the
// recogniser and the synthesizer die, hang and dawdle, and one of them is a program that is killed.
//
// A short one by default; PROSA_VOICE_SOAK_TURNS in the environment makes it longer. What holds: nothing stops (a
// watchdog ends the test), memory stays, history is what was heard.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>

#include "prosa/voice.h"
#include "scripted_model.h"
#include "temp_folder.h"
#include "voice_talk.h"

namespace prosa {
namespace {

using Kind = VoiceEvent::Kind;
using test::Mood;
using test::Script;
using test::ScriptedEars;
using test::ScriptedModel;
using test::Talk;
using test::ToneMouth;

int turns_wanted() {
  const char* const turns = std::getenv("PROSA_VOICE_SOAK_TURNS");
  return turns != nullptr ? std::max(1, std::atoi(turns)) : 20;
}

/// Ends the process when nothing has happened for a minute.
class Watchdog {
 public:
  void alive() { ++beats_; }

 private:
  std::atomic<int64_t> beats_ = 0;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_{[this](const std::stop_token& stop) {
    for (int64_t before = -1; !stop.stop_requested();) {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::minutes(1), [] { return false; });
      if (!stop.stop_requested() && std::exchange(before, beats_.load()) == beats_) {
        std::fputs("nothing has happened for a minute\n", stderr);
        std::abort();
      }
    }
  }};
};

/// A Wyoming program of the tests that can be killed: it dies by SIGKILL at the next event that it gets.
class Killable {
 public:
  explicit Killable(const std::string& service) : service_(service) {}
  [[nodiscard]] std::string address() const {
    return "stdio:'" PROSA_WYOMING_PROGRAM "' " + service_ + " mortal '" + fate_.string() + "'";
  }
  void kill() {
    if (std::filesystem::exists(fate_)) return;
    std::ofstream(fate_).put('!');
    ++killed;
  }
  /// It lives on, if it was not told yet.
  void spare() { std::filesystem::remove(fate_); }
  int killed = 0;

 private:
  const std::string service_;
  const TempFolder folder_;
  const std::filesystem::path fate_ = folder_.path() / "fate";
};

/// Recognises by the script, or, for utterances that were chosen, by the program.
class TwoEars final : public SpeechToText {
 public:
  TwoEars(Script& script, const Killable& program, const std::atomic<bool>& by_program)
      : scripted_(script), program_(make_speech_to_text(program.address())), by_program_(by_program) {}
  void begin() override {
    now_ = by_program_ ? program_.get() : &scripted_;
    now_.load()->begin();
  }
  std::string push(std::span<const int16_t> samples) override { return now_.load()->push(samples); }
  std::string end() override { return now_.load()->end(); }
  void cancel() noexcept override { now_.load()->cancel(); }

 private:
  ScriptedEars scripted_;
  const std::unique_ptr<SpeechToText> program_;
  const std::atomic<bool>& by_program_;
  std::atomic<SpeechToText*> now_ = &scripted_;
};

/// Speaks by tones, or, for units that were chosen, by the program.
class TwoMouths final : public TextToSpeech {
 public:
  TwoMouths(Script& script, const Killable& program, const std::atomic<bool>& by_program)
      : tones_(script), program_(make_text_to_speech(program.address())), by_program_(by_program) {}
  [[nodiscard]] int rate() const override { return now_.load()->rate(); }
  void speak(std::string_view text, const Sink& sink) override {
    now_ = by_program_ ? program_.get() : &tones_;
    now_.load()->speak(text, sink);
  }
  void cancel() noexcept override {
    tones_.cancel();
    program_->cancel();
  }

 private:
  ToneMouth tones_;
  const std::unique_ptr<TextToSpeech> program_;
  const std::atomic<bool>& by_program_;
  std::atomic<TextToSpeech*> now_ = &tones_;
};

int64_t resident_kib() {
  std::ifstream status("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident = 0;
  status >> pages >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

/// What a user says to whom he likes to confuse.
class User {
 public:
  explicit User(unsigned seed) : random_(seed) {}
  int upto(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  bool sometimes(int of) { return upto(of) == 0; }
  std::string words() {
    static const std::vector<std::string> lines = {"tell me a story.",
                                                   "and then",
                                                   "what is the weather in",
                                                   "uh-huh",
                                                   "no, wait.",
                                                   "stop",
                                                   "",
                                                   "fly me to austin. no, boston.",
                                                   "how are you today",
                                                   "one and two and three and four and five."};
    return lines[static_cast<size_t>(upto(static_cast<int>(lines.size())))];
  }

 private:
  std::mt19937 random_;
};

void expect_consistent(Talk& talk) {
  const auto history = talk.pipeline->history();
  for (size_t i = 1; i < history.size(); ++i)
    ASSERT_FALSE(history[i].role == Role::assistant && history[i - 1].role == Role::assistant) << i;
  // Each turn that is kept is in the history, in order, with what was heard of its reply.
  size_t at = 0;
  for (const TurnRecord& turn : talk.pipeline->turns()) {
    while (at < history.size() && !(history[at].role == Role::user && history[at].content == turn.user)) ++at;
    ASSERT_LT(at, history.size()) << turn.user;
    ++at;
    const bool answered = at < history.size() && history[at].role == Role::assistant;
    const std::string kept = answered ? history[at].content : "";
    ASSERT_TRUE(turn.reply.starts_with(kept)) << kept;
    if (turn.interrupted) {
      ASSERT_EQ(kept, turn.heard);
    }
  }
}

TEST(VoiceSoak, EverythingGoesWrongAndTheConversationGoesOn) {
  ScriptedModel scripted([](std::string_view prompt) {
    const size_t begin = prompt.rfind("user\n") + 5;
    return "to " + std::string(prompt.substr(begin, prompt.find('<', begin) - begin)) +
           " i say that the sea is wide and deep and that it moves all day with the moon.";
  });
  Watchdog dog;
  Killable hearing("asr");
  Killable speaking("tts");
  std::atomic<bool> hears_by_program = false;
  std::atomic<bool> speaks_by_program = false;
  VoiceOptions options;
  options.system = "be kind";
  options.sampling.max_tokens = 400;
  options.turns.final_ms = 1000;
  User user(7);
  std::map<Kind, int> seen;
  int64_t warm = 0;
  const int wanted = turns_wanted();
  int tried = 0;
  int taken = 0;
  while (taken < wanted && tried < wanted * 4) {
    // Conversations of fifty turns: of one that lasts for ever history alone would grow.
    hearing.spare();
    speaking.spare();
    Talk talk(scripted.model, options, [&](Script& script) {
      return VoiceParts{nullptr, std::make_unique<TwoEars>(script, hearing, hears_by_program),
                        std::make_unique<TwoMouths>(script, speaking, speaks_by_program)};
    });
    const int goal = std::min(50, wanted - taken);
    for (int i = 0; i < 4 * goal && static_cast<int>(talk.pipeline->turns().size()) < goal; ++i, ++tried) {
      dog.alive();
      talk.script.ears = user.sometimes(12) ? Mood::dies : user.sometimes(15) ? Mood::hangs : Mood::well;
      if (user.sometimes(8)) {
        talk.script.mouth_left = user.upto(40);
        talk.script.mouth = Mood::dies;
      } else {
        talk.script.mouth = user.sometimes(15) ? Mood::hangs : Mood::well;
      }
      hears_by_program = user.sometimes(4);
      speaks_by_program = user.sometimes(4);
      talk.speak(user.words());
      if (user.sometimes(5)) hearing.kill();
      talk.silence(10 * user.upto(60));
      if (user.sometimes(5)) speaking.kill();
      talk.silence(user.sometimes(3) ? 0 : 10 * user.upto(300));
      if (user.sometimes(12)) talk.pipeline->type("typed words");
      if (user.sometimes(12)) talk.pipeline->interrupt();
    }
    talk.script.ears = talk.script.mouth = Mood::well;
    talk.say("stop");  // what hangs is interrupted
    talk.listen();
    expect_consistent(talk);
    taken += static_cast<int>(talk.pipeline->turns().size());
    for (const VoiceEvent& event : talk.events()) ++seen[event.kind];
    if (warm == 0) warm = resident_kib();
  }
  EXPECT_GE(taken, wanted);
  const int64_t grown = resident_kib() - warm;
  std::printf(
      "%d turns in %d utterances; programs killed: %d and %d; interrupted %d, replaced %d, resumed %d, soft %d, "
      "errors %d; memory grew by %ld KiB\n",
      taken, tried, hearing.killed, speaking.killed, seen[Kind::interrupted], seen[Kind::replaced], seen[Kind::resumed],
      seen[Kind::soft_commit], seen[Kind::error], static_cast<long>(grown));
#if !defined(PROSA_THREAD_SANITIZER) && !defined(PROSA_ADDRESS_SANITIZER)
  EXPECT_LT(grown, 16 * 1024);
#endif
}

}  // namespace
}  // namespace prosa
