// A voice pipeline: recognition -> Chat -> synthesis, in real time, with turns that are taken as people take them.
//
// While the user speaks, the transcript is read ahead; where it sounds finished, the reply is drafted; when the turn is
// over, the first sentence is already there. Speech while the reply is played silences it at once; if it was a cough,
// the reply goes on where it was, else history keeps what was heard of it. docs/guide/voice.md shows how.
//
// The caller brings the sound: push() takes what the microphone heard, pull() gives what the loudspeaker plays, 10
// milliseconds each, from one thread or two, in real time. Everything else runs on threads of the pipeline.
//
// Thread safety: push() and pull() each from one thread at a time; the others from any. Neither of these two waits for
// recognition, the model or synthesis.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/chat.h"
#include "prosa/voice_parts.h"

namespace prosa {

/// When a turn begins, ends, and is another's. Milliseconds unless said.
struct TurnRules {
  int start_ms = 30;                // of speech, before the user is taken to speak
  int soft_end_ms = 64;             // of silence, before the reply is drafted
  int end_ms = 200;                 // of silence, before the turn is taken to be over
  int unfinished_end_ms = 500;      // the same where the sentence sounds unfinished
  int reopen_ms = 800;              // after the turn's end: speech goes on with it, and its reply is dropped
  int reopen_unfinished_ms = 2000;  // the same where the sentence sounds unfinished
  int stable_ms = 300;              // a transcript that stays the same for so long is drafted before any silence
  int resume_ms = 2000;             // of an interruption without words, before the voice goes on
  int max_turn_ms = 60'000;         // an utterance is taken to be over after so long
  int final_ms = 5000;              // a recogniser that takes longer for its last word is not waited for
  float speech = 0.5F;              // from here on the detector is believed
  float speech_over_voice = 0.7F;   // the same while the pipeline's own voice is played
  /// 0: not used. Else a turn that the model takes for whole with less than this probability sounds unfinished.
  double ending_probability = 0;
  bool read_ahead = true;
  bool draft = true;
  int max_drafts = 4;  // a turn
  /// What listeners say without taking the turn; the voice goes on after it.
  std::vector<std::string> backchannels = {"uh-huh", "uh huh", "mm-hmm", "mm hmm", "mhm",   "hmm", "hm",
                                           "yeah",   "yes",    "okay",   "ok",     "right", "oh",  "ah"};
  /// What ends the reply and asks for none.
  std::vector<std::string> stop_words = {"stop", "be quiet", "shut up", "quiet", "never mind"};
};

/// Error(invalid_argument) that names the field and its range.
void validate(const TurnRules& rules);

}  // namespace prosa
