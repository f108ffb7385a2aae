// The CPU backend: checks the arguments, cuts prompts into passes, keeps the packed model and the threads.
#include <fmt/format.h>

#include <algorithm>

#include "backend/backend.h"
#include "backend/cpu/forward.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"
#include "backend/cpu/state.h"
#include "base/check.h"
#include "prosa/error.h"

namespace prosa::backend {
namespace cpu {
namespace {

CpuState& own(State& state) {
  auto* mine = dynamic_cast<CpuState*>(&state);
  PROSA_CHECK(mine != nullptr);
  return *mine;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Weights& weights, const BackendOptions& options)
      : kernels_(choose_kernels(options.isa)),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        model_(pack_model(weights, pool_, options.progress)),
        forward_(model_, kernels_, pool_, std::max<int64_t>(options.max_prefill_chunk, 1), options.activation_bits),
        kv_bits_(options.kv_bits),
        layout_(layout_of(options)) {}
  ~CpuBackend() override { buffers_->close(); }
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;

  [[nodiscard]] std::string_view name() const noexcept override { return "cpu"; }
  [[nodiscard]] std::string_view isa() const noexcept override { return kernels_.isa; }
  [[nodiscard]] int threads() const noexcept override { return pool_.size(); }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return model_.config; }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override {
    if (capacity < 1)
      throw Error(ErrorCode::invalid_argument, fmt::format("a context of {} tokens", capacity), "context",
                  "at least 1");
    return std::make_unique<CpuState>(model_.config, kv_bits_, capacity, buffers_);
  }

  void reset(State& state) override { own(state).reset(); }

  void prefill(State& state, const PrefillRequest& request) override {
    CpuState& mine = own(state);
    const auto total = static_cast<int64_t>(request.tokens.size());
    if (total < 1) throw Error(ErrorCode::invalid_argument, "no tokens to feed", "prefill", "give at least one token");
    check_room(mine, total);
    check_tokens(request.tokens);
    mine.make_room(total);
    const int64_t vocab = model_.config.vocab_size;
    const int64_t rows = request.rows == LogitRows::none ? 0 : request.rows == LogitRows::last ? 1 : total;
    PROSA_CHECK(static_cast<int64_t>(request.logits.size()) >= rows * vocab);
    for (int64_t done = 0; done < total;) {
      const int64_t count = std::min(forward_.max_rows(), total - done);
      const bool final = done + count == total;
      LogitRows wanted = request.rows;
      std::span<float> logits = request.logits;
      if (wanted == LogitRows::last && !final) wanted = LogitRows::none;
      if (wanted == LogitRows::all)
        logits = logits.subspan(static_cast<size_t>(done * vocab), static_cast<size_t>(count * vocab));
      if (!forward_.prefill(mine, request.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count)), wanted,
                            logits, request.cancel)) {
        mine.set_valid(false);
        throw Error(ErrorCode::cancelled, "the prompt was cancelled", "prefill");
      }
      done += count;
      if (request.progress) request.progress(done, total);
    }
  }

  void decode(State& state, int32_t token, std::span<float> logits) override {
    State* const states[] = {&state};
    decode_batch(states, {&token, 1}, logits);
  }

  void decode_batch(std::span<State* const> states, std::span<const int32_t> tokens, std::span<float> logits) override {
    PROSA_CHECK(states.size() == tokens.size() && !states.empty());
    const auto vocab = static_cast<size_t>(model_.config.vocab_size);
    PROSA_CHECK(logits.size() >= states.size() * vocab);
    std::vector<CpuState*> mine;
    for (State* state : states) {
      mine.push_back(&own(*state));
      check_room(*mine.back(), 1);
    }
    check_tokens(tokens);
    for (CpuState* state : mine) state->make_room(1);
    const auto step = static_cast<size_t>(forward_.max_rows());
    for (size_t at = 0; at < mine.size(); at += step) {
      const size_t count = std::min(step, mine.size() - at);
      forward_.decode(std::span(mine).subspan(at, count), tokens.subspan(at, count),
                      logits.subspan(at * vocab, count * vocab));
    }
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state) override {
    const auto* mine = dynamic_cast<const CpuState*>(&state);
    PROSA_CHECK(mine != nullptr && mine->valid());
    return std::make_unique<CpuSnapshot>(*mine);
  }

  void restore(State& state, const Snapshot& snapshot) override {
    const auto* mine = dynamic_cast<const CpuSnapshot*>(&snapshot);
    PROSA_CHECK(mine != nullptr);
    mine->restore(own(state));
  }

  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return layout_; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override {
    const auto* whole = dynamic_cast<const CpuSnapshot*>(longer);
    PROSA_CHECK(longer == nullptr || whole != nullptr);
    return std::make_unique<CpuSnapshot>(model_.config, kv_bits_, position, find, whole, *buffers_);
  }

  [[nodiscard]] MemoryReport memory() const noexcept override {
    return {model_.byte_size(), forward_.scratch_bytes() + buffers_->byte_size()};
  }

  std::vector<StageTime> take_profile() override { return forward_.clock().take(); }

 private:
  // A state is continued as it was begun.
  static std::string layout_of(const BackendOptions& options) {
    return fmt::format("{}, {}-bit KV, {}-bit activations", CpuSnapshot::layout, options.kv_bits,
                       options.activation_bits);
  }

  static void check_room(const CpuState& state, int64_t tokens) {
    if (!state.valid()) {
      throw Error(ErrorCode::invalid_argument, "the state was left in pieces by a cancelled prompt", "state",
                  "reset or restore it");
    }
    if (state.position() + tokens > state.capacity()) {
      throw Error(
          ErrorCode::context_exceeded,
          fmt::format("{} tokens after {} do not fit a context of {}", tokens, state.position(), state.capacity()),
          "context", "shorten the prompt or load with a larger context");
    }
  }

  void check_tokens(std::span<const int32_t> tokens) const {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] >= 0 && tokens[i] < model_.config.vocab_size) continue;
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("token id {} at index {} is outside the vocabulary of {}", tokens[i], i,
                              model_.config.vocab_size),
                  "token ids", "use the tokenizer that belongs to the model");
    }
  }

  const Kernels& kernels_;
  ThreadPool pool_;
  PackedModel model_;
  Forward forward_;
  const int kv_bits_;
  const std::string layout_;
  std::shared_ptr<StateBuffers> buffers_ = std::make_shared<StateBuffers>(CpuState::fixed_elements(model_.config));
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  PROSA_CHECK(weights != nullptr);
  if (options.threads < 0 || options.threads > 1024) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} threads", options.threads), "threads",
                "0 (physical cores) to 1024");
  }
  if (options.activation_bits != 15 && options.activation_bits != 8) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} bits", options.activation_bits), "activation_bits",
                "15 or 8");
  }
  if (options.kv_bits != 8 && options.kv_bits != 16)
    throw Error(ErrorCode::invalid_argument, fmt::format("{} bits", options.kv_bits), "kv_bits", "8 or 16");
  return std::make_unique<cpu::CpuBackend>(*weights, options);
}

}  // namespace prosa::backend
