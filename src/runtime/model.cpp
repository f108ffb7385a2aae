// The public Model: tensors in and out over one backend. The core is shared with every State made of it, so that a
// state may outlive its model.
#include "prosa/model.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "backend/backend.h"
#include "base/boundary.h"
#include "base/busy.h"
#include "base/check.h"
#include "prosa/error.h"
#include "runtime/core.h"
#include "runtime/footprint.h"

namespace prosa {

struct State::Impl {
  Impl(std::shared_ptr<ModelCore> shared, std::unique_ptr<backend::State> empty)
      : core(std::move(shared)), state(std::move(empty)) {
    count();
    ++core->state_count;
  }
  ~Impl() {
    core->state_bytes -= counted;
    --core->state_count;
  }
  /// A state grows as it is fed.
  void count() { core->state_bytes += state->byte_size() - std::exchange(counted, state->byte_size()); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::shared_ptr<ModelCore> core;
  std::unique_ptr<backend::State> state;
  int64_t counted = 0;  // of its bytes, in core->state_bytes
  std::atomic<bool> busy = false;
};

State::State() = default;
State::~State() = default;
State::State(State&&) noexcept = default;
State& State::operator=(State&&) noexcept = default;

int64_t State::position() const { return impl_ ? impl_->state->position() : 0; }
int64_t State::byte_size() const { return impl_ ? impl_->state->byte_size() : 0; }

State State::copy() const {
  return at_boundary([&] {
    State twin;
    if (!impl_) return twin;
    const BusyLease lease(impl_->busy, "state");
    if (!impl_->state->valid()) {
      throw Error(ErrorCode::invalid_argument, "a state whose last call failed cannot be copied", "state");
    }
    backend::Backend& backend = impl_->core->backend();
    twin.impl_ = std::make_unique<Impl>(impl_->core, backend.new_state(impl_->state->capacity()));
    if (position() > 0) backend.restore(*twin.impl_->state, *backend.snapshot(*impl_->state));
    twin.impl_->count();
    return twin;
  });
}

Model::Model(std::shared_ptr<ModelCore> core) : core_(std::move(core)) {}

ModelCore& Model::core() const {
  if (!core_) throw Error(ErrorCode::invalid_argument, "the model was moved from", "model");
  return *core_;
}

Model Model::from_pretrained(const std::string& name, const LoadOptions& options) {
  return at_boundary([&] { return Model(std::make_shared<ModelCore>(load_model(name, options))); });
}

ModelInfo Model::info() const {
  return at_boundary([&] { return core().loaded().info; });
}

namespace {

MemoryFootprint footprint_of(const ModelCore& all) {
  const int64_t count = all.state_count;
  const int64_t bytes = all.state_bytes;
  MemoryFootprint footprint;
  if (count > 0) {
    const MemoryFootprint one = state_footprint(all.config(), bytes / count);
    footprint.state = one.state * count;
    footprint.kv = bytes - footprint.state;
  }
  const backend::MemoryReport report = all.backend().memory();
  footprint.weights = report.weights;
  footprint.scratch = report.scratch;
  footprint.stored_states = all.store()->byte_size();
  return footprint;
}

}  // namespace

MemoryFootprint Model::memory_footprint() const {
  return at_boundary([&] { return footprint_of(core()); });
}

State Model::new_state() const {
  return at_boundary([&] {
    State state;
    state.impl_ = std::make_unique<State::Impl>(core_, core().backend().new_state(core().loaded().context));
    return state;
  });
}

namespace {

/// The ids that are not padding. Errors name the place.
std::vector<int32_t> unmasked(std::span<const int32_t> input_ids, std::span<const uint8_t> mask, int64_t vocab) {
  if (!mask.empty() && mask.size() != input_ids.size()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("has {} entries for {} input_ids", mask.size(), input_ids.size()), "attention_mask");
  }
  if (input_ids.empty()) throw Error(ErrorCode::invalid_argument, "is empty", "input_ids");
  std::vector<int32_t> ids;
  ids.reserve(input_ids.size());
  for (size_t i = 0; i < input_ids.size(); ++i) {
    if (!mask.empty() && mask[i] == 0) continue;
    if (input_ids[i] < 0 || input_ids[i] >= vocab) {
      throw Error(ErrorCode::invalid_argument, fmt::format("{} is outside [0, {})", input_ids[i], vocab),
                  fmt::format("input_ids[{}]", i));
    }
    ids.push_back(input_ids[i]);
  }
  return ids;
}

/// Moves the rows of the unmasked positions from the front of `values` to their places; the others become zero.
void spread_rows(std::vector<float>& values, std::span<const uint8_t> mask, size_t vocab, size_t real) {
  const auto row = [&](size_t index) { return values.begin() + static_cast<std::ptrdiff_t>(index * vocab); };
  size_t from = real;
  for (size_t to = mask.size(); to-- > 0;) {  // from the back: a row never moves onto one that still waits
    if (mask[to] == 0) {
      std::fill(row(to), row(to + 1), 0.0F);
    } else if (--from != to) {
      std::copy(row(from), row(from + 1), row(to));
    }
  }
}

/// Feeds `ids`; the rows wanted go to the front of `values`. All rows are had in slices, so that a state never keeps
/// more of them than a step has.
void feed(ModelCore& core, backend::State& state, std::span<const int32_t> ids, bool last_only,
          std::span<float> values) {
  runtime::Work work;
  work.state = &state;
  work.tokens = ids;
  if (last_only) {
    core.scheduler().run(work);
    return core.backend().logits(state, 0, values);
  }
  const auto vocab = static_cast<size_t>(core.config().vocab_size);
  const auto slice = static_cast<size_t>(core.backend().step_rows());
  work.rows = backend::Rows::all;
  for (size_t at = 0; at < ids.size(); at += slice) {
    work.tokens = ids.subspan(at, std::min(slice, ids.size() - at));
    core.scheduler().run(work);
    for (size_t row = 0; row < work.tokens.size(); ++row)
      core.backend().logits(state, static_cast<int64_t>(row), values.subspan((at + row) * vocab, vocab));
  }
}

}  // namespace

Logits Model::forward(std::span<const int32_t> input_ids, State& state, std::span<const uint8_t> attention_mask,
                      bool last_only) const {
  return at_boundary([&] { return feed_rows(input_ids, state, attention_mask, last_only); });
}

Logits Model::feed_rows(std::span<const int32_t> input_ids, State& state, std::span<const uint8_t> attention_mask,
                        bool last_only) const {
  ModelCore& all = core();
  if (!state.impl_ || state.impl_->core != core_) {
    throw Error(ErrorCode::invalid_argument, state.impl_ ? "belongs to another model" : "is empty", "state",
                "make it with Model::new_state()");
  }
  const BusyLease lease(state.impl_->busy, "state");
  backend::State& inner = *state.impl_->state;
  if (!inner.valid()) {
    throw Error(ErrorCode::invalid_argument, "is unusable since a call on it failed", "state", "make a new one");
  }
  Logits logits;
  logits.vocab = all.config().vocab_size;
  const std::vector<int32_t> ids = unmasked(input_ids, attention_mask, logits.vocab);
  const auto count = static_cast<int64_t>(ids.size());
  if (inner.position() + count > inner.capacity()) {
    throw Error(
        ErrorCode::context_exceeded,
        fmt::format("{} tokens after {} do not fit the context of {}", count, inner.position(), inner.capacity()),
        "input_ids", "load with a larger LoadOptions::context");
  }
  logits.rows = last_only ? 1 : static_cast<int64_t>(input_ids.size());
  try {
    logits.values.resize(static_cast<size_t>(logits.rows * logits.vocab));
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, fmt::format("no room for {} rows of {} logits", logits.rows, logits.vocab),
                "logits", "ask for the last row only, or feed fewer tokens at once");
  }
  if (count == 0) return logits;  // nothing but padding

  feed(all, inner, ids, last_only, logits.values);
  state.impl_->count();
  if (!last_only && count < logits.rows) {
    spread_rows(logits.values, attention_mask, static_cast<size_t>(logits.vocab), ids.size());
  }
  return logits;
}

}  // namespace prosa
