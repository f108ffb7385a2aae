// The reference backend: the layers of layers.h behind the Backend interface.
//
// One token and many go through the same code and all sums are per token, so every cut of a prompt gives the same bits:
// that is what makes it an oracle. Segments run one after the other. A tentative segment keeps a copy of what it
// changes, and commit() feeds the kept tokens again. A State belongs to the Backend that made it.
#include "backend/reference/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "backend/backend.h"
#include "backend/reference/layers.h"
#include "backend/segments.h"
#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "model/fingerprint.h"
#include "prosa/error.h"

namespace prosa::backend {
namespace reference {
namespace {

void check_tokens(const ModelConfig& config, std::span<const int32_t> tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < config.vocab_size) continue;
    throw Error(ErrorCode::invalid_argument, fmt::format("token id {} is not in [0, {})", tokens[i], config.vocab_size),
                fmt::format("token {} of the call", i), "use the ids of this model's own tokenizer");
  }
}

/// Bytes of one token in the KV cache, all layers.
int64_t kv_bytes_per_token(const ModelConfig& c) {
  const auto layers = std::ranges::count(c.layer_types, LayerType::full_attention);
  return layers * 2 * c.kv_dim() * static_cast<int64_t>(sizeof(float));
}

/// Bytes of conv windows and recurrent matrices, all layers.
int64_t fixed_bytes(const ModelConfig& c) {
  const auto layers = std::ranges::count(c.layer_types, LayerType::linear_attention);
  const int64_t recurrent = c.linear_num_value_heads * c.linear_key_head_dim * c.linear_value_head_dim;
  const int64_t conv = (c.linear_conv_kernel_dim - 1) * c.conv_dim();
  return layers * (recurrent + conv) * static_cast<int64_t>(sizeof(float));
}

std::vector<LayerState> make_layer_states(const ModelConfig& c, int64_t capacity) {
  std::vector<LayerState> layers;
  layers.reserve(c.layer_types.size());
  for (const LayerType type : c.layer_types) layers.push_back(make_layer_state(c, type, capacity));
  return layers;
}

class ReferenceState final : public State {
 public:
  ReferenceState(std::shared_ptr<const void> made_by, const ModelConfig& config, int64_t capacity)
      : State(capacity),
        owner(std::move(made_by)),
        layers(make_layer_states(config, capacity)),
        bytes_(fixed_bytes(config) + capacity * kv_bytes_per_token(config)) {}

  [[nodiscard]] int64_t byte_size() const noexcept override { return bytes_; }
  [[nodiscard]] int64_t row_bytes() const noexcept override { return row_bytes_; }
  void invalidate() noexcept {
    valid_ = false;
    pending_ = 0;
    set_rows({}, 1);
  }
  void settle(int64_t position) noexcept {
    position_ = position;
    pending_ = 0;
    valid_ = true;
  }
  void await(int64_t tokens) noexcept { pending_ = tokens; }
  void set_rows(std::vector<float> values, size_t vocab) noexcept {
    rows = std::move(values);
    rows_ = static_cast<int64_t>(rows.size() / vocab);
    row_bytes_ = static_cast<int64_t>(rows.size() * sizeof(float));
  }

  const std::shared_ptr<const void> owner;  // the backend's identity
  std::vector<LayerState> layers;           // [num_layers]
  std::vector<float> rows;                  // [rows(), vocab]

  // Of a tentative segment: what it was fed, and conv and recurrent as they were before it.
  struct Before {
    std::vector<float> conv, recurrent;  // as in LayerState
  };
  std::vector<int32_t> tried;
  std::vector<Before> before;  // [num_layers]

 private:
  int64_t bytes_;
  std::atomic<int64_t> row_bytes_ = 0;
};

class ReferenceSnapshot final : public Snapshot {
 public:
  struct Layer {
    std::vector<float> keys, values;     // [position, kv_dim]
    std::vector<float> conv, recurrent;  // as in LayerState
  };

  ReferenceSnapshot(int64_t position, std::vector<Layer> saved, uint64_t of_model)
      : Snapshot(position),
        kept_(std::make_shared<const std::vector<Layer>>(std::move(saved))),
        model(of_model),
        layers(*kept_) {}

