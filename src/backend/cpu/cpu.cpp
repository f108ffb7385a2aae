// The CPU backend: checks the arguments, forms passes of the segments, keeps the packed model and the threads.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/forward.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"
#include "backend/cpu/state.h"
#include "backend/segments.h"
#include "base/check.h"
#include "model/fingerprint.h"
#include "prosa/error.h"

namespace prosa::backend {
namespace cpu {
namespace {

/// Cuts segments into passes: whole chunks of the delta rule, so that no cut shows; a tentative segment stays whole.
std::vector<Pass> form_passes(std::span<const Segment> segments, int64_t max_rows) {
  std::vector<int64_t> done(segments.size());
  std::vector<Pass> passes;
  for (bool left = true; left;) {
    left = false;
    std::vector<PassSegment> parts;
    int64_t room = max_rows;
    for (size_t i = 0; i < segments.size(); ++i) {
      const Segment& from = segments[i];
      const auto total = static_cast<int64_t>(from.tokens.size());
      int64_t count = total - done[i];
      if (count == 0) continue;
      if (count > room) count = from.tentative ? 0 : room / kDeltaChunk * kDeltaChunk;
      left = left || done[i] + count < total;
      if (count == 0) continue;
      PassSegment part;
      part.state = static_cast<CpuState*>(from.state);
      part.tokens = from.tokens.subspan(static_cast<size_t>(done[i]), static_cast<size_t>(count));
      part.tentative = from.tentative;
      part.cancel = from.cancel;
      part.done = done[i];
      const int64_t first = total - wanted_rows(from);  // token whose row is the state's row 0
      part.first_wanted = std::clamp(first - done[i], int64_t{0}, count);
      part.first_row = std::max(done[i] - first, int64_t{0});
      parts.push_back(part);
      done[i] += count;
      room -= count;
    }
    passes.emplace_back(std::move(parts));
  }
  return passes;
}

// What states say of how they were made; they are continued in no other way. `planes` are those of normalised rows;
// what stands behind gates has 15 bits wherever it has integers (pack_model()).
std::string activation_text(const PackedModel& model) {
  if (model.planes[1] && model.planes[2]) return "8- and 15-bit activations (15 behind gates)";
  return model.planes[1]   ? "8-bit activations (15 behind gates)"
         : model.planes[2] ? "15-bit activations"
                           : "float32 activations";
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Weights& weights, const CpuOptions& options, const std::function<void(double)>& progress)
      : kernels_(choose_kernels(options.isa)),
        pool_(options.threads > 0 ? options.threads : physical_cores()),
        model_(pack_model(weights, pool_, options.activation_bits, progress)),
        forward_(model_, kernels_, pool_, padded(std::max<int64_t>(options.pass_rows, 1), kDeltaChunk)),
        kv_bits_(options.kv_bits),
        description_{"cpu", std::string(kernels_.isa), pool_.size(),
                     fmt::format("{}-bit KV, {}", options.kv_bits, activation_text(model_))},
        // A state is continued as it was begun.
        layout_(fmt::format("{}, {}", CpuSnapshot::layout, description_.details)),
        made_as_(fmt::format("{}, model {:016x}", layout_, fingerprint(weights))) {}
  ~CpuBackend() override { buffers_->close(); }
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;

  [[nodiscard]] const Description& description() const noexcept override { return description_; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return model_.config; }
  [[nodiscard]] int64_t slice_unit() const noexcept override { return kDeltaChunk; }
  [[nodiscard]] int64_t step_rows() const noexcept override { return forward_.max_rows(); }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override {
    check_capacity(capacity);
    return std::make_unique<CpuState>(model_.config, kv_bits_, capacity, buffers_);
  }
  void reset(State& state) override { own(state).reset(); }

  void run(std::span<Segment> segments) override;

  void candidates(std::span<const RowPick> asks, std::span<Candidates> answers) override {
    PROSA_CHECK(asks.size() == answers.size());
    for (const RowPick& ask : asks) check_pick(ask, config());
    for (size_t i = 0; i < asks.size(); ++i)
      pick_candidates(row_of(*asks[i].state, asks[i].row), asks[i].pick, answers[i]);
  }
  void logits(const State& state, int64_t row, std::span<float> out) override {
    check_row(state, row);
    PROSA_CHECK(static_cast<int64_t>(out.size()) == config().vocab_size);
    std::ranges::copy(row_of(state, row), out.begin());
  }
  void set_row(State& state, std::span<const float> logits) override {
    PROSA_CHECK(static_cast<int64_t>(logits.size()) == config().vocab_size);
    CpuState& mine = own(state);
    mine.reserve_rows(1);
    mine.drop_rows();
    std::ranges::copy(logits, mine.row(0));
    mine.set_rows(1);
  }

