// The stages of a pass over single rows, and their graphs.
#include "backend/cuda/decode.h"

#include <algorithm>
#include <cstring>

namespace prosa::backend::cuda {
namespace {

int padded(int64_t n, int to) { return static_cast<int>((n + to - 1) / to * to); }

int size_for(int n) {
  int size = 1;
  while (size < n) size *= 2;
  return size;
}

/// As span_of() in attention.cu counts them.
int spans_for(int position) {
  int span = kKvSpan;
  while (position / span + 1 > kMaxSpans) span *= 2;
  return position / span + 1;
}

}  // namespace

template <typename T>
T* Decoder::scratch(int64_t elements) {
  memory_.push_back(device_->allocate(elements * static_cast<int64_t>(sizeof(T)), "scratch memory"));
  scratch_bytes_ += memory_.back()->bytes();
  device_->clear(memory_.back()->as(), memory_.back()->bytes());
  return memory_.back()->as<T>();
}

Decoder::Decoder(std::shared_ptr<Device> device, const Model& model, const CudaOptions& options)
    : device_(std::move(device)), model_(model), graphs_(options.graphs) {
  const ModelConfig& c = model.config;
  queue_.stream = device_->stream();
  queue_.overlap = options.overlap && device_->architecture() >= 90;
  queue_.processors = device_->processors();
  queue_.hopper = device_->architecture() == 90 && hopper_built();
  hidden_stride_ = padded(c.hidden_size, kTileRows);
  mixed_stride_ = padded(std::max(c.value_dim(), c.query_dim()), kTileRows);
  inner_stride_ = padded(2 * padded(c.intermediate_size, kTileRows), kTileRows);
  pass_ = scratch<PassArgs>(1);
  hidden_ = scratch<float>(int64_t{kMaxRows} * hidden_stride_);
  rotary_ = scratch<float>(int64_t{kMaxRows} * std::max<int64_t>(c.rotary_dim, 1));
  rows_ = scratch<float>(int64_t{kMaxRows} * model.max_width);
  mixed_ = scratch<float>(int64_t{kMaxRows} * mixed_stride_);
  inner_ = scratch<float>(int64_t{kMaxRows} * inner_stride_);
  if (model.attention_count > 0) {
    partial_ = scratch<float>(int64_t{kMaxRows} * c.num_attention_heads * kMaxSpans * (c.head_dim + 2));
  }
  const int64_t inputs = padded(model.max_inputs, 128);
  act_.planes = scratch<uint8_t>(int64_t{kMaxRows} * 2 * inputs);
  act_.scales = scratch<float>(int64_t{kMaxRows} * inputs / 32 * 2);
  act_.factors = scratch<float>(kMaxRows);
  act_.floats = scratch<float>(int64_t{kMaxRows} * inputs);
  staging_ = device_->allocate_pinned(kSlots * static_cast<int64_t>(sizeof(PassArgs)), "staging memory");
  for (cudaEvent_t& event : copied_) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
}

Decoder::~Decoder() {
  cudaStreamSynchronize(device_->stream());
  for (auto& [size, graph] : made_) cudaGraphExecDestroy(graph);
  for (cudaEvent_t event : copied_) cudaEventDestroy(event);
}

const PassArgs* Decoder::upload(const PassArgs& pass) {
  const unsigned slot = next_++ % kSlots;
  check(cudaEventSynchronize(copied_[slot]), "waiting for the card");
  PassArgs* const staged = staging_->as<PassArgs>() + slot;
  std::memcpy(staged, &pass, sizeof pass);
  device_->copy(pass_, staged, sizeof pass);
  check(cudaEventRecord(copied_[slot], device_->stream()), "a copy");
  return pass_;
}

void Decoder::run(const PassArgs& pass) {
  int spans = 1;
  bool head_wanted = false;
  for (int i = 0; i < pass.rows; ++i) {
    spans = std::max(spans, spans_for(pass.row[i].position));
    head_wanted = head_wanted || pass.row[i].logits != nullptr;
  }
  const PassSize size{size_for(pass.rows), size_for(pass.items), std::max(4, size_for(spans)), head_wanted};
  upload(pass);
  if (!graphs_) return layers(queue_, size);
  auto found = made_.find(size);
  if (found == made_.end()) found = made_.emplace(size, captured(size)).first;
  check(cudaGraphLaunch(found->second, device_->stream()), "a decode step");
}

cudaGraphExec_t Decoder::captured(const PassSize& size) {
  Queue queue = queue_;
  check(cudaStreamCreateWithFlags(&queue.stream, cudaStreamNonBlocking), "a stream");
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(queue.stream, cudaStreamCaptureModeThreadLocal), "a graph");
  layers(queue, size);
  check(cudaStreamEndCapture(queue.stream, &graph), "a graph");
  cudaGraphExec_t made = nullptr;
  const cudaError_t result = cudaGraphInstantiate(&made, graph, 0);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(queue.stream);
  check(result, "a graph");
  return made;
}

InputArgs Decoder::norm_of(const float* weight) const {
  InputArgs in;
  in.mode = Input::norm;
  in.x = hidden_;
  in.x_stride = hidden_stride_;
  in.weight = weight;
  in.width = static_cast<int>(model_.config.hidden_size);
  in.eps = model_.config.rms_norm_eps;
  return in;
}

