// The three ways to a token list: extend, restore, rebuild; then prefill of what is left, cut where states are kept.
#include "runtime/session.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"
#include "runtime/footprint.h"

namespace prosa::runtime {

namespace {
// Of many cuts, as when a long history is read anew, a state is kept at the first and at these last ones: copying
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

Session::Session(std::shared_ptr<ModelCore> core, int64_t capacity, uint64_t family, uint64_t domain)
    : id_(next_id()),
      family_(family != 0 ? family : id_),
      domain_(domain),
      core_(std::move(core)),
      state_(backend().new_state(capacity)) {}

Session::Session(const Session& origin)
    : id_(next_id()),
      family_(origin.family_),
      domain_(origin.domain_),
      core_(origin.core_),
      state_(backend().new_state(origin.capacity())),
      reply_marks_(origin.reply_marks_) {
  if (!origin.usable_ || origin.tokens_.empty()) return;
  backend().restore(*state_, *backend().snapshot(*origin.state_));
  tokens_ = origin.tokens_;
  plain_ = origin.plain_;
  if (origin.has_logits()) {
    std::vector<float> row(static_cast<size_t>(backend().config().vocab_size));
    origin.copy_logits(row);
    backend().set_row(*state_, row);
  }
  count_shared();
}

Session::~Session() {
  pause();
  drop_slots();
}

void Session::check_token(int32_t token) const {
  if (token >= 0 && token < backend().config().vocab_size) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("token id {} is outside [0, {})", token, backend().config().vocab_size));
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
  pause();

  SyncReport report = rewind_for(tokens, request.logits);
  report.computed = static_cast<int64_t>(tokens.size()) - report.reused;
  int64_t from = report.reused;
  if (report.path == SyncPath::extended && report.computed > 0 && !std::ranges::binary_search(request.cuts, from))
    plain_ = false;  // others do not pause here
  const auto feed_to = [&](int64_t to, backend::Rows rows) {
    feed(tokens.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)), rows, request, nullptr);
    from = to;
  };
  const auto end = static_cast<int64_t>(tokens.size());
  for (size_t i = 0; i < request.cuts.size(); ++i) {
    const int64_t cut = request.cuts[i];
    if (cut < from || cut >= end) continue;
    if (cut > from) feed_to(cut, backend::Rows::none);
    if (i == 0 || i + kKeptCuts >= request.cuts.size()) mark();
  }
  if (from < end) {
    feed_to(end, request.logits ? backend::Rows::last : backend::Rows::none);
    if (request.passing) plain_ = false;
  }
  count_shared();
  return report;
}

int64_t Session::common_with(std::span<const int32_t> tokens) const {
  const auto parting = std::mismatch(tokens_.begin(), tokens_.end(), tokens.begin(), tokens.end());
  return static_cast<int64_t>(parting.first - tokens_.begin());
}

/// Puts the state at the longest known prefix of `tokens` from which their last row can be had.
SyncReport Session::rewind_for(std::span<const int32_t> tokens, bool logits) {
  const int64_t common = common_with(tokens);
  const bool whole = tokens_.size() == tokens.size();
  const bool extends = usable_ && state_->valid() && common == position() && (!whole || has_logits() || !logits);
  const auto stored = store().find(tokens, static_cast<int64_t>(tokens.size()) - (logits ? 1 : 0),
                                   {id_, family_, extends && !plain_, domain_});
  if (extends && (!stored || stored->snapshot->position() <= position())) {
    return {tokens_.empty() ? SyncPath::rebuilt : SyncPath::extended, position(), 0, common};
  }
  usable_ = false;  // until the state stands where tokens_ says
  if (stored) {
    backend().restore(*state_, *stored->snapshot);
    tokens_ = stored->tokens;
    plain_ = stored.shared;
    PROSA_CHECK(state_->position() == position());
  } else {
    backend().reset(*state_);
    tokens_.clear();
    plain_ = true;
  }
  usable_ = true;
  return {stored ? SyncPath::restored : SyncPath::rebuilt, position(), 0, common};
}

