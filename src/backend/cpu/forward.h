// The forward pass over packed weights, for the rows of any number of segments at once.
//
// A pass is one ThreadPool::run(): every worker walks the layers, does its share of each stage and meets the others at
// barriers. Rows are tokens; those of a segment are successive and of one state. Products see all rows together;
// convolution, delta rule and attention work on each segment. Invariant: which worker computes what, and which rows
// stand together, changes no bit of a row; only the delta rule knows how many tokens a segment has in this pass: it
// runs in chunks of kDeltaChunk from the segment's beginning, single tokens and tentative ones in steps.
#pragma once

#include <array>
#include <atomic>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/model.h"
#include "backend/cpu/state.h"
#include "backend/cpu/workspace.h"
#include "base/function_ref.h"

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

/// A segment's part in a pass.
struct PassSegment {
  CpuState* state = nullptr;
  std::span<const int32_t> tokens = {};
  int64_t first_wanted = 0;  // rows of the pass from this token of it on leave logits …
  int64_t first_row = 0;     // … as this and the following rows of the state
  bool tentative = false;
  Cancel cancel = {};
  int64_t done = 0;   // tokens that the same run() feeds to the state before this pass
  int64_t begin = 0;  // of its rows in the pass; set by Pass
  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(tokens.size()); }
  /// Whether the delta rule goes token by token.
  [[nodiscard]] bool stepwise() const { return tentative || tokens.size() == 1; }
};

/// The rows of a pass: what of which state stands where.
class Pass {
 public:
  explicit Pass(std::vector<PassSegment> segments);
  /// Leaves out the segments whose states are in pieces. Allocates nothing.
  void keep_valid();

  [[nodiscard]] const std::vector<PassSegment>& segments() const { return segments_; }
  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(segment_of_.size()); }
  [[nodiscard]] const PassSegment& segment(int64_t row) const {
    return segments_[segment_of_[static_cast<size_t>(row)]];
  }
  [[nodiscard]] CpuState& state(int64_t row) const { return *segment(row).state; }
  [[nodiscard]] int64_t position(int64_t row) const {
    const PassSegment& of = segment(row);
    return of.state->position() + row - of.begin;
  }
  [[nodiscard]] int32_t token(int64_t row) const {
    const PassSegment& of = segment(row);
    return of.tokens[static_cast<size_t>(row - of.begin)];
  }
  /// Rows whose logits are wanted, rising.
  [[nodiscard]] std::span<const int64_t> wanted() const { return wanted_; }
  /// Where a wanted row's logits go.
  [[nodiscard]] float* logits(int64_t row) const {
    const PassSegment& of = segment(row);
    return of.state->row(of.first_row + row - of.begin - of.first_wanted);
  }
  /// Whether the wanted rows follow each other in one state.
  [[nodiscard]] bool contiguous() const;
  /// Whether all of it may be given up.
  [[nodiscard]] bool cancellable() const;
  [[nodiscard]] bool cancelled() const;

 private:
  void number_rows();

  std::vector<PassSegment> segments_;
  std::vector<uint32_t> segment_of_;  // [rows]
  std::vector<int64_t> wanted_;
};

class Forward {
 public:
  Forward(const PackedModel& model, const Kernels& kernels, ThreadPool& pool, int64_t max_rows);

  /// Takes what the pass needs beyond the workspace, before the run() that it is in. Error(out_of_memory).
  void reserve(const Pass& pass);
  /// Feeds at most max_rows tokens. The states have room and move on. False when all was given up (they are then in
  /// pieces).
  bool run(const Pass& pass);
  /// Feeds the first n of a state's pending tokens again, from where the tentative segment began. From any thread, also
  /// while run() works on other states.
  void replay(CpuState& state, int64_t n) const;

  [[nodiscard]] int64_t max_rows() const { return work_.max_rows; }
  [[nodiscard]] int64_t scratch_bytes() const { return work_.byte_size(); }
  StageClock& clock() { return clock_; }

 private:
  struct Product {
    const PackedMatrix& weights;
    float* y;
    int64_t ldy;
    bool add = false;
  };
  using FillRow = FunctionRef<void(int64_t row, float* out)>;  // a worker must not allocate: nobody would catch
  using Products = std::initializer_list<Product>;

