// An event of the Wyoming protocol, as bytes and back.
//
// A line of JSON {"type", "data"?, "data_length"?, "payload_length"?, "version"?}, then data_length bytes of JSON whose
// keys are laid over those of "data", then payload_length bytes of anything (sound). EventReader takes bytes as they
// come, in pieces of any size, and trusts no length. Knows no type's meaning and no connection.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "prosa/error.h"

namespace prosa::wyoming {

struct Event {
  std::string type;
  nlohmann::json data = nlohmann::json::object();  // always an object
  std::string payload = {};                        // bytes

  /// data[key] where that is a string, else "".
  [[nodiscard]] std::string text(const char* key) const;
  /// data[key] where that is an integer within 0 … max, else -1.
  [[nodiscard]] int number(const char* key, int max) const;
};

std::string encode(const Event& event);

/// Most bytes of each part of an event. An `info` of many voices and languages takes a hundred thousand bytes of data.
struct EventLimits {
  size_t line = size_t{1} << 20;
  size_t data = size_t{1} << 20;
  size_t payload = size_t{4} << 20;
};

class EventReader {
 public:
  /// `peer` names the sender in errors.
  explicit EventReader(std::string peer, const EventLimits& limits = {});

  void push(std::string_view bytes) { buffer_ += bytes; }
  /// The next event, if all of it is there. Error(io): what is there can't be one; the reader is of no use any more.
  std::optional<Event> next();
  /// Whether an event has begun and not ended.
  [[nodiscard]] bool begun() const noexcept { return head_ || pending() > 0; }
  /// Bytes that no event was made of yet.
  [[nodiscard]] size_t pending() const noexcept { return buffer_.size() - begin_; }

 private:
  bool read_line();
  [[noreturn]] void bad(const std::string& what) const;
  [[nodiscard]] nlohmann::json parse_object(std::string_view text) const;
  [[nodiscard]] size_t length(const nlohmann::json& line, const char* key, size_t max) const;

  std::string peer_;
  EventLimits limits_;
  std::string buffer_;
  size_t begin_ = 0;           // of what was not read yet, in buffer_
  size_t scanned_ = 0;         // bytes behind begin_ that hold no end of line
  std::optional<Event> head_;  // whose data and payload have yet to come
  size_t data_length_ = 0, payload_length_ = 0;
};

}  // namespace prosa::wyoming