  [[nodiscard]] Place place() const noexcept override { return Place::host; }

  [[nodiscard]] int64_t byte_size() const noexcept override {
    size_t values = 0;
    for (const Layer& l : layers) values += l.keys.size() + l.values.size() + l.conv.size() + l.recurrent.size();
    return static_cast<int64_t>(values * sizeof(float));
  }

  /// "keys.<layer>", "values.<layer>", "conv.<layer>", "recurrent.<layer>", each where the layer has it.
  [[nodiscard]] std::vector<SnapshotPart> parts() const override {
    std::vector<SnapshotPart> parts;
    for (size_t i = 0; i < layers.size(); ++i) {
      const Layer& layer = layers[i];
      const std::string number = "." + std::to_string(i);
      for (const auto& [name, values] : {std::pair{"keys", &layer.keys}, std::pair{"values", &layer.values},
                                         std::pair{"conv", &layer.conv}, std::pair{"recurrent", &layer.recurrent}}) {
        if (!values->empty()) parts.push_back({name + number, PartType::f32, std::as_bytes(std::span(*values)), kept_});
      }
    }
    return parts;
  }

 private:
  std::shared_ptr<const std::vector<Layer>> kept_;  // with the parts, which may outlive the snapshot

 public:
  const uint64_t model;              // its fingerprint
  const std::vector<Layer>& layers;  // [num_layers]
};

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(std::shared_ptr<const Weights> weights, const ReferenceOptions& options)
      : weights_(std::move(weights)),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        description_{"reference", "float32", pool_.size(), "float32 throughout"} {
    PROSA_CHECK(weights_ != nullptr);
  }

  [[nodiscard]] const Description& description() const noexcept override { return description_; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return weights_->config; }
  [[nodiscard]] int64_t slice_unit() const noexcept override { return 1; }
  [[nodiscard]] int64_t step_rows() const noexcept override { return 128; }
  [[nodiscard]] MemoryReport memory() const noexcept override { return {weights_->byte_size(), 0}; }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override;
  void reset(State& state) override;
  void run(std::span<Segment> segments) override;
  void candidates(std::span<const RowPick> asks, std::span<Candidates> answers) override;
  void logits(const State& state, int64_t row, std::span<float> out) override;
  void set_row(State& state, std::span<const float> logits) override;
  void commit(State& state, int64_t n) override;
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state, Place place) override;
  void restore(State& state, const Snapshot& snapshot) override;
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return "reference 1"; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override;

 private:
  [[nodiscard]] const ReferenceState& own(const State& state) const;
  [[nodiscard]] ReferenceState& own(State& state) const {
    return const_cast<ReferenceState&>(own(std::as_const(state)));
  }
  [[nodiscard]] std::span<const float> row_of(const State& state, int64_t row) const;
  void run_segment(Segment& segment);
  bool forward(ReferenceState& state, std::span<const int32_t> tokens, const Cancel& cancel, std::vector<float>& x);

  std::shared_ptr<const Weights> weights_;
  std::mutex computing_;  // held while the pool is used
  ThreadPool pool_;
  const Description description_;
  const uint64_t model_ = fingerprint(*weights_);
  const std::shared_ptr<const void> identity_ = std::make_shared<char>();  // no other's while a state of it lives
};

const ReferenceState& ReferenceBackend::own(const State& state) const {
  const auto* mine = dynamic_cast<const ReferenceState*>(&state);
  if (mine == nullptr || mine->owner != identity_) {
    throw Error(ErrorCode::invalid_argument, "the state was made by another backend", "state",
                "use new_state() of the backend it is passed to");
  }
  return *mine;
}

std::unique_ptr<State> ReferenceBackend::new_state(int64_t capacity) {
  check_capacity(capacity);
  const int64_t fixed = fixed_bytes(config());
  const int64_t per_token = std::max<int64_t>(1, kv_bytes_per_token(config()));
  const bool countable = capacity <= (std::numeric_limits<int64_t>::max() / 2 - fixed) / per_token;
  try {
    if (!countable) throw std::bad_alloc();
    return std::make_unique<ReferenceState>(identity_, config(), capacity);
  } catch (const std::bad_alloc&) {
    const double mebibytes = (static_cast<double>(fixed) + static_cast<double>(capacity) * per_token) / (1 << 20);
    throw Error(ErrorCode::out_of_memory,
                fmt::format("no memory for a state of {} tokens: {:.0f} MiB", capacity, mebibytes), "reference",
                "ask for a smaller context");
  }
}