void Session::feed(std::span<const int32_t> tokens, backend::Rows rows, const SyncRequest& request, Stream* stream) {
  usable_ = false;
  Work work;
  work.state = state_.get();
  work.tokens = tokens;
  work.rows = rows;
  work.priority = request.priority;
  work.cancel = request.cancel;
  work.stream = stream;
  if (!run(work)) throw Error(ErrorCode::cancelled, "the prompt was cancelled", "prefill");
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  PROSA_CHECK(state_->position() == position());
  usable_ = true;
  other_row_ = false;
}

/// A step that finds no memory beside what the store holds has touched nothing: it goes again without the stored
/// states. Slices that have been fed by then stay fed.
bool Session::run(const Work& work) {
  const int64_t begin = state_->position();
  try {
    return core_->scheduler().run(work);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory || store().size() == 0 || !state_->valid()) throw;
  }
  store().clear();
  count_shared();
  Work rest = work;
  rest.tokens = work.tokens.subspan(static_cast<size_t>(state_->position() - begin));
  return core_->scheduler().run(rest);
}

void Session::decode(int32_t token) {
  check_token(token);
  if (!usable_ || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument, "there is nothing to continue", "decode", "sync() a token list first");
  }
  if (position() >= capacity()) {
    throw Error(ErrorCode::context_exceeded, fmt::format("the context of {} tokens is full", capacity()));
  }
  plain_ = false;  // as one of many tokens it would have other bits
  feed({&token, 1}, backend::Rows::last, {}, &stream_);
  if (std::exchange(marked_, false)) count_shared();  // the state has left the memory that the stored one holds
  if (reply_marks_ > 0 && position() % kReplyStep == 0)
    mark_in_slot(static_cast<int>(position() / kReplyStep % reply_marks_));
}

bool Session::decode(std::span<const int32_t> tokens, const Cancel& cancel) {
  if (tokens.size() == 1) {
    decode(tokens.front());
    return true;
  }
  for (size_t fed = 0; fed < tokens.size();) {
    const size_t count = std::min<size_t>(tokens.size() - fed, backend::kMaxTentative);
    if (!attempt(tokens.subspan(fed, count), cancel, backend::Rows::last, &stream_)) return false;
    settle(static_cast<int64_t>(count));
    fed += count;
  }
  return true;
}

bool Session::attempt(std::span<const int32_t> tokens, const Cancel& cancel) {
  return attempt(tokens, cancel, backend::Rows::all, &stream_);
}

bool Session::attempt(std::span<const int32_t> tokens, const Cancel& cancel, backend::Rows rows, Stream* stream) {
  PROSA_CHECK(usable_ && !tokens_.empty() && attempted_.empty() && !tokens.empty());
  for (const int32_t token : tokens) check_token(token);
  Work work;
  work.state = state_.get();
  work.tokens = tokens;
  work.rows = rows;
  work.tentative = true;
  work.cancel = cancel;
  work.stream = stream;
  std::vector<int32_t> attempted(tokens.begin(), tokens.end());  // first: what fails later would leave them pending
  usable_ = false;
  const bool fed = run(work);
  usable_ = state_->valid();
  other_row_ = false;
  if (fed) attempted_ = std::move(attempted);
  return fed;
}

void Session::settle(int64_t n) {
  PROSA_CHECK(n >= 0 && n <= std::ssize(attempted_));
  backend().commit(*state_, n);
  tokens_.insert(tokens_.end(), attempted_.begin(), attempted_.begin() + n);
  other_row_ = n < std::ssize(attempted_);
  attempted_.clear();
  if (n > 0) plain_ = false;  // as decode()
  PROSA_CHECK(state_->position() == position());
  if (std::exchange(marked_, false)) count_shared();
}

std::optional<double> Session::probability(std::span<const int32_t> ahead, int32_t next, const Cancel& cancel) {
  check_token(next);
  std::vector<uint32_t> only((static_cast<size_t>(backend().config().vocab_size) + 31) / 32);
  only[static_cast<size_t>(next) / 32] = uint32_t{1} << (static_cast<uint32_t>(next) % 32);
  if (!attempt(ahead, cancel, backend::Rows::last, nullptr)) return std::nullopt;
  backend::Candidates all;
  backend::Candidates that;
  try {
    all = candidates({.log_sum = true});
    that = candidates({.allowed = only});
  } catch (...) {
    settle(0);
    throw;
  }
  settle(0);
  return that.best.empty() ? 0 : std::exp(that.best.front().logit - all.log_sum);
}

