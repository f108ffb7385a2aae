// The stages of a pass over many rows.
#include "backend/cuda/many.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace prosa::backend::cuda {
namespace {

int padded(int64_t n, int to) { return static_cast<int>((n + to - 1) / to * to); }

/// silu(gate) * up may be beyond f16 where a model has outliers: it is stored smaller, and down_proj makes up for it.
constexpr float kInnerFactor = 1.0F / 16;

/// What a pass reads, one behind the other in one upload.
struct Layout {
  explicit Layout(int64_t rows)
      : positions(rows * 4),
        row_args(positions + rows * 4),
        segments(row_args + rows * static_cast<int64_t>(sizeof(ManyRow))),
        chunks(segments + kMaxRows * static_cast<int64_t>(sizeof(ManySegment))),
        bytes(chunks + (rows / kChunk + kMaxRows + 1) * 8) {}
  int64_t positions;
  int64_t row_args;
  int64_t segments;
  int64_t chunks;
  int64_t bytes;
};

}  // namespace

template <typename T>
T* ManyRows::scratch(int64_t elements) {
  memory_.push_back(device_->allocate(elements * static_cast<int64_t>(sizeof(T)), "scratch memory"));
  scratch_bytes_ += memory_.back()->bytes();
  device_->clear(memory_.back()->as(), memory_.back()->bytes());
  return memory_.back()->as<T>();
}

ManyRows::ManyRows(std::shared_ptr<Device> device, const Model& model, Decoder& decoder, int64_t max_rows)
    : device_(std::move(device)),
      model_(model),
      decoder_(decoder),
      queue_(decoder.queue()),
      max_rows_(max_rows),
      chunked_(model.delta_count > 0 && chunk_supported(model.delta)),
      hidden_stride_(decoder.hidden_stride()) {
  const ModelConfig& c = model.config;
  mixed_stride_ = padded(std::max(c.value_dim(), c.query_dim()), kTileRows);
  mixed_half_stride_ = padded(c.query_dim(), kTileCols);
  inner_stride_ = padded(c.intermediate_size, kTileCols);
  hidden_ = scratch<float>(max_rows * hidden_stride_);
  rotary_ = scratch<float>(max_rows * std::max<int64_t>(c.rotary_dim, 1));
  inputs_ = scratch<uint16_t>(max_rows * model.max_inputs);
  rows_ = scratch<float>(max_rows * model.max_width);
  mixed_ = scratch<float>(max_rows * mixed_stride_);
  inner_ = scratch<uint16_t>(max_rows * inner_stride_);
  if (model.attention_count > 0) q_ = scratch<uint16_t>(max_rows * c.query_dim());
  if (!model.expanded) expanded_ = scratch<uint8_t>(model.largest_expanded);
  if (chunked_) {
    const int64_t chunks = max_rows / kChunk + kMaxRows;
    chunk_.shape = model.delta;
    chunk_.layers = model.delta_layers;
    chunk_.q = scratch<uint16_t>(max_rows * c.key_dim());
    chunk_.k = scratch<uint16_t>(max_rows * c.key_dim());
    chunk_.v = scratch<uint16_t>(max_rows * c.value_dim());
    chunk_.w = scratch<uint16_t>(max_rows * c.linear_num_value_heads * c.linear_key_head_dim);
    chunk_.decay = scratch<float>(max_rows * c.linear_num_value_heads);
    chunk_.beta = scratch<float>(max_rows * c.linear_num_value_heads);
    chunk_.p = scratch<uint16_t>(chunks * c.linear_num_value_heads * kChunk * kChunk);
    chunk_.rows = rows_;
    chunk_.out = mixed_;
    chunk_.out_stride = mixed_stride_;
  }
  const Layout layout(max_rows);
  staging_ = device_->allocate_pinned(layout.bytes, "staging memory");
  args_ = device_->allocate(layout.bytes, "scratch memory");
  check(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "an event");
  for (cudaEvent_t& event : layer_done_) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
}

ManyRows::~ManyRows() {
  cudaStreamSynchronize(device_->stream());
  cudaEventDestroy(copied_);
  for (cudaEvent_t event : layer_done_) cudaEventDestroy(event);
}

