// The mlx backend: the layers of forward.h behind the Backend interface.
//
// Segments run one after the other, and a segment of many tokens in passes of kPassRows from its beginning: so nothing
// beside a row, and no slice, can change its bits. The tokens of a tentative segment run as single steps. Every call
// into MLX is made on one thread (worker.h); in unified memory, finished numbers are read from any.
#include <algorithm>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <mlx/device.h>
#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <mlx/version.h>

#include "backend/mlx/forward.h"
#include "backend/mlx/mlx.h"
#include "backend/mlx/picker.h"
#include "backend/mlx/state.h"
#include "backend/mlx/worker.h"
#include "backend/segments.h"
#include "base/check.h"
#include "model/fingerprint.h"
#include "prosa/error.h"

namespace prosa::backend {
namespace mlx {
namespace {

constexpr int64_t kPassRows = 64;
constexpr std::string_view kLayout = "mlx 1";

/// What MLX throws, as prosa says it. It has one class for everything, so the words must tell.
[[noreturn]] void rethrow(const std::exception& error, const std::string& doing) {
  const std::string_view what = error.what();
  if (what.find("alloc") != std::string_view::npos || what.find("memory") != std::string_view::npos)
    throw Error(ErrorCode::out_of_memory, fmt::format("MLX has no memory {}: {}", doing, what), "mlx",
                "ask for a smaller context, or close what else uses the device");
  throw Error(ErrorCode::unsupported, fmt::format("MLX refuses {}: {}", doing, what), "mlx", "use --backend cpu");
}

template <typename Job>
void translated(const std::string& doing, const Job& job) {
  try {
    job();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc& error) {
    throw Error(ErrorCode::out_of_memory, "no memory " + doing, "mlx", "ask for a smaller context");
  } catch (const std::exception& error) {
    rethrow(error, doing);
  }
}

/// The version that the headers were of, against the library's: a class with other members would be read wrongly.
void check_version(std::string_view of_library) {
  const std::string built = fmt::format("{}.{}.{}", MLX_VERSION_MAJOR, MLX_VERSION_MINOR, MLX_VERSION_PATCH);
  const bool same =
      of_library.starts_with(built) &&
      (of_library.size() == built.size() || of_library[built.size()] == '.' || of_library[built.size()] == '+');
  if (same) return;
  throw Error(ErrorCode::unsupported,
              fmt::format("libmlx is version {}, but prosa was built with {}", of_library, built), "mlx",
              fmt::format("install MLX {}, or build prosa again", built));
}

/// Whether there is a GPU that MLX computes on. A Mac without one is an error: its CPU is what `cpu` is faster on.
bool use_gpu() {
  const bool gpu = mx::is_available(mx::Device::gpu);
#ifdef __APPLE__
  if (!gpu) throw Error(ErrorCode::unsupported, "there is no Metal device", "mlx", "use --backend cpu");
#endif
  return gpu;
}

int64_t token_bytes(const ModelConfig& c) {
  const auto layers = std::ranges::count(c.layer_types, LayerType::full_attention);
  return layers * 2 * c.kv_dim() * static_cast<int64_t>(sizeof(float));
}

class MlxBackend final : public Backend {
 public:
  explicit MlxBackend(std::shared_ptr<const Weights> weights) : weights_(std::move(weights)) {
    PROSA_CHECK(weights_ != nullptr);
    check_version(mx::version());
    const bool gpu = use_gpu();
    description_ = {"mlx", gpu ? "gpu" : "cpu", 0, fmt::format("MLX {}, float32 activations and KV", mx::version())};
    on_worker("to load the model", [&] { model_ = std::make_unique<MlxModel>(load_model(weights_)); });
  }

  [[nodiscard]] const Description& description() const noexcept override { return description_; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return weights_->config; }
  [[nodiscard]] int64_t slice_unit() const noexcept override { return kPassRows; }
  [[nodiscard]] int64_t step_rows() const noexcept override { return kPassRows; }
  [[nodiscard]] MemoryReport memory() const noexcept override { return {weights_->byte_size() + model_->own_bytes, 0}; }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override;
  void reset(State& state) override;
  void run(std::span<Segment> segments) override;
  void candidates(std::span<const RowPick> asks, std::span<Candidates> answers) override;
  void logits(const State& state, int64_t row, std::span<float> out) override;
  void set_row(State& state, std::span<const float> logits) override;
  void commit(State& state, int64_t n) override;
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state, Place place) override;
  void restore(State& state, const Snapshot& snapshot) override;
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return kLayout; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override;