  void embed(int worker, const Pass& pass);
  bool layer(int worker, const Pass& pass, size_t index);
  /// Between pieces of work, by any worker: true from when anybody has seen the cancel. What is left of the stage is
  /// then skipped, barriers are not.
  [[nodiscard]] bool given_up() {
    if (cancellable_ == nullptr) return false;
    if (!given_up_.load(std::memory_order_relaxed) && cancellable_->cancelled())
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
  void head(int worker, const Pass& pass);
  /// Some columns of all wanted rows at a time, each row's to its own place.
  void scattered_head(int worker, const Pass& pass, const InputRows& input);

  // delta_mixer's parts, for one key head and the value heads it serves
  void delta_key_head(int worker, const Pass& pass, const PackedDeltaNet& weights, size_t delta_index,
                      int64_t key_head);
  void convolve(const Pass& pass, const PackedDeltaNet& weights, size_t delta_index, Range channels, float* out);
  void convolve_segment(const PassSegment& segment, const PackedDeltaNet& weights, size_t delta_index, Range channels,
                        float* out);
  void gates(const Pass& pass, const PackedDeltaNet& weights, int64_t head);
  void delta_rule(int worker, const PassSegment& segment, size_t delta_index, int64_t key_head, int64_t head);
  void keep_inputs(const PassSegment& segment, size_t delta_index, int64_t token, int64_t head, const DeltaArgs& args);
  // attention_mixer's parts
  void fill_rotary(const Pass& pass, int64_t row);
  void rotate(float* head, int64_t row) const;
  void query_head(const PackedAttention& weights, int64_t row, int64_t head);
  void append_kv(const Pass& pass, const PackedAttention& weights, size_t attention_index, int64_t row,
                 int64_t kv_head);
  struct AttendPlan {
    int64_t rows = 0;            // query rows of a KV head: (token, head of the group)
    int64_t spans = 1;           // of kAttendSpan positions, as many as the last row sees
    std::vector<Range> bundles;  // of a KV head's rows: those that share a call of the kernel, of one segment
    bool apart = false;          // each span is a piece of work
  };
  struct AttendCall;
  /// Into attention_, which has room for every plan. `coming`: the tokens that come before the pass in this run() are
  /// not in the states yet.
  void plan_attention(const Pass& pass, bool coming);
  void attend(int worker, const Pass& pass, const PackedMatrix& out_proj, size_t attention_index);
  void prepare_call(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                    AttendCall& call);
  void attend_all(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows);
  void attend_span(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                   int64_t span);
  void finish_attention(const Pass& pass, const PackedMatrix& out_proj, int64_t kv_head, int64_t query_row);
  [[nodiscard]] float* query_of(int64_t kv_head, int64_t query_row);
  [[nodiscard]] float* attended(int64_t kv_head, int64_t query_row);

  /// Fills an input row with the normalised residual stream of the pass' row, or of row rows[index].
  struct NormedRow {
    Forward& forward;
    const AlignedBuffer<float>& weight;
    std::span<const int64_t> rows = {};
    void operator()(int64_t row, float* out) const;
  };
  [[nodiscard]] NormedRow normed(const AlignedBuffer<float>& weight, std::span<const int64_t> rows = {}) {
    return {*this, weight, rows};
  }
  /// Prepares the inputs of a stage (float32 rows and the integer planes that `products` ask for), then computes this
  /// worker's share of all rows of all products. Ends without a barrier.
  void products(int worker, int64_t rows, int64_t width, FillRow fill, Products products);
  /// Its first half, a barrier included where workers fill rows for each other: where the inputs are.
  const InputRows& prepare(int worker, int64_t rows, int64_t width, FillRow fill, Products products);
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
  std::vector<double> frequency_;      // [rotary_dim / 2]: theta^(-2i / rotary_dim); double keeps late positions exact
  AttendPlan attention_;               // of this pass
  const Pass* cancellable_ = nullptr;  // this pass, if it may be given up
  std::atomic<bool> given_up_{false};  // set at any time: results are incomplete
  std::atomic<bool> stop_{false};      // changes only where all workers see it alike
};

}  // namespace prosa::backend::cpu
