// Gated attention, a layer's mixer. Part of Forward.
//
// Invariant: a row's softmax walks the positions in spans of kAttendSpan, which join in their order, so its bits are
// the same whether one worker walks all of them or each span is another's.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "backend/cpu/forward.h"

namespace prosa::backend::cpu {
namespace {
constexpr int64_t kMaxParts = 8192;  // rows times spans that workers may leave for each other: 8 MiB for 256 dims
}  // namespace

// h += o_proj(attention(q, k, v) * sigmoid(gate))
void Forward::attention_mixer(int worker, const Pass& pass, const PackedLayer& layer, size_t attention_index) {
  const PackedAttention& weights = *layer.attention;
  const int64_t rows = pass.rows();
  products(worker, rows, config_.hidden_size, normed(layer.input_norm),
           {{weights.q, work_.query.data(), work_.query_width},
            {weights.k, work_.key.data(), work_.kv_width},
            {weights.v, work_.value.data(), work_.kv_width}});
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::attention_projections);

  const int64_t kv_heads = config_.num_key_value_heads;
  const int64_t heads = config_.num_attention_heads;
  const Range prepared = share(rows * (heads + kv_heads), worker, pool_.size());
  for (int64_t item = prepared.begin; item < prepared.end; ++item) {
    const int64_t row = item / (heads + kv_heads);
    const int64_t head = item % (heads + kv_heads);
    if (head < heads)
      query_head(weights, row, head);
    else
      append_kv(pass, weights, attention_index, row, head - heads);
  }
  pool_.barrier();

  attend(worker, pass, weights.out, attention_index);
  pool_.barrier();
  if (worker == 0) clock_.lap(Stage::attention);
  mixed_product(worker, rows, heads, config_.head_dim, weights.out);
  if (worker == 0) clock_.lap(Stage::attention_projections);
}

// Rotary embedding of the first rotary_dim dims: pairs (i, i + rotary_dim / 2) turn by position * theta^(-2i /
// rotary_dim). They are those of all heads and layers, so a row's are computed once in a pass.
void Forward::fill_rotary(const Pass& pass, int64_t row) {
  const auto half = static_cast<int64_t>(frequency_.size());
  const auto position = static_cast<double>(pass.position(row));
  float* const cosine = work_.rotary.data() + row * 2 * half;
  float* const sine = cosine + half;
  for (int64_t i = 0; i < half; ++i) {
    const double angle = position * frequency_[static_cast<size_t>(i)];
    cosine[i] = static_cast<float>(std::cos(angle));
    sine[i] = static_cast<float>(std::sin(angle));
  }
}

void Forward::rotate(float* head, int64_t row) const {
  const auto half = static_cast<int64_t>(frequency_.size());
  const float* const cosine = work_.rotary.data() + row * 2 * half;
  const float* const sine = cosine + half;
  for (int64_t i = 0; i < half; ++i) {
    const float low = head[i];
    const float high = head[i + half];
    head[i] = low * cosine[i] - high * sine[i];
    head[i + half] = high * cosine[i] + low * sine[i];
  }
}

void Forward::query_head(const PackedAttention& weights, int64_t row, int64_t head) {
  const int64_t dim = config_.head_dim;
  float* q = work_.query.data() + row * work_.query_width + head * 2 * dim;
  kernels_.rms_norm(q, weights.q_norm.data(), dim, config_.rms_norm_eps, q);
  rotate(q, row);
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  for (int64_t i = 0; i < dim; ++i) q[i] *= scale;
}

void Forward::append_kv(const Pass& pass, const PackedAttention& weights, size_t attention_index, int64_t row,
                        int64_t kv_head) {
  const int64_t dim = config_.head_dim;
  const int64_t position = pass.position(row);
  KvCache& cache = pass.state(row).kv;
  const int64_t slot = position % kKvSpan;
  float* k = work_.key.data() + row * work_.kv_width + kv_head * dim;
  kernels_.rms_norm(k, weights.k_norm.data(), dim, config_.rms_norm_eps, k);
  rotate(k, row);
  std::byte* block = cache.data(position);
  kernels_.store_key(k, cache.layout(), slot, block + cache.keys_at(attention_index, kv_head));
  const float* v = work_.value.data() + row * work_.kv_width + kv_head * dim;
  kernels_.store_value(v, cache.layout(), slot, block + cache.values_at(attention_index, kv_head));
}

