// A voice conversation as a picture: a strip for every turn, from the user's last words to the end of the reply.
//
// The strips share one scale of time, so that waits can be compared at a glance.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "cli/svg.h"
#include "cli/voice.h"

namespace prosa::cli {
namespace {

using Time = std::chrono::microseconds;
using Kind = VoiceEvent::Kind;

constexpr std::string_view kVoiceStyle = R"(.user { fill: #1f77c9; }
.reply { fill: #2f9e6e; }
.mark { stroke: #1f2933; stroke-width: 1.2; }
.soft { stroke: #1f2933; stroke-width: 1.2; stroke-dasharray: 3 2; }
.wait { fill: #f6d9a8; }
.draft { fill: #b07aa1; }
.read { fill: #76b7b2; }
.partial { fill: #9aa5b1; }
.token { fill: #c98a1b; }
.sentence { fill: #2f6f9e; }
.stop { stroke: #d1383d; stroke-width: 2; }
.small { font-size: 11px; fill: #5b6773; }
@media (prefers-color-scheme: dark) {
.user { fill: #3d8fdd; }
.reply { fill: #43b884; }
.mark, .soft { stroke: #e3e8ed; }
.wait { fill: #5a4824; }
.draft { fill: #b98bb0; }
.read { fill: #6aa8a3; }
.partial { fill: #6b7683; }
.token { fill: #e0a53a; }
.sentence { fill: #62a8dc; }
.stop { stroke: #ef6a6e; }
.small { fill: #98a4b0; }
}
)";

constexpr double kRow = 126;
constexpr Time kBefore = std::chrono::milliseconds(1500);  // of the user's speech
constexpr Time kLeast = std::chrono::milliseconds(3000);
constexpr Time kMost = std::chrono::milliseconds(12'000);

double seconds(Time time) { return static_cast<double>(time.count()) / 1e6; }

/// The loudest of each slice of a stretch of sound, 0 to 1.
std::vector<double> envelope(const std::vector<int16_t>& samples, int rate, Time begin, Time end, size_t slices) {
  std::vector<double> peaks(slices);
  const double per_slice = seconds(end - begin) * rate / static_cast<double>(slices);
  for (size_t i = 0; i < slices; ++i) {
    const double from = seconds(begin) * rate + static_cast<double>(i) * per_slice;
    int loudest = 0;
    for (auto at = static_cast<int64_t>(from); at < static_cast<int64_t>(from + per_slice); ++at) {
      if (at >= 0 && at < std::ssize(samples))
        loudest = std::max(loudest, std::abs(int{samples[static_cast<size_t>(at)]}));
    }
    peaks[i] = loudest / 32768.0;
  }
  return peaks;
}

class Picture : private SvgPicture {
 public:
  Picture(const std::vector<VoiceEvent>& events, const std::vector<TurnRecord>& turns, const VoiceSound& sound,
          Time sound_begin)
      : events_(events), turns_(turns), sound_(sound), sound_begin_(sound_begin) {
    for (const TurnRecord& turn : turns)
      span_ = std::max(span_, turn.over.value_or(turn.committed) - turn.end_of_speech + std::chrono::milliseconds(300));
    span_ = std::clamp(span_, kLeast, kMost);
  }

  std::string draw() {
    text(24, 36, "title", "prosa voice");
    text(24, 58, "pale", voice_summary(turns_));
    legend();
    y_ = 122;
    for (const TurnRecord& turn : turns_) strip(turn);
    axis();
    return file("prosa voice", kVoiceStyle);
  }

 private:
  [[nodiscard]] double x(Time since_speech) const {
    const double share = seconds(since_speech + kBefore) / seconds(kBefore + span_);
    return left + std::clamp(share, 0.0, 1.0) * (right - left);
  }

  void legend() {
    double at = 24;
    double y = 72;
    const auto name = [&](std::string_view words) {
      text(at + 15, y + 9, "pale", words);
      at += 32 + 7.0 * static_cast<double>(words.size());
    };
    const auto area = [&](std::string_view style, std::string_view words) {
      box(at, y, 10, 10, style);
      name(words);
    };
    const auto upright = [&](std::string_view style, std::string_view words) {
      line({at + 5, y}, {at + 5, y + 10}, style);
      name(words);
    };
    area("user", "user");
    area("reply", "reply");
    area("partial", "transcript");
    area("read", "read ahead");
    area("draft", "draft");
    area("wait", "silence until the reply is heard");
    at = 24;
    y = 90;
    upright("soft", "sounds over: the draft is heard");
    upright("mark", "the turn is over");
    area("token", "first token");
    area("sentence", "sentence to synthesis");
    upright("stop", "interrupted");
  }

  void strip(const TurnRecord& turn) {
    text(24, y_ + 12, "head", fmt::format("{}", turn.revision));
    text(left, y_ + 12, "small", shortened("“" + turn.user + "”", 100));
    const double middle = y_ + 48;
    if (turn.first_audio) {
      const double from = x({});
      box(from, y_ + 22, std::max(1.0, x(*turn.first_audio - turn.end_of_speech) - from), 52, "wait");
    }
    wave(sound_.heard, kHeardRate, turn, middle, "user");
    wave(sound_.played, sound_.play_rate, turn, middle, "reply");
    early(turn);
    late(turn);
    marks(turn);
    text(left, y_ + 108, "small", shortened(turn.interrupted ? turn.heard + " —" : turn.reply, 110));
    y_ += kRow;
  }

  void wave(const std::vector<int16_t>& samples, int rate, const TurnRecord& turn, double middle,
            std::string_view style) {
    constexpr size_t kSlices = 380;
    const std::vector<double> peaks = envelope(samples, rate, turn.end_of_speech - kBefore - sound_begin_,
                                               turn.end_of_speech + span_ - sound_begin_, kSlices);
    const double width = (right - left) / kSlices;
    for (size_t i = 0; i < kSlices; ++i) {
      if (peaks[i] < 0.003) continue;
      const double height = std::max(1.0, 25 * std::sqrt(peaks[i]));
      box(left + static_cast<double>(i) * width, middle - height, width, 2 * height, style);
    }
  }

  /// What was done before the turn was over.
  void early(const TurnRecord& turn) {
    const auto all = [&](Kind kind, double width, std::string_view style) {
      for (const VoiceEvent& event : events_) {
        const Time since = event.time - turn.end_of_speech;
        if (event.kind != kind || since < -kBefore || event.time > turn.committed) continue;
        box(x(since) - width / 2, y_ + 78, width, 6, style);
      }
    };
    all(Kind::partial, 2, "partial");
    all(Kind::read_ahead, 4, "read");
    all(Kind::draft, 4, "draft");
    if (turn.draft_held) {
      for (auto event = events_.rbegin(); event != events_.rend(); ++event) {
        if (event->kind != Kind::draft || event->revision != turn.revision) continue;
        const double from = x(event->time - turn.end_of_speech);
        box(from, y_ + 80, std::max(1.0, x(turn.committed - turn.end_of_speech) - from), 2, "draft");
        break;
      }
    }
  }

  /// What the reply did: its first token, and what was handed to synthesis.
  void late(const TurnRecord& turn) {
    for (const VoiceEvent& event : events_) {
      if (event.revision != turn.revision || event.time - turn.end_of_speech > span_) continue;
      if (event.kind == Kind::first_sentence || event.kind == Kind::sentence)
        box(x(event.time - turn.end_of_speech) - 2, y_ + 88, 4, 6, "sentence");
    }
    if (turn.first_token) box(x(*turn.first_token - turn.end_of_speech) - 1, y_ + 88, 2, 6, "token");
  }

  void marks(const TurnRecord& turn) {
    for (const VoiceEvent& event : events_) {
      if (event.kind != Kind::soft_commit || event.revision != turn.revision) continue;
      const double soft = x(event.time - turn.end_of_speech);
      line({soft, y_ + 20}, {soft, y_ + 76}, "soft");
    }
    const double commit = x(turn.committed - turn.end_of_speech);
    line({commit, y_ + 20}, {commit, y_ + 76}, "mark");
    if (turn.first_audio)
      text(x(*turn.first_audio - turn.end_of_speech) + 4, y_ + 32, "small",
           fmt::format("{:.0f} ms", seconds(*turn.first_audio - turn.end_of_speech) * 1000));
    if (turn.interrupted && turn.over) {
      const double at = x(*turn.over - turn.end_of_speech);
      line({at, y_ + 20}, {at, y_ + 76}, "stop");
    }
  }

  void axis() {
    line({left, y_}, {right, y_}, "axis");
    for (int tick = -1; tick <= static_cast<int>(seconds(span_)); ++tick) {
      const double at = x(std::chrono::seconds(tick));
      line({at, y_}, {at, y_ + 5}, "axis");
      text(at, y_ + 20, "pale mid", tick == 0 ? "end of speech" : fmt::format("{} s", tick));
    }
    y_ += 40;
  }

  static std::string shortened(std::string text, size_t most) {
    if (text.size() <= most) return text;
    while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80U) --most;
    return text.substr(0, most) + "…";
  }

  const std::vector<VoiceEvent>& events_;
  const std::vector<TurnRecord>& turns_;
  const VoiceSound& sound_;
  const Time sound_begin_;
  Time span_ = kLeast;
};

}  // namespace

std::string voice_svg(const std::vector<VoiceEvent>& events, const std::vector<TurnRecord>& turns,
                      const VoiceSound& sound, Time sound_begin) {
  return Picture(events, turns, sound, sound_begin).draw();
}

}  // namespace prosa::cli
