// The public Session and SessionLock over runtime::Session and LockBeside, with the one-call-at-a-time rule around each
// call.
#include "prosa/session.h"

#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/boundary.h"
#include "base/busy.h"
#include "base/lock_beside.h"
#include "runtime/core.h"
#include "runtime/session.h"

namespace prosa {

std::string_view to_string(SyncPath path) noexcept {
  switch (path) {
    case SyncPath::extended: return "extended";
    case SyncPath::restored: return "restored";
    case SyncPath::rebuilt: return "rebuilt";
  }
  return "unknown";
}

std::string SyncReport::reason() const {
  return at_boundary([&] {
    const std::string place = fmt::format("{} at {} of {} tokens", to_string(path), reused, reused + computed);
    if (path == SyncPath::extended) return place;
    return fmt::format("{}; the list held before parts at {}", place, common);
  });
}

struct Session::Impl {
  explicit Impl(std::shared_ptr<ModelCore> core) : inner(core, core->loaded().context) { inner.keep_reply_marks(); }
  Impl(const Impl& origin) : inner(origin.inner) {}

  runtime::Session inner;
  std::vector<float> row;  // [vocab] of the last token, copied when it is asked for
  std::atomic<int64_t> row_bytes = 0;
  std::atomic<bool> busy = false;

  [[nodiscard]] BusyLease lease() { return {busy, "session"}; }
};

Session::Session(const Model& model) {
  if (!model.core_) throw Error(ErrorCode::invalid_argument, "the model was moved from", "model");
  impl_ = at_boundary([&] { return std::make_unique<Impl>(model.core_); });
}
Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Session::Impl& Session::impl() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "the session was moved from", "session");
  return *impl_;
}

Session Session::fork() const {
  return at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    return Session(std::make_unique<Impl>(mine));
  });
}

SyncReport Session::sync(std::span<const int32_t> tokens, std::span<const int64_t> cuts,
                         const std::atomic<bool>* cancel) {
  return at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    mine.row.clear();
    return mine.inner.sync({tokens, cuts, Cancel(cancel)});
  });
}

void Session::decode(int32_t token) {
  at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    mine.row.clear();
    mine.inner.decode(token);
  });
}

SyncReport Session::rewind(int64_t position) {
  return at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    mine.row.clear();
    return mine.inner.rewind(position);
  });
}

void Session::mark() {
  at_boundary([&] {
    const BusyLease lease = impl().lease();
    impl_->inner.mark();
  });
}

void Session::reset() {
  at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    mine.row.clear();
    mine.inner.reset();
  });
}

std::span<const float> Session::logits() const {
  return at_boundary([&]() -> std::span<const float> {
    Impl& mine = impl();
    if (!mine.inner.has_logits()) return {};
    if (mine.row.empty()) {
      mine.row.resize(static_cast<size_t>(mine.inner.backend().config().vocab_size));
      mine.row_bytes = static_cast<int64_t>(mine.row.size() * sizeof(float));
      mine.inner.copy_logits(mine.row);
    }
    return mine.row;
  });
}

std::span<const int32_t> Session::tokens() const { return impl().inner.tokens(); }
int64_t Session::position() const { return impl().inner.position(); }
int64_t Session::capacity() const { return impl().inner.capacity(); }
MemoryFootprint Session::memory_footprint() const {
  return at_boundary([&] {
    MemoryFootprint footprint = impl().inner.memory();
    footprint.scratch += impl_->row_bytes;
    return footprint;
  });
}

void Session::save(const std::string& path) const {
  at_boundary([&] {
    const BusyLease lease = impl().lease();
    const LockBeside lock(path, LockFor::writing);
    impl_->inner.save(path, {});
  });
}

void Session::save(const SessionLock& file) const {
  at_boundary([&] {
    const BusyLease lease = impl().lease();
    file.require_held();
    impl_->inner.save(file.path(), {});
  });
}

void Session::load(const std::string& path, SessionAccess access) {
  at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    std::optional<LockBeside> lock;
    if (access == SessionAccess::exclusive) lock.emplace(path, LockFor::reading);
    mine.inner.load(path);
    mine.row.clear();
  });
}

void Session::load(const SessionLock& file) {
  at_boundary([&] {
    Impl& mine = impl();
    const BusyLease lease = mine.lease();
    mine.inner.load(file.path());
    mine.row.clear();
  });
}

struct SessionLock::Impl {
  explicit Impl(const std::string& file) : path(file), lock(file, LockFor::keeping) {}
  std::string path;
  LockBeside lock;
};

SessionLock::SessionLock(const std::string& path) : impl_(at_boundary([&] { return std::make_unique<Impl>(path); })) {}
SessionLock::~SessionLock() = default;
SessionLock::SessionLock(SessionLock&&) noexcept = default;
SessionLock& SessionLock::operator=(SessionLock&&) noexcept = default;

void SessionLock::require_held() const {
  const std::string& file = path();  // its error
  at_boundary([&] { impl_->lock.require_held(file); });
}

const std::string& SessionLock::path() const {
  if (!impl_) throw Error(ErrorCode::invalid_argument, "the lock was moved from", "session lock");
  return impl_->path;
}

}  // namespace prosa
