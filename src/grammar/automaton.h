// Walks a Network byte by byte: all ways that the text so far may have been meant, each with the stack of rules that
// it is in. Sets of ways become numbered nodes, made when a walk first needs them, so that a step is one look into a
// table.
//
// A node for the same set of ways is the same node. What is made is bounded: reset() forgets all of it, and a walk that
// needs more than kMaxBytes at once gets an error. Stacks are shared: a stack is a number that names its top and the
// stack below. Not safe to share between threads: Constraint has the lock.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "grammar/network.h"

namespace prosa::grammar {

/// One way: a state that reads a byte, and the rules that are open around it.
struct Way {
  uint32_t stack = 0;
  uint32_t state = 0;
  friend auto operator<=>(const Way&, const Way&) = default;
};

class Automaton {
 public:
  static constexpr size_t kMaxWays = 4000;                // of a node
  static constexpr uint32_t kMaxDepth = 1000;             // rules that are open at once; a text that needs more is none
  static constexpr size_t kGoodBytes = size_t{24} << 20;  // what is made; with more wants_reset()
  static constexpr size_t kMaxBytes = size_t{96} << 20;
  static constexpr uint32_t kDead = 0;     // the node without any way
  static constexpr uint32_t kWhole = 0;    // the stack below all rules: what ends here is a whole text
  static constexpr uint32_t kUnknown = 1;  // a stack of which only the open rule is looked at

  Automaton(std::shared_ptr<const Network> network, std::string where);

  [[nodiscard]] uint32_t start() const noexcept { return start_; }
  /// Where a byte leads; kDead where it cannot follow. Error(unsupported): more ways than kMaxWays or kMaxBytes.
  uint32_t step(uint32_t node, unsigned char byte) {
    const uint32_t next = nodes_[node].next[network_->class_of(byte)];
    return next != kNotMade ? next : make_step(node, byte);
  }
  /// Where a text leads from the start; keeps no node but the last, so that a long text is no burden.
  uint32_t replay(std::string_view text);
  /// The text may end here.
  [[nodiscard]] bool accepts(uint32_t node) const { return nodes_[node].accepts; }
  /// The rule on the unknown stack may end here.
  [[nodiscard]] bool leaves(uint32_t node) const { return nodes_[node].leaves; }
  /// By rising stack.
  [[nodiscard]] std::span<const Way> ways(uint32_t node) const { return nodes_[node].ways; }
  /// Open rules of the deepest way.
  [[nodiscard]] uint32_t depth(uint32_t node) const { return nodes_[node].depth; }
  /// Nothing may follow: the text can only end here.
  [[nodiscard]] bool is_over(uint32_t node) const { return nodes_[node].accepts && nodes_[node].ways.empty(); }
  /// The only byte that may follow; -1 when there are others, or the text may end.
  [[nodiscard]] int only_byte(uint32_t node) const;

  /// The node of these states, each on the unknown stack.
  uint32_t node_inside(std::span<const Way> ways);
  /// The node after the rule on top of this stack has ended. Not of kWhole and kUnknown.
  uint32_t node_behind(uint32_t stack);

  [[nodiscard]] size_t byte_size() const noexcept { return bytes_; }
  /// Whether so much has been made that it is better forgotten.
  [[nodiscard]] bool wants_reset() const noexcept { return bytes_ > kGoodBytes; }
  /// Forgets all nodes and stacks: their numbers are no longer good.
  void reset();

 private:
  static constexpr uint32_t kNotMade = UINT32_MAX;
  struct Node {
    std::vector<Way> ways;
    std::vector<uint32_t> next;  // [classes]
    uint32_t depth = 0;
    bool accepts = false;
    bool leaves = false;
  };
  struct Frame {
    uint32_t back = 0;   // the state after the call
    uint32_t below = 0;  // the stack that it was made on
    uint32_t depth = 0;
  };

  uint32_t make_step(uint32_t node, unsigned char byte);
  void step_all(std::span<const Way> ways, unsigned char byte);
  void enter(uint32_t state, uint32_t stack);
  uint32_t take_node();
  uint32_t push(uint32_t back, uint32_t below);
  void count(size_t bytes);

  const std::shared_ptr<const Network> network_;
  const std::string where_;
  uint32_t start_ = 0;
  size_t bytes_ = 0;
  std::deque<Node> nodes_;
  std::unordered_multimap<uint64_t, uint32_t> node_numbers_;  // by hash
  std::vector<Frame> frames_;                                 // by stack
  std::unordered_map<uint64_t, uint32_t> frame_numbers_;
  // Of the node in the making.
  Node coming_;
  std::unordered_set<uint64_t> seen_;
  std::vector<Way> open_;
};

}  // namespace prosa::grammar
