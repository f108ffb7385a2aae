// The reference backend: the layers of layers.h behind the Backend interface.
//
// Prefill and decode are the same code (decode is a prefill of one token) and all sums are per token, so every cut of a
// prompt gives the same bits: that is what makes it an oracle. A State belongs to the Backend that made it.
#include "backend/reference/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "backend/backend.h"
#include "backend/reference/layers.h"
#include "base/check.h"
#include "checkpoint/checkpoint.h"
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
  ReferenceState(const Backend* made_by, const ModelConfig& config, int64_t capacity)
      : State(capacity),
        owner(made_by),
        layers(make_layer_states(config, capacity)),
        bytes_(fixed_bytes(config) + capacity * kv_bytes_per_token(config)) {}

  [[nodiscard]] int64_t byte_size() const noexcept override { return bytes_; }
  void invalidate() noexcept { valid_ = false; }
  void settle(int64_t position) noexcept {
    position_ = position;
    valid_ = true;
  }

  const Backend* owner;
  std::vector<LayerState> layers;  // [num_layers]

 private:
  int64_t bytes_;
};

class ReferenceSnapshot final : public Snapshot {
 public:
  struct Layer {
    std::vector<float> keys, values;     // [position, kv_dim]
    std::vector<float> conv, recurrent;  // as in LayerState
  };

  ReferenceSnapshot(int64_t position, std::vector<Layer> saved) : Snapshot(position), layers(std::move(saved)) {}

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
        if (!values->empty()) parts.push_back({name + number, sizeof(float), std::as_bytes(std::span(*values))});
      }
    }
    return parts;
  }

  std::vector<Layer> layers;  // [num_layers]
};

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(std::shared_ptr<const Weights> weights, const BackendOptions& options)
      : weights_(std::move(weights)),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        chunk_(std::max<int64_t>(1, options.max_prefill_chunk)) {
    PROSA_CHECK(weights_ != nullptr);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "reference"; }
  [[nodiscard]] std::string_view isa() const noexcept override { return "portable"; }
  [[nodiscard]] int threads() const noexcept override { return pool_.size(); }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return weights_->config; }
  [[nodiscard]] MemoryReport memory() const noexcept override { return {weights_->byte_size(), 0}; }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override;
  void reset(State& state) override;
  void prefill(State& state, const PrefillRequest& request) override;
  void decode(State& state, int32_t token, std::span<float> logits) override;
  void decode_batch(std::span<State* const> states, std::span<const int32_t> tokens, std::span<float> logits) override;
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) override;
  void restore(State& state, const Snapshot& snapshot) override;
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return "reference 1"; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override;

 private:
  [[nodiscard]] const ReferenceState& own(const State& state) const;
  [[nodiscard]] ReferenceState& own(State& state) const {
    return const_cast<ReferenceState&>(own(std::as_const(state)));
  }
  void check_ready(const State& state, std::span<const int32_t> tokens) const;
  std::vector<float> forward(ReferenceState& state, std::span<const int32_t> tokens, const std::atomic<bool>* cancel);

  std::shared_ptr<const Weights> weights_;
  ThreadPool pool_;
  int64_t chunk_;
};

const ReferenceState& ReferenceBackend::own(const State& state) const {
  const auto* mine = dynamic_cast<const ReferenceState*>(&state);
  if (mine == nullptr || mine->owner != this) {
    throw Error(ErrorCode::invalid_argument, "this state was made by another backend", "reference",
                "use new_state() of the backend it is passed to");
  }
  return *mine;
}

/// Everything that can be wrong with a call, before anything is touched.
void ReferenceBackend::check_ready(const State& state, std::span<const int32_t> tokens) const {
  if (!own(state).valid()) {
    throw Error(ErrorCode::invalid_argument, "the state is unusable after a cancelled or failed prefill", "reference",
                "reset() it or restore() a snapshot first");
  }
  if (tokens.empty()) throw Error(ErrorCode::invalid_argument, "no tokens to feed", "reference", "pass at least one");
  check_tokens(config(), tokens);
  if (static_cast<int64_t>(tokens.size()) > state.capacity() - state.position()) {
    throw Error(
        ErrorCode::context_exceeded,
        fmt::format("{} tokens do not fit: {} of {} are used", tokens.size(), state.position(), state.capacity()),
        "reference", "shorten the prompt or ask for a larger context");
  }
}

