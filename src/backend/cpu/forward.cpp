// The pass: embedding, layers, MLP, head; prefill and decode. The mixers are in mixers.cpp.
#include "backend/cpu/forward.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/check.h"

namespace prosa::backend::cpu {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr std::array<std::string_view, static_cast<size_t>(Stage::count)> kStageNames{
    "embed", "delta projections", "delta rule", "attention projections", "attention", "mlp", "head"};

}  // namespace

void StageClock::start() {
  if (on_) last_ = now();
}

void StageClock::lap(Stage stage) {
  if (!on_) return;
  const double time = now();
  seconds_[static_cast<size_t>(stage)] += time - last_;
  last_ = time;
}

std::vector<StageTime> StageClock::take() {
  on_ = true;
  std::vector<StageTime> times;
  for (size_t i = 0; i < seconds_.size(); ++i) times.push_back({kStageNames[i], std::exchange(seconds_[i], 0.0)});
  return times;
}

Forward::Forward(const PackedModel& model, const Kernels& kernels, ThreadPool& pool, int64_t max_rows)
    : model_(model), config_(model.config), kernels_(kernels), pool_(pool), work_(model.config, max_rows, pool.size()) {
  const int64_t half = config_.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    frequency_.push_back(
        std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.rotary_dim)));
  }
}

bool Forward::prefill(CpuState& state, std::span<const int32_t> tokens, LogitRows rows, std::span<float> logits,
                      const std::atomic<bool>* cancel) {
  PROSA_CHECK(static_cast<int64_t>(tokens.size()) <= work_.max_rows);
  CpuState* const states[] = {&state};
  const Pass pass{states, tokens, true};
  const int64_t count = pass.rows();
  stop_.store(false, std::memory_order_relaxed);
  clock_.start();
  pool_.run([&](int worker) {
    embed(worker, pass);
    for (size_t index = 0; index < model_.layers.size(); ++index) {
      if (worker == 0 && cancel != nullptr && cancel->load(std::memory_order_relaxed))
        stop_.store(true, std::memory_order_relaxed);
      pool_.barrier();
      if (stop_.load(std::memory_order_relaxed)) return;
      layer(worker, pass, index);
    }
    if (rows == LogitRows::last) head(worker, count - 1, 1, logits.data());
    if (rows == LogitRows::all) head(worker, 0, count, logits.data());
    if (worker == 0) clock_.lap(Stage::head);
  });
  if (stop_.load(std::memory_order_relaxed)) return false;
  state.advance(count);
  return true;
}

void Forward::decode(std::span<CpuState* const> states, std::span<const int32_t> tokens, std::span<float> logits) {
  const Pass pass{states, tokens, false};
  PROSA_CHECK(pass.rows() <= work_.max_rows && states.size() == tokens.size());
  clock_.start();
  pool_.run([&](int worker) {
    embed(worker, pass);
    pool_.barrier();
    for (size_t index = 0; index < model_.layers.size(); ++index) layer(worker, pass, index);
    head(worker, 0, pass.rows(), logits.data());
    if (worker == 0) clock_.lap(Stage::head);
  });
  for (CpuState* state : states) state->advance(1);
}

void Forward::embed(int worker, const Pass& pass) {
  const Range mine = share(pass.rows(), worker, pool_.size());
  for (int64_t row = mine.begin; row < mine.end; ++row) {
    unpack_row(model_.embed, pass.tokens[static_cast<size_t>(row)], work_.hidden.data() + row * work_.hidden_width);
  }
  if (worker == 0) clock_.lap(Stage::embed);
}

// Enters and leaves with every worker's writes to the residual stream visible to all (a barrier stands before each
// stage).
void Forward::layer(int worker, const Pass& pass, size_t index) {
  const PackedLayer& layer = model_.layers[index];
  if (layer.delta)
    delta_mixer(worker, pass, layer, layer.of_kind);
  else
    attention_mixer(worker, pass, layer, layer.of_kind);
  pool_.barrier();
  mlp(worker, pass, layer);
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::mlp);
}

// h += down(silu(gate(norm(h))) * up(norm(h)))
void Forward::mlp(int worker, const Pass& pass, const PackedLayer& layer) {
  const int64_t rows = pass.rows();
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  const int64_t width = work_.intermediate_width;
  products(worker, rows, hidden, input_precision(pass), normed(layer.post_attention_norm),
           {{layer.gate, work_.gate.data(), width}, {layer.up, work_.up.data(), width}});
  pool_.barrier();
  products(worker, rows, inner, Precision::exact,
           [&](int64_t row, float* out) {
             kernels_.silu_mul(work_.gate.data() + row * width, work_.up.data() + row * width, inner, out);
           },
           {{layer.down, work_.hidden.data(), work_.hidden_width, true}});
}

void Forward::head(int worker, int64_t first, int64_t rows, float* logits) {
  products(worker, rows, config_.hidden_size, Precision::exact, normed(model_.norm, first),
           {{model_.head(), logits, config_.vocab_size}});
}

Forward::FillRow Forward::normed(const AlignedBuffer<float>& weight, int64_t first) {
  return [this, &weight, first](int64_t row, float* out) {
    kernels_.rms_norm(work_.hidden.data() + (first + row) * work_.hidden_width, weight.data(), config_.hidden_size,
                      config_.rms_norm_eps, out);
  };
}

void Forward::products(int worker, int64_t rows, int64_t width, Precision precision, const FillRow& fill,
                       std::initializer_list<Product> list) {
  const bool lookups = precision == Precision::lookups;
  std::array<bool, kGroupSizes.size()> wanted{};
  int64_t tiles = 0;
  for (const Product& product : list) {
    if (product.weights.bits != 0) wanted[group_index(product.weights.group_size)] = true;
    tiles += product.weights.tiles();
  }
  const bool alone = rows <= kOwnRows;
  InputRows& input = alone ? work_.own[static_cast<size_t>(worker)] : work_.shared;
  const Range filled = alone ? Range{0, rows} : share(rows, worker, pool_.size());
  for (int64_t row = filled.begin; row < filled.end; ++row) {
    fill(row, input.row(row));
    for (size_t i = 0; i < kGroupSizes.size(); ++i) {
      if (wanted[i]) input.quantize(kernels_, row, width, kGroupSizes[i], lookups);
    }
  }
  if (!alone) pool_.barrier();

  const Range mine = share(tiles, worker, pool_.size());
  int64_t before = 0;
  for (const Product& product : list) {
    const int64_t count = product.weights.tiles();
    const Range range{std::max(mine.begin - before, int64_t{0}), std::min(mine.end - before, count)};
    if (range.begin < range.end) {
      kernels_.linear(product.weights, range, input.view(product.weights.group_size, lookups), rows, product.y,
                      product.ldy, product.add, work_.linear[static_cast<size_t>(worker)].data());
    }
    before += count;
  }
}

}  // namespace prosa::backend::cpu
