// The Wyoming protocol: events in every split, programs that are right and programs that are not, and prosa as one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "prosa/error.h"
#include "prosa/voice_parts.h"
#include "prosa/wyoming.h"
#include "temp_folder.h"
#include "voice/wyoming/address.h"
#include "voice/wyoming/audio.h"
#include "voice/wyoming/connection.h"
#include "voice/wyoming/event.h"
#include "voice/wyoming/programs.h"

namespace prosa::wyoming {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

template <typename Work>
std::string error_of(ErrorCode code, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(WyomingEvent, EverySplitGivesTheSameEvents) {
  const Event events[] = {{.type = "describe"},
                          {.type = "transcript", .data = {{"text", "größer\n\"x\""}}},
                          {.type = "audio-chunk", .data = {{"rate", 16000}}, .payload = std::string("\0\n{}\xff", 5)},
                          {.type = "audio-stop", .data = json::object(), .payload = "x"}};
  std::string bytes;
  for (const Event& event : events) bytes += encode(event);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    for (const size_t step : {size_t{1}, size_t{7}, bytes.size()}) {
      EventReader reader("test");
      std::vector<Event> read;
      const auto push = [&](std::string_view piece) {
        for (size_t at = 0; at < piece.size(); at += step) {
          reader.push(piece.substr(at, step));
          while (auto event = reader.next()) read.push_back(std::move(*event));
        }
      };
      push(std::string_view(bytes).substr(0, cut));
      push(std::string_view(bytes).substr(cut));
      ASSERT_EQ(read.size(), std::size(events));
      for (size_t i = 0; i < read.size(); ++i) {
        EXPECT_EQ(read[i].type, events[i].type);
        EXPECT_EQ(read[i].data, events[i].data);
        EXPECT_EQ(read[i].payload, events[i].payload);
      }
      EXPECT_EQ(reader.pending(), 0U);
    }
  }
}

TEST(WyomingEvent, DataInTheLineAndBehindItAreOne) {
  EventReader reader("test");
  reader.push("{\"type\":\"x\",\"data\":{\"a\":1,\"b\":2},\"data_length\":7,\"payload_length\":null}\n{\"b\":3}");
  const auto event = reader.next();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->data, (json{{"a", 1}, {"b", 3}}));
}

TEST(WyomingEvent, LiesAndDamageAreTypedErrors) {
  const char* bad[] = {"\n",
                       "hello\n",
                       "[]\n",
                       "{}\n",
                       "{\"type\":1}\n",
                       "{\"type\":\"x\",\"data\":[]}\n",
                       "{\"type\":\"x\",\"data_length\":-1}\n",
                       "{\"type\":\"x\",\"data_length\":\"1\"}\n",
                       "{\"type\":\"x\",\"data_length\":1.5}\n",
                       "{\"type\":\"x\",\"data_length\":1048577}\n",
                       "{\"type\":\"x\",\"payload_length\":18446744073709551615}\n",
                       "{\"type\":\"x\",\"payload_length\":99999999999999999999999}\n",
                       "{\"type\":\"x\",\"data_length\":2}\n[]",
                       "{\"type\":\"x\",\"data_length\":2}\n\xff\xff"};
  for (const char* bytes : bad) {
    EventReader reader("peer");
    reader.push(bytes);
    EXPECT_THAT(error_of(ErrorCode::io, [&] { reader.next(); }), HasSubstr("peer")) << bytes;
  }
  EventReader reader("peer");
  reader.push(std::string((1 << 20) + 1, ' '));
  error_of(ErrorCode::io, [&] { reader.next(); });
}

TEST(WyomingEvent, NoBytesCrashTheReader) {
  std::mt19937 random(1);
  const std::string good = encode({.type = "audio-chunk", .data = {{"rate", 16000}}, .payload = "abcd"});
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = good + good;
    for (size_t k = 1 + random() % 3; k > 0; --k) bytes[random() % bytes.size()] = static_cast<char>(random());
    EventReader reader("test", {.line = 1000, .data = 1000, .payload = 1000});
    reader.push(bytes);
    try {
      while (reader.next()) continue;
    } catch (const Error&) {
    }
  }
}

