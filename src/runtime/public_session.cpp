// The public Session over runtime::Session, with the model's one-call-at-a-time rule around each call.
#include "prosa/session.h"

#include <fmt/format.h>

#include "base/busy.h"
#include "base/check.h"
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
  const std::string place = fmt::format("{} at {} of {} tokens", to_string(path), reused, reused + computed);
  if (path == SyncPath::extended) return place;
  return fmt::format("{}; the list held before parts at {}", place, common);
}

struct Session::Impl {
  Impl(std::shared_ptr<ModelCore> shared, std::shared_ptr<runtime::StateStore> store)
      : core(std::move(shared)), inner(core->loaded.backend, core->loaded.context, std::move(store)) {
    inner.keep_reply_marks();
  }

  std::shared_ptr<ModelCore> core;
  runtime::Session inner;

  [[nodiscard]] BusyLease lease() const { return {core->busy, "model"}; }
};

Session::Session(const Model& model) {
  const std::shared_ptr<ModelCore>& core = model.impl_->core;
  const BusyLease lease(core->busy, "model");
  auto store = std::static_pointer_cast<runtime::StateStore>(core->shared_by_sessions);
  if (!store) {
    store = std::make_shared<runtime::StateStore>(core->loaded.state_store_bytes);
    core->shared_by_sessions = store;
  }
  impl_ = std::make_unique<Impl>(core, std::move(store));
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

SyncReport Session::sync(std::span<const int32_t> tokens, std::span<const int64_t> cuts,
                         const std::atomic<bool>* cancel) {
  const BusyLease lease = impl_->lease();
  return impl_->inner.sync({tokens, cuts, cancel});
}

void Session::decode(int32_t token) {
  const BusyLease lease = impl_->lease();
  impl_->inner.decode(token);
}

SyncReport Session::rewind(int64_t position) {
  const BusyLease lease = impl_->lease();
  return impl_->inner.rewind(position);
}

void Session::mark() {
  const BusyLease lease = impl_->lease();
  impl_->inner.mark();
}

void Session::reset() {
  const BusyLease lease = impl_->lease();
  impl_->inner.reset();
}

std::span<const float> Session::logits() const { return std::as_const(impl_->inner).logits(); }
std::span<const int32_t> Session::tokens() const { return impl_->inner.tokens(); }
int64_t Session::position() const { return impl_->inner.position(); }
int64_t Session::capacity() const { return impl_->inner.capacity(); }
MemoryFootprint Session::memory_footprint() const { return impl_->inner.memory(); }

void Session::save(const std::string& path) const {
  const BusyLease lease = impl_->lease();
  impl_->inner.save(path, impl_->core->loaded.fingerprint, {});
}

void Session::load(const std::string& path) {
  const BusyLease lease = impl_->lease();
  impl_->inner.load(path, impl_->core->loaded.fingerprint);
}

}  // namespace prosa