// Rows that share a bundle read the cache together; a bundle never spans two segments. Where whole bundles are fewer
// than workers, as in decode and in short turns, their spans become work of their own. A prompt's bundles are as large
// as leaves a piece for everybody.
void Forward::plan_attention(const Pass& pass, bool coming) {
  const int64_t kv_heads = config_.num_key_value_heads;
  const int64_t group = config_.num_attention_heads / kv_heads;
  AttendPlan& plan = attention_;
  plan.rows = pass.rows() * group;
  plan.spans = 1;
  int64_t longest = 0;  // rows of a segment
  for (const PassSegment& segment : pass.segments()) {
    const int64_t reach = segment.state->position() + (coming ? segment.done : 0) + segment.count();
    plan.spans = std::max(plan.spans, (reach - 1) / kAttendSpan + 1);
    longest = std::max(longest, segment.count() * group);
  }
  const auto bundle_by = [&](int64_t size) {
    plan.bundles.clear();
    for (const PassSegment& segment : pass.segments()) {
      const int64_t end = (segment.begin + segment.count()) * group;
      for (int64_t at = segment.begin * group; at < end; at += size)
        plan.bundles.push_back({at, std::min(at + size, end)});
    }
  };
  bundle_by(std::min(longest, kAttendRows));
  plan.apart = plan.spans > 1 && static_cast<int64_t>(plan.bundles.size()) * kv_heads < pool_.size() &&
               plan.spans * plan.rows * kv_heads <= kMaxParts;
  if (longest == group) return;
  const int64_t all = plan.rows * kv_heads * (plan.apart ? plan.spans : 1);
  bundle_by(std::min(padded((all + pool_.size() - 1) / pool_.size(), 8), kAttendRows));
}

void Forward::attend(int worker, const Pass& pass, const PackedMatrix& out_proj, size_t attention_index) {
  const AttendPlan& plan = attention_;
  const int64_t kv_heads = config_.num_key_value_heads;
  const auto bundles = static_cast<int64_t>(plan.bundles.size());
  const int64_t pieces = plan.apart ? plan.spans : 1;  // of a bundle
  // In turn, because later rows of a prompt see more.
  for (int64_t item = worker; item < kv_heads * bundles * pieces && !given_up(); item += pool_.size()) {
    const int64_t kv_head = item % kv_heads;
    const Range rows = plan.bundles[static_cast<size_t>(item / kv_heads / pieces)];
    if (plan.apart) {
      attend_span(worker, pass, attention_index, kv_head, rows, item / kv_heads % pieces);
      continue;
    }
    attend_all(worker, pass, attention_index, kv_head, rows);
    for (int64_t row = rows.begin; row < rows.end; ++row) finish_attention(pass, out_proj, kv_head, row);
  }
  if (!plan.apart) return;
  pool_.barrier();
  const Range mine = share(kv_heads * plan.rows, worker, pool_.size());
  for (int64_t item = mine.begin; item < mine.end && !given_up(); ++item) {
    float* const out = attended(item / plan.rows, item % plan.rows);
    std::copy_n(work_.parts.out(0, item), config_.head_dim, out);
    AttendPart sum = work_.parts.parts(0)[item];
    for (int64_t span = 1; span < plan.spans; ++span)
      join(sum, out, work_.parts.parts(span)[item], work_.parts.out(span, item), config_.head_dim);
    finish_attention(pass, out_proj, item / plan.rows, item % plan.rows);
  }
}

// A call of the kernel for query rows of a KV head, (token, head of the group).
struct Forward::AttendCall {
  std::array<const float*, kAttendRows> q{};
  std::array<float*, kAttendRows> out{};
  std::array<int64_t, kAttendRows> limits{};
  std::array<AttendPart, kAttendRows> parts{};
  AttendArgs args;

