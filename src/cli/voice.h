// What the forms of prosa voice share: the options, what was seen of a conversation, and its accounts.
//
// Only public headers: everything here could be written by a user of the library.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "prosa/audio.h"
#include "prosa/voice.h"

namespace prosa::cli {

class VoiceView;

struct VoiceArguments {
  std::string model;            // "": the embedded model
  std::vector<std::string> in;  // recordings of the user, a turn after the other; empty: the microphone
  std::string out;              // what was spoken, as a recording; "": none
  std::string timeline;         // events and turns as JSON; "": none
  std::string picture;          // the same as a picture; "": none
  std::string activity = "webrtc";
  std::string hears = "pocketsphinx";
  std::string speaks = "flite";
  std::string speaks_as;  // a voice of `speaks`
  std::string language = "en";
  AudioDevice::Options devices;
  double echo_db = 0;  // file mode: the reply comes back into the microphone, so loud; 0: not at all
  VoiceOptions options;
  LoadOptions load;
};

/// Everything that happened, in order.
class VoiceLog {
 public:
  void add(const VoiceEvent& event);
  [[nodiscard]] std::vector<VoiceEvent> events() const;

 private:
  mutable std::mutex mutex_;
  std::vector<VoiceEvent> events_;
};

/// A recording that was played to the pipeline, on the clock of its sound.
struct PlayedRecording {
  std::string file;
  std::chrono::microseconds begin{}, end{};
};

/// Sound in file mode, for the picture: the user's and the reply's.
struct VoiceSound {
  std::vector<int16_t> heard;   // at kHeardRate
  std::vector<int16_t> played;  // at play_rate
  int play_rate = kHeardRate;
  std::chrono::steady_clock::time_point begin = {};  // of both
  std::vector<PlayedRecording> recordings = {};
};

/// {"events": [{"time_ms", "event", "turn", "text"}], "recordings": [{"file", "begin_ms", "end_ms"}], "turns": [{…}],
/// "summary": {…}}, times since the pipeline began; `sound_begin`: that of the sound.
std::string voice_json(const std::vector<VoiceEvent>& events, const std::vector<TurnRecord>& turns,
                       const VoiceSound& sound, std::chrono::microseconds sound_begin);
/// Who spoke when, what was done meanwhile, and how long the user waited. `sound_begin`: of the sound, since the
/// pipeline began.
std::string voice_svg(const std::vector<VoiceEvent>& events, const std::vector<TurnRecord>& turns,
                      const VoiceSound& sound, std::chrono::microseconds sound_begin);
/// A line for people on what the turns cost.
std::string voice_summary(const std::vector<TurnRecord>& turns);

/// Plays the recordings in real time through `pipeline`.
VoiceSound play_recordings(VoicePipeline& pipeline, const VoiceArguments& arguments, VoiceView& view);
/// The microphone and the loudspeaker, until Ctrl-C.
void talk_live(VoicePipeline& pipeline, const VoiceArguments& arguments, VoiceView& view);

}  // namespace prosa::cli
