// The pass: embedding, layers, MLP, head; prefill and decode. The mixers are in delta_mixer.cpp and
// attention_mixer.cpp.
#include "backend/cpu/forward.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace prosa::backend::cpu {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr size_t kStageSpacing = 16;  // a cache line for each worker's counter
// What a worker takes at a time: little enough that all end together, enough for a stream of reads (decode) or for many
// tokens to share what the second-level cache holds (prefill).
constexpr int64_t kGrainBytes = 160 << 10;

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

Forward::Forward(const PackedModel& model, const Kernels& kernels, ThreadPool& pool, int64_t max_rows,
                 int activation_bits)
    : model_(model),
      config_(model.config),
      kernels_(kernels),
      pool_(pool),
      work_(model, max_rows, pool.size(), activation_bits == 15 ? 2 : 1),
      items_(pool.size()),
      stages_(static_cast<size_t>(pool.size()) * kStageSpacing) {
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
  cancel_ = cancel;
  given_up_.store(false, std::memory_order_relaxed);
  stop_.store(false, std::memory_order_relaxed);
  reserve_parts(pass);
  clock_.start();
  pool_.run([&](int worker) {
    embed(worker, pass);
    for (size_t index = 0; index < model_.layers.size(); ++index) {
      look_for_cancel(worker);
      pool_.barrier();
      if (stopped() || !layer(worker, pass, index)) return;
    }
    if (rows == LogitRows::last) head(worker, count - 1, 1, logits.data());
    if (rows == LogitRows::all) head(worker, 0, count, logits.data());
    if (worker == 0) clock_.lap(Stage::head);
  });
  if (stopped() || given_up_.load(std::memory_order_relaxed)) return false;
  state.advance(count);
  return true;
}

void Forward::decode(std::span<CpuState* const> states, std::span<const int32_t> tokens, std::span<float> logits) {
  const Pass pass{states, tokens, false};
  PROSA_CHECK(pass.rows() <= work_.max_rows && states.size() == tokens.size());
  cancel_ = nullptr;
  stop_.store(false, std::memory_order_relaxed);
  reserve_parts(pass);
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

void Forward::reserve_parts(const Pass& pass) {
  const AttendPlan plan = plan_attention(pass);
  if (plan.apart) work_.parts.reserve(plan.spans, plan.rows * config_.num_key_value_heads, config_.head_dim);
}

void Forward::embed(int worker, const Pass& pass) {
  const Range mine = share(pass.rows(), worker, pool_.size());
  for (int64_t row = mine.begin; row < mine.end; ++row) {
    unpack_row(model_.embed, pass.tokens[static_cast<size_t>(row)], work_.hidden.data() + row * work_.hidden_width);
    fill_rotary(pass, row);
  }
  if (worker == 0) clock_.lap(Stage::embed);
}

// Enters and leaves with every worker's writes to the residual stream visible to all (a barrier stands before each
// stage). False: cancelled between mixer and MLP.
bool Forward::layer(int worker, const Pass& pass, size_t index) {
  const PackedLayer& layer = model_.layers[index];
  if (layer.delta)
    delta_mixer(worker, pass, layer, layer.of_kind);
  else
    attention_mixer(worker, pass, layer, layer.of_kind);
  look_for_cancel(worker);
  pool_.barrier();
  if (stopped()) return false;
  mlp(worker, pass, layer);
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::mlp);
  return true;
}

// h += down(silu(gate(norm(h))) * up(norm(h)))
void Forward::mlp(int worker, const Pass& pass, const PackedLayer& layer) {
  const int64_t rows = pass.rows();
  const int64_t hidden = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  const int64_t width = work_.intermediate_width;
  const Product down{layer.down, work_.hidden.data(), work_.hidden_width, true};
  if (rows > kOwnRows && layer.down.bits != 0) {
    inner_columns(worker, rows, layer);
    pool_.barrier();
    multiply(worker, rows, work_.inner, {down});
    return;
  }
  products(worker, rows, hidden, normed(layer.post_attention_norm),
           {{layer.gate, work_.gate.data(), width}, {layer.up, work_.up.data(), width}});
  pool_.barrier();
  products(worker, rows, inner,
           [&](int64_t row, float* out) {
             kernels_.silu_mul(work_.gate.data() + row * width, work_.up.data() + row * width, inner, out);
             std::fill(out + inner, out + padded(inner), 0.0F);
           },
           {down});
}