  AttendCall() = default;
  AttendCall(const AttendCall&) = delete;  // args points into it
  AttendCall& operator=(const AttendCall&) = delete;
};

void Forward::prepare_call(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                           AttendCall& call) {
  const int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  AttendArgs& args = call.args;
  for (int64_t item = query_rows.begin; item < query_rows.end; ++item) {
    const auto slot = static_cast<size_t>(args.rows++);
    call.q[slot] = query_of(kv_head, item);
    call.out[slot] = attended(kv_head, item);
    call.limits[slot] = pass.position(item / group) + 1;
  }
  const KvCache& cache = pass.state(query_rows.begin / group).kv;
  args.q = call.q.data();
  args.out = call.out.data();
  args.limits = call.limits.data();
  args.parts = call.parts.data();
  args.blocks = cache.table();
  args.keys = cache.keys_at(attention_index, kv_head);
  args.values = cache.values_at(attention_index, kv_head);
  args.kv = cache.layout();
  args.scratch = work_.scratch[static_cast<size_t>(worker)].data();
  args.end = kAttendSpan;
}

void Forward::attend_all(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows) {
  AttendCall call;
  prepare_call(worker, pass, attention_index, kv_head, query_rows, call);
  kernels_.attend(call.args);
  const auto rows = static_cast<size_t>(call.args.rows);
  const int64_t reach = *std::max_element(call.limits.begin(), call.limits.begin() + rows);
  if (reach <= kAttendSpan) return;
  const std::array<float*, kAttendRows> out = call.out;
  std::array<AttendPart, kAttendRows> sums = call.parts;
  float* const more = work_.channels[static_cast<size_t>(worker)].data();  // [rows, head_dim]
  for (size_t r = 0; r < rows; ++r) call.out[r] = more + static_cast<int64_t>(r) * config_.head_dim;
  while (call.args.end < reach && !given_up()) {
    call.args.first = std::exchange(call.args.end, call.args.end + kAttendSpan);
    kernels_.attend(call.args);
    for (size_t r = 0; r < rows; ++r) join(sums[r], out[r], call.parts[r], call.out[r], config_.head_dim);
  }
}

void Forward::attend_span(int worker, const Pass& pass, size_t attention_index, int64_t kv_head, Range query_rows,
                          int64_t span) {
  AttendCall call;
  prepare_call(worker, pass, attention_index, kv_head, query_rows, call);
  call.args.first = span * kAttendSpan;
  call.args.end = call.args.first + kAttendSpan;
  const int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  const int64_t first = kv_head * pass.rows() * group + query_rows.begin;
  for (int64_t r = 0; r < call.args.rows; ++r) {
    call.out[static_cast<size_t>(r)] = work_.parts.out(span, first + r);
    // What lies behind is another's, and not to be asked for.
    int64_t& limit = call.limits[static_cast<size_t>(r)];
    limit = std::min(limit, call.args.end);
  }
  call.args.parts = work_.parts.parts(span) + first;
  kernels_.attend(call.args);
}

void Forward::finish_attention(const Pass& pass, const PackedMatrix& out_proj, int64_t kv_head, int64_t query_row) {
  const int64_t dim = config_.head_dim;
  const int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  float* const out = attended(kv_head, query_row);
  kernels_.sigmoid_mul(out, query_of(kv_head, query_row) + dim, dim);
  if (pass.rows() <= kOwnRows || !hands_over(out_proj, dim)) return;
  work_.shared.quantize(kernels_, query_row / group, (kv_head * group + query_row % group) * dim,
                        {out, static_cast<size_t>(dim)}, out_proj.input());
}

// [q | gate] of a query row
float* Forward::query_of(int64_t kv_head, int64_t query_row) {
  const int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  const int64_t head = kv_head * group + query_row % group;
  return work_.query.data() + query_row / group * work_.query_width + head * 2 * config_.head_dim;
}

// where what it attends to goes
float* Forward::attended(int64_t kv_head, int64_t query_row) {
  const int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  const int64_t head = kv_head * group + query_row % group;
  return work_.mixed.data() + query_row / group * work_.mixed_width + head * config_.head_dim;
}

}  // namespace prosa::backend::cpu
