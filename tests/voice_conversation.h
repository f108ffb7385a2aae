// A conversation for tests of whose turn it is: what is heard, in frames of 10 ms of a clock that the test moves, and
// what the other parts are to do.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "voice/turn_taker.h"

namespace prosa::test {

using voice::Action;
using voice::Actions;
using voice::Time;

/// Plays time in frames of 10 ms and keeps what was to be done since last asked.
class Conversation {
 public:
  explicit Conversation(const TurnRules& rules = {.ending = false}) : taker(rules) {}

  void sound(int milliseconds, float speech) {
    for (int i = 0; i < milliseconds / 10; ++i) {
      now += std::chrono::milliseconds(10);
      take(taker.frame(now, speech));
    }
  }
  void speech(int milliseconds) { sound(milliseconds, 1); }
  void silence(int milliseconds) { sound(milliseconds, 0); }
  void partial(std::string_view text) { take(taker.partial(now, utterance, text)); }
  void ending(std::string_view text, double probability) { take(taker.ending(now, text, probability)); }
  void final(std::string_view text) { take(taker.final(now, utterance, text)); }
  void interrupt() { take(taker.interrupt(now)); }
  void type(std::string_view text) { take(taker.type(now, text)); }
  /// A whole turn of one utterance.
  void say(std::string_view text) {
    speech(500);
    partial(text);
    silence(200);
    final(text);
  }
  void played() { take(taker.reply_over(now, taker.revision())); }

  std::vector<std::string> done() {
    std::vector<std::string> lines;
    for (const Action& action : std::exchange(actions, {}))
      lines.push_back(std::string(to_string(action.kind)) + (action.text.empty() ? "" : ": " + action.text));
    return lines;
  }

  voice::TurnTaker taker;
  Time now{};
  int64_t utterance = 0;
  Actions actions;

 private:
  void take(const Actions& more) {
    for (const Action& action : more)
      if (action.kind == Action::Kind::begin_utterance) utterance = action.number;
    actions.insert(actions.end(), more.begin(), more.end());
  }
};

}  // namespace prosa::test
