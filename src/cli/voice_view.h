// prosa voice on a terminal: what was said, as text that scrolls, above three lanes of the last seconds.
//
//   you   |   ########## #####            |   speech, as it was noticed
//   model |    r r rr r      d hC1        |   what was computed meanwhile
//   voice |                     =======   |   sound that was played
//    12.4 s  what is your name  |  first sound 58 ms after the turn
//
// Only what stdout shows: where that is no terminal, PlainTalk writes the text alone. Invariant: nothing that a user, a
// model or an engine said reaches the terminal but through printable() (prosa/text.h).
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "prosa/voice.h"

namespace prosa::cli {

/// Shows a conversation. From any threads.
class VoiceView {
 public:
  virtual ~VoiceView() = default;
  virtual void show(const VoiceEvent& event) = 0;
  /// A line about the run, to stderr.
  virtual void note(std::string_view line) = 0;
};

/// Lanes and text where stdout is a terminal that can move its cursor, text alone elsewhere.
std::unique_ptr<VoiceView> make_voice_view();

}  // namespace prosa::cli
