// The checks, each with what was found and what to do.
#include "backend/segments.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::backend {
namespace {

[[noreturn]] void refuse(std::string what, std::string where, std::string remedy = {}) {
  throw Error(ErrorCode::invalid_argument, std::move(what), std::move(where), std::move(remedy));
}

void check_tokens(std::span<const int32_t> tokens, int64_t vocab) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab) continue;
    refuse(fmt::format("token id {} at index {} is outside the vocabulary of {}", tokens[i], i, vocab), "token ids",
           "use the tokenizer that belongs to the model");
  }
}

void check_segment(const Segment& segment, int64_t vocab) {
  if (segment.state == nullptr) refuse("a segment without a state", "segment");
  const State& state = *segment.state;
  const auto count = static_cast<int64_t>(segment.tokens.size());
  if (!state.valid())
    refuse("the state was left in pieces by a call that was cancelled or failed", "state", "reset or restore it");
  if (state.pending() > 0)
    refuse(fmt::format("{} tentative tokens wait", state.pending()), "state", "commit() or discard() them first");
  if (count < 1) refuse("no tokens to feed", "segment", "give at least one token");
  if (segment.tentative && count > kMaxTentative)
    refuse(fmt::format("{} tentative tokens", count), "segment", fmt::format("at most {} at once", kMaxTentative));
  check_tokens(segment.tokens, vocab);
  if (count > state.capacity() - state.position()) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("{} tokens after {} do not fit a context of {}", count, state.position(), state.capacity()),
                "context", "shorten the prompt or load with a larger context");
  }
}

}  // namespace

void check_segments(std::span<const Segment> segments, const ModelConfig& config) {
  if (segments.empty()) refuse("no segments to run", "run");
  std::vector<const State*> states;
  for (const Segment& segment : segments) {
    check_segment(segment, config.vocab_size);
    states.push_back(segment.state);
  }
  std::ranges::sort(states);
  if (std::ranges::adjacent_find(states) != states.end())
    refuse("the same state stands in two segments of one call", "state", "give its tokens in one segment");
}

void check_row(const State& state, int64_t row) {
  if (row >= 0 && row < state.rows()) return;
  refuse(fmt::format("row {} of {} that the state keeps", row, state.rows()), "row",
         "ask for rows in the segment that feeds the tokens");
}

void check_pick(const RowPick& ask, const ModelConfig& config) {
  if (ask.state == nullptr) refuse("a question without a state", "candidates");
  check_row(*ask.state, ask.row);
  const Pick& pick = ask.pick;
  if (pick.k < 1 || pick.k > kMaxCandidates)
    refuse(fmt::format("is {}, but must be in [1, {}]", pick.k, kMaxCandidates), "k");
  const auto words = static_cast<size_t>((config.vocab_size + 31) / 32);
  if (!pick.allowed.empty() && pick.allowed.size() != words)
    refuse(fmt::format("a mask of {} words for {} ids", pick.allowed.size(), config.vocab_size), "allowed");
  int64_t before = -1;
  for (const LogitChange& change : pick.changes) {
    if (change.id <= before || change.id >= config.vocab_size)
      refuse(fmt::format("id {} after {}: ids must rise inside [0, {})", change.id, before, config.vocab_size),
             "changes");
    before = change.id;
  }
}

void check_commit(const State& state, int64_t n) {
  if (n >= 0 && n <= state.pending()) return;
  refuse(fmt::format("{} of {} tentative tokens", n, state.pending()), "commit");
}

void check_snapshot(const State& state) {
  if (!state.valid())
    refuse("no snapshot of a state that a cancelled or failed call left", "state", "reset or restore it");
  if (state.pending() > 0)
    refuse("no snapshot of a state with tentative tokens", "state", "commit() or discard() them");
}

void check_capacity(int64_t capacity) {
  if (capacity < 1) refuse(fmt::format("a context of {} tokens", capacity), "context", "at least 1");
}

}  // namespace prosa::backend
