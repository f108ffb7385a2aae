// Wyoming programs as parts of a conversation: the spare that takes over, voice activity; and clients of prosa's own
// service that take nothing, lie or flood.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "prosa/voice_parts.h"
#include "prosa/wyoming.h"
#include "voice/wyoming/connection.h"
#include "voice/wyoming/programs.h"

namespace prosa::wyoming {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr Limits kPatient{.connect = 5s, .start = 20s, .answer = 20s, .spare = true};

std::string program(const std::string& words) { return "stdio:'" PROSA_WYOMING_PROGRAM "' " + words; }

size_t spoken(TextToSpeech& mouth) {
  size_t samples = 0;
  mouth.speak("Hello", [&](std::span<const int16_t> piece) { return samples += piece.size(), true; });
  return samples;
}

void interrupt(TextToSpeech& mouth) {
  mouth.speak("Hello", [](std::span<const int16_t>) { return false; });
}

// The program takes 0.8 s to start.
TEST(WyomingSpare, AProgramThatWasKilledCostsNoStart) {
  const auto mouth = make_text_to_speech(program("tts slow"), "", kPatient);
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(2000ms);  // the spare of the spare starts as well
    interrupt(*mouth);
    const auto start = Clock::now();
    EXPECT_EQ(spoken(*mouth), 5U);
    EXPECT_LT(Clock::now() - start, 700ms);
  }
}

TEST(WyomingSpare, AStartMayTakeLongerThanAnAnswer) {
  for (const bool spare : {false, true}) {
    const auto mouth = make_text_to_speech(program("tts slow"), "", {.start = 20s, .answer = 400ms, .spare = spare});
    interrupt(*mouth);
    EXPECT_EQ(spoken(*mouth), 5U);  // of a program that is still starting
  }
}

TEST(WyomingSpare, OneThatDiedIsReplaced) {
  const auto ears = make_speech_to_text(program("asr once"), "", kPatient);  // each program answers once
  for (int i = 0; i < 4; ++i) {
    ears->begin();
    ears->push(std::vector<int16_t>(100));
    EXPECT_EQ(ears->end(), "heard 200");
  }
}

/// Says always the same, which no program does.
class Fixed final : public VoiceActivity {
 public:
  float process(std::span<int16_t> heard, std::span<const int16_t>) override {
    for (int16_t& sample : heard) sample = static_cast<int16_t>(-sample);  // what the program gets is what it cleaned
    return 0.25F;
  }
  void reset() override {}
};

std::unique_ptr<VoiceActivity> detector(const std::string& how, const Limits& limits = kPatient) {
  return make_voice_activity(program("vad " + how), std::make_unique<Fixed>(), limits);
}

float process(VoiceActivity& activity, int16_t level) {
  std::vector<int16_t> heard(kFrameSamples, level);
  const std::vector<int16_t> played(kFrameSamples);
  const float sureness = activity.process(heard, played);
  EXPECT_EQ(heard[0], static_cast<int16_t>(-level));
  std::this_thread::sleep_for(1ms);
  return sureness;
}

/// Whether `level` comes to be taken for that; a program may be lost on the way.
bool comes_to(VoiceActivity& activity, int16_t level, float sureness) {
  const auto until = Clock::now() + 20s;
  while (Clock::now() < until) {
    try {
      if (process(activity, level) == sureness) return true;
    } catch (const Error&) {
      continue;
    }
  }
  return false;
}

TEST(WyomingVoiceActivity, TheProgramDecides) {
  const auto activity = detector("");
  EXPECT_TRUE(comes_to(*activity, 0, 0.0F));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(comes_to(*activity, 8000, 1.0F));
    EXPECT_TRUE(comes_to(*activity, 0, 0.0F));
  }
  EXPECT_TRUE(comes_to(*activity, 8000, 1.0F));
  activity->reset();
  EXPECT_EQ(process(*activity, 0), 0.0F);
}

std::string loses(VoiceActivity& activity) {
  const auto until = Clock::now() + 20s;
  while (Clock::now() < until) {
    try {
      process(activity, 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      return error.what();
    }
  }
  return "nothing was lost";
}

TEST(WyomingVoiceActivity, WhatGoesWrongIsToldAndTheBuiltInOneDecides) {
  const std::pair<const char*, const char*> ways[] = {{"die", "exit code 3: out of words"}, {"crash", "signal 6"},
                                                      {"error", "no voice today (tired)"},  {"wrong", "'detection'"},
                                                      {"noise", "not valid JSON"},          {"lie", "payload_length"},
                                                      {"flood", "unknown types"},           {"hang", "hangs"}};
  for (const auto& [way, said] : ways) {
    const auto activity = detector(way, {.start = 20s, .answer = 300ms});
    EXPECT_THAT(loses(*activity), HasSubstr(said)) << way;
    EXPECT_TRUE(comes_to(*activity, 8000, 0.25F)) << way;
  }
}

TEST(WyomingVoiceActivity, AProgramThatCameBackDecidesAgain) {
  const auto activity = detector("die");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(loses(*activity), HasSubstr("out of words"));
    EXPECT_TRUE(comes_to(*activity, 0, 0.0F));
  }
}

