// The forward pass over packed weights: what prefill and decode share, and the two of them.
//
// A pass is one ThreadPool::run(): every worker walks the layers, does its share of each stage and meets the others at
// barriers. Rows are tokens: successive ones of one sequence (prefill), or one of each of several sequences (decode).
// Invariant: which worker computes what, and how many rows stand together, changes no bit of a row in the products,
// norms and attention; the delta rule runs in chunks in prefill and in steps in decode.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"
#include "backend/cpu/state.h"
#include "backend/cpu/workspace.h"

namespace prosa::backend::cpu {

enum class Stage { embed, delta_projections, delta_rule, attention_projections, attention, mlp, head, count };

/// Seconds by stage as worker 0 sees them; off until the first take().
class StageClock {
 public:
  void start();
  void lap(Stage stage);
  std::vector<StageTime> take();

 private:
  bool on_ = false;
  double last_ = 0;
  std::array<double, static_cast<size_t>(Stage::count)> seconds_{};
};

class Forward {
 public:
  Forward(const PackedModel& model, const Kernels& kernels, ThreadPool& pool, int64_t max_rows, int activation_bits);

  /// Feeds at most max_rows tokens to one state. False when `cancel` was seen (the state is then in pieces).
  bool prefill(CpuState& state, std::span<const int32_t> tokens, LogitRows rows, std::span<float> logits,
               const std::atomic<bool>* cancel);
  /// One token for each of at most max_rows states; logits [states, vocab].
  void decode(std::span<CpuState* const> states, std::span<const int32_t> tokens, std::span<float> logits);

  [[nodiscard]] int64_t max_rows() const { return work_.max_rows; }
  [[nodiscard]] int64_t scratch_bytes() const { return work_.byte_size(); }
  StageClock& clock() { return clock_; }

 private:
  // The rows of this pass: row r belongs to states[r] (decode) or to states[0] (prefill).
  struct Pass {
    std::span<CpuState* const> states;
    std::span<const int32_t> tokens;
    bool prefill = false;
    [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
    [[nodiscard]] CpuState& state(int64_t row) const { return *states[prefill ? 0 : static_cast<size_t>(row)]; }
    [[nodiscard]] int64_t position(int64_t row) const { return state(row).position() + (prefill ? row : 0); }
  };
  struct Product {
    const PackedMatrix& weights;
    float* y;
    int64_t ldy;
    bool add = false;
  };
  using FillRow = std::function<void(int64_t row, float* out)>;
  using Products = std::initializer_list<Product>;

  void embed(int worker, const Pass& pass);
  bool layer(int worker, const Pass& pass, size_t index);
  /// Between pieces of work, by any worker: true from when anybody has seen the cancel. What is left of the stage is
  /// then skipped, barriers are not.
  [[nodiscard]] bool given_up() {
    if (cancel_ == nullptr) return false;
    if (!given_up_.load(std::memory_order_relaxed) && cancel_->load(std::memory_order_relaxed))
      given_up_.store(true, std::memory_order_relaxed);
    return given_up_.load(std::memory_order_relaxed);
  }
  /// Before a barrier; behind it every worker sees the same answer of stopped().
  void look_for_cancel(int worker) {
    if (worker == 0 && given_up()) stop_.store(true, std::memory_order_relaxed);
  }
  [[nodiscard]] bool stopped() const { return stop_.load(std::memory_order_relaxed); }
  void delta_mixer(int worker, const Pass& pass, const PackedLayer& layer, size_t delta_index);
  void attention_mixer(int worker, const Pass& pass, const PackedLayer& layer, size_t attention_index);
  void mlp(int worker, const Pass& pass, const PackedLayer& layer);
  /// silu(gate(x)) * up(x) of many rows as integers for down_proj, a few columns at a time.
  void inner_columns(int worker, int64_t rows, const PackedLayer& layer);
  void head(int worker, int64_t first, int64_t rows, float* logits);

  // delta_mixer's parts, for one key head and the value heads it serves
  void delta_key_head(int worker, const Pass& pass, const PackedDeltaNet& weights, size_t delta_index,
                      int64_t key_head);
  void convolve(const Pass& pass, const PackedDeltaNet& weights, size_t delta_index, Range channels, float* out);
  void gates(const Pass& pass, const PackedDeltaNet& weights, int64_t head);
  void delta_rule(int worker, const Pass& pass, size_t delta_index, int64_t key_head, int64_t head);
  // attention_mixer's parts
  void fill_rotary(const Pass& pass, int64_t row);
  void rotate(float* head, int64_t row) const;
  void query_head(const PackedAttention& weights, int64_t row, int64_t head);
  void append_kv(const Pass& pass, const PackedAttention& weights, size_t attention_index, int64_t row,
                 int64_t kv_head);
  struct AttendPlan {
    int64_t rows = 0;     // query rows of a KV head: (token, head of the group)
    int64_t spans = 1;    // of kAttendSpan positions, as many as the last row sees
    int64_t bundle = 0;   // rows that share a call of the kernel
    int64_t bundles = 0;  // of a KV head
    bool apart = false;   // each span is a piece of work
  };
  struct AttendCall;
  [[nodiscard]] AttendPlan plan_attention(const Pass& pass) const;
  void reserve_parts(const Pass& pass);
  [[nodiscard]] Range bundle_rows(const Pass& pass, const AttendPlan& plan, int64_t index) const;
  void attend(int worker, const Pass& pass, const PackedMatrix& out_proj, size_t attention_index);
  void prepare_call(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                    AttendCall& call);
  void attend_all(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows);
  void attend_span(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                   int64_t span);
  void finish_attention(const Pass& pass, const PackedMatrix& out_proj, int64_t kv_head, int64_t query_row);
  [[nodiscard]] float* query_of(int64_t kv_head, int64_t query_row);
  [[nodiscard]] float* attended(int64_t kv_head, int64_t query_row);

  /// Fills an input row with the normalised residual stream, from row `first` of the pass on.
  [[nodiscard]] FillRow normed(const AlignedBuffer<float>& weight, int64_t first = 0);
  /// Prepares the inputs of a stage (float32 rows and the integer planes that `products` ask for), then computes this
  /// worker's share of all rows of all products. Ends without a barrier.
  void products(int worker, int64_t rows, int64_t width, const FillRow& fill, Products products);
  /// Its first half, a barrier included where workers fill rows for each other: where the inputs are.
  const InputRows& prepare(int worker, int64_t rows, int64_t width, const FillRow& fill, Products products);
  /// Its second half.
  void multiply(int worker, int64_t rows, const InputRows& input, Products products);
  /// The tiles of the range, counted through all products.
  void compute(int64_t rows, Range tiles, const InputRows& input, Products products);
  uint32_t next_stage(int worker);
  /// out_proj or o_proj of work_.mixed.
  void mixed_product(int worker, int64_t rows, int64_t heads, int64_t head_dim, const PackedMatrix& weights);

  const PackedModel& model_;
  const ModelConfig& config_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  Workspace work_;
  StageItems items_;
  std::vector<uint32_t> stages_;  // [workers]: stages of products walked so far
  StageClock clock_;
  std::vector<double> frequency_;  // [rotary_dim / 2]: theta^(-2i / rotary_dim); double keeps late positions exact
  const std::atomic<bool>* cancel_ = nullptr;  // of this pass
  std::atomic<bool> given_up_{false};          // set at any time: results are incomplete
  std::atomic<bool> stop_{false};              // changes only where all workers see it alike
};

}  // namespace prosa::backend::cpu