void ManyRows::upload(const std::vector<ManyTokens>& segments) {
  PROSA_CHECK(segments.size() <= kMaxRows);
  check(cudaEventSynchronize(copied_), "waiting for the card");
  const Layout layout(max_rows_);
  auto* const host = staging_->as<std::byte>();
  auto* const tokens = reinterpret_cast<int32_t*>(host);
  auto* const positions = reinterpret_cast<int32_t*>(host + layout.positions);
  auto* const rows = reinterpret_cast<ManyRow*>(host + layout.row_args);
  auto* const places = reinterpret_cast<ManySegment*>(host + layout.segments);
  auto* const chunks = reinterpret_cast<int2*>(host + layout.chunks);
  PassArgs pass;
  int32_t row = 0;
  chunks_now_ = 0;
  longest_ = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const ManyTokens& segment = segments[i];
    const auto index = static_cast<int32_t>(i);
    places[i] = {row, segment.count, segment.position, 0, segment.found, segment.left, segment.kv};
    pass.item[i] = {segment.found, segment.left, nullptr, row, segment.count, segment.position, 0};
    for (int32_t t = 0; t < segment.count; ++t) {
      if (t % kChunk == 0) chunks[chunks_now_++] = {index, row};
      tokens[row] = segment.tokens[t];
      positions[row] = segment.position + t;
      rows[row] = {segment.position + t, index};
      ++row;
    }
    longest_ = std::max(longest_, segment.count);
  }
  PROSA_CHECK(row <= max_rows_);
  rows_now_ = row;
  segments_now_ = static_cast<int>(segments.size());
  const auto* const card = args_->as<std::byte>();
  device_->copy(args_->as(), host, layout.bytes);
  check(cudaEventRecord(copied_, device_->stream()), "a copy");
  tokens_ = reinterpret_cast<const int32_t*>(card);
  positions_ = reinterpret_cast<const int32_t*>(card + layout.positions);
  row_args_ = reinterpret_cast<const ManyRow*>(card + layout.row_args);
  segment_args_ = reinterpret_cast<const ManySegment*>(card + layout.segments);
  chunk_args_ = reinterpret_cast<const int2*>(card + layout.chunks);
  pass.rows = std::min<int32_t>(row, kMaxRows);
  pass.items = segments_now_;
  pass_ = decoder_.upload(pass);
}

bool ManyRows::run(const std::vector<ManyTokens>& segments, const std::function<bool()>& given_up) {
  upload(segments);
  EmbedArgs embed;
  embed.table = model_.embedding;
  embed.hidden = static_cast<int>(model_.config.hidden_size);
  embed.stride = static_cast<int>(hidden_stride_);
  embed.out = hidden_;
  embed.frequency = model_.frequency;
  embed.rotary_dim = static_cast<int>(model_.config.rotary_dim);
  embed.rotary = rotary_;
  embed.tokens = tokens_;
  embed.positions = positions_;
  Queue first = queue_;
  first.overlap = false;
  launch_embed(first, embed, pass_, rows_now_);
  for (size_t i = 0; i < model_.layers.size(); ++i) {
    // The card is never more than two layers behind the question.
    if (given_up) {
      check(cudaEventSynchronize(layer_done_[i % 2]), "waiting for a layer");
      if (given_up()) return false;
    }
    layer(model_.layers[i]);
    if (given_up) check(cudaEventRecord(layer_done_[i % 2], device_->stream()), "a layer");
  }
  return true;
}

void ManyRows::product(const Stage& stage, const void* x, GemmOutput mode, void* out, int stride, int limit,
                       float factor) {
  for (const Stage::Part& part : stage.parts) {
    const DeviceMatrix& m = part.matrix;
    const void* w = m.expanded;
    if (w == nullptr) {
      launch_expand(queue_.stream, m, expanded_);
      w = expanded_;
    }
    const bool halves = mode == GemmOutput::silu_f16;
    launch_gemm(queue_, x, w, rows_now_, m.rows, m.k_tiles * kTileCols, mode,
                halves ? out : static_cast<float*>(out) + part.at, stride,
                halves ? limit : std::min(limit - part.at, m.rows), factor);
  }
}

