// The names of engines: which are built in, and what makes each.
//
// A name with "://" or beginning with "stdio:" is a Wyoming program's address; all others are built in or unknown.
#include <algorithm>
#include <string_view>
#include <utility>

#include "prosa/error.h"
#include "voice/engines/engines.h"
#include "voice/wyoming/address.h"
#include "voice/wyoming/programs.h"

namespace prosa {
namespace {

/// "flite:slt" → {"flite", "slt"}.
[[maybe_unused]] std::pair<std::string, std::string> split_name(const std::string& name) {
  const size_t colon = name.find(':');
  if (colon == std::string::npos) return {name, {}};
  return {name.substr(0, colon), name.substr(colon + 1)};
}

[[noreturn]] void unknown(const std::string& name, const char* what, std::initializer_list<const char*> known,
                          bool programs) {
  const std::vector<std::string> built = voice_engines();
  std::string remedy = "built in:";
  for (const char* each : known) {
    if (std::ranges::find(built, each) != built.end()) remedy += " " + std::string(each) + ",";
  }
  if (remedy.ends_with(','))
    remedy.pop_back();
  else
    remedy += " none";
  if (programs) remedy += "; other programs by Wyoming: tcp://HOST:PORT, unix:///PATH or stdio:COMMAND";
  throw Error(ErrorCode::unsupported, "no engine '" + name + "' for " + what + " was built in", {}, remedy);
}

[[maybe_unused]] bool is_english(std::string_view language) {
  return language.empty() || ((language.starts_with("en") || language.starts_with("EN")) &&
                              (language.size() == 2 || language[2] == '-' || language[2] == '_'));
}

}  // namespace

std::vector<std::string> voice_engines() {
  return {
#ifdef PROSA_WITH_WEBRTC
      "webrtc",
#endif
      "energy",
#ifdef PROSA_WITH_POCKETSPHINX
      "pocketsphinx",
#endif
#ifdef PROSA_WITH_FLITE
      "flite",
#endif
#ifdef PROSA_WITH_PORTAUDIO
      "portaudio",
#endif
      "wyoming"};
}

std::unique_ptr<VoiceActivity> make_voice_activity(const std::string& name) {
  if (wyoming::is_address(name)) {
    const std::vector<std::string> built = voice_engines();
    const bool webrtc = std::ranges::find(built, "webrtc") != built.end();
    return wyoming::make_voice_activity(name, make_voice_activity(webrtc ? "webrtc" : "energy"));
  }
#ifdef PROSA_WITH_WEBRTC
  if (name == "webrtc") return voice::make_webrtc();
#endif
  if (name == "energy") return voice::make_energy();
  unknown(name, "voice activity", {"webrtc", "energy"}, true);
}

std::unique_ptr<SpeechToText> make_speech_to_text(const std::string& name, const std::string& language) {
  if (wyoming::is_address(name)) return wyoming::make_speech_to_text(name, language);
#ifdef PROSA_WITH_POCKETSPHINX
  if (name == "pocketsphinx" || name == "pocketsphinx:accurate") {
    if (!is_english(language)) {
      throw Error(ErrorCode::unsupported, "pocketsphinx's model knows English, not '" + language + "'", {},
                  "recognise by a Wyoming program, such as wyoming-faster-whisper");
    }
    return voice::make_pocketsphinx({.best_path = name.ends_with(":accurate")});
  }
#endif
  unknown(name, "recognition", {"pocketsphinx"}, true);
}

std::unique_ptr<TextToSpeech> make_text_to_speech(const std::string& name, const std::string& voice) {
  if (wyoming::is_address(name)) return wyoming::make_text_to_speech(name, voice);
#ifdef PROSA_WITH_FLITE
  if (const auto [engine, own] = split_name(name); engine == "flite") {
    return voice::make_flite(own.empty() ? voice : own);
  }
#endif
  unknown(name, "synthesis", {"flite"}, true);
}

}  // namespace prosa