std::unique_ptr<State> ReferenceBackend::new_state(int64_t capacity) {
  if (capacity <= 0) {
    throw Error(ErrorCode::invalid_argument, fmt::format("a state of {} tokens", capacity), "capacity",
                "ask for at least one token");
  }
  const int64_t fixed = fixed_bytes(config());
  const int64_t per_token = std::max<int64_t>(1, kv_bytes_per_token(config()));
  const bool countable = capacity <= (std::numeric_limits<int64_t>::max() / 2 - fixed) / per_token;
  try {
    if (!countable) throw std::bad_alloc();
    return std::make_unique<ReferenceState>(this, config(), capacity);
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
  mine.settle(0);
}

/// All layers over `tokens`; the state's arrays move on, its position is the caller's to settle.
/// -> [n, hidden] before the final norm
std::vector<float> ReferenceBackend::forward(ReferenceState& state, std::span<const int32_t> tokens,
                                             const std::atomic<bool>* cancel) {
  std::vector<float> x = embed(*weights_, tokens);
  for (size_t i = 0; i < weights_->layers.size(); ++i) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      throw Error(ErrorCode::cancelled, "prefill was cancelled", "reference");
    }
    run_layer(config(), weights_->layers[i], state.layers[i], state.position(), x, pool_);
  }
  return x;
}

void ReferenceBackend::prefill(State& state, const PrefillRequest& request) {
  check_ready(state, request.tokens);
  ReferenceState& mine = own(state);
  const auto total = static_cast<int64_t>(request.tokens.size());
  const auto hidden = static_cast<size_t>(config().hidden_size);
  const auto vocab = static_cast<size_t>(config().vocab_size);
  const size_t rows = request.rows == LogitRows::none ? 0 : request.rows == LogitRows::last ? 1 : request.tokens.size();
  if (request.logits.size() < rows * vocab) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("room for {} logits, {} needed", request.logits.size(), rows * vocab), "logits",
                "pass [rows, vocab_size] values");
  }

  mine.invalidate();  // until all tokens are through
  int64_t position = mine.position();
  for (int64_t done = 0; done < total;) {
    const int64_t n = std::min(chunk_, total - done);
    const std::vector<float> x = forward(mine, request.tokens.subspan(done, n), request.cancel);
    const bool last_chunk = done + n == total;
    if (request.rows == LogitRows::all || (request.rows == LogitRows::last && last_chunk)) {
      const size_t wanted = request.rows == LogitRows::all ? static_cast<size_t>(n) : 1;
      const std::span<const float> tail = std::span(x).last(wanted * hidden);
      const std::vector<float> logits =
          linear(weights_->lm_head, rms_norm_rows(tail, weights_->norm, config().rms_norm_eps), pool_);
      const size_t at = request.rows == LogitRows::all ? static_cast<size_t>(done) * vocab : 0;
      std::ranges::copy(logits, request.logits.begin() + static_cast<std::ptrdiff_t>(at));
    }
    done += n;
    position += n;
    mine.settle(position);
    if (!last_chunk) mine.invalidate();
    if (request.progress) request.progress(done, total);
  }
}

void ReferenceBackend::decode(State& state, int32_t token, std::span<float> logits) {
  prefill(state, {.tokens = {&token, 1}, .rows = LogitRows::last, .logits = logits});
}

void ReferenceBackend::decode_batch(std::span<State* const> states, std::span<const int32_t> tokens,
                                    std::span<float> logits) {
  const auto vocab = static_cast<size_t>(config().vocab_size);
  if (states.size() != tokens.size() || logits.size() < states.size() * vocab) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} states, {} tokens and room for {} logits", states.size(), tokens.size(), logits.size()),
                "decode_batch", "pass one token and vocab_size logits for each state");
  }
  for (size_t i = 0; i < states.size(); ++i) {
    check_ready(*states[i], tokens.subspan(i, 1));
    if (std::ranges::count(states, states[i]) > 1) {
      throw Error(ErrorCode::invalid_argument, "the same state twice in one batch", "decode_batch",
                  "pass each state once");
    }
  }
  for (size_t i = 0; i < states.size(); ++i) decode(*states[i], tokens[i], logits.subspan(i * vocab, vocab));
}

std::unique_ptr<Snapshot> ReferenceBackend::snapshot(const State& state) {
  const ReferenceState& mine = own(state);
  if (!mine.valid()) {
    throw Error(ErrorCode::invalid_argument, "no snapshot of a state after a cancelled or failed prefill", "reference",
                "reset() it first");
  }
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
  return std::make_unique<ReferenceSnapshot>(mine.position(), std::move(layers));
}

void ReferenceBackend::restore(State& state, const Snapshot& snapshot) {
  ReferenceState& mine = own(state);
  const auto* saved = dynamic_cast<const ReferenceSnapshot*>(&snapshot);
  const auto used = static_cast<size_t>(snapshot.position() * config().kv_dim());
  bool fits = saved != nullptr && saved->layers.size() == mine.layers.size();
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
  return std::make_unique<ReferenceSnapshot>(position, std::move(layers));
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
  return linear(weights.lm_head, rms_norm_rows(x, mtp.norm, config.rms_norm_eps), pool);
}

}  // namespace reference

std::unique_ptr<Backend> make_reference_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  return std::make_unique<reference::ReferenceBackend>(std::move(weights), options);
}

}  // namespace prosa::backend
