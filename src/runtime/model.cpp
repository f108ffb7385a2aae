// The public Model: tensors in and out over one backend. The core is shared with every State made of it, so that a
// state may outlive its model.
#include "prosa/model.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "backend/backend.h"
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
};

State::State() = default;
State::~State() = default;
State::State(State&&) noexcept = default;
State& State::operator=(State&&) noexcept = default;

int64_t State::position() const { return impl_ ? impl_->state->position() : 0; }
int64_t State::byte_size() const { return impl_ ? impl_->state->byte_size() : 0; }

State State::copy() const {
  State twin;
  if (!impl_) return twin;
  const BusyLease lease(impl_->core->busy, "model");
  if (!impl_->state->valid()) {
    throw Error(ErrorCode::invalid_argument, "a state whose last call failed cannot be copied", "state");
  }
  backend::Backend& backend = impl_->core->backend();
  twin.impl_ = std::make_unique<Impl>(impl_->core, backend.new_state(impl_->state->capacity()));
  if (position() > 0) backend.restore(*twin.impl_->state, *backend.snapshot(*impl_->state));
  twin.impl_->count();
  return twin;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model Model::from_pretrained(const std::string& name, const LoadOptions& options) {
  return Model(std::make_unique<Impl>(Impl{std::make_shared<ModelCore>(load_model(name, options))}));
}

ModelInfo Model::info() const { return impl_->core->loaded.info; }

MemoryFootprint Model::memory_footprint() const {
  const ModelCore& core = *impl_->core;
  const int64_t count = core.state_count;
  const int64_t bytes = core.state_bytes;
  MemoryFootprint footprint;
  if (count > 0) {
    const MemoryFootprint one = state_footprint(core.backend().config(), bytes / count);
    footprint.state = one.state * count;
    footprint.kv = bytes - footprint.state;
  }
  const backend::MemoryReport report = core.backend().memory();
  footprint.weights = report.weights;
  footprint.scratch = report.scratch;
  return footprint;
}

State Model::new_state() const {
  const BusyLease lease(impl_->core->busy, "model");
  State state;
  state.impl_ =
      std::make_unique<State::Impl>(impl_->core, impl_->core->backend().new_state(impl_->core->loaded.context));
  return state;
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

}  // namespace

Logits Model::forward(std::span<const int32_t> input_ids, State& state, std::span<const uint8_t> attention_mask,
                      bool last_only) const {
  ModelCore& core = *impl_->core;
  const BusyLease lease(core.busy, "model");
  if (!state.impl_ || state.impl_->core != impl_->core) {
    throw Error(ErrorCode::invalid_argument, state.impl_ ? "belongs to another model" : "is empty", "state",
                "make it with Model::new_state()");
  }
  backend::State& inner = *state.impl_->state;
  if (!inner.valid()) {
    throw Error(ErrorCode::invalid_argument, "is unusable since a call on it failed", "state", "make a new one");
  }
  Logits logits;
  logits.vocab = core.backend().config().vocab_size;
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

  const std::span<float> values(logits.values);
  if (count == 1 && inner.position() > 0) {
    core.backend().decode(inner, ids.front(), values.first(static_cast<size_t>(logits.vocab)));
  } else {
    backend::PrefillRequest request;
    request.tokens = ids;
    request.rows = last_only ? backend::LogitRows::last : backend::LogitRows::all;
    request.logits = values.first(static_cast<size_t>((last_only ? 1 : count) * logits.vocab));
    core.backend().prefill(inner, request);
  }
  state.impl_->count();
  if (!last_only && count < logits.rows) {
    spread_rows(logits.values, attention_mask, static_cast<size_t>(logits.vocab), ids.size());
  }
  return logits;
}

}  // namespace prosa