 private:
  [[nodiscard]] const MlxState& own(const State& state) const;
  [[nodiscard]] MlxState& own(State& state) const { return const_cast<MlxState&>(own(std::as_const(state))); }
  template <typename Job>
  void on_worker(const std::string& doing, const Job& job) {
    translated(doing, [&] { worker_.call(job); });
  }
  void run_segment(Segment& segment);
  bool run_passes(MlxState& state, const Segment& segment, std::vector<mx::array>& rows);
  bool run_tentative(MlxState& state, const Segment& segment, std::vector<mx::array>& rows);

  std::shared_ptr<const Weights> weights_;
  Description description_;
  const uint64_t fingerprint_ = fingerprint(*weights_);
  const std::shared_ptr<const void> identity_ = std::make_shared<char>();  // no other's while a state of it lives
  std::unique_ptr<MlxModel> model_;
  Worker worker_;
};

const MlxState& MlxBackend::own(const State& state) const {
  const auto* mine = dynamic_cast<const MlxState*>(&state);
  if (mine == nullptr || mine->owner != identity_) {
    throw Error(ErrorCode::invalid_argument, "the state was made by another backend", "state",
                "use new_state() of the backend it is passed to");
  }
  return *mine;
}

std::unique_ptr<State> MlxBackend::new_state(int64_t capacity) {
  check_capacity(capacity);
  const int64_t per_token = std::max<int64_t>(1, token_bytes(config()));
  // Keys and values are taken as they come; what could never be there is refused at once.
  if (capacity > std::numeric_limits<int32_t>::max() / 2 ||
      capacity > static_cast<int64_t>(mx::get_memory_limit()) / per_token) {
    throw Error(ErrorCode::out_of_memory,
                fmt::format("no memory for a state of {} tokens: {:.0f} MiB", capacity,
                            static_cast<double>(capacity) * static_cast<double>(per_token) / (1 << 20)),
                "mlx", "ask for a smaller context");
  }
  std::unique_ptr<State> made;
  on_worker("for a state", [&] { made = std::make_unique<MlxState>(identity_, empty_layers(config()), capacity); });
  return made;
}

void MlxBackend::reset(State& state) {
  MlxState& mine = own(state);
  on_worker("for a state", [&] { mine.layers = empty_layers(config()); });
  mine.after.clear();
  mine.set_rows({});
  mine.settle(0);
}

void MlxBackend::run(std::span<Segment> segments) {
  check_segments(segments, config());
  for (const Segment& segment : segments) static_cast<void>(own(*segment.state));
  for (Segment& segment : segments) run_segment(segment);
}

/// Passes over the tokens; false: cancelled.
bool MlxBackend::run_passes(MlxState& state, const Segment& segment, std::vector<mx::array>& rows) {
  const auto total = static_cast<int64_t>(segment.tokens.size());
  const int64_t first_wanted = total - wanted_rows(segment);
  const int64_t begin = state.position();
  for (int64_t done = 0; done < total;) {
    const int64_t n = std::min(kPassRows, total - done);
    const auto tokens = segment.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n));
    const std::optional<mx::array> x = forward(config(), *model_, state.layers, begin + done, tokens, segment.cancel);
    if (!x) return false;
    const int64_t from = std::max<int64_t>(first_wanted - done, 0);  // of this pass
    if (from < n) {
      const mx::array wanted =
          mx::slice(*x, {static_cast<int>(from), 0}, {static_cast<int>(n), static_cast<int>(config().hidden_size)});
      rows.push_back(head(config(), *model_, wanted));
      settle(state.layers, rows.back());
    } else {
      settle(state.layers, *x);
    }
    done += n;
  }
  return true;
}

/// Single steps, each with the arrays that it left; false: cancelled.
bool MlxBackend::run_tentative(MlxState& state, const Segment& segment, std::vector<mx::array>& rows) {
  const auto total = static_cast<int64_t>(segment.tokens.size());
  const int64_t first_wanted = total - wanted_rows(segment);
  const auto keep = [&] {
    std::vector<MlxLayerState> small = state.layers;
    for (MlxLayerState& layer : small) layer.keys.reset(), layer.values.reset();
    state.after.push_back(std::move(small));
  };
  keep();
  for (int64_t i = 0; i < total; ++i) {
    const std::optional<mx::array> x = forward(config(), *model_, state.layers, state.position() + i,
                                               segment.tokens.subspan(static_cast<size_t>(i), 1), segment.cancel);
    if (!x) return false;
    if (i >= first_wanted) rows.push_back(head(config(), *model_, *x));
    settle(state.layers, i >= first_wanted ? rows.back() : *x);
    keep();
  }
  return true;
}

