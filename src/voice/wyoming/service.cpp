// Answering describe, transcript, transcribe and synthesize.
#include "voice/wyoming/service.h"

#include <exception>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "prosa/error.h"
#include "voice/resample.h"
#include "voice/wyoming/audio.h"

namespace prosa::wyoming {
namespace {

using nlohmann::json;

constexpr int64_t kMaxHeardSeconds = 600;  // of one utterance

/// An engine of a pool that goes back into it, unless an error passed.
template <typename Engine>
class Lent {
 public:
  Lent(Pool<Engine>& pool, const std::function<std::unique_ptr<Engine>()>& make)
      : pool_(pool), engine_(pool.take(make)), errors_(std::uncaught_exceptions()) {}
  ~Lent() {
    if (std::uncaught_exceptions() == errors_) pool_.give(std::move(engine_));
  }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  Engine* operator->() const noexcept { return engine_.get(); }

 private:
  Pool<Engine>& pool_;
  std::unique_ptr<Engine> engine_;
  int errors_;
};

class Conversation {
 public:
  Conversation(Connection& connection, Shared& shared, uint64_t number)
      : connection_(connection), shared_(shared), number_(number) {}

  void run() {
    while (auto event = receive()) answer(*event);
  }

 private:
  std::optional<Event> receive() {
    return connection_.receive(Clock::now() + shared_.limits.idle, shared_.limits.answer);
  }
  void send(const Event& event) { connection_.send(event, Clock::now() + shared_.limits.answer); }

  void answer(const Event& event) {
    const WyomingService& service = shared_.service;
    try {
      if (event.type == "describe") {
        send({.type = "info", .data = info()});
      } else if (event.type == "ping") {
        send({.type = "pong", .data = event.data});
      } else if (event.type == "transcript" && service.handle) {
        handle(event);
      } else if (event.type == "transcribe" && service.speech_to_text) {
        recognise();
      } else if (event.type == "synthesize" && service.text_to_speech) {
        speak(event);
      }
      // Others are dropped, as the protocol asks.
    } catch (const Error& error) {
      if (lost_) throw;
      send({.type = "error", .data = {{"text", error.what()}, {"code", to_string(error.code())}}});
    } catch (const std::exception& error) {
      if (lost_) throw;
      send({.type = "error", .data = {{"text", error.what()}}});
    }
  }

  /// A wait on the connection inside an answer: its errors end the connection, not the answer.
  template <typename Work>
  auto on_connection(const Work& work) {
    try {
      return work();
    } catch (...) {
      lost_ = true;
      throw;
    }
  }

  [[nodiscard]] json artifact(const std::string& name, const std::string& description) const {
    return {{"name", name},
            {"attribution", {{"name", "prosa"}, {"url", ""}}},
            {"installed", true},
            {"description", description},
            {"version", nullptr}};
  }

  [[nodiscard]] json program(const char* models, const char* streams, bool streaming) const {
    const WyomingService& service = shared_.service;
    json model = artifact(service.name, service.description);
    model["languages"] = service.languages;
    json entry = artifact(service.name, service.description);
    entry[models] = json::array({model});
    entry[streams] = streaming;
    return json::array({entry});
  }

  [[nodiscard]] json info() const {
    json all;
    for (const char* none : {"asr", "tts", "handle", "intent", "wake", "mic", "snd"}) all[none] = json::array();
    if (shared_.service.handle) all["handle"] = program("models", "supports_handled_streaming", true);
    if (shared_.service.speech_to_text) all["asr"] = program("models", "supports_transcript_streaming", false);
    if (shared_.service.text_to_speech) all["tts"] = program("voices", "supports_synthesize_streaming", false);
    return all;
  }

  void handle(const Event& event) {
    const json context = event.data.value("context", json());
    WyomingRequest request{
        .text = event.text("text"), .language = event.text("language"), .conversation = {}, .connection = number_};
    json own = json::object();  // what every answer repeats
    if (context.is_object()) {
      request.conversation = Event{.type = {}, .data = context}.text("conversation_id");
      own["context"] = context;
    }
    bool started = false;
    std::string reply, begun;  // begun: a character whose end has yet to come
    const auto piece = [&](std::string_view text) {
      if (gone()) return false;
      begun += text;
      std::string whole;
      begun.erase(0, utf8::append_complete(whole, begun));
      if (whole.empty()) return true;
      if (!std::exchange(started, true)) on_connection([&] { send({.type = "handled-start", .data = own}); });
      on_connection([&] { send({.type = "handled-chunk", .data = {{"text", whole}}}); });
      reply += whole;
      return true;
    };
    shared_.service.handle(request, piece);
    if (gone()) return;
    if (!started) send({.type = "handled-start", .data = own});
    json handled = own;
    handled["text"] = reply;
    send({.type = "handled", .data = handled});
    send({.type = "handled-stop"});
  }

  /// Whether the client closed the connection or prosa is ending.
  bool gone() {
    lost_ = lost_ || connection_.cancelled() || connection_.gone();
    return lost_;
  }

  void recognise() {
    const Lent engine(shared_.ears, shared_.service.speech_to_text);
    AudioDecoder decoder;
    std::optional<voice::Resampler> resampler;
    int64_t heard = 0;
    engine->begin();
    while (true) {
      const auto event = on_connection([&] { return receive(); });
      if (!event || event->type == "audio-stop") break;
      if (event->type == "audio-start" || (event->type == "audio-chunk" && decoder.rate() == 0)) {
        decoder.start(*event, connection_.peer());
        resampler.emplace(decoder.rate(), kHeardRate);
      }
      if (event->type != "audio-chunk") continue;
      const auto samples = resampler->push(decoder.decode(*event));
      heard += static_cast<int64_t>(samples.size());
      if (heard > kMaxHeardSeconds * kHeardRate) {
        throw Error(ErrorCode::invalid_argument,
                    "the utterance is longer than " + std::to_string(kMaxHeardSeconds) + " seconds");
      }
      engine->push(samples);
    }
    if (resampler) engine->push(resampler->push({}, true));
    const std::string text = engine->end();
    on_connection([&] { send({.type = "transcript", .data = {{"text", text}}}); });
  }

  void speak(const Event& event) {
    const Lent engine(shared_.mouths, shared_.service.text_to_speech);
    int rate = 0;  // 0: nothing was sent yet
    const auto begin = [&](int samples_a_second) {
      rate = samples_a_second;
      on_connection([&] { send(audio_start(rate)); });
    };
    engine->speak(event.text("text"), [&](std::span<const int16_t> samples) {
      if (rate == 0) begin(engine->rate());
      on_connection([&] { send(audio_chunk(samples, rate)); });
      return !gone();
    });
    if (rate == 0) begin(engine->rate() > 0 ? engine->rate() : kHeardRate);
    on_connection([&] { send(audio_stop()); });
  }

  Connection& connection_;
  Shared& shared_;
  const uint64_t number_;
  bool lost_ = false;  // the connection is of no use any more
};

}  // namespace

void serve(Connection& connection, Shared& shared, uint64_t number) noexcept {
  try {
    Conversation(connection, shared, number).run();
  } catch (const std::exception&) {
    // The client hangs, went away or does not speak Wyoming: there is nobody to tell.
  }
}

}  // namespace prosa::wyoming