void ReferenceBackend::reset(State& state) {
  ReferenceState& mine = own(state);
  for (LayerState& layer : mine.layers) {
    std::ranges::fill(layer.conv, 0.0F);
    std::ranges::fill(layer.recurrent, 0.0F);
  }
  mine.set_rows({}, 1);
  mine.settle(0);
}

/// All layers over `tokens`; the state's arrays move on, its position is the caller's to settle. x becomes [n, hidden]
/// before the final norm. False: cancelled.
bool ReferenceBackend::forward(ReferenceState& state, std::span<const int32_t> tokens, const Cancel& cancel,
                               std::vector<float>& x) {
  x = embed(*weights_, tokens);
  for (size_t i = 0; i < weights_->layers.size(); ++i) {
    if (cancel.requested()) return false;
    run_layer(config(), weights_->layers[i], state.layers[i], state.position(), x, pool_);
  }
  return true;
}

void ReferenceBackend::run(std::span<Segment> segments) {
  check_segments(segments, config());
  for (const Segment& segment : segments) static_cast<void>(own(*segment.state));
  const std::lock_guard lock(computing_);
  for (Segment& segment : segments) run_segment(segment);
}

void ReferenceBackend::run_segment(Segment& segment) {
  constexpr int64_t kChunk = 128;  // between two looks at the cancel: bounds the activations
  ReferenceState& mine = own(*segment.state);
  const auto total = static_cast<int64_t>(segment.tokens.size());
  const auto hidden = static_cast<size_t>(config().hidden_size);
  const auto vocab = static_cast<size_t>(config().vocab_size);
  const int64_t begin = mine.position();
  segment.cancelled = false;
  mine.tried.clear();
  mine.before.clear();
  if (segment.tentative) {
    mine.tried.assign(segment.tokens.begin(), segment.tokens.end());
    for (const LayerState& layer : mine.layers) mine.before.push_back({layer.conv, layer.recurrent});
  }
  mine.invalidate();  // until all tokens are through
  std::vector<float> rows;
  for (int64_t done = 0; done < total;) {
    const int64_t n = std::min(kChunk, total - done);
    std::vector<float> x;
    if (!forward(mine, segment.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n)), segment.cancel, x)) {
      segment.cancelled = true;
      mine.invalidate();
      return;
    }
    done += n;
    const int64_t first = std::max(total - wanted_rows(segment), done - n);  // token of the first row wanted of these
    if (first < done) {
      const std::span<const float> tail = std::span(x).last(static_cast<size_t>(done - first) * hidden);
      const std::vector<float> logits =
          linear(weights_->lm_head, rms_norm_rows(tail, weights_->norm, config().rms_norm_eps), pool_);
      rows.insert(rows.end(), logits.begin(), logits.end());
    }
    weights_->require_intact();  // they are read where they are mapped, in every pass
    mine.settle(begin + done);
  }
  if (segment.tentative) {
    mine.settle(begin);
    mine.await(total);
  }
  mine.set_rows(std::move(rows), vocab);
}

void ReferenceBackend::commit(State& state, int64_t n) {
  ReferenceState& mine = own(state);
  check_commit(state, n);
  const int64_t pending = mine.pending();
  if (pending == 0) return;
  const int64_t begin = mine.position();
  mine.settle(begin);
  if (n < pending) {
    for (size_t i = 0; i < mine.layers.size(); ++i) {
      mine.layers[i].conv = mine.before[i].conv;
      mine.layers[i].recurrent = mine.before[i].recurrent;
    }
    const std::lock_guard lock(computing_);
    std::vector<float> ignored;
    if (n > 0) forward(mine, std::span(mine.tried).first(static_cast<size_t>(n)), {}, ignored);
    try {
      weights_->require_intact();
    } catch (const Error&) {
      mine.invalidate();
      throw;
    }
  }
  mine.settle(begin + n);
  mine.before.clear();
}