TEST(WyomingVoiceActivity, IsMadeByItsAddress) {
  EXPECT_NE(prosa::make_voice_activity(program("vad")), nullptr);
  EXPECT_THROW(prosa::make_voice_activity("stdio:no-such-program-anywhere"), Error);
  EXPECT_THROW(prosa::make_voice_activity("tcp://127.0.0.1:1"), Error);
}

struct Client {
  explicit Client(const WyomingListener& listener)
      : connection(Connection::open(parse_address("tcp://127.0.0.1:" + std::to_string(listener.port())), wake,
                                    Clock::now() + 5s)) {}
  Wake wake;
  std::unique_ptr<Connection> connection;
};

/// A socket that says what it wants.
int reach(const WyomingListener& listener) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(listener.port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  return socket;
}

TEST(WyomingService, AClientThatTakesNothingEndsItsReply) {
  std::atomic<bool> ended{false};
  WyomingService service;
  service.handle = [&](const WyomingRequest&, const WyomingService::Piece& piece) {
    const std::string text(100'000, 'x');
    try {
      while (piece(text)) continue;
    } catch (const Error&) {
      ended = true;
      throw;
    }
    ended = true;
  };
  WyomingListener listener("tcp://127.0.0.1:0", service, {.answer = 300ms});
  const Client client(listener);
  client.connection->send({.type = "transcript", .data = {{"text", "hello"}}}, Clock::now() + 5s);
  const auto until = Clock::now() + 20s;
  while (!ended && Clock::now() < until) std::this_thread::sleep_for(5ms);
  EXPECT_TRUE(ended);
}

/// One that begins an event and leaves it so keeps no place for others, whether its line or its payload is missing.
TEST(WyomingService, AnEventThatIsNotSentWholeEndsItsConnection) {
  WyomingListener listener("tcp://127.0.0.1:0", {}, {.connections = 1, .answer = 200ms});
  for (const std::string& bytes :
       {std::string("{\"type\":\"tran"), std::string("{\"type\":\"x\",\"payload_length\":9}\n"),
        std::string("{\"type\":\"x\",\"payload_length\":9}\nabc")}) {
    const int socket = reach(listener);
    ASSERT_EQ(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
    char byte = 0;
    EXPECT_LE(::recv(socket, &byte, 1, 0), 0) << bytes;
    ::close(socket);
  }
  const Client good(listener);
  std::this_thread::sleep_for(500ms);
  good.connection->send({.type = "describe"}, Clock::now() + 5s);
  EXPECT_EQ(good.connection->receive(Clock::now() + 20s).value_or(Event{}).type, "info") << "silence is no event";
}

TEST(WyomingService, AClientThatLiesOrFloodsIsClosed) {
  std::atomic<int> handled{0};
  WyomingService service;
  service.handle = [&](const WyomingRequest&, const WyomingService::Piece&) { ++handled; };
  WyomingListener listener("tcp://127.0.0.1:0", service);
  const std::string floods[] = {"{\"type\":\"transcript\",\"payload_length\":99999999999}\n",
                                "{\"type\":\"transcript\",\"data_length\":-1}\n", std::string(2 << 20, ' '),
                                "not JSON\n", "{\"type\":\"transcript\",\"data\":" + std::string(5000, '[')};
  for (const std::string& bytes : floods) {
    const int socket = reach(listener);
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = ::send(socket, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;  // closed already
      at += static_cast<size_t>(sent);
    }
    ::shutdown(socket, SHUT_WR);
    char byte = 0;
    EXPECT_LE(::recv(socket, &byte, 1, 0), 0) << bytes.substr(0, 60);  // nothing is answered
    ::close(socket);
  }
  EXPECT_EQ(handled, 0);
  const Client good(listener);
  good.connection->send({.type = "describe"}, Clock::now() + 5s);
  EXPECT_EQ(good.connection->receive(Clock::now() + 20s).value_or(Event{}).type, "info");
}

}  // namespace
}  // namespace prosa::wyoming