void Decoder::stage(const Queue& queue, const Stage& stage, const InputArgs& in, Output mode, float* out, int stride,
                    int limit, int rows) {
  for (const Stage::Part& part : stage.parts) {
    OutputArgs to;
    to.mode = mode;
    to.out = out == nullptr ? nullptr : out + part.at;
    to.stride = stride;
    to.limit = std::min(limit, mode == Output::silu ? limit : limit - part.at);
    launch_product(queue, part.matrix, in, to, pass_, rows, act_);
  }
}

void Decoder::delta_mixer(const Queue& queue, const ModelLayer& layer, const PassSize& size) {
  stage(queue, layer.in, norm_of(layer.input_norm), Output::store, rows_, model_.max_width, layer.in.width, size.rows);
  DeltaArgs delta;
  delta.shape = model_.delta;
  delta.layers = model_.delta_layers;
  delta.layer = layer.mixer;
  delta.rows = rows_;
  delta.out = mixed_;
  delta.out_stride = mixed_stride_;
  launch_delta_steps(queue, delta, pass_, size.items);

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
  if (128 % in.head != 0 || in.head % 4 != 0) {  // heads that do not fit a warp's columns
    launch_gated_norm(queue, in, pass_, size.rows, inner_, inner_stride_);
    in.mode = Input::plain;
    in.x = inner_;
    in.x_stride = inner_stride_;
  }
  stage(queue, layer.out, in, Output::add, hidden_, hidden_stride_, static_cast<int>(model_.config.hidden_size),
        size.rows);
}

void Decoder::attention_mixer(const Queue& queue, const ModelLayer& layer, const PassSize& size) {
  stage(queue, layer.in, norm_of(layer.input_norm), Output::store, rows_, model_.max_width, layer.in.width, size.rows);
  AttentionArgs attention;
  attention.shape = model_.attention;
  attention.layer = layer.mixer;
  attention.rows = rows_;
  attention.rotary = rotary_;
  attention.q_norm = layer.q_norm;
  attention.k_norm = layer.k_norm;
  attention.partial = partial_;
  attention.out = mixed_;
  attention.out_stride = mixed_stride_;
  launch_attention(queue, attention, pass_, size.rows, size.spans);
  InputArgs in;
  in.x = mixed_;
  in.x_stride = mixed_stride_;
  in.width = static_cast<int>(model_.config.query_dim());
  stage(queue, layer.out, in, Output::add, hidden_, hidden_stride_, static_cast<int>(model_.config.hidden_size),
        size.rows);
}

void Decoder::mlp(const Queue& queue, const ModelLayer& layer, int rows) {
  const int inner = static_cast<int>(model_.config.intermediate_size);
  InputArgs in;
  in.x = inner_;
  in.x_stride = inner_stride_;
  in.width = inner;
  if (layer.pairs) {
    stage(queue, layer.gate_up, norm_of(layer.post_norm), Output::silu, inner_, inner_stride_, inner, rows);
  } else {
    stage(queue, layer.gate_up, norm_of(layer.post_norm), Output::store, inner_, inner_stride_, layer.gate_up.width,
          rows);
    in.mode = Input::silu;
    in.y = inner_ + layer.gate_up.at[1];
    in.y_stride = inner_stride_;
  }
  stage(queue, layer.down, in, Output::add, hidden_, hidden_stride_, static_cast<int>(model_.config.hidden_size), rows);
}

void Decoder::head(const Queue& queue, int rows) {
  stage(queue, model_.head, norm_of(model_.norm), Output::logits, nullptr, 0,
        static_cast<int>(model_.config.vocab_size), rows);
}

void Decoder::layers(const Queue& queue, const PassSize& size) {
  EmbedArgs embed;
  embed.table = model_.embedding;
  embed.hidden = static_cast<int>(model_.config.hidden_size);
  embed.stride = hidden_stride_;
  embed.out = hidden_;
  embed.frequency = model_.frequency;
  embed.rotary_dim = static_cast<int>(model_.config.rotary_dim);
  embed.rotary = rotary_;
  Queue first = queue;
  first.overlap = false;  // what the pass reads must be there before any of its kernels begins
  launch_embed(first, embed, pass_, size.rows);
  for (const ModelLayer& layer : model_.layers) {
    if (layer.delta) {
      delta_mixer(queue, layer, size);
    } else {
      attention_mixer(queue, layer, size);
    }
    mlp(queue, layer, size.rows);
  }
  if (size.head) head(queue, size.rows);
}

void Decoder::run_head(const float* hidden, const PassArgs& pass) {
  upload(pass);
  device_->copy(hidden_, hidden, int64_t{4} * pass.rows * hidden_stride_);
  Queue queue = queue_;
  queue.overlap = false;
  head(queue, size_for(pass.rows));
}

void Decoder::replay(const PassArgs& pass) {
  upload(pass);
  DeltaArgs delta;
  delta.shape = model_.delta;
  delta.layers = model_.delta_layers;
  delta.layer_count = model_.delta_count;
  delta.replay = true;
  Queue queue = queue_;
  queue.overlap = false;
  if (model_.delta_count == 0) return;
  launch_delta_steps(queue, delta, pass_, 1);
  launch_windows(queue, delta, pass_, 1);
}

}  // namespace prosa::backend::cuda
