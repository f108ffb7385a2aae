// Synthesis by a Wyoming program: synthesize → audio-start, audio-chunk …, audio-stop.
//
// A program that takes text in pieces is spoken to in that way (synthesize-start, -chunk, -stop), which lets it give
// out its first sentence while it makes the second; it ends with synthesize-stopped, after any number of pieces of
// sound.
#include <atomic>
#include <utility>

#include "prosa/error.h"
#include "voice/wyoming/audio.h"
#include "voice/wyoming/program.h"

namespace prosa::wyoming {
namespace {

constexpr int64_t kMaxSecondsBefore = 10;  // of sound that a program may make of any text,
constexpr int64_t kMaxSecondsOfByte = 1;   // and for each byte of it

class WyomingTextToSpeech final : public TextToSpeech {
 public:
  WyomingTextToSpeech(const std::string& address, std::string voice, const Limits& limits)
      : program_(address, "tts", limits),
        voice_(std::move(voice)),
        streams_(program_.offers("supports_synthesize_streaming")) {}

  [[nodiscard]] int rate() const override { return rate_; }

  void speak(std::string_view text, const Sink& sink) override {
    if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
    program_.clear_cancel();
    given_ = 0;
    try {
      try {
        ask(text);
        listen(static_cast<int64_t>(text.size()), sink);
      } catch (const PeerEnded&) {
        if (given_ > 0) throw;
        program_.drop();  // another program may do better, once
        ask(text);
        listen(static_cast<int64_t>(text.size()), sink);
      }
    } catch (const Error& error) {
      program_.drop();
      if (error.code() != ErrorCode::cancelled) throw;
    } catch (...) {
      program_.drop();
      throw;
    }
  }

  void cancel() noexcept override { program_.cancel(); }

 private:
  void ask(std::string_view text) {
    nlohmann::json voice = nlohmann::json::object();
    if (!voice_.empty()) voice["voice"]["name"] = voice_;
    if (streams_) {
      connection_ = &program_.request({.type = "synthesize-start", .data = voice});
      connection_->send({.type = "synthesize-chunk", .data = {{"text", text}}}, program_.answer_deadline());
      connection_->send({.type = "synthesize-stop"}, program_.answer_deadline());
    } else {
      voice["text"] = text;
      connection_ = &program_.request({.type = "synthesize", .data = voice});
    }
  }

  void listen(int64_t bytes, const Sink& sink) {
    AudioDecoder decoder;
    for (bool started = false;;) {
      const auto event = connection_->receive(program_.answer_deadline());
      if (!event) connection_->fail_ended();
      if (event->type == "audio-start" || (event->type == "audio-chunk" && !started)) {
        decoder.start(*event, program_.name());
        if (given_ > 0 && decoder.rate() != rate_) connection_->fail("changes its sample rate in the middle of a text");
        rate_ = decoder.rate();
        started = true;
      }
      if (event->type == "audio-chunk") {
        const auto samples = decoder.decode(*event);
        given_ += static_cast<int64_t>(samples.size());
        if (given_ > rate_ * (kMaxSecondsBefore + kMaxSecondsOfByte * bytes)) connection_->fail("speaks without end");
        if (!samples.empty() && !sink(samples)) break;
        if (program_.cancelled()) break;
      } else if (event->type == (streams_ ? "synthesize-stopped" : "audio-stop")) {
        program_.finish();
        return;
      } else if (event->type != "audio-start" && event->type != "audio-stop" && event->type != "synthesize-stopped") {
        program_.refuse(*event);
      }
    }
    program_.drop();  // what else it makes is not wanted
  }

  Program program_;
  std::string voice_;
  bool streams_;
  std::atomic<int> rate_{0};
  Connection* connection_ = nullptr;
  int64_t given_ = 0;  // samples of this text
};

}  // namespace

std::unique_ptr<TextToSpeech> make_text_to_speech(const std::string& address, const std::string& voice,
                                                  const Limits& limits) {
  return std::make_unique<WyomingTextToSpeech>(address, voice, limits);
}

}  // namespace prosa::wyoming
