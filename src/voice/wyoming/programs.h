// Wyoming programs as engines: recognition (asr), synthesis (tts) and voice activity (vad).
//
// Each asks its program at once what it can do. The protocol has no cancel: a cancelled connection is closed, a
// cancelled program is killed, and the spare one that was started ahead takes its place.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "prosa/voice_parts.h"

namespace prosa::wyoming {

struct Limits {
  std::chrono::milliseconds connect{5'000};
  std::chrono::milliseconds start{60'000};   // until a program says what it can do: it may load a model first
  std::chrono::milliseconds answer{15'000};  // between any two things it sends while it works
  bool spare = true;                         // of a stdio: program, a second one waits for the first to be cancelled
};

/// Errors of both: invalid_argument (the address), not_found (no such program), io (it can't be reached, hangs, does
/// not speak Wyoming), unsupported (it offers another service).
std::unique_ptr<SpeechToText> make_speech_to_text(const std::string& address, const std::string& language,
                                                  const Limits& limits = {});
std::unique_ptr<TextToSpeech> make_text_to_speech(const std::string& address, const std::string& voice,
                                                  const Limits& limits = {});
/// The protocol knows no service "vad": the program takes sound and says when a voice began and stopped. `own` cleans
/// what is heard (echo), and its word counts while the program is away; process() never waits for the program, and
/// throws an Error once each time that it is lost.
std::unique_ptr<VoiceActivity> make_voice_activity(const std::string& address, std::unique_ptr<VoiceActivity> own,
                                                   const Limits& limits = {});

}  // namespace prosa::wyoming
