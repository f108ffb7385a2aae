// Thompson's construction, backwards: each part is made knowing the state that follows it. Then what cannot end is
// found from the ends backwards, and rules that begin with themselves by a walk over first calls.
#include "grammar/network.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::grammar {

using Kind = NetworkState::Kind;

class NetworkMaker {
 public:
  NetworkMaker(Network& network, const Rules& rules, const std::string& where)
      : network_(network), rules_(rules), where_(where) {}

  void make() {
    if (rules_.parts.empty()) throw Error(ErrorCode::invalid_argument, "it has no rule", where_);
    if (rules_.parts.size() > Network::kMaxRules) too_large(fmt::format("more than {} rules", Network::kMaxRules));
    for (const Part& part : rules_.parts) network_.starts_.push_back(make(part, add({})));
    find_ends();
    if (!network_.states_[network_.starts_[0]].ends)
      throw Error(ErrorCode::invalid_argument, "no text can match it", where_, "something in it contradicts itself");
    refuse_left_recursion();
    find_classes();
  }

 private:
  [[noreturn]] void too_large(const std::string& what) const {
    throw Error(ErrorCode::unsupported, "it is too large: " + what, where_, "repeat less, or split it");
  }

  uint32_t add(const NetworkState& state) {
    if (network_.states_.size() >= Network::kMaxStates)
      too_large(fmt::format("with its repetitions written out, more than {} states", Network::kMaxStates));
    network_.states_.push_back(state);
    return static_cast<uint32_t>(network_.states_.size() - 1);
  }

  uint32_t add_bytes(const ByteSet& bytes, uint32_t next) {
    const auto [found, fresh] = set_numbers_.try_emplace(bytes, static_cast<uint32_t>(network_.sets_.size()));
    if (fresh) network_.sets_.push_back(bytes);
    return add({.kind = Kind::bytes, .next = next, .other = found->second});
  }

  uint32_t make(const Part& part, uint32_t next) {
    switch (part.kind) {
      case Part::Kind::bytes: return add_bytes(part.bytes, next);
      case Part::Kind::text:
        for (auto byte = part.text.rbegin(); byte != part.text.rend(); ++byte)
          next = add_bytes(ByteSet().set(static_cast<unsigned char>(*byte)), next);
        return next;
      case Part::Kind::sequence:
        for (auto each = part.parts.rbegin(); each != part.parts.rend(); ++each) next = make(*each, next);
        return next;
      case Part::Kind::choice: {
        if (part.parts.empty()) return add_bytes({}, next);
        uint32_t start = make(part.parts.back(), next);
        for (auto each = part.parts.rbegin() + 1; each != part.parts.rend(); ++each)
          start = add({.kind = Kind::split, .next = make(*each, next), .other = start});
        return start;
      }
      case Part::Kind::repeat: return repeat(part, next);
      case Part::Kind::rule:
        PROSA_CHECK(part.rule < rules_.parts.size());
        return add({.kind = Kind::call, .next = next, .other = part.rule});
      case Part::Kind::list: return list(part, next);
    }
    return next;
  }

  uint32_t repeat(const Part& part, uint32_t next) {
    const Part& once = part.parts.front();
    uint32_t start = next;
    if (part.at_most) {
      for (int i = part.at_least; i < *part.at_most; ++i) {
        const uint32_t before = start;
        start = make(once, start);
        if (start == before) break;  // it takes no state: any number of times is the same
        start = add({.kind = Kind::split, .next = start, .other = next});
      }
    } else {
      const uint32_t split = add({.kind = Kind::split, .other = next});
      const uint32_t inside = make(once, split);
      network_.states_[split].next = inside;
      start = split;
    }
    for (int i = 0; i < part.at_least; ++i) {
      const uint32_t before = std::exchange(start, make(once, start));
      if (start == before) break;
    }
    return start;
  }

  /// Each part is made once: where it ends, those behind it follow with a separator, or nothing.
  uint32_t list(const Part& part, uint32_t next) {
    uint32_t after_some = next;  // the rest of the list, when something of it is there already
    uint32_t after_none = next;
    for (size_t i = part.parts.size(); i-- > 1;) {
      const bool required = part.required[i - 1];
      const uint32_t body = make(part.parts[i], after_some);
      const uint32_t separated = make(part.parts[0], body);
      after_some = required ? separated : add({.kind = Kind::split, .next = separated, .other = after_some});
      after_none = required ? body : add({.kind = Kind::split, .next = body, .other = after_none});
    }
    return after_none;
  }

  /// From the ends backwards: who leads to a state that ends, and calls only rules that do, ends too.
  void find_ends() {
    auto& states = network_.states_;
    std::vector<std::vector<uint32_t>> before(states.size());
    std::vector<std::vector<uint32_t>> callers(rules_.parts.size());
    std::unordered_multimap<uint32_t, uint32_t> rule_at;  // by start
    for (uint32_t rule = 0; rule < network_.starts_.size(); ++rule) rule_at.emplace(network_.starts_[rule], rule);
    std::vector<uint32_t> found;
    const auto end = [&](uint32_t index) {
      if (!std::exchange(states[index].ends, true)) found.push_back(index);
    };
    for (uint32_t i = 0; i < states.size(); ++i) {
      before[states[i].next].push_back(i);
      if (states[i].kind == Kind::split) before[states[i].other].push_back(i);
      if (states[i].kind == Kind::call) callers[states[i].other].push_back(i);
      if (states[i].kind == Kind::end) end(i);
    }
    const auto look_at = [&](uint32_t index) {
      const NetworkState& state = states[index];
      switch (state.kind) {
        case Kind::bytes:
          if (states[state.next].ends && network_.sets_[state.other].any()) end(index);
          break;
        case Kind::split:
          if (states[state.next].ends || states[state.other].ends) end(index);
          break;
        case Kind::call:
          if (states[state.next].ends && states[network_.starts_[state.other]].ends) end(index);
          break;
        case Kind::end: break;
      }
    };
    while (!found.empty()) {
      const uint32_t index = found.back();
      found.pop_back();
      for (const uint32_t each : before[index]) look_at(each);
      const auto [first, last] = rule_at.equal_range(index);
      for (auto each = first; each != last; ++each) {
        for (const uint32_t caller : callers[each->second]) look_at(caller);
      }
    }
  }