void MlxBackend::run_segment(Segment& segment) {
  MlxState& mine = own(*segment.state);
  const auto total = static_cast<int64_t>(segment.tokens.size());
  const int64_t begin = mine.position();
  segment.cancelled = false;
  mine.after.clear();
  mine.invalidate();  // until all tokens are through
  std::vector<mx::array> rows;
  bool through = false;
  on_worker("for a step", [&] {
    through = segment.tentative ? run_tentative(mine, segment, rows) : run_passes(mine, segment, rows);
  });
  weights_->require_intact();  // they are read where they are mapped, in every pass
  if (!through) {
    mine.after.clear();
    segment.cancelled = true;
    return;
  }
  mine.settle(segment.tentative ? begin : begin + total);
  if (segment.tentative) mine.await(total);
  mine.set_rows(std::move(rows));
}

void MlxBackend::commit(State& state, int64_t n) {
  MlxState& mine = own(state);
  check_commit(state, n);
  if (mine.pending() == 0) return;
  const std::vector<MlxLayerState>& kept = mine.after[static_cast<size_t>(n)];
  for (size_t i = 0; i < kept.size(); ++i) {
    mine.layers[i].conv = kept[i].conv;
    mine.layers[i].recurrent = kept[i].recurrent;
  }
  mine.after.clear();
  mine.settle(mine.position() + n);
}

void MlxBackend::candidates(std::span<const RowPick> asks, std::span<Candidates> answers) {
  PROSA_CHECK(asks.size() == answers.size());
  for (const RowPick& ask : asks) {
    if (ask.state != nullptr) static_cast<void>(own(*ask.state));
    check_pick(ask, config());
  }
  on_worker("for candidates", [&] {
    for (size_t i = 0; i < asks.size(); ++i)
      pick_on_device(own(*asks[i].state).row_array(asks[i].row), asks[i].pick, answers[i]);
  });
}

void MlxBackend::logits(const State& state, int64_t row, std::span<float> out) {
  const MlxState& mine = own(state);
  check_row(state, row);
  PROSA_CHECK(static_cast<int64_t>(out.size()) == config().vocab_size);
  std::copy_n(mine.row(row), out.size(), out.begin());
}

void MlxBackend::set_row(State& state, std::span<const float> logits) {
  PROSA_CHECK(static_cast<int64_t>(logits.size()) == config().vocab_size);
  MlxState& mine = own(state);
  mine.set_rows({float_array(logits.data(), {1, static_cast<int>(logits.size())})});
}

std::unique_ptr<Snapshot> MlxBackend::snapshot(const State& state, Place /*place*/) {
  const MlxState& mine = own(state);
  check_snapshot(state);
  return std::make_unique<MlxSnapshot>(mine.position(), mine.layers, fingerprint_);
}

void MlxBackend::restore(State& state, const Snapshot& snapshot) {
  MlxState& mine = own(state);
  const auto* saved = dynamic_cast<const MlxSnapshot*>(&snapshot);
  if (saved == nullptr || saved->model != fingerprint_) {
    throw Error(ErrorCode::invalid_argument, "this snapshot is of another model or backend", "mlx",
                "restore snapshots of the same backend only");
  }
  if (snapshot.position() > state.capacity()) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("a snapshot of {} tokens into a state for {}", snapshot.position(), state.capacity()),
                "mlx", "restore into a larger state");
  }
  mine.layers = saved->layers;
  mine.after.clear();
  mine.set_rows({});
  mine.settle(snapshot.position());
}

std::unique_ptr<Snapshot> MlxBackend::read_snapshot(int64_t position, const FindPart& find, const Snapshot* longer) {
  const auto* later = dynamic_cast<const MlxSnapshot*>(longer);
  if (later != nullptr && (later->model != fingerprint_ || later->position() < position)) later = nullptr;
  std::vector<MlxLayerState> layers;
  translated("for a stored state", [&] { layers = layers_of_parts(config(), position, find, later); });
  return std::make_unique<MlxSnapshot>(position, std::move(layers), fingerprint_);
}

}  // namespace
}  // namespace mlx

std::unique_ptr<Backend> make_mlx_backend(std::shared_ptr<const Weights> weights, const BackendOptions& /*options*/) {
  std::unique_ptr<Backend> made;
  mlx::translated("to start", [&] { made = std::make_unique<mlx::MlxBackend>(std::move(weights)); });
  return made;
}

}  // namespace prosa::backend
