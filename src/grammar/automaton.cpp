// The subset construction, one step at a time, over ways with stacks.
#include "grammar/automaton.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::grammar {

using Kind = NetworkState::Kind;

namespace {

uint64_t pair_of(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }

uint64_t hash_of(std::span<const Way> ways, bool accepts, bool leaves) {
  uint64_t hash = 0x9E3779B97F4A7C15ULL ^ (accepts ? 1U : 0U) ^ (leaves ? 2U : 0U);
  for (const Way& way : ways) {
    hash = (hash ^ pair_of(way.stack, way.state)) * 0xBF58476D1CE4E5B9ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace

Automaton::Automaton(std::shared_ptr<const Network> network, std::string where)
    : network_(std::move(network)), where_(std::move(where)) {
  reset();
}

void Automaton::reset() {
  nodes_.clear();
  node_numbers_.clear();
  frame_numbers_.clear();
  frames_.assign(2, {});  // kWhole and kUnknown
  bytes_ = 0;
  coming_ = {};
  seen_.clear();
  open_.clear();
  const uint32_t dead = take_node();
  PROSA_CHECK(dead == kDead);
  std::ranges::fill(nodes_[kDead].next, kDead);
  enter(network_->start(0), kWhole);
  start_ = take_node();
}

void Automaton::count(size_t bytes) {
  bytes_ += bytes;
  if (bytes_ <= kMaxBytes) return;
  throw Error(ErrorCode::unsupported, "it can be meant in too many ways at once", where_,
              "make its parts easier to tell apart");
}

uint32_t Automaton::push(uint32_t back, uint32_t below) {
  const auto [found, fresh] = frame_numbers_.try_emplace(pair_of(back, below), static_cast<uint32_t>(frames_.size()));
  if (fresh) {
    count(sizeof(Frame) + 64);
    frames_.push_back({back, below, frames_[below].depth + 1});
  }
  return found->second;
}

/// All ways that begin at this state before a byte is read, into the coming node.
void Automaton::enter(uint32_t first, uint32_t on) {
  open_.push_back({on, first});
  while (!open_.empty()) {
    const auto [stack, index] = open_.back();
    open_.pop_back();
    const NetworkState& state = network_->state(index);
    if (!state.ends || !seen_.insert(pair_of(stack, index)).second) continue;
    switch (state.kind) {
      case Kind::bytes:
        if (coming_.ways.size() >= kMaxWays) count(kMaxBytes);
        coming_.ways.push_back({stack, index});
        coming_.depth = std::max(coming_.depth, frames_[stack].depth);
        break;
      case Kind::split:
        open_.push_back({stack, state.other});
        open_.push_back({stack, state.next});
        break;
      case Kind::call:
        // After a call in last place the caller ends too: it need not be kept open, however long a list grows.
        if (network_->state(state.next).kind == Kind::end) {
          open_.push_back({stack, network_->start(state.other)});
        } else if (frames_[stack].depth < kMaxDepth) {
          open_.push_back({push(state.next, stack), network_->start(state.other)});
        }
        break;
      case Kind::end:
        if (stack == kWhole) {
          coming_.accepts = true;
        } else if (stack == kUnknown) {
          coming_.leaves = true;
        } else {
          open_.push_back({frames_[stack].below, frames_[stack].back});
        }
        break;
    }
  }
}

uint32_t Automaton::take_node() {
  seen_.clear();
  Node node = std::exchange(coming_, {});
  std::ranges::sort(node.ways);
  const uint64_t hash = hash_of(node.ways, node.accepts, node.leaves);
  const auto [first, last] = node_numbers_.equal_range(hash);
  for (auto each = first; each != last; ++each) {
    const Node& known = nodes_[each->second];
    if (known.ways == node.ways && known.accepts == node.accepts && known.leaves == node.leaves) return each->second;
  }
  node.ways.shrink_to_fit();
  node.next.assign(network_->class_count(), kNotMade);
  count(sizeof(Node) + node.ways.size() * sizeof(Way) + node.next.size() * sizeof(uint32_t) + 64);
  const auto number = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back(std::move(node));
  node_numbers_.emplace(hash, number);
  return number;
}

/// From these ways over a byte, into the coming node.
void Automaton::step_all(std::span<const Way> ways, unsigned char byte) {
  coming_ = {};  // an error may have left something
  seen_.clear();
  open_.clear();
  for (const Way& way : ways) {
    const NetworkState& state = network_->state(way.state);
    if (network_->set(state.other)[byte]) enter(state.next, way.stack);
  }
}

uint32_t Automaton::make_step(uint32_t node, unsigned char byte) {
  step_all(nodes_[node].ways, byte);
  const uint32_t next = take_node();
  nodes_[node].next[network_->class_of(byte)] = next;
  return next;
}

uint32_t Automaton::replay(std::string_view text) {
  if (text.empty()) return start_;
  std::vector<Way> ways = nodes_[start_].ways;
  for (const char byte : text) {
    step_all(ways, static_cast<unsigned char>(byte));
    ways = coming_.ways;
  }
  return take_node();
}

uint32_t Automaton::node_inside(std::span<const Way> ways) {
  coming_ = {};
  for (const Way& way : ways) coming_.ways.push_back({kUnknown, way.state});
  return take_node();
}

uint32_t Automaton::node_behind(uint32_t stack) {
  PROSA_CHECK(stack != kWhole && stack != kUnknown);
  coming_ = {};
  seen_.clear();
  open_.clear();
  enter(frames_[stack].back, frames_[stack].below);
  return take_node();
}

int Automaton::only_byte(uint32_t node) const {
  if (nodes_[node].accepts) return -1;
  int only = -1;
  for (const Way& way : nodes_[node].ways) {
    const ByteSet& set = network_->set(network_->state(way.state).other);
    if (set.count() != 1) return -1;
    int byte = 0;
    while (!set[static_cast<size_t>(byte)]) ++byte;
    if (only >= 0 && only != byte) return -1;
    only = byte;
  }
  return only;
}

}  // namespace prosa::grammar
