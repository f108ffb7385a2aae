// Connections, the first question, and the spare.
#include "voice/wyoming/program.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "prosa/error.h"

namespace prosa::wyoming {
namespace {

constexpr int kMaxOverlooked = 100;   // events of unknown types in one request
constexpr size_t kMaxPeerText = 300;  // bytes of a peer's words in a message

/// What a peer says of an error, cut to what a message can hold.
std::string said(const Event& event) {
  std::string text = event.text("text").substr(0, kMaxPeerText);
  const std::string code = event.text("code").substr(0, kMaxPeerText);
  if (text.empty()) text = "no reason given";
  return code.empty() ? text : text + " (" + code + ")";
}

/// Types that answer some question, and are wrong where another was asked.
constexpr std::array<std::string_view, 22> kAnswers = {
    "transcript",   "transcript-start", "transcript-chunk", "audio-start",       "audio-chunk", "audio-stop",
    "synthesize",   "synthesize-start", "synthesize-chunk", "synthesize-stop",   "transcribe",  "info",
    "handled",      "handled-start",    "handled-chunk",    "not-handled",       "intent",      "not-recognized",
    "handled-stop", "detection",        "not-detected",     "synthesize-stopped"};

}  // namespace

Program::Program(const std::string& address, const char* service, const Limits& limits)
    : address_(parse_address(address)), limits_(limits) {
  describe(service);
}

void Program::describe(const char* service) {
  const auto deadline = Clock::now() + limits_.start;
  current_ = connect();
  current_->send({.type = "describe"}, deadline);
  while (offer_.is_null()) {
    auto event = current_->receive(deadline);
    if (!event) current_->fail_ended();
    if (event->type == "error") current_->fail("answers with an error: " + said(*event));
    if (event->type != "info") {
      refuse(*event);
      continue;
    }
    const auto offers = event->data.find(service);
    if (offers == event->data.end() || !offers->is_array() || offers->empty() || !offers->front().is_object()) {
      std::string others;
      for (const auto& [key, value] : event->data.items()) {
        if (value.is_array() && !value.empty()) others += (others.empty() ? "" : ", ") + key.substr(0, kMaxPeerText);
      }
      throw Error(ErrorCode::unsupported, std::string("offers no ") + service, address_.text,
                  "it offers: " + (others.empty() ? std::string("nothing") : others));
    }
    offer_ = std::move(offers->front());
  }
  finish();
}

bool Program::offers(const char* key) const {
  const auto found = offer_.find(key);
  return found != offer_.end() && found->is_boolean() && found->get<bool>();
}

std::unique_ptr<Connection> Program::connect() {
  return Connection::open(address_, wake_, Clock::now() + limits_.connect);
}

void Program::start_spare() {
  if (address_.kind == Address::Kind::child && limits_.spare && !spare_) spare_ = connect();
}

Connection& Program::request(const Event& first) {
  overlooked_ = 0;
  if (current_ && current_->ended()) current_.reset();  // since the last request
  if (!current_ && spare_) current_ = std::move(spare_);
  if (!current_) current_ = connect();
  current_->send(first, answer_deadline());
  start_spare();
  return *current_;
}

void Program::finish() noexcept {
  if (address_.kind != Address::Kind::child) current_.reset();
}

void Program::drop() noexcept {
  if (current_) current_->abandon();
  current_.reset();
}

void Program::refuse(const Event& event) {
  if (event.type == "error") current_->fail("reports an error: " + said(event));
  if (std::ranges::find(kAnswers, event.type) != kAnswers.end()) {
    current_->fail("sent '" + event.type + "', which nobody asked for");
  }
  if (++overlooked_ > kMaxOverlooked) current_->fail("sends nothing but events of unknown types");
}

}  // namespace prosa::wyoming
