// The ears and the mouth of a voice pipeline: recognition of speech, detection of speech, synthesis of speech.
//
// Three small interfaces and the implementations that are built in; any other engine comes in through Wyoming, the
// protocol of Home Assistant's voice programs. No turn is taken and no model is asked here: VoicePipeline (voice.h)
// does that.
//
// Sound that is heard is mono, 16-bit signed, kHeardRate samples a second, in frames of kFrameSamples. Sound that is
// spoken is mono, 16-bit signed, at the rate its engine names.
//
// Thread safety: each object is used by one thread at a time, but for cancel(), which may come from any thread. Errors
// of all of them: io (an engine that died, hangs or answers what its protocol forbids; the message names it), else
// Error(invalid_argument). After an Error an engine may be used again: it starts anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"

namespace prosa {

inline constexpr int kHeardRate = 16'000;  // samples a second
inline constexpr int kFrameSamples = 160;  // of 10 milliseconds

/// Whether somebody speaks; takes the pipeline's own voice out of what the microphone heard.
class VoiceActivity {
 public:
  virtual ~VoiceActivity() = default;
  /// `heard` [kFrameSamples], cleaned in place; `played` [kFrameSamples]: what the loudspeaker was given in that time
  /// (zeros: nothing), the reference of the echo canceller, which expects to hear it 10 to 150 milliseconds later.
  /// Returns how sure it is of speech, 0 to 1; 0.5 and more: somebody speaks.
  virtual float process(std::span<int16_t> heard, std::span<const int16_t> played) = 0;
  /// Forgets what was heard.
  virtual void reset() = 0;
};

/// An utterance at a time: begin(), push() …, end(). An engine without partial transcripts returns "" from push().
class SpeechToText {
 public:
  virtual ~SpeechToText() = default;
  virtual void begin() = 0;
  /// `samples` [n]; the whole transcript of the utterance so far, UTF-8. It may change any of its words later.
  virtual std::string push(std::span<const int16_t> samples) = 0;
  /// The utterance is over: its transcript, UTF-8, without leading or trailing space; "" where no word was heard.
  virtual std::string end() = 0;
  /// From any thread: a call under way, and every one until the next begin(), ends with Error(cancelled); the utterance
  /// is forgotten.
  virtual void cancel() noexcept = 0;
};

/// Text in, sound out, in pieces as they are made.
class TextToSpeech {
 public:
  virtual ~TextToSpeech() = default;
  /// Takes samples [n]; false ends the synthesis.
  using Sink = std::function<bool(std::span<const int16_t> samples)>;
  /// Samples a second of what speak() makes. Known when `sink` is called; 0 before the first time, where the engine
  /// does not know. From any thread.
  [[nodiscard]] virtual int rate() const = 0;
  /// Speaks `text` (UTF-8, no markup); returns when all of it was given to `sink`, or when that said no. `sink` is
  /// called on the thread of the call and may take its time.
  virtual void speak(std::string_view text, const Sink& sink) = 0;
  /// Ends a call under way, from any thread: speak() returns without giving out more.
  virtual void cancel() noexcept = 0;
};

/// What was built in: "webrtc", "energy", "pocketsphinx", "flite" are what make_…() takes; "portaudio": there are audio
/// devices (audio.h); "wyoming": always.
std::vector<std::string> voice_engines();

/// `name`: "webrtc" (voice activity, echo canceller, noise suppression and gain of webrtc-audio-processing) or "energy"
/// (no library: loudness over the noise floor, no echo canceller), or a Wyoming program (below) that sends
/// voice-started and voice-stopped; the built-in engine then takes the own voice out, and decides while the program is
/// away: process() throws once when it is lost. Errors: unsupported (not built in), and those of programs.
std::unique_ptr<VoiceActivity> make_voice_activity(const std::string& name);
/// `name`: "pocketsphinx" (English, offline; its last partial transcript is its final one), "pocketsphinx:accurate"
/// (fewer wrong words, but the end of an utterance rewrites a quarter of the partial transcripts), or a Wyoming
/// program: tcp://HOST:PORT, unix:///PATH, or stdio:COMMAND. `language`: "" or a BCP 47 tag. A program is asked at once
/// what it offers. Errors: invalid_argument (the address), unsupported (not built in, or another service or language),
/// not_found (its model or program), io (it can't be reached, hangs, or does not speak Wyoming).
std::unique_ptr<SpeechToText> make_speech_to_text(const std::string& name, const std::string& language = {});
/// `name`: "flite" or "flite:VOICE" (slt, rms, awb, kal16), or a Wyoming program as above. `voice`: of a Wyoming
/// program; "": its own choice. Errors as above.
std::unique_ptr<TextToSpeech> make_text_to_speech(const std::string& name, const std::string& voice = {});

}  // namespace prosa