TEST(WyomingAddress, IsReadWhole) {
  EXPECT_EQ(parse_address("tcp://127.0.0.1:10300").port, 10300);
  EXPECT_EQ(parse_address("tcp://[::1]:80").host, "::1");
  EXPECT_EQ(parse_address("unix:///run/x.sock").path, "/run/x.sock");
  EXPECT_THAT(parse_address("stdio:a 'b c' \"d \\\" e\" f\\ g '' $HOME;|*").words,
              ElementsAre("a", "b c", "d \" e", "f g", "", "$HOME;|*"));
  for (const char* bad : {"tcp://host", "tcp://:1", "tcp://h:", "tcp://h:70000", "tcp://h:1x", "unix://relative",
                          "stdio:", "stdio:  ", "stdio:a 'b", "http://x", "''"}) {
    error_of(ErrorCode::invalid_argument, [&] { parse_address(bad); });
  }
  error_of(ErrorCode::invalid_argument, [&] { parse_address("unix:///" + std::string(200, 'x')); });
}

TEST(WyomingAudio, AnyFormatBecomesMonoSixteenBit) {
  AudioDecoder decoder;
  const auto decode = [&](json format, const std::string& bytes) {
    const Event event{.type = "audio-chunk", .data = std::move(format), .payload = bytes};
    decoder.start(event, "peer");
    return decoder.decode(event);
  };
  EXPECT_THAT(decode({{"rate", 8000}, {"width", 2}, {"channels", 1}}, std::string("\1\0\xff\xff", 4)),
              ElementsAre(1, -1));
  EXPECT_THAT(decode({{"rate", 8000}, {"width", 1}, {"channels", 1}}, "\x01\xff"), ElementsAre(256, -256));
  EXPECT_THAT(decode({{"rate", 8000}, {"width", 4}, {"channels", 1}}, std::string("\0\0\5\0", 4)), ElementsAre(5));
  EXPECT_THAT(decode({{"rate", 8000}, {"width", 2}, {"channels", 2}}, std::string("\2\0\4\0", 4)), ElementsAre(3));
  for (const json& bad :
       {json{}, json{{"rate", 0}, {"width", 2}, {"channels", 1}}, json{{"rate", 16000}, {"width", 9}, {"channels", 1}},
        json{{"rate", 16000}, {"width", 2}, {"channels", 1e9}}, json{{"rate", -1}, {"width", 2}, {"channels", 1}}}) {
    error_of(ErrorCode::io, [&] { decode(bad.is_null() ? json::object() : bad, ""); });
  }
}

/// Fast enough for a test, slow enough for a loaded machine.
constexpr Limits kQuick{.connect = 5s, .start = 20s, .answer = 1s, .spare = true};
constexpr Limits kPatient{.connect = 5s, .start = 20s, .answer = 20s, .spare = true};

std::string program(const std::string& words) { return "stdio:'" PROSA_WYOMING_PROGRAM "' " + words; }

std::string hear(SpeechToText& ears, size_t samples = 3200) {
  ears.begin();
  const std::vector<int16_t> sound(samples, 100);
  ears.push(sound);
  return ears.end();
}

TEST(WyomingSpeechToText, GivesTheTranscript) {
  const auto ears = make_speech_to_text(program("asr"), "en", kPatient);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hear(*ears), "heard 6400");
  ears->begin();
  EXPECT_EQ(ears->end(), "heard 0");
  error_of(ErrorCode::invalid_argument, [&] { ears->push({}); });
  ears->begin();
  ears->push(std::vector<int16_t>(100));
  ears->begin();  // the open utterance is forgotten
  EXPECT_EQ(ears->end(), "heard 0");
}

TEST(WyomingSpeechToText, StreamsWhereTheProgramDoes) {
  const auto ears = make_speech_to_text(program("asr partials"), "", kPatient);
  for (int turn = 0; turn < 2; ++turn) {
    ears->begin();
    std::string partial;
    const auto until = Clock::now() + 20s;
    while (partial.size() < 9 && Clock::now() < until) partial = ears->push(std::vector<int16_t>(16));
    EXPECT_THAT(partial, HasSubstr("word word"));
    EXPECT_THAT(ears->end(), HasSubstr("heard"));
  }
}

TEST(WyomingSpeechToText, AProgramThatEndsAfterEachAnswerIsReplaced) {
  const auto ears = make_speech_to_text(program("asr once"), "", kPatient);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hear(*ears), "heard 6400");
}

TEST(WyomingSpeechToText, AProgramMayEndTheTurnItself) {
  const auto ears = make_speech_to_text(program("asr ends"), "", kPatient);
  ears->begin();
  const auto until = Clock::now() + 20s;
  while (ears->push(std::vector<int16_t>(160)) != "done already" && Clock::now() < until)
    std::this_thread::sleep_for(1ms);
  EXPECT_EQ(ears->end(), "done already");
}

