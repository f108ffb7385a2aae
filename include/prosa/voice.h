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
#include "prosa/speakable.h"
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
  bool read_ahead = true;
  bool draft = true;
  int max_drafts = 4;         // a turn
  int max_draft_tokens = 24;  // of the reply, before the turn is over: what is spoken in some seconds
  /// Early work that came to nothing, over all useful work: no draft is begun that may lead beyond it.
  float max_early_work = 0.35F;
  /// The model is asked how probable it is that the message ends here (Turn::ending), at half the soft end.
  bool ending = true;
  float ends_above = 0.02F;       // from here on the turn sounds over
  float goes_on_below = 0.0003F;  // below, unfinished; counts once the model has found some turn over
  /// A turn that sounds over is answered aloud from the soft end on, and still taken back where the user goes on. Tools
  /// run only when it is over.
  bool soft_commit = true;
  /// What listeners say without taking the turn; the voice goes on after it.
  std::vector<std::string> backchannels = {"uh-huh", "uh huh", "mm-hmm", "mm hmm", "mhm",   "hmm", "hm",
                                           "yeah",   "yes",    "okay",   "ok",     "right", "oh",  "ah"};
  /// What ends the reply and asks for none.
  std::vector<std::string> stop_words = {"stop", "be quiet", "shut up", "quiet", "never mind"};
};

/// Error(invalid_argument) that names the field and its range.
void validate(const TurnRules& rules);

/// Something that happened, for logs, pictures and live views.
struct VoiceEvent {
  enum class Kind {
    speech_started,  // the user is taken to speak
    partial,         // the transcript so far
    speech_ended,    // the utterance is taken to be over
    transcript,      // the words of the utterance
    read_ahead,      // the model has read `text`
    ending,          // `text`: how probably the turn is over after the words that follow the number
    draft,           // a reply to `text` is drafted
    draft_dropped,
    draft_held,   // the turn has the draft's words: its reply is there already
    soft_commit,  // the turn sounds over: its draft is heard from now on
    commit,       // the turn is over, its reply is asked for
    first_token,
    reply_text,      // a piece of the written reply
    tool_call,       // `text`: its name
    tool_result,     // `text`: what it said
    first_sentence,  // handed to synthesis
    sentence,        // the next ones
    first_audio,     // the first sound of the reply is played
    paused,          // speech over the reply: the voice is silent
    resumed,         // it was no interruption
    interrupted,     // it was: `text` is what was heard of the reply
    replaced,        // the user's turn goes on: its reply never was
    reply_over,      // all of it was played
    error,           // `text`: what failed; the conversation goes on
  };
  Kind kind;
  std::chrono::microseconds time{};  // since the pipeline began
  int64_t revision = 0;              // of the turn that it belongs to
  std::string text = {};             // UTF-8
};
std::string_view to_string(VoiceEvent::Kind kind) noexcept;

/// One turn of the user and its reply. It survives tools, revisions and interruptions.
struct TurnRecord {
  using Time = std::chrono::microseconds;  // since the pipeline began
  int64_t revision = 0;
  std::string user;
  std::string reply;     // written, as far as it was made
  std::string heard;     // of it
  Time end_of_speech{};  // the user's last sound
  Time committed{};      // the turn was taken to be over
  bool soft = false;     // its reply was heard from the soft end on
  std::optional<Time> first_token, first_sentence, first_audio, over;
  bool draft_held = false;
  bool interrupted = false;
  bool failed = false;
  int64_t prompt_tokens = 0;    // of the reply's prompt
  int64_t computed_tokens = 0;  // of these: read after the commit, or by the draft that held
  int64_t generated_tokens = 0;
  int drafts = 0;  // begun in this turn
  /// Computed early, for nothing: drafts that did not hold, words that changed, questions whether the turn is over.
  int64_t lost_tokens = 0;
  int64_t useful_tokens = 0;  // the others: what the turn would have cost without early work
};

struct VoiceOptions {
  TurnRules turns = {};
  SpeakableOptions speakable = {};  // patience_seconds 0: 0.3; with a draft's first words since the user's last sound
  /// A voice does not think aloud: disable_thinking is set unless enable_thinking is.
  SamplingConfig sampling = {};
  std::string system = {};            // the system message
  std::vector<Message> history = {};  // what was said before
  std::vector<Tool> tools = {};
  /// Runs a call of the committed turn and returns its result; on a thread of the pipeline. What it throws is told to
  /// the model as the result. No call is made for drafts.
  std::function<std::string(const ToolCall&)> on_tool = {};
  int max_tool_rounds = 4;     // a turn
  std::string greeting = {};   // spoken first; ready before the first push()
  int play_rate = kHeardRate;  // samples a second of pull(); a multiple of 100
  int output_latency_ms = 0;   // from pull() to the ear: not heard yet when it is asked
  /// On threads of the pipeline, one call at a time; must not call the pipeline.
  std::function<void(const VoiceEvent&)> on_event = {};
};

/// The engines of a pipeline.
struct VoiceParts {
  std::unique_ptr<VoiceActivity> activity;
  std::unique_ptr<SpeechToText> hears;
  std::unique_ptr<TextToSpeech> speaks;
};

class VoicePipeline {
 public:
  /// `chat` is the conversation's; what it had said before is options.history. Errors: invalid_argument (a part is
  /// missing, an option out of range), not_loaded.
  VoicePipeline(Chat chat, VoiceParts parts, const VoiceOptions& options = {});
  ~VoicePipeline();
  VoicePipeline(const VoicePipeline&) = delete;
  VoicePipeline& operator=(const VoicePipeline&) = delete;

  /// What the microphone heard [kFrameSamples] in the last 10 ms. `played` [kFrameSamples]: what the loudspeaker played
  /// in them, where the device knows; empty: what pull() gave in that time.
  void push(std::span<const int16_t> frame, std::span<const int16_t> played = {});
  /// What the loudspeaker plays next: fills `frame` [n], any n.
  void pull(std::span<int16_t> frame);

  /// A turn of the user that was typed: ends what is said, and is answered aloud.
  void type(std::string_view text);
  /// Ends the reply where it was heard, as an interruption would. Without effect on what the user has said: while no
  /// reply is heard, on nothing.
  void interrupt();

  /// Nobody speaks, nothing is computed, nothing is left to be played.
  [[nodiscard]] bool idle() const;
  /// Of finished turns: what the user said and what he heard.
  [[nodiscard]] std::vector<Message> history() const;
  /// The finished turns' records, the last 1,000.
  [[nodiscard]] std::vector<TurnRecord> turns() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace prosa
