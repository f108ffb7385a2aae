// Connections, the first question, and the spare.
#include "voice/wyoming/program.h"

#include <algorithm>
#include <array>
#include <exception>
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

Program::Program(const std::string& address, std::string_view service, const Limits& limits)
    : address_(parse_address(address)), limits_(limits) {
  describe(service);
}

void Program::describe(std::string_view service) {
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
    if (service.empty()) {
      offer_ = nlohmann::json::object();
      break;
    }
    const auto offers = event->data.find(service);
    if (offers == event->data.end() || !offers->is_array() || offers->empty() || !offers->front().is_object()) {
      std::string others;
      for (const auto& [key, value] : event->data.items()) {
        if (value.is_array() && !value.empty()) others += (others.empty() ? "" : ", ") + key.substr(0, kMaxPeerText);
      }
      throw Error(ErrorCode::unsupported, "offers no " + std::string(service), address_.text,
                  "it offers: " + (others.empty() ? std::string("nothing") : others));
    }
    offer_ = std::move(offers->front());
  }
  finish();
  start_spare();
}

bool Program::offers(const char* key) const {
  const auto found = offer_.find(key);
  return found != offer_.end() && found->is_boolean() && found->get<bool>();
}

std::unique_ptr<Connection> Program::connect() {
  return Connection::open(address_, wake_, Clock::now() + limits_.connect);
}

/// A program that was just started may take as long for its first answer as the first one did for its own: it loads a
/// model first. That is no part of the time that an answer may take.
void Program::start() {
  tend_spare();
  if (!current_) adopt_spare();
  if (!current_) {
    current_ = connect();
    current_is_ = is_child() ? Readiness::started : Readiness::ready;
  }
  const auto deadline = Clock::now() + limits_.start;
  if (current_is_ == Readiness::started) current_->send({.type = "describe"}, deadline);
  while (current_is_ != Readiness::ready) {
    current_is_ = Readiness::asked;
    const auto event = current_->receive(deadline);
    if (!event) current_->fail_ended();
    if (event->type == "info") {
      current_is_ = Readiness::ready;
    } else {
      refuse(*event);
    }
  }
}

void Program::adopt_spare() noexcept {
  current_ = std::move(spare_);
  current_is_ = spare_is_;
}

/// Without one a cancelled program costs the time of a start: no reason to fail now.
void Program::start_spare() noexcept {
  if (!is_child() || !limits_.spare || spare_) return;
  try {
    spare_is_ = Readiness::started;
    spare_ = connect();
  } catch (const std::exception&) {
    spare_.reset();
  }
  tend_spare();
}

/// Asks it, and takes what it has said meanwhile, so that it never waits for room. One that ended is none.
void Program::tend_spare() noexcept {
  if (!spare_ || wake_.is_set()) return;  // while calls are cancelled, nothing can be sent
  try {
    if (spare_is_ == Readiness::started) spare_->send({.type = "describe"}, Clock::now() + limits_.connect);
    if (spare_is_ == Readiness::started) spare_is_ = Readiness::asked;
    while (const auto event = spare_->poll()) {
      if (event->type == "info") spare_is_ = Readiness::ready;
    }
    if (spare_->ended()) spare_.reset();
  } catch (const std::exception&) {
    spare_.reset();
  }
}

Connection& Program::request(const Event& first) {
  overlooked_ = 0;
  if (current_ && current_->ended()) current_.reset();  // since the last request
  if (!current_ || current_is_ != Readiness::ready) start();
  current_->send(first, answer_deadline());
  return *current_;
}

void Program::finish() noexcept {
  if (!is_child()) return current_.reset();
  tend_spare();
  start_spare();
}

/// The spare takes over, and the next one starts now rather than with the next request, which it would slow down.
void Program::drop() noexcept {
  if (current_) current_->abandon();
  current_.reset();
  if (spare_) adopt_spare();
  start_spare();
}

void Program::refuse(const Event& event) {
  if (event.type == "error") current_->fail("reports an error: " + said(event));
  if (std::ranges::find(kAnswers, event.type) != kAnswers.end()) {
    current_->fail("sent '" + event.type + "', which nobody asked for");
  }
  if (++overlooked_ > kMaxOverlooked) current_->fail("sends nothing but events of unknown types");
}

}  // namespace prosa::wyoming