TEST(WyomingSpeechToText, WhateverGoesWrongIsATypedErrorInTime) {
  const std::pair<const char*, const char*> ways[] = {{"hang", "hangs"},         {"die", "exit code 3: out of words"},
                                                      {"crash", "signal 6"},     {"error", "no voice today (tired)"},
                                                      {"wrong", "'detection'"},  {"noise", "not valid JSON"},
                                                      {"lie", "payload_length"}, {"short", "gone"},
                                                      {"flood", "unknown types"}};
  for (const auto& [way, said] : ways) {
    const auto ears = make_speech_to_text(program(std::string("asr ") + way), "", kQuick);
    for (int i = 0; i < 2; ++i) {  // an engine that failed starts anew
      const auto start = Clock::now();
      EXPECT_THAT(error_of(ErrorCode::io, [&] { hear(*ears); }), HasSubstr(said)) << way;
      EXPECT_LT(Clock::now() - start, 10s) << way;
    }
  }
}

TEST(WyomingSpeechToText, AProgramThatTakesNothingMoreIsATypedError) {
  const auto ears = make_speech_to_text(program("asr deaf"), "", kQuick);
  EXPECT_THAT(error_of(ErrorCode::io, [&] { hear(*ears, 16000 * 60); }), HasSubstr("takes nothing more"));
}

TEST(WyomingSpeechToText, CancelEndsAWaitAndTheNextUtteranceWorks) {
  const auto ears = make_speech_to_text(program("asr hang"), "", kPatient);
  for (int i = 0; i < 2; ++i) {
    std::thread canceller([&] {
      std::this_thread::sleep_for(50ms);
      ears->cancel();
    });
    const auto start = Clock::now();
    error_of(ErrorCode::cancelled, [&] { hear(*ears); });
    EXPECT_LT(Clock::now() - start, 10s);
    canceller.join();
    error_of(ErrorCode::cancelled, [&] { ears->push({}); });
  }
}

TEST(WyomingProgram, WhatCantBeUsedIsSaidAtOnce) {
  EXPECT_THAT(error_of(ErrorCode::unsupported, [] { make_speech_to_text(program("tts"), "", kPatient); }),
              HasSubstr("tts"));
  EXPECT_THAT(error_of(ErrorCode::io, [] { make_speech_to_text(program("asr describe-die"), "", kPatient); }),
              HasSubstr("exit code 3"));
  error_of(ErrorCode::io, [] { make_speech_to_text(program("asr describe-hang"), "", {.start = 500ms}); });
  error_of(ErrorCode::not_found, [] { make_speech_to_text("stdio:no-such-program-anywhere", "", kPatient); });
  error_of(ErrorCode::io, [] { make_speech_to_text("tcp://127.0.0.1:1", "", kPatient); });
  error_of(ErrorCode::io, [] { make_speech_to_text("unix:///no/such/socket", "", kPatient); });
}

TEST(WyomingProgram, NoProgramIsLeftBehind) {
  const auto children = [] {
    std::set<std::string> found;
    std::ifstream file("/proc/self/task/" + std::to_string(::getpid()) + "/children");
    for (std::string pid; file >> pid;) found.insert(pid);
    return found;
  };
  if (!std::filesystem::exists("/proc/self/task/" + std::to_string(::getpid()) + "/children")) {
    GTEST_SKIP() << "the kernel does not list children";
  }
  const auto before = children();
  {
    const auto ears = make_speech_to_text(program("asr"), "", kPatient);
    hear(*ears);
    EXPECT_EQ(children().size(), before.size() + 2);  // it and its spare
  }
  EXPECT_EQ(children(), before);
}

TEST(WyomingTextToSpeech, GivesTheSound) {
  for (const char* way : {"tts", "tts partials"}) {
    const auto mouth = make_text_to_speech(program(way), "", kPatient);
    EXPECT_EQ(mouth->rate(), 0);
    for (int i = 0; i < 2; ++i) {
      size_t samples = 0;
      mouth->speak("Hello you", [&](std::span<const int16_t> piece) {
        EXPECT_EQ(mouth->rate(), 22050);
        samples += piece.size();
        return true;
      });
      EXPECT_EQ(samples, 9U);
    }
    mouth->speak("  ", [](std::span<const int16_t>) { return ADD_FAILURE(), true; });
  }
}

