// The three ways to a token list: extend, restore, rebuild; then prefill of what is left, cut where checkpoints stand.
#include "session/session.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/check.h"
#include "model/footprint.h"
#include "prosa/error.h"

namespace prosa::session {

std::string_view to_string(SyncPath path) noexcept {
  switch (path) {
    case SyncPath::extended: return "extended";
    case SyncPath::restored: return "restored";
    case SyncPath::rebuilt: return "rebuilt";
  }
  return "unknown";
}

namespace {
// Of many cuts, as when a long history is read anew, a checkpoint is kept at the first and at these last ones: copying
// the state everywhere would cost time for places that nobody returns to. Prefill pauses at all of them nevertheless,
// so that the bits do not depend on what was reused.
constexpr size_t kKeptCuts = 4;
}  // namespace

Session::Session(std::shared_ptr<backend::Backend> backend, int64_t capacity, int64_t checkpoint_budget)
    : backend_(std::move(backend)),
      state_(backend_->new_state(capacity)),
      logits_(static_cast<size_t>(backend_->config().vocab_size)),
      checkpoints_(checkpoint_budget) {}

void Session::check_token(int32_t token) const {
  if (token >= 0 && token < backend_->config().vocab_size) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("token id {} is outside [0, {})", token, backend_->config().vocab_size));
}

SyncReport Session::sync(const SyncRequest& request) {
  const std::span<const int32_t> tokens = request.tokens;
  if (tokens.empty()) throw Error(ErrorCode::invalid_argument, "the token list is empty");
  if (static_cast<int64_t>(tokens.size()) > capacity()) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("{} tokens do not fit the context of {}", tokens.size(), capacity()), {},
                "shorten the conversation or load with a larger LoadOptions::context");
  }
  for (const int32_t token : tokens) check_token(token);

  SyncReport report = rewind_for(tokens);
  report.computed = static_cast<int64_t>(tokens.size()) - report.reused;
  int64_t from = report.reused;
  const auto feed_to = [&](int64_t to, backend::LogitRows rows) {
    prefill(tokens.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)), rows, request.cancel);
    from = to;
  };
  const auto end = static_cast<int64_t>(tokens.size());
  for (size_t i = 0; i < request.cuts.size(); ++i) {
    const int64_t cut = request.cuts[i];
    if (cut < from || cut >= end) continue;
    if (cut > from) feed_to(cut, backend::LogitRows::none);
    if (i == 0 || i + kKeptCuts >= request.cuts.size()) mark();
  }
  feed_to(end, backend::LogitRows::last);
  return report;
}

/// Puts the state at the longest known prefix of `tokens` that leaves a token to compute.
SyncReport Session::rewind_for(std::span<const int32_t> tokens) {
  const bool extends = usable_ && state_->valid() && tokens_.size() < tokens.size() &&
                       std::equal(tokens_.begin(), tokens_.end(), tokens.begin());
  const backend::Snapshot* checkpoint = checkpoints_.find(tokens);
  if (extends && (checkpoint == nullptr || checkpoint->position() <= position())) {
    const bool anything = !tokens_.empty();
    return {anything ? SyncPath::extended : SyncPath::rebuilt, position(), 0};
  }
  usable_ = false;  // until the state stands where tokens_ says
  if (checkpoint != nullptr) {
    backend_->restore(*state_, *checkpoint);
    PROSA_CHECK(state_->position() == checkpoint->position());
    tokens_.assign(tokens.begin(), tokens.begin() + checkpoint->position());
  } else {
    backend_->reset(*state_);
    tokens_.clear();
  }
  usable_ = true;
  return {checkpoint != nullptr ? SyncPath::restored : SyncPath::rebuilt, position(), 0};
}

void Session::prefill(std::span<const int32_t> tokens, backend::LogitRows rows, const std::atomic<bool>* cancel) {
  backend::PrefillRequest request;
  request.tokens = tokens;
  request.rows = rows;
  if (rows == backend::LogitRows::last) request.logits = logits_;
  request.cancel = cancel;
  usable_ = false;
  backend_->prefill(*state_, request);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  PROSA_CHECK(state_->position() == position());
  usable_ = true;
}

void Session::decode(int32_t token) {
  check_token(token);
  PROSA_CHECK(usable_ && !tokens_.empty());
  if (position() >= capacity()) {
    throw Error(ErrorCode::context_exceeded, fmt::format("the context of {} tokens is full", capacity()));
  }
  usable_ = false;
  backend_->decode(*state_, token, logits_);
  tokens_.push_back(token);
  usable_ = true;
}

void Session::mark() {
  if (!usable_ || tokens_.empty() || checkpoints_.budget() <= 0 || checkpoints_.contains(tokens_)) return;
  try {
    checkpoints_.add(tokens_, backend_->snapshot(*state_));
  } catch (const std::bad_alloc&) {
    checkpoints_.clear();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    checkpoints_.clear();
  }
}

void Session::reset() {
  checkpoints_.clear();
  usable_ = false;
  backend_->reset(*state_);
  tokens_.clear();
  usable_ = true;
}

MemoryFootprint Session::memory() const {
  MemoryFootprint footprint = state_footprint(backend_->config(), state_->byte_size());
  footprint.checkpoints = checkpoints_.byte_size();
  footprint.scratch = static_cast<int64_t>(logits_.size() * sizeof(float));
  return footprint;
}

}  // namespace prosa::session
