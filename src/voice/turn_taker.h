// Whose turn it is: from what the microphone and the recogniser report to what the other parts are to do.
//
// Pure: no threads, no clock, no sound, no model. Every call brings the time of what it reports (microseconds of one
// clock, never going back) and returns what to do, in order. So a whole conversation is a list of calls, and every race
// a test.
//
// A *turn* is what one side says until the other may answer. A user's turn has one or more *utterances*, the units of
// the recogniser: a turn that was taken for over and goes on has the next one. A *revision* is a number that rises with
// every text of a turn that a reply is made for; whoever holds an item of another revision than the newest throws it
// away, so that nothing superseded is ever spoken.
//
//   quiet --speech--> speaking --silence--> closing --words--> replying --played--> quiet
//                        ^                     |  nothing: quiet   |
//                        |                                         speech: the voice pauses at once
//                        +------ words: they are the user's ---- doubt --no words: the voice goes on--> replying
//
// Invariant: at most one utterance is open; at most one revision is drafted or committed, and it is the newest.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/voice.h"

namespace prosa::voice {

using Time = std::chrono::microseconds;

struct Action {
  enum class Kind {
    begin_utterance,  // the recogniser begins a new one; what was heard just before belongs to it
    end_utterance,    // the recogniser says what it was
    drop_utterance,   // it was nothing, or the recogniser does not say what it was
    read_ahead,       // `text` stood in two transcripts: it may be read
    draft,            // `text` may be the whole turn: a reply to it, not to be heard
    drop_draft,       // it is not
    ask_ending,       // does the turn sound over after `text`? ending() takes the answer
    soft_commit,  // the turn sounds over: its draft is to be heard, but does nothing else; commit or replace follows
    commit,       // `text` is the turn: its reply is to be heard; the draft's if it has this revision
    pause,        // the voice is silent at once; all goes on behind it
    resume,       // and speaks again, from where it was
    interrupt,    // the reply ends where it was heard
    replace,      // the turn goes on: its reply (or soft-committed draft) and what was heard of it never were
  };
  Kind kind;
  int64_t number = 0;     // the revision; of begin_, end_ and drop_utterance: the utterance
  std::string text = {};  // UTF-8
};
std::string_view to_string(Action::Kind kind) noexcept;
using Actions = std::vector<Action>;

enum class Phase { quiet, speaking, closing, replying, doubt };
std::string_view to_string(Phase phase) noexcept;

class TurnTaker {
 public:
  explicit TurnTaker(const TurnRules& rules);

  /// How sure the detector is of speech in the 10 ms that end at `now`, 0 to 1.
  Actions frame(Time now, float speech);
  /// An utterance's transcript so far. Of another than the open one: no effect.
  Actions partial(Time now, int64_t utterance, std::string_view text);
  /// The transcript of an utterance that end_utterance closed; may be empty. Of one that is not waited for: no effect.
  Actions final(Time now, int64_t utterance, std::string_view text);
  /// The model finds it so probable that the turn ends with `text`. Of other words than the newest: no effect.
  Actions ending(Time now, std::string_view text, double probability);
  /// What early work has cost so far, in tokens: for nothing, and of use.
  void early_work(int64_t lost, int64_t useful);
  /// The user's turn was typed: `text` is all of it.
  Actions type(Time now, std::string_view text);
  /// What is heard of a reply ends there. Whatever the user has said of a turn that is not over stays.
  Actions interrupt(Time now);
  /// The pipeline speaks without being asked; returns the revision of what it says.
  int64_t greet(Time now);
  /// All of the reply has been played (or it failed). Of another revision: no effect.
  Actions reply_over(Time now, int64_t revision);
  /// How much sound of the reply is still to be played, where all of it is known.
  void left_to_play(std::optional<Time> left) { left_ = left; }
  /// While a tool runs no draft is made: its result is not known yet.
  void tool_open(bool open) { tool_open_ = open; }

  [[nodiscard]] Phase phase() const noexcept { return phase_; }
  [[nodiscard]] int64_t revision() const noexcept { return revision_; }
  /// When the user was last heard before the turn ended.
  [[nodiscard]] Time end_of_speech() const noexcept { return last_speech_; }

 private:
  void detect(Time now, float speech);
  void begin(Time now, Actions& out);
  void on_silence(Time now, Actions& out);
  void close(Time now, Actions& out);
  void take_words(Time now, std::string_view text, Actions& out);
  void confirm(Actions& out);
  void go_on(Actions& out);
  void commit(Time now, std::string_view text, Actions& out);
  void end_reply(Actions& out);
  void end_heard_draft(Time now, Actions& out);
  void work_early(Time now, Actions& out);
  void ask_ending(std::string_view text, Actions& out);
  void draft(std::string_view text, Actions& out);
  void drop_draft(Actions& out);
  void pause(Actions& out);
  void resume(Actions& out);
  [[nodiscard]] bool sounds_over() const;
  [[nodiscard]] bool sounds_unfinished() const;
  [[nodiscard]] bool is_more_than_listening(std::string_view text) const;
  [[nodiscard]] bool takes_the_turn(std::string_view text) const;
  [[nodiscard]] bool is_stop_word(std::string_view text) const;
  [[nodiscard]] Time silence() const;

  const TurnRules rules_;
  Phase phase_ = Phase::quiet;
  int64_t revision_ = 0;

  // The detector's last frames.
  uint32_t recent_ = 0;  // a bit a frame, the newest lowest
  Time now_{};
  Time last_speech_{};
  bool speech_ = false;

  // The user's turn.
  Time began_{};         // of the open utterance
  std::string said_;     // utterances that are over
  std::string partial_;  // of the open one
  Time partial_since_{};
  std::string read_;  // what read_ahead was last asked for
  int64_t utterance_ = 0;
  bool utterance_open_ = false;
  Time closed_{};

  // A reply not yet asked for.
  std::optional<std::string> drafted_;
  int drafts_ = 0;
  bool soft_ = false;  // it is heard
  bool tool_open_ = false;
  int64_t lost_ = 0;  // tokens
  int64_t useful_ = 0;

  // Whether the user's turn sounds over, as the model finds.
  std::string asked_;  // about what
  std::optional<double> ending_;
  bool knows_endings_ = false;  // it has found some turn over

  // The reply under way.
  std::string answered_;  // the turn that it answers
  Time answered_at_{};    // the end of that turn's speech
  bool unfinished_ = false;
  bool over_ = true;      // all of it was played
  bool reopens_ = false;  // in doubt: words would go on with the turn, not begin another
  Time paused_{};
  bool silent_ = false;       // the voice is paused
  std::optional<Time> left_;  // to be played; nothing: not known
};

}  // namespace prosa::voice