std::span<const float> ReferenceBackend::row_of(const State& state, int64_t row) const {
  const auto vocab = static_cast<size_t>(config().vocab_size);
  return std::span(own(state).rows).subspan(static_cast<size_t>(row) * vocab, vocab);
}

void ReferenceBackend::candidates(std::span<const RowPick> asks, std::span<Candidates> answers) {
  PROSA_CHECK(asks.size() == answers.size());
  for (const RowPick& ask : asks) check_pick(ask, config());
  for (size_t i = 0; i < asks.size(); ++i)
    pick_candidates(row_of(*asks[i].state, asks[i].row), asks[i].pick, answers[i]);
}

void ReferenceBackend::logits(const State& state, int64_t row, std::span<float> out) {
  check_row(state, row);
  PROSA_CHECK(static_cast<int64_t>(out.size()) == config().vocab_size);
  std::ranges::copy(row_of(state, row), out.begin());
}

void ReferenceBackend::set_row(State& state, std::span<const float> logits) {
  PROSA_CHECK(static_cast<int64_t>(logits.size()) == config().vocab_size);
  own(state).set_rows({logits.begin(), logits.end()}, logits.size());
}

std::unique_ptr<Snapshot> ReferenceBackend::snapshot(const State& state, Place /*place*/) {
  const ReferenceState& mine = own(state);
  check_snapshot(state);
  std::vector<ReferenceSnapshot::Layer> layers;
  layers.reserve(mine.layers.size());
  const int64_t used = mine.position() * config().kv_dim();
  for (const LayerState& from : mine.layers) {
    ReferenceSnapshot::Layer to{.keys = {}, .values = {}, .conv = from.conv, .recurrent = from.recurrent};
    if (from.keys.size() > 0) {
      to.keys.assign(from.keys.data(), from.keys.data() + used);
      to.values.assign(from.values.data(), from.values.data() + used);
    }
    layers.push_back(std::move(to));
  }
  return std::make_unique<ReferenceSnapshot>(mine.position(), std::move(layers), model_);
}

void ReferenceBackend::restore(State& state, const Snapshot& snapshot) {
  ReferenceState& mine = own(state);
  const auto* saved = dynamic_cast<const ReferenceSnapshot*>(&snapshot);
  const auto used = static_cast<size_t>(snapshot.position() * config().kv_dim());
  bool fits = saved != nullptr && saved->model == model_ && saved->layers.size() == mine.layers.size();
  for (size_t i = 0; fits && i < mine.layers.size(); ++i) {
    const auto& [keys, values, conv, recurrent] = saved->layers[i];
    fits = conv.size() == mine.layers[i].conv.size() && recurrent.size() == mine.layers[i].recurrent.size() &&
           keys.size() == (mine.layers[i].keys.size() > 0 ? used : 0);
  }
  if (!fits) {
    throw Error(ErrorCode::invalid_argument, "this snapshot is of another model or backend", "reference",
                "restore snapshots of the same backend only");
  }
  if (snapshot.position() > state.capacity()) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("a snapshot of {} tokens into a state for {}", snapshot.position(), state.capacity()),
                "reference", "restore into a larger state");
  }
  for (size_t i = 0; i < mine.layers.size(); ++i) {
    const ReferenceSnapshot::Layer& from = saved->layers[i];
    LayerState& to = mine.layers[i];
    to.conv = from.conv;
    to.recurrent = from.recurrent;
    std::ranges::copy(from.keys, to.keys.data());
    std::ranges::copy(from.values, to.values.data());
  }
  mine.set_rows({}, 1);
  mine.settle(snapshot.position());
}