void ManyRows::delta_mixer(const ModelLayer& layer) {
  InputArgs in;
  in.mode = Input::gated;
  in.x = mixed_;
  in.x_stride = mixed_stride_;
  in.y = rows_ + model_.delta.z_at;
  in.y_stride = model_.max_width;
  in.weight = layer.delta_norm;
  in.width = static_cast<int>(model_.config.value_dim());
  in.head = model_.delta.value_dim;
  in.eps = model_.config.rms_norm_eps;
  DeltaArgs delta;
  delta.shape = model_.delta;
  delta.layers = model_.delta_layers;
  delta.layer = layer.mixer;
  delta.rows = rows_;
  delta.out = mixed_;
  delta.out_stride = mixed_stride_;
  if (chunked_) {
    chunk_.layer = layer.mixer;
    chunk_.chunks = chunk_args_;
    chunk_.segments = segment_args_;
    chunk_.chunk_count = chunks_now_;
    chunk_.segment_count = segments_now_;
    chunk_.row_count = rows_now_;
    launch_chunks(queue_, chunk_);
  } else {
    launch_delta_steps(queue_, delta, pass_, segments_now_);
  }
  launch_windows(queue_, delta, pass_, segments_now_);
  if (128 % in.head != 0 || in.head % 4 != 0) {
    launch_gated_norm(queue_, in, nullptr, rows_now_, mixed_, mixed_stride_);
    in.mode = Input::plain;
  }
  const int stride = padded(in.width, kTileCols);
  launch_inputs_f16(queue_, in, rows_now_, stride, inputs_);
  product(layer.out, inputs_, GemmOutput::add, hidden_, static_cast<int>(hidden_stride_),
          static_cast<int>(model_.config.hidden_size));
}

void ManyRows::attention_mixer(const ModelLayer& layer) {
  AttentionArgs attention;
  attention.shape = model_.attention;
  attention.layer = layer.mixer;
  attention.rows = rows_;
  attention.rotary = rotary_;
  attention.q_norm = layer.q_norm;
  attention.k_norm = layer.k_norm;
  launch_heads(queue_, attention, row_args_, segment_args_, rows_now_, q_);
  launch_flash(queue_, attention, row_args_, segment_args_, segments_now_, longest_, q_, inputs_, mixed_half_stride_);
  product(layer.out, inputs_, GemmOutput::add, hidden_, static_cast<int>(hidden_stride_),
          static_cast<int>(model_.config.hidden_size));
}

void ManyRows::mlp(const ModelLayer& layer) {
  const int inner = static_cast<int>(model_.config.intermediate_size);
  InputArgs in;
  in.mode = Input::norm;
  in.x = hidden_;
  in.x_stride = static_cast<int>(hidden_stride_);
  in.weight = layer.post_norm;
  in.width = static_cast<int>(model_.config.hidden_size);
  in.eps = model_.config.rms_norm_eps;
  launch_inputs_f16(queue_, in, rows_now_, padded(in.width, kTileCols), inputs_);
  if (layer.pairs) {
    product(layer.gate_up, inputs_, GemmOutput::silu_f16, inner_, inner_stride_, inner, kInnerFactor);
  } else {
    product(layer.gate_up, inputs_, GemmOutput::store, rows_, model_.max_width, layer.gate_up.width);
    launch_silu_f16(queue_, rows_, rows_ + layer.gate_up.at[1], model_.max_width, rows_now_, inner, inner_,
                    inner_stride_, kInnerFactor);
  }
  product(layer.down, inner_, GemmOutput::add, hidden_, static_cast<int>(hidden_stride_),
          static_cast<int>(model_.config.hidden_size), 1.0F / kInnerFactor);
}

void ManyRows::layer(const ModelLayer& layer) {
  InputArgs in;
  in.mode = Input::norm;
  in.x = hidden_;
  in.x_stride = static_cast<int>(hidden_stride_);
  in.weight = layer.input_norm;
  in.width = static_cast<int>(model_.config.hidden_size);
  in.eps = model_.config.rms_norm_eps;
  launch_inputs_f16(queue_, in, rows_now_, padded(in.width, kTileCols), inputs_);
  product(layer.in, inputs_, GemmOutput::store, rows_, model_.max_width, layer.in.width);
  if (layer.delta) {
    delta_mixer(layer);
  } else {
    attention_mixer(layer);
  }
  mlp(layer);
}

}  // namespace prosa::backend::cuda