void Forward::inner_columns(int worker, int64_t rows, const PackedLayer& layer) {
  const InputRows& input = prepare(worker, rows, config_.hidden_size, normed(layer.post_attention_norm),
                                   {{layer.gate, nullptr, 0}, {layer.up, nullptr, 0}});
  const int64_t inner = config_.intermediate_size;
  const int64_t width = pitch(kInnerColumns);
  float* const gate = work_.scratch[static_cast<size_t>(worker)].data();
  float* const up = gate + rows * width;
  const uint32_t stage = next_stage(worker);
  const int64_t parts = (inner + kInnerColumns - 1) / kInnerColumns;
  for (Range mine = items_.take(stage, worker, parts, 1); mine.begin < mine.end;
       mine = items_.take(stage, worker, parts, 1)) {
    if (given_up()) return;
    const int64_t first = mine.begin * kInnerColumns;
    const int64_t columns = std::min(kInnerColumns, inner - first);
    const Range tiles{first / kTileRows, (first + columns) / kTileRows};
    for (const auto& [weights, y] : {std::pair{&layer.gate, gate}, std::pair{&layer.up, up}}) {
      kernels_.linear(weights->part(tiles), {0, tiles.end - tiles.begin}, input.view(weights->group_size), rows, y,
                      width, false);
    }
    for (int64_t row = 0; row < rows; ++row) {
      float* const out = gate + row * width;
      kernels_.silu_mul(out, up + row * width, columns, out);
      work_.inner.quantize(kernels_, row, first, {out, static_cast<size_t>(columns)}, layer.down.group_size);
    }
  }
}

void Forward::head(int worker, int64_t first, int64_t rows, float* logits) {
  products(worker, rows, config_.hidden_size, normed(model_.norm, first),
           {{model_.head(), logits, config_.vocab_size}});
}

Forward::FillRow Forward::normed(const AlignedBuffer<float>& weight, int64_t first) {
  return [this, &weight, first](int64_t row, float* out) {
    kernels_.rms_norm(work_.hidden.data() + (first + row) * work_.hidden_width, weight.data(), config_.hidden_size,
                      config_.rms_norm_eps, out);
  };
}

void Forward::products(int worker, int64_t rows, int64_t width, const FillRow& fill, Products list) {
  multiply(worker, rows, prepare(worker, rows, width, fill, list), list);
}

const InputRows& Forward::prepare(int worker, int64_t rows, int64_t width, const FillRow& fill, Products list) {
  std::array<bool, kGroupSizes.size()> wanted{};
  for (const Product& product : list) {
    if (product.weights.bits != 0) wanted[group_index(product.weights.group_size)] = true;
  }
  const bool alone = rows <= kOwnRows;
  InputRows& input = alone ? work_.own[static_cast<size_t>(worker)] : work_.shared;
  const Range filled = alone ? Range{0, rows} : share(rows, worker, pool_.size());
  for (int64_t row = filled.begin; row < filled.end; ++row) {
    fill(row, input.row(row));
    for (size_t i = 0; i < kGroupSizes.size(); ++i) {
      if (wanted[i]) input.quantize(kernels_, row, width, kGroupSizes[i]);
    }
  }
  if (!alone) pool_.barrier();
  return input;
}

uint32_t Forward::next_stage(int worker) { return stages_[static_cast<size_t>(worker) * kStageSpacing]++; }

void Forward::multiply(int worker, int64_t rows, const InputRows& input, Products list) {
  int64_t tiles = 0;
  for (const Product& product : list) tiles += product.weights.tiles();
  const uint32_t stage = next_stage(worker);
  const int64_t grain = std::max<int64_t>(kGrainBytes / list.begin()->weights.tile_bytes, 1);
  for (Range mine = items_.take(stage, worker, tiles, grain); mine.begin < mine.end;
       mine = items_.take(stage, worker, tiles, grain)) {
    if (given_up()) return;
    compute(rows, mine, input, list);
  }
}

void Forward::compute(int64_t rows, Range tiles, const InputRows& input, Products list) {
  int64_t before = 0;
  for (const Product& product : list) {
    const int64_t count = product.weights.tiles();
    const Range range{std::max(tiles.begin - before, int64_t{0}), std::min(tiles.end - before, count)};
    if (range.begin < range.end) {
      kernels_.linear(product.weights, range, input.view(product.weights.group_size), rows, product.y, product.ldy,
                      product.add);
    }
    before += count;
  }
}

}  // namespace prosa::backend::cpu
