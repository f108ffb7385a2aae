// The engines that can be built in, each in the file of its name. Which of them are: PROSA_WITH_… (voice.cmake).
//
// Nothing here chooses among them; registry.cpp does, by the names that users give.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "prosa/voice_parts.h"

namespace prosa::voice {

std::unique_ptr<VoiceActivity> make_energy();
std::unique_ptr<VoiceActivity> make_webrtc();

struct PocketsphinxOptions {
  /// Holds en-us/ (acoustic model), en-us.lm.bin and cmudict-en-us.dict. Empty: where Debian puts them.
  std::filesystem::path models = {};
  /// After the end of the utterance the best way through all hypotheses is searched: fewer wrong words (5.8 instead of
  /// 8.3 % in the table of docs/guide/voice-engines.md), but the last partial transcript is then the final one in 77 of
  /// 100 utterances instead of all.
  bool best_path = false;
};
/// Errors: not_found (the models), io (they are damaged, or can't be loaded).
std::unique_ptr<SpeechToText> make_pocketsphinx(const PocketsphinxOptions& options);

/// `voice`: slt, rms, awb or kal16; "": slt. Error(invalid_argument): another.
std::unique_ptr<TextToSpeech> make_flite(const std::string& voice);

}  // namespace prosa::voice