// Shares nothing: `longer` is of no use.
std::unique_ptr<Snapshot> ReferenceBackend::read_snapshot(int64_t position, const FindPart& find,
                                                          const Snapshot* /*longer*/) {
  const ModelConfig& c = config();
  const auto read = [&](const char* name, size_t layer, int64_t count) {
    const std::string part = name + ("." + std::to_string(layer));
    const std::span<const std::byte> bytes = find(part);
    if (bytes.size() != static_cast<size_t>(count) * sizeof(float)) {
      throw Error(ErrorCode::bad_session, fmt::format("has {} bytes for {} values", bytes.size(), count), part,
                  "the file is of another model, or damaged");
    }
    std::vector<float> values(static_cast<size_t>(count));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  std::vector<ReferenceSnapshot::Layer> layers(c.layer_types.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    if (c.layer_types[i] == LayerType::full_attention) {
      layers[i].keys = read("keys", i, position * c.kv_dim());
      layers[i].values = read("values", i, position * c.kv_dim());
    } else {
      layers[i].conv = read("conv", i, (c.linear_conv_kernel_dim - 1) * c.conv_dim());
      layers[i].recurrent =
          read("recurrent", i, c.linear_num_value_heads * c.linear_key_head_dim * c.linear_value_head_dim);
    }
  }
  return std::make_unique<ReferenceSnapshot>(position, std::move(layers), model_);
}

}  // namespace

std::vector<std::vector<float>> hidden_states(const Weights& weights, std::span<const int32_t> tokens, int threads) {
  const ModelConfig& config = weights.config;
  check_tokens(config, tokens);
  ThreadPool pool(threads);
  std::vector<LayerState> states = make_layer_states(config, static_cast<int64_t>(tokens.size()));
  std::vector<std::vector<float>> hidden;
  std::vector<float> x = embed(weights, tokens);
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    hidden.push_back(x);
    run_layer(config, weights.layers[i], states[i], 0, x, pool);
  }
  hidden.push_back(rms_norm_rows(x, weights.norm, config.rms_norm_eps));
  weights.require_intact();
  return hidden;
}

std::vector<float> mtp_logits(const Weights& weights, std::span<const int32_t> tokens,
                              std::span<const float> hidden_after_final_norm, int threads) {
  const ModelConfig& config = weights.config;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  if (!weights.mtp) {
    throw Error(ErrorCode::unsupported, "this checkpoint has no multi-token-prediction head", "mtp",
                "use a raw checkpoint with mtp.* tensors");
  }
  check_tokens(config, tokens);
  if (tokens.size() < 2 || hidden_after_final_norm.size() != tokens.size() * hidden) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} tokens and {} hidden values", tokens.size(), hidden_after_final_norm.size()), "mtp",
                "pass at least two tokens and hidden_size values for each");
  }
  ThreadPool pool(threads);
  const MtpWeights& mtp = *weights.mtp;
  const size_t n = tokens.size() - 1;
  const std::vector<float> embedding =
      rms_norm_rows(embed(weights, tokens.subspan(1)), mtp.pre_fc_norm_embedding, config.rms_norm_eps);
  const std::vector<float> previous =
      rms_norm_rows(hidden_after_final_norm.first(n * hidden), mtp.pre_fc_norm_hidden, config.rms_norm_eps);
  std::vector<float> pairs;  // [n, 2 * hidden]
  pairs.reserve(2 * n * hidden);
  for (size_t at = 0; at < n * hidden; at += hidden) {
    const auto begin = static_cast<std::ptrdiff_t>(at);
    const auto end = static_cast<std::ptrdiff_t>(at + hidden);
    pairs.insert(pairs.end(), embedding.begin() + begin, embedding.begin() + end);
    pairs.insert(pairs.end(), previous.begin() + begin, previous.begin() + end);
  }
  std::vector<float> x = linear(mtp.fc, pairs, pool);
  for (const LayerWeights& layer : mtp.layers) {
    LayerState state = make_layer_state(config, LayerType::full_attention, static_cast<int64_t>(n));
    run_layer(config, layer, state, 0, x, pool);
  }
  std::vector<float> logits = linear(weights.lm_head, rms_norm_rows(x, mtp.norm, config.rms_norm_eps), pool);
  weights.require_intact();
  return logits;
}

}  // namespace reference

std::unique_ptr<Backend> make_reference_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  return std::make_unique<reference::ReferenceBackend>(std::move(weights), options.reference);
}

}  // namespace prosa::backend
