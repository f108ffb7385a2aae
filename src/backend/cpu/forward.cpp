// The pass: embedding, layers, MLP, head. The mixers are in delta_mixer.cpp and attention_mixer.cpp.
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

Forward::Forward(const PackedModel& model, const Kernels& kernels, ThreadPool& pool, int64_t max_rows)
    : model_(model),
      config_(model.config),
      kernels_(kernels),
      pool_(pool),
      work_(model, max_rows, pool.size()),
      items_(pool.size()),
      stages_(static_cast<size_t>(pool.size()) * kStageSpacing) {
  // A bundle has a row at least.
  attention_.bundles.reserve(
      static_cast<size_t>(max_rows * (config_.num_attention_heads / config_.num_key_value_heads)));
  const int64_t half = config_.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    frequency_.push_back(
        std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config_.rotary_dim)));
  }
}

// ---- the rows of a pass

Pass::Pass(std::vector<PassSegment> segments) : segments_(std::move(segments)) { number_rows(); }

void Pass::keep_valid() {
  if (std::erase_if(segments_, [](const PassSegment& each) { return !each.state->valid(); }) > 0) number_rows();
}

void Pass::number_rows() {
  segment_of_.clear();
  wanted_.clear();
  for (size_t i = 0; i < segments_.size(); ++i) {
    PassSegment& segment = segments_[i];
    segment.begin = rows();
    segment_of_.insert(segment_of_.end(), segment.tokens.size(), static_cast<uint32_t>(i));
    for (int64_t token = segment.first_wanted; token < segment.count(); ++token)
      wanted_.push_back(segment.begin + token);
  }
}

bool Pass::contiguous() const {
  return wanted_.empty() ||
         (segment_of_[static_cast<size_t>(wanted_.front())] == segment_of_[static_cast<size_t>(wanted_.back())]);
}

bool Pass::cancellable() const {
  return std::ranges::all_of(segments_, [](const PassSegment& each) { return each.cancel.possible(); });
}

bool Pass::cancelled() const {
  return std::ranges::all_of(segments_, [](const PassSegment& each) { return each.cancel.requested(); });
}

// ---- the pass

bool Forward::run(const Pass& pass) {
  PROSA_CHECK(pass.rows() <= work_.max_rows);
  cancellable_ = pass.cancellable() ? &pass : nullptr;
  given_up_.store(false, std::memory_order_relaxed);
  stop_.store(false, std::memory_order_relaxed);
  plan_attention(pass, false);
  // Where a cancelled segment left the pass, its plan may be another than the one that reserve() saw.
  if (attention_.apart)
    attention_.apart =
        work_.parts.arrange(attention_.spans, attention_.rows * config_.num_key_value_heads, config_.head_dim);
  clock_.start();
  pool_.run([&](int worker) {
    embed(worker, pass);
    pool_.barrier();
    for (size_t index = 0; index < model_.layers.size(); ++index) {
      if (!layer(worker, pass, index)) return;
    }
    head(worker, pass);
    if (worker == 0) clock_.lap(Stage::head);
  });
  if (stopped() || given_up_.load(std::memory_order_relaxed)) return false;
  for (const PassSegment& segment : pass.segments()) {
    if (segment.tentative)
      segment.state->await(segment.count());
    else
      segment.state->advance(segment.count());
  }
  return true;
}

void Forward::reserve(const Pass& pass) {
  plan_attention(pass, true);
  if (!attention_.apart) return;
  work_.parts.reserve(attention_.spans, attention_.rows * config_.num_key_value_heads, config_.head_dim);
}

void Forward::embed(int worker, const Pass& pass) {
  const Range mine = share(pass.rows(), worker, pool_.size());
  for (int64_t row = mine.begin; row < mine.end; ++row) {
    unpack_row(model_.embed, pass.token(row), work_.hidden.data() + row * work_.hidden_width);
    fill_rotary(pass, row);
  }
  if (worker == 0) clock_.lap(Stage::embed);
}

