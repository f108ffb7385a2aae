// The three ways to a token list: extend, restore, rebuild; then prefill of what is left, cut where checkpoints stand.
#include "runtime/session.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"
#include "runtime/footprint.h"

namespace prosa::runtime {

namespace {
// Of many cuts, as when a long history is read anew, a checkpoint is kept at the first and at these last ones: copying
// the state everywhere would cost time for places that nobody returns to. Prefill pauses at all of them nevertheless,
// so that the bits do not depend on what was reused.
constexpr size_t kKeptCuts = 4;
// Earlier states that go into a file: the newest ones, for a retry, an edit or an undo right after a restart.
constexpr size_t kSavedMarks = 2;

uint64_t next_id() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}
}  // namespace

Session::Session(std::shared_ptr<backend::Backend> backend, int64_t capacity, std::shared_ptr<StateStore> store)
    : id_(next_id()),
      backend_(std::move(backend)),
      state_(backend_->new_state(capacity)),
      logits_(static_cast<size_t>(backend_->config().vocab_size)),
      store_(std::move(store)) {
  PROSA_CHECK(store_ != nullptr);
}

Session::~Session() { drop_slots(); }

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

  SyncReport report = rewind_for(tokens, request.logits);
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
  if (from < end) feed_to(end, request.logits ? backend::LogitRows::last : backend::LogitRows::none);
  count_shared();
  return report;
}

int64_t Session::common_with(std::span<const int32_t> tokens) const {
  const auto parting = std::mismatch(tokens_.begin(), tokens_.end(), tokens.begin(), tokens.end());
  return static_cast<int64_t>(parting.first - tokens_.begin());
}

void Session::share(std::shared_ptr<StateStore> store) {
  PROSA_CHECK(tokens_.empty() && store != nullptr);
  store_ = std::move(store);
}

/// Puts the state at the longest known prefix of `tokens` from which their last logits can be had.
SyncReport Session::rewind_for(std::span<const int32_t> tokens, bool logits) {
  const int64_t common = common_with(tokens);
  const bool whole = tokens_.size() == tokens.size();
  const bool extends = usable_ && state_->valid() && common == position() && (!whole || has_logits_ || !logits);
  const auto checkpoint = store_->find(tokens, static_cast<int64_t>(tokens.size()) - (logits ? 1 : 0));
  if (extends && (!checkpoint || checkpoint->snapshot->position() <= position())) {
    return {tokens_.empty() ? SyncPath::rebuilt : SyncPath::extended, position(), 0, common};
  }
  usable_ = false;  // until the state stands where tokens_ says
  has_logits_ = false;
  if (checkpoint) {
    backend_->restore(*state_, *checkpoint->snapshot);
    tokens_ = checkpoint->tokens;
    PROSA_CHECK(state_->position() == position());
  } else {
    backend_->reset(*state_);
    tokens_.clear();
  }
  usable_ = true;
  return {checkpoint ? SyncPath::restored : SyncPath::rebuilt, position(), 0, common};
}

void Session::prefill(std::span<const int32_t> tokens, backend::LogitRows rows, const std::atomic<bool>* cancel) {
  backend::PrefillRequest request;
  request.tokens = tokens;
  request.rows = rows;
  if (rows == backend::LogitRows::last) request.logits = logits_;
  request.cancel = cancel;
  usable_ = false;
  has_logits_ = false;
  with_memory([&] { backend_->prefill(*state_, request); });
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  PROSA_CHECK(state_->position() == position());
  usable_ = true;
  has_logits_ = rows == backend::LogitRows::last;
}

void Session::decode(int32_t token) {
  check_token(token);
  if (!usable_ || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument, "there is nothing to continue", "decode", "sync() a token list first");
  }
  if (position() >= capacity()) {
    throw Error(ErrorCode::context_exceeded, fmt::format("the context of {} tokens is full", capacity()));
  }
  usable_ = false;
  has_logits_ = false;
  with_memory([&] { backend_->decode(*state_, token, logits_); });
  tokens_.push_back(token);
  usable_ = true;
  has_logits_ = true;
  if (std::exchange(marked_, false)) count_shared();  // the state has left the memory that the checkpoint holds
  if (reply_marks_ > 0 && position() % kReplyStep == 0)
    mark_in_slot(static_cast<int>(position() / kReplyStep % reply_marks_));
}

