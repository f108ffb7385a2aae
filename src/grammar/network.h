// A language as a network of states: each rule's states lead over bytes, into other rules and back.
//
// Made once of Rules by Thompson's construction, then cut down to the states from which the rule's end can be reached,
// so that whatever is begun can be finished. A rule that may call itself before it has read a byte is refused. All of
// it is bounded. Immutable: shared by all threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "grammar/part.h"

namespace prosa::grammar {

struct NetworkState {
  enum class Kind : uint8_t { bytes, split, call, end };
  Kind kind = Kind::end;
  bool ends = false;   // whether the end of its rule can be reached from here
  uint32_t next = 0;   // where it goes on, after the call too
  uint32_t other = 0;  // bytes: which of sets(); split: the other way; call: the rule
};

class Network {
 public:
  static constexpr size_t kMaxStates = 200'000;  // with repetitions written out
  static constexpr size_t kMaxRules = 5000;
  static constexpr size_t kMaxCalls = 200;  // of rules inside each other before a byte is read

  /// Errors: invalid_argument (a rule that begins with itself, a language without any text), unsupported (too large).
  /// `where` names the language in them.
  Network(const Rules& rules, const std::string& where);

  [[nodiscard]] const NetworkState& state(uint32_t index) const { return states_[index]; }
  [[nodiscard]] const ByteSet& set(uint32_t index) const { return sets_[index]; }
  /// Where a rule begins.
  [[nodiscard]] uint32_t start(uint32_t rule) const { return starts_[rule]; }
  /// Bytes that no state tells apart have the same class.
  [[nodiscard]] uint32_t class_of(unsigned char byte) const { return classes_[byte]; }
  [[nodiscard]] size_t class_count() const noexcept { return class_count_; }
  /// All that can be reached from these states, written down so that equal texts mean the same walks, in whatever
  /// network. Empty: more than `most` states.
  [[nodiscard]] std::string shape_of(std::span<const uint32_t> states, size_t most) const;
  [[nodiscard]] size_t state_count() const noexcept { return states_.size(); }

 private:
  friend class NetworkMaker;
  std::vector<NetworkState> states_;
  std::vector<ByteSet> sets_;
  std::vector<uint32_t> starts_;  // [rules]
  std::array<uint8_t, 256> classes_{};
  size_t class_count_ = 1;
};

}  // namespace prosa::grammar