SyncReport Session::rewind(int64_t position, const Cancel& cancel) {
  if (position < 1 || position > this->position()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be in [1, {}]", position, this->position()),
                "position");
  }
  const std::vector<int32_t> tokens(tokens_.begin(), tokens_.begin() + position);
  return sync({tokens, {}, cancel});
}

void Session::mark() { keep({id_, Slot::kKept, plain_ ? 0 : family_, domain_}); }
void Session::mark_in_slot(int number) { keep({id_, number, 0, domain_}); }

void Session::keep_reply_marks() {
  const int64_t state = std::max<int64_t>(state_->byte_size(), 1);  // KV is shared, and comes as tokens do
  reply_marks_ = std::min(kReplyMarks, store().budget() / 4 / state);
}

void Session::keep(Slot slot) {
  if (!usable_ || tokens_.empty() || store().budget() <= 0 || store().touch(tokens_, slot)) return;
  try {
    store().add(tokens_, backend().snapshot(*state_), slot);
    marked_ = true;
  } catch (const std::bad_alloc&) {
    store().clear();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    store().clear();
  }
  count_shared();
}

void Session::reset() {
  store().forget(id_);
  usable_ = false;
  backend().reset(*state_);
  tokens_.clear();
  plain_ = true;
  usable_ = true;
  count_shared();
}

backend::Candidates Session::candidates(const backend::Pick& pick) const {
  return candidates(pick, state_->rows() - 1);
}

backend::Candidates Session::candidates(const backend::Pick& pick, int64_t row) const {
  PROSA_CHECK(has_logits());
  const backend::RowPick ask{state_.get(), row, pick};
  backend::Candidates answer;
  backend().candidates({&ask, 1}, {&answer, 1});
  return answer;
}

void Session::copy_logits(std::span<float> out) const { copy_logits(out, state_->rows() - 1); }

void Session::copy_logits(std::span<float> out, int64_t row) const {
  PROSA_CHECK(has_logits());
  backend().logits(*state_, row, out);
}

/// A number for memory(): where there is no memory to find it, the last one stands.
void Session::count_shared() {
  try {
    const std::vector<backend::SharedBlock> mine = state_->shared();
    shared_bytes_ = store().byte_size() - store().byte_size_without(mine);
  } catch (const std::bad_alloc&) {
  }
}

MemoryFootprint Session::memory() const {
  MemoryFootprint footprint = state_footprint(backend().config(), state_->byte_size());
  footprint.stored_states = std::max<int64_t>(0, store().byte_size() - shared_bytes_);
  footprint.scratch = state_->row_bytes();
  return footprint;
}

// ---- disk

FileIdentity Session::identity() const {
  return {core_->loaded().fingerprint, std::string(backend().snapshot_layout())};
}

void Session::save(const std::filesystem::path& path, const std::map<std::string, std::string>& notes) const {
  if (!usable_ || tokens_.empty()) {
    throw Error(ErrorCode::invalid_argument, "the session holds no tokens to save", path.string(), "sync() first");
  }
  const auto snapshot = backend().snapshot(*state_);
  std::vector<float> row(has_logits() ? static_cast<size_t>(backend().config().vocab_size) : 0);
  if (!row.empty()) copy_logits(row);
  std::vector<const backend::Snapshot*> marks;
  const auto earlier = store().on_the_way(tokens_, kSavedMarks, {id_, family_, false, domain_});
  for (const auto& stored : earlier) marks.push_back(stored->snapshot.get());
  write_session_file(path, identity(), {tokens_, *snapshot, row, marks, notes});
}

SessionFile Session::read(const std::filesystem::path& path) const {
  return read_session_file(path, identity(), backend(), capacity());
}

void Session::take(SessionFile file) {
  usable_ = false;
  backend().restore(*state_, *file.snapshot);
  if (!file.logits.empty()) backend().set_row(*state_, file.logits);
  other_row_ = false;
  tokens_ = std::move(file.tokens);
  plain_ = false;  // the file does not say
  usable_ = true;
  try {
    for (auto& mark : file.marks) {
      const auto length = static_cast<size_t>(mark->position());
      store().add(std::span(tokens_).first(length), std::move(mark), {id_, Slot::kKept, family_, domain_});
    }
  } catch (const std::bad_alloc&) {  // only what was before costs more
  }
  count_shared();
}

}  // namespace prosa::runtime