  void commit(State& state, int64_t n) override {
    CpuState& mine = own(state);
    check_commit(state, n);
    if (mine.pending() == 0) return;
    if (n > 0 && n < mine.pending()) forward_.replay(mine, n);
    mine.settle(n);
  }

  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state, Place /*place*/) override {
    const CpuState& mine = own(state);
    check_snapshot(state);
    return std::make_unique<CpuSnapshot>(mine, made_as_);
  }
  void restore(State& state, const Snapshot& snapshot) override {
    const auto* mine = dynamic_cast<const CpuSnapshot*>(&snapshot);
    if (mine == nullptr) throw Error(ErrorCode::invalid_argument, "the snapshot is of another backend", "restore");
    mine->restore(own(state), made_as_);
  }

  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return layout_; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override {
    const auto* whole = dynamic_cast<const CpuSnapshot*>(longer);
    PROSA_CHECK(longer == nullptr || whole != nullptr);
    return std::make_unique<CpuSnapshot>(model_.config, kv_bits_, position, find, whole, *buffers_, made_as_);
  }

  [[nodiscard]] MemoryReport memory() const noexcept override {
    return {model_.byte_size(), forward_.scratch_bytes() + buffers_->byte_size()};
  }
  std::vector<StageTime> take_profile() override { return forward_.clock().take(); }

 private:
  [[nodiscard]] const CpuState& own(const State& state) const {
    const auto* mine = dynamic_cast<const CpuState*>(&state);
    if (mine != nullptr && mine->made_with(buffers_)) return *mine;
    throw Error(ErrorCode::invalid_argument, "the state was made by another backend", "state",
                "use new_state() of the backend it is passed to");
  }
  [[nodiscard]] CpuState& own(State& state) const { return const_cast<CpuState&>(own(std::as_const(state))); }
  [[nodiscard]] std::span<const float> row_of(const State& state, int64_t row) const {
    return {own(state).row(row), static_cast<size_t>(config().vocab_size)};
  }

  const Kernels& kernels_;
  ThreadPool pool_;
  PackedModel model_;
  Forward forward_;
  const int kv_bits_;
  const Description description_;
  const std::string layout_;
  const std::string made_as_;  // of snapshots: the layout and the model
  std::shared_ptr<StateBuffers> buffers_ = std::make_shared<StateBuffers>(CpuState::fixed_elements(model_.config));
};

void CpuBackend::run(std::span<Segment> segments) {
  check_segments(segments, config());
  for (const Segment& segment : segments) static_cast<void>(own(*segment.state));
  for (const Segment& segment : segments) {
    static_cast<CpuState*>(segment.state)
        ->make_room(static_cast<int64_t>(segment.tokens.size()), wanted_rows(segment), segment.tentative);
  }
  std::vector<Pass> passes = form_passes(segments, forward_.max_rows());
  for (const Pass& pass : passes) forward_.reserve(pass);

  const auto cancel = [&](const State* state) {
    for (Segment& segment : segments) {
      if (segment.state == state) segment.cancelled = true;
    }
    static_cast<CpuState*>(const_cast<State*>(state))->invalidate();
  };
  for (Segment& segment : segments) {
    segment.cancelled = false;
    static_cast<CpuState*>(segment.state)->drop_rows();
  }
  for (size_t i = 0; i < passes.size(); ++i) {
    if (!passes[i].segments().empty() && !forward_.run(passes[i])) {
      for (const PassSegment& part : passes[i].segments()) cancel(part.state);
    }
    if (i + 1 == passes.size()) break;
    // Whoever was cancelled is in no later pass. Nothing is allocated here: what has been fed can't be taken back.
    for (const PassSegment& part : passes[i + 1].segments()) {
      if (part.state->valid() && part.cancel.requested()) cancel(part.state);
    }
    passes[i + 1].keep_valid();
  }
  for (const Segment& segment : segments) {
    if (!segment.cancelled) static_cast<CpuState*>(segment.state)->set_rows(wanted_rows(segment));
  }
}

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  PROSA_CHECK(weights != nullptr);
  const CpuOptions& cpu = options.cpu;
  if (cpu.threads < 0 || cpu.threads > 1024) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} threads", cpu.threads), "threads",
                "0 (physical cores) to 1024");
  }
  if (cpu.activation_bits != 0 && cpu.activation_bits != 15 && cpu.activation_bits != 8)
    throw Error(ErrorCode::invalid_argument, fmt::format("{} bits", cpu.activation_bits), "activation_bits",
                "15 or 8, or 0: what the weights need");
  if (cpu.kv_bits != 8 && cpu.kv_bits != 16)
    throw Error(ErrorCode::invalid_argument, fmt::format("{} bits", cpu.kv_bits), "kv_bits", "8 or 16");
  return std::make_unique<cpu::CpuBackend>(*weights, cpu, options.progress);
}

}  // namespace prosa::backend