TEST(WyomingTextToSpeech, WhateverGoesWrongIsATypedErrorInTime) {
  const std::pair<const char*, const char*> ways[] = {{"hang", "hangs"},         {"die", "exit code 3: out of words"},
                                                      {"crash", "signal 6"},     {"error", "no voice today"},
                                                      {"wrong", "'detection'"},  {"noise", "not valid JSON"},
                                                      {"lie", "payload_length"}, {"endless", "without end"}};
  for (const auto& [way, said] : ways) {
    const auto mouth = make_text_to_speech(program(std::string("tts ") + way), "", kQuick);
    for (int i = 0; i < 2; ++i) {
      size_t samples = 0;
      const auto speak = [&] {
        mouth->speak("Hello you", [&](std::span<const int16_t> piece) { return samples += piece.size(), true; });
      };
      EXPECT_THAT(error_of(ErrorCode::io, speak), HasSubstr(said)) << way;
      EXPECT_GT(samples, 0U) << "what came before the error was given out: " << way;
    }
  }
}

TEST(WyomingTextToSpeech, CancelAndARefusalEndItAndTheNextTextIsSpoken) {
  const auto mouth = make_text_to_speech(program("tts endless"), "", kPatient);
  const std::string text(500, 'x');  // 8 minutes are allowed for it
  int pieces = 0;
  mouth->speak(text, [&](std::span<const int16_t>) { return ++pieces < 3; });
  EXPECT_EQ(pieces, 3);
  std::atomic<bool> begun{false};
  std::thread canceller([&] {
    while (!begun) std::this_thread::yield();
    mouth->cancel();
  });
  mouth->speak(text, [&](std::span<const int16_t>) { return begun = true, true; });
  canceller.join();
  const auto other = make_text_to_speech(program("tts hang"), "", kPatient);  // cancelled in a wait
  std::thread second([&] {
    std::this_thread::sleep_for(100ms);
    other->cancel();
  });
  const auto start = Clock::now();
  other->speak("Hello", [](std::span<const int16_t>) { return true; });
  EXPECT_LT(Clock::now() - start, 10s);
  second.join();
}

WyomingService echo_service() {
  WyomingService service;
  service.handle = [](const WyomingRequest& request, const WyomingService::Piece& piece) {
    if (request.text == "fail") throw Error(ErrorCode::busy, "not now");
    for (const char c : request.text) {
      if (!piece(std::string(1, c))) return;  // half characters too
    }
    piece(" " + request.language + request.conversation);
  };
  return service;
}

struct Client {
  explicit Client(const std::string& address)
      : connection(Connection::open(parse_address(address), wake, Clock::now() + 5s)) {}
  void send(const Event& event) const { connection->send(event, Clock::now() + 5s); }
  Event receive() const { return connection->receive(Clock::now() + 20s).value_or(Event{.type = "closed"}); }
  Wake wake;
  std::unique_ptr<Connection> connection;
};

TEST(WyomingListener, AnswersInPieces) {
  const TempFolder folder;
  const std::string path = "unix://" + (folder.path() / "s").string();
  WyomingListener tcp("tcp://127.0.0.1:0", echo_service()), local(path, echo_service());
  for (const std::string& address : {"tcp://127.0.0.1:" + std::to_string(tcp.port()), path}) {
    const Client client(address);
    client.send({.type = "describe"});
    const Event info = client.receive();
    EXPECT_EQ(info.type, "info");
    EXPECT_TRUE(info.data["handle"][0]["supports_handled_streaming"]);
    EXPECT_TRUE(info.data["asr"].empty());
    client.send({.type = "something-new"});
    for (int turn = 0; turn < 2; ++turn) {
      const json context = {{"conversation_id", "c7"}, {"device", 1}};
      client.send({.type = "transcript", .data = {{"text", "größ"}, {"language", "de"}, {"context", context}}});
      Event event = client.receive();
      EXPECT_EQ(event.type, "handled-start");
      EXPECT_EQ(event.data["context"], context);
      std::string text;
      for (event = client.receive(); event.type == "handled-chunk"; event = client.receive())
        text += event.text("text");
      EXPECT_EQ(text, "größ dec7");
      EXPECT_EQ(event.type, "handled");
      EXPECT_EQ(event.text("text"), text);
      EXPECT_EQ(event.data["context"], context);
      EXPECT_EQ(client.receive().type, "handled-stop");
    }
    client.send({.type = "transcript", .data = {{"text", "fail"}}});
    const Event error = client.receive();
    EXPECT_EQ(error.type, "error");
    EXPECT_EQ(error.text("code"), "busy");
    client.send({.type = "transcript", .data = {{"text", 7}}});  // no text at all
    EXPECT_EQ(client.receive().type, "handled-start");
  }
}