SyncReport Session::rewind(int64_t position, const std::atomic<bool>* cancel) {
  if (position < 1 || position > this->position()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be in [1, {}]", position, this->position()),
                "position");
  }
  const std::vector<int32_t> tokens(tokens_.begin(), tokens_.begin() + position);
  return sync({tokens, {}, cancel});
}

/// A step that finds no memory beside what checkpoints hold has touched nothing: it goes again without them.
template <typename Step>
void Session::with_memory(const Step& step) {
  try {
    return step();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory || store_->size() == 0) throw;
  }
  store_->clear();
  count_shared();
  step();
}

void Session::mark() { keep({}); }
void Session::mark_in_slot(int number) { keep({id_, number}); }

void Session::keep_reply_marks() {
  const int64_t state = std::max<int64_t>(state_->byte_size(), 1);  // KV is shared, and comes as tokens do
  reply_marks_ = std::min(kReplyMarks, store_->budget() / 4 / state);
}

void Session::keep(Slot slot) {
  if (!usable_ || tokens_.empty() || store_->budget() <= 0 || store_->holds(tokens_, slot)) return;
  try {
    store_->add(tokens_, backend_->snapshot(*state_), slot);
    marked_ = true;
  } catch (const std::bad_alloc&) {
    store_->clear();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    store_->clear();
  }
  count_shared();
}

void Session::reset() {
  store_->clear();
  usable_ = false;
  has_logits_ = false;
  backend_->reset(*state_);
  tokens_.clear();
  usable_ = true;
  count_shared();
}

std::span<const float> Session::logits() const noexcept {
  return has_logits_ ? std::span<const float>(logits_) : std::span<const float>();
}
std::span<float> Session::logits() noexcept { return has_logits_ ? std::span<float>(logits_) : std::span<float>(); }

void Session::count_shared() {
  const std::vector<backend::SharedBlock> mine = state_->shared();
  shared_bytes_ = store_->byte_size() - store_->byte_size_without(mine);
}

MemoryFootprint Session::memory() const {
  MemoryFootprint footprint = state_footprint(backend_->config(), state_->byte_size());
  footprint.stored_states = std::max<int64_t>(0, store_->byte_size() - shared_bytes_);
  footprint.scratch = static_cast<int64_t>(logits_.size() * sizeof(float));
  return footprint;
}

// ---- disk

FileIdentity Session::identity(uint64_t model) const { return {model, std::string(backend_->snapshot_layout())}; }

void Session::save(const std::filesystem::path& path, uint64_t model,
                   const std::map<std::string, std::string>& notes) const {
  if (!usable_ || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument, "the session holds no tokens to save", path.string(), "sync() first");
  }
  const auto snapshot = backend_->snapshot(*state_);
  std::vector<const backend::Snapshot*> marks;
  const auto earlier = store_->on_the_way(tokens_, kSavedMarks);
  for (const auto& checkpoint : earlier) marks.push_back(checkpoint->snapshot.get());
  write_session_file(path, identity(model), {tokens_, *snapshot, logits(), marks, notes});
}

std::map<std::string, std::string> Session::load(const std::filesystem::path& path, uint64_t model) {
  SessionFile file = read_session_file(path, identity(model), *backend_);
  if (static_cast<int64_t>(file.tokens.size()) > capacity()) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("the session has {} tokens, the context holds {}", file.tokens.size(), capacity()),
                path.string(), "load with a larger LoadOptions::context");
  }
  usable_ = false;
  has_logits_ = false;
  backend_->restore(*state_, *file.snapshot);
  tokens_ = std::move(file.tokens);
  usable_ = true;
  if (!file.logits.empty()) {
    logits_ = std::move(file.logits);
    has_logits_ = true;
  }
  for (auto& mark : file.marks) {
    const auto length = static_cast<size_t>(mark->position());
    store_->add(std::span(tokens_).first(length), std::move(mark));
  }
  count_shared();
  return std::move(file.notes);
}

}  // namespace prosa::runtime
