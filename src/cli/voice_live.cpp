// prosa voice with a microphone and a loudspeaker: until Ctrl-C.
#include <chrono>
#include <string>

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/voice.h"
#include "cli/voice_view.h"
#include "prosa/audio.h"

namespace prosa::cli {
namespace {

/// Queued at the device beyond what is played: enough for a late thread, and little enough to be silent at once.
constexpr size_t kAhead = size_t{kFrameSamples} * 3;

}  // namespace

void talk_live(VoicePipeline& pipeline, const VoiceArguments& arguments, VoiceView& view) {
  if (arguments.options.play_rate != kHeardRate)
    throw Error(ErrorCode::invalid_argument, "is for --in; a device plays 16000", "--play-rate");
  AudioDevice device(arguments.devices);
  const interrupt::Catch stop({});
  view.note("[speak; Ctrl-C ends]");
  std::vector<int16_t> heard(kFrameSamples);
  std::vector<int16_t> played(kFrameSamples);
  std::vector<int16_t> out(kFrameSamples);
  uint64_t lost = 0;
  while (!stop.interrupted()) {
    while (device.queued() < kAhead) {
      pipeline.pull(out);
      device.write(out);
    }
    if (device.read(heard, played, std::chrono::milliseconds(100))) pipeline.push(heard, played);
    if (const uint64_t now = device.lost(); now != lost) {
      view.note(fmt::format("prosa: {} frames of 10 ms were heard and lost: this machine is too slow or too busy",
                            now - lost));
      lost = now;
    }
  }
}

}  // namespace prosa::cli
