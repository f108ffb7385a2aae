// Encoding and reading events.
#include "voice/wyoming/event.h"

#include <utility>

#include "base/json.h"

namespace prosa::wyoming {
namespace {

using nlohmann::json;

constexpr const char* kVersion = "1.7.0";      // of the protocol's library whose events are known here
constexpr size_t kMaxDead = size_t{64} << 10;  // bytes that were read and still stand before the others
constexpr JsonLimits kEventJson{.max_bytes = size_t{2} << 20, .max_entries = 100'000, .max_depth = 32};

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

std::string Event::text(const char* key) const {
  const auto found = data.find(key);
  return found != data.end() && found->is_string() ? found->get<std::string>() : std::string();
}

int Event::number(const char* key, int max) const {
  const auto found = data.find(key);
  if (found == data.end() || !found->is_number_integer()) return -1;
  if (found->is_number_unsigned() && found->get<uint64_t>() > static_cast<uint64_t>(max)) return -1;
  const auto value = found->get<int64_t>();
  return value >= 0 && value <= max ? static_cast<int>(value) : -1;
}

std::string encode(const Event& event) {
  json line = {{"type", event.type}, {"version", kVersion}};
  const std::string data = event.data.empty() ? std::string() : dump(event.data);
  if (!data.empty()) line["data_length"] = data.size();
  if (!event.payload.empty()) line["payload_length"] = event.payload.size();
  return dump(line) + "\n" + data + event.payload;
}

EventReader::EventReader(std::string peer, const EventLimits& limits) : peer_(std::move(peer)), limits_(limits) {}

void EventReader::bad(const std::string& what) const {
  throw Error(ErrorCode::io, "does not speak Wyoming: " + what, peer_);
}

json EventReader::parse_object(std::string_view text) const {
  json value = parse_json(text, {peer_, ErrorCode::io}, kEventJson);
  if (!value.is_object()) bad("an event is not a JSON object");
  return value;
}

size_t EventReader::length(const json& line, const char* key, size_t max) const {
  const auto found = line.find(key);
  if (found == line.end() || found->is_null()) return 0;
  if (!found->is_number_unsigned()) bad(std::string(key) + " is not a length");
  const auto value = found->get<uint64_t>();
  if (value > max) bad(std::string(key) + " is " + std::to_string(value) + ", more than " + std::to_string(max));
  return value;
}

/// The line of an event: its type, and how much follows.
bool EventReader::read_line() {
  const size_t end = buffer_.find('\n', begin_ + scanned_);
  if (end == std::string::npos ? pending() > limits_.line : end - begin_ > limits_.line) {
    bad("a line is longer than " + std::to_string(limits_.line) + " bytes");
  }
  if (end == std::string::npos) {
    scanned_ = pending();
    return false;
  }
  json line = parse_object(std::string_view(buffer_).substr(begin_, end - begin_));
  Event event;
  const auto type = line.find("type");
  if (type == line.end() || !type->is_string()) bad("an event has no type");
  event.type = type->get<std::string>();
  if (const auto data = line.find("data"); data != line.end() && !data->is_null()) {
    if (!data->is_object()) bad("the data of an event is not a JSON object");
    event.data = std::move(*data);
  }
  data_length_ = length(line, "data_length", limits_.data);
  payload_length_ = length(line, "payload_length", limits_.payload);
  head_ = std::move(event);
  begin_ = end + 1;
  scanned_ = 0;
  return true;
}

std::optional<Event> EventReader::next() {
  if (!head_ && !read_line()) return std::nullopt;
  if (pending() < data_length_ + payload_length_) return std::nullopt;
  Event event = std::move(*head_);
  head_.reset();
  if (data_length_ > 0) event.data.update(parse_object(std::string_view(buffer_).substr(begin_, data_length_)));
  event.payload = buffer_.substr(begin_ + data_length_, payload_length_);
  begin_ += data_length_ + payload_length_;
  if (begin_ == buffer_.size() || begin_ > kMaxDead) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  return event;
}

}  // namespace prosa::wyoming