// Enters and leaves with every worker's writes to the residual stream visible to all (a barrier stands before each
// stage). False: given up, at its beginning or between mixer and MLP.
bool Forward::layer(int worker, const Pass& pass, size_t index) {
  if (cancellable_ != nullptr) {
    look_for_cancel(worker);
    pool_.barrier();
    if (stopped()) return false;
  }
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
      multiply_tiles(kernels_, weights->part(tiles), {0, tiles.end - tiles.begin}, input.view(weights->input()), rows,
                     y, width, false);
    }
    for (int64_t row = 0; row < rows; ++row) {
      float* const out = gate + row * width;
      kernels_.silu_mul(out, up + row * width, columns, out);
      work_.inner.quantize(kernels_, row, first, {out, static_cast<size_t>(columns)}, layer.down.input());
    }
  }
}

void Forward::head(int worker, const Pass& pass) {
  const auto rows = static_cast<int64_t>(pass.wanted().size());
  if (rows == 0) return;
  const NormedRow fill = normed(model_.norm, pass.wanted());
  const Product product{model_.head(), pass.logits(pass.wanted().front()), config_.vocab_size};
  const InputRows& input = prepare(worker, rows, config_.hidden_size, fill, {product});
  if (pass.contiguous()) return multiply(worker, rows, input, {product});
  scattered_head(worker, pass, input);
}

void Forward::scattered_head(int worker, const Pass& pass, const InputRows& input) {
  const std::span<const int64_t> wanted = pass.wanted();
  const PackedMatrix& weights = model_.head();
  const int64_t width = pitch(kInnerColumns);
  const int64_t parts = (config_.vocab_size + kInnerColumns - 1) / kInnerColumns;
  float* const columns = work_.scratch[static_cast<size_t>(worker)].data();  // [wanted, width]
  const uint32_t stage = next_stage(worker);
  const auto grain = std::max<int64_t>(kGrainBytes / (weights.tile_bytes * (kInnerColumns / kTileRows)), 1);
  for (Range mine = items_.take(stage, worker, parts, grain); mine.begin < mine.end;
       mine = items_.take(stage, worker, parts, grain)) {
    if (given_up()) return;
    for (int64_t part = mine.begin; part < mine.end; ++part) {
      const int64_t first = part * kInnerColumns;
      const int64_t count = std::min(kInnerColumns, config_.vocab_size - first);
      const Range tiles{first / kTileRows, (first + count + kTileRows - 1) / kTileRows};
      multiply_tiles(kernels_, weights.part(tiles), {0, tiles.end - tiles.begin}, input.view(weights.input()),
                     static_cast<int64_t>(wanted.size()), columns, width, false);
      for (size_t i = 0; i < wanted.size(); ++i)
        std::copy_n(columns + static_cast<int64_t>(i) * width, count, pass.logits(wanted[i]) + first);
    }
  }
}

void Forward::NormedRow::operator()(int64_t row, float* out) const {
  if (!rows.empty()) row = rows[static_cast<size_t>(row)];
  const Workspace& work = forward.work_;
  forward.kernels_.rms_norm(work.hidden.data() + row * work.hidden_width, weight.data(), forward.config_.hidden_size,
                            forward.config_.rms_norm_eps, out);
}

void Forward::products(int worker, int64_t rows, int64_t width, FillRow fill, Products list) {
  multiply(worker, rows, prepare(worker, rows, width, fill, list), list);
}

const InputRows& Forward::prepare(int worker, int64_t rows, int64_t width, FillRow fill, Products list) {
  std::array<bool, kInputForms.size()> wanted{};
  for (const Product& product : list) {
    if (product.weights.bits != 0) wanted[form_index(product.weights.input())] = true;
  }
  const bool alone = rows <= kOwnRows;
  InputRows& input = alone ? work_.own[static_cast<size_t>(worker)] : work_.shared;
  const Range filled = alone ? Range{0, rows} : share(rows, worker, pool_.size());
  for (int64_t row = filled.begin; row < filled.end; ++row) {
    fill(row, input.row(row));
    for (size_t i = 0; i < kInputForms.size(); ++i) {
      if (wanted[i]) input.quantize(kernels_, row, width, kInputForms[i]);
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
      multiply_tiles(kernels_, product.weights, range, input.view(product.weights.input()), rows, product.y,
                     product.ldy, product.add);
    }
    before += count;
  }
}

}  // namespace prosa::backend::cpu