  /// What a rule may do before its first byte.
  struct Beginning {
    std::vector<uint32_t> calls;
    bool ends = false;
  };
  [[nodiscard]] Beginning beginning_of(uint32_t rule, const std::vector<bool>& empty,
                                       std::vector<uint32_t>& seen) const {
    Beginning beginning;
    std::vector<uint32_t> open = {network_.starts_[rule]};
    while (!open.empty()) {
      const uint32_t index = open.back();
      open.pop_back();
      if (std::exchange(seen[index], rule + 1) == rule + 1) continue;
      const NetworkState& state = network_.states_[index];
      if (!state.ends) continue;
      if (state.kind == Kind::end) beginning.ends = true;
      if (state.kind == Kind::split) {
        open.push_back(state.next);
        open.push_back(state.other);
      }
      if (state.kind == Kind::call) {
        beginning.calls.push_back(state.other);
        if (empty[state.other]) open.push_back(state.next);
      }
    }
    return beginning;
  }

  void refuse_left_recursion() const {
    const size_t count = rules_.parts.size();
    std::vector<bool> empty(count, false);  // rules that match the empty text
    for (bool more = true; std::exchange(more, false);) {
      std::vector<uint32_t> seen(network_.states_.size(), 0);
      for (uint32_t rule = 0; rule < count; ++rule) {
        if (!empty[rule] && beginning_of(rule, empty, seen).ends) more = empty[rule] = true;
      }
    }
    std::vector<std::vector<uint32_t>> calls(count);
    std::vector<uint32_t> seen(network_.states_.size(), 0);
    for (uint32_t rule = 0; rule < count; ++rule) calls[rule] = beginning_of(rule, empty, seen).calls;
    std::vector<uint32_t> depth(count, 0);  // of calls inside each other; kOpen while they are looked at
    constexpr uint32_t kOpen = UINT32_MAX;
    const auto visit = [&](const auto& self, uint32_t rule, size_t level) -> uint32_t {
      if (level > Network::kMaxCalls) too_large("its rules call each other too deep");
      depth[rule] = kOpen;
      uint32_t deepest = 1;
      for (const uint32_t each : calls[rule]) {
        if (depth[each] == kOpen)
          throw Error(ErrorCode::invalid_argument, fmt::format("{} begins with itself", name_of(each)), where_,
                      "put what it begins with in front of it");
        deepest = std::max(deepest, 1 + (depth[each] > 0 ? depth[each] : self(self, each, level + 1)));
      }
      if (deepest > Network::kMaxCalls) too_large("its rules call each other too deep");
      return depth[rule] = deepest;
    };
    for (uint32_t rule = 0; rule < count; ++rule) {
      if (depth[rule] == 0) visit(visit, rule, 0);
    }
  }

  [[nodiscard]] std::string name_of(uint32_t rule) const {
    return rule < rules_.names.size() && !rules_.names[rule].empty() ? rules_.names[rule]
                                                                     : fmt::format("rule {}", rule);
  }

  void find_classes() {
    for (const ByteSet& set : network_.sets_) {
      std::map<std::pair<uint8_t, bool>, uint8_t> numbers;
      for (unsigned byte = 0; byte < 256; ++byte) {
        const auto number = static_cast<uint8_t>(numbers.size());
        uint8_t& now = network_.classes_[byte];
        now = numbers.try_emplace({now, set[byte]}, number).first->second;
      }
      network_.class_count_ = numbers.size();
    }
  }

  Network& network_;
  const Rules& rules_;
  const std::string& where_;
  std::unordered_map<ByteSet, uint32_t> set_numbers_;
};

std::string Network::shape_of(std::span<const uint32_t> states, size_t most) const {
  std::unordered_map<uint32_t, uint32_t> numbers;  // in the order in which they are met
  std::vector<uint32_t> met;
  const auto number_of = [&](uint32_t index) {
    const auto [found, fresh] = numbers.try_emplace(index, static_cast<uint32_t>(met.size()));
    if (fresh) met.push_back(index);
    return found->second;
  };
  for (const uint32_t index : states) number_of(index);
  std::string shape;
  const auto write = [&shape](uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) shape += static_cast<char>(value >> shift);
  };
  write(static_cast<uint32_t>(states.size()));
  for (size_t i = 0; i < met.size(); ++i) {
    if (met.size() > most) return {};
    const NetworkState& state = states_[met[i]];
    write(static_cast<uint32_t>(state.kind) * 2 + (state.ends ? 1 : 0));
    if (state.kind == Kind::end || !state.ends) continue;
    write(number_of(state.next));
    if (state.kind == Kind::split) write(number_of(state.other));
    if (state.kind == Kind::call) write(number_of(starts_[state.other]));
    if (state.kind == Kind::bytes) {
      for (uint32_t byte = 0; byte < 256; byte += 32) {
        uint32_t bits = 0;
        for (uint32_t bit = 0; bit < 32; ++bit) bits |= sets_[state.other][byte + bit] ? uint32_t{1} << bit : 0U;
        write(bits);
      }
    }
  }
  return shape;
}

Network::Network(const Rules& rules, const std::string& where) { NetworkMaker(*this, rules, where).make(); }

}  // namespace prosa::grammar