TEST(WyomingListener, ADamagedClientIsClosedAndOthersAreServed) {
  WyomingListener wide("tcp://127.0.0.1:0", echo_service());
  for (int i = 0; i < 5; ++i) {
    const Client client("tcp://127.0.0.1:" + std::to_string(wide.port()));
    client.send({.type = std::string("x\ny", 3), .data = json::object(), .payload = "no event begins after this"});
    client.send({.type = "describe"});
    EXPECT_EQ(client.receive().type, "info");
  }
  WyomingListener listener("tcp://127.0.0.1:0", echo_service(), {.connections = 2, .idle = 300ms});
  const std::string address = "tcp://127.0.0.1:" + std::to_string(listener.port());
  const Client silent(address);
  EXPECT_EQ(silent.receive().type, "closed");  // idle
  {
    const Client a(address), b(address);
    a.send({.type = "describe"});
    b.send({.type = "describe"});
    EXPECT_EQ(a.receive().type, "info");
    EXPECT_EQ(b.receive().type, "info");
    const Client c(address);
    EXPECT_EQ(c.receive().text("code"), "busy");
    EXPECT_EQ(c.receive().type, "closed");
  }
}

TEST(WyomingListener, ASecondOneAtTheSamePlaceIsRefused) {
  const TempFolder folder;
  const std::string path = "unix://" + (folder.path() / "s").string();
  {
    const WyomingListener first("tcp://127.0.0.1:0", echo_service()), local(path, echo_service());
    error_of(ErrorCode::io,
             [&] { WyomingListener("tcp://127.0.0.1:" + std::to_string(first.port()), echo_service()); });
    error_of(ErrorCode::io, [&] { WyomingListener(path, echo_service()); });
    EXPECT_EQ(std::filesystem::status(folder.path() / "s").permissions(), std::filesystem::perms(0600));
  }
  const WyomingListener again(path, echo_service());
  error_of(ErrorCode::invalid_argument, [] { WyomingListener("stdio:cat", echo_service()); });
}

TEST(WyomingListener, AClientThatGoesAwayEndsItsReply) {
  std::atomic<bool> ended{false};
  WyomingService service;
  service.handle = [&](const WyomingRequest&, const WyomingService::Piece& piece) {
    const auto until = Clock::now() + 20s;
    while (piece("") && Clock::now() < until) std::this_thread::sleep_for(1ms);
    ended = Clock::now() < until;
  };
  {
    WyomingListener listener("tcp://127.0.0.1:0", service);
    Client client("tcp://127.0.0.1:" + std::to_string(listener.port()));
    client.send({.type = "transcript", .data = {{"text", "hello"}}});
    std::this_thread::sleep_for(20ms);
    client.connection.reset();
    const auto until = Clock::now() + 20s;
    while (!ended && Clock::now() < until) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(ended);
  }
  ended = false;
  {  // and so does the end of the listener
    WyomingListener listener("tcp://127.0.0.1:0", service);
    const Client client("tcp://127.0.0.1:" + std::to_string(listener.port()));
    client.send({.type = "transcript", .data = {{"text", "hello"}}});
    client.send({.type = "describe"});
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_TRUE(ended);
}

/// Repeats what a client of the listener sent it: 1000 samples are a word.
class Counter final : public SpeechToText {
 public:
  void begin() override { count_ = 0; }
  std::string push(std::span<const int16_t> samples) override { return count_ += samples.size(), std::string(); }
  std::string end() override { return std::to_string((count_ + 500) / 1000) + " words"; }
  void cancel() noexcept override {}

 private:
  size_t count_ = 0;
};
class Beeper final : public TextToSpeech {
 public:
  [[nodiscard]] int rate() const override { return 8000; }
  void speak(std::string_view text, const Sink& sink) override {
    for (const char c : text) {
      if (!sink(std::vector<int16_t>(10, c))) return;
    }
  }
  void cancel() noexcept override {}
};

TEST(WyomingListener, ServesEnginesToItsOwnClient) {
  WyomingService service;
  service.speech_to_text = [] { return std::make_unique<Counter>(); };
  service.text_to_speech = [] { return std::make_unique<Beeper>(); };
  WyomingListener listener("tcp://127.0.0.1:0", service);
  const std::string address = "tcp://127.0.0.1:" + std::to_string(listener.port());
  const auto ears = make_speech_to_text(address, "", kPatient);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(hear(*ears, 5000), "5 words");
  const auto mouth = make_text_to_speech(address, "", kPatient);
  std::vector<int16_t> sound;
  mouth->speak("ab", [&](std::span<const int16_t> piece) {
    return sound.insert(sound.end(), piece.begin(), piece.end()), true;
  });
  std::vector<int16_t> expected(10, 'a');
  expected.resize(20, 'b');
  EXPECT_EQ(sound, expected);
  EXPECT_EQ(mouth->rate(), 8000);
}

}  // namespace
}  // namespace prosa::wyoming
