// Recognition by a Wyoming program: transcribe, audio-start, audio-chunk …, audio-stop → transcript.
//
// A program that streams sends transcript-start and transcript-chunk meanwhile, whose texts follow one another: the
// transcript so far only grows. Others give nothing before the end. The sound of the utterance is kept: when the
// program ends in the middle of it, another one hears it from the beginning, once.
#include <algorithm>
#include <atomic>
#include <utility>

#include "prosa/error.h"
#include "voice/wyoming/audio.h"
#include "voice/wyoming/program.h"

namespace prosa::wyoming {
namespace {

constexpr size_t kChunk = kHeardRate / 10;             // samples of one audio-chunk
constexpr size_t kMaxKept = size_t{120} * kHeardRate;  // samples for another program
constexpr size_t kMaxTranscript = size_t{256} << 10;   // bytes: a day of speech

std::string stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

class WyomingSpeechToText final : public SpeechToText {
 public:
  WyomingSpeechToText(const std::string& address, const std::string& language, const Limits& limits)
      : program_(address, "asr", limits), language_(language) {}

  void begin() override {
    if (open_) drop();  // the last utterance was left open: what it has to say is not wanted
    cancelled_ = false;
    program_.clear_cancel();
    sound_.clear();
    dropped_ = 0;
    again_ = false;
    open_ = true;
    guarded([] {});
  }

  std::string push(std::span<const int16_t> samples) override {
    require_open();
    if (final_) return stripped(*final_);  // the program ended the turn itself
    sound_.insert(sound_.end(), samples.begin(), samples.end());
    guarded([&] {
      send_sound();
      if (!final_ && connection_->ended()) connection_->fail_ended();
    });
    return stripped(final_.value_or(partial_));
  }

  std::string end() override {
    require_open();
    guarded([&] {
      send_sound();
      if (!final_) connection_->send(audio_stop(), program_.answer_deadline());
      while (!final_) {
        const auto event = connection_->receive(program_.answer_deadline());
        if (!event) connection_->fail_ended();
        take(*event);
      }
    });
    open_ = false;
    connection_ = nullptr;
    program_.finish();
    return stripped(*final_);
  }

  void cancel() noexcept override {
    cancelled_ = true;
    program_.cancel();
  }

 private:
  void take(const Event& event) {
    if (event.type == "transcript") {
      final_ = event.text("text");
    } else if (event.type == "transcript-start") {
      partial_.clear();
      streams_ = true;
    } else if (event.type == "transcript-chunk" && streams_) {
      partial_ += event.text("text");
    } else if (event.type == "transcript-stop") {
      if (streams_) final_ = partial_;  // else it closes the utterance before this one
    } else if (event.type != "voice-started" && event.type != "voice-stopped") {
      program_.refuse(event);
    }
    if (std::max(partial_.size(), final_.value_or("").size()) > kMaxTranscript) {
      connection_->fail("sends a transcript without end");
    }
  }

  void start() {
    partial_.clear();
    final_.reset();
    streams_ = false;
    sent_ = 0;
    Event transcribe{.type = "transcribe"};
    if (!language_.empty()) transcribe.data["language"] = language_;
    connection_ = &program_.request(transcribe);
    connection_->send(audio_start(kHeardRate), program_.answer_deadline());
  }

  void send_sound() {
    while (sent_ < sound_.size() && !final_) {
      const auto chunk = std::span(sound_).subspan(sent_, std::min(kChunk, sound_.size() - sent_));
      connection_->send(audio_chunk(chunk, kHeardRate), program_.answer_deadline());
      sent_ += chunk.size();
      while (auto event = connection_->poll()) take(*event);
    }
    if (sound_.size() <= kMaxKept) return;
    dropped_ += sent_;
    sound_.erase(sound_.begin(), sound_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }

  /// `work` on a connection; after an error that is of no use, and the utterance is over.
  template <typename Work>
  void guarded(const Work& work) {
    try {
      try {
        if (connection_ == nullptr) start();
        work();
      } catch (const PeerEnded&) {
        if (std::exchange(again_, true) || dropped_ > 0) throw;
        drop();
        open_ = true;
        start();
        work();
      }
    } catch (...) {
      drop();
      throw;
    }
  }
  void drop() noexcept {
    open_ = false;
    connection_ = nullptr;
    program_.drop();
  }
  void require_open() {
    if (cancelled_) {
      drop();
      throw Error(ErrorCode::cancelled, "recognition was cancelled", program_.name());
    }
    if (!open_) throw Error(ErrorCode::invalid_argument, "no utterance was begun", program_.name());
  }

  Program program_;
  std::string language_;
  std::atomic<bool> cancelled_{false};
  bool open_ = false;                 // between begin() and end()
  Connection* connection_ = nullptr;  // of the open utterance; null: none yet
  std::vector<int16_t> sound_;        // of the utterance, but for the first dropped_ samples
  size_t sent_ = 0;                   // of sound_, on this connection
  size_t dropped_ = 0;
  bool again_ = false;  // a second program hears it
  std::string partial_;
  std::optional<std::string> final_;
  bool streams_ = false;  // transcript-start came
};

}  // namespace

std::unique_ptr<SpeechToText> make_speech_to_text(const std::string& address, const std::string& language,
                                                  const Limits& limits) {
  return std::make_unique<WyomingSpeechToText>(address, language, limits);
}

}  // namespace prosa::wyoming
