// Which models a resident kernel can have, how their stages are dealt out to the blocks, and its launches.
#include "backend/cuda/resident.h"

#include <algorithm>
#include <limits>

#include "prosa/error.h"

namespace prosa::backend::cuda {
namespace {

constexpr int kMaxAddRows = kResidentThreads / kTileRows;  // tile rows of a block in a stage that adds: a row a thread

const DeviceMatrix& matrix_of(const Stage& stage) { return stage.parts.front().matrix; }

ResidentMatrix pointers_of(const Stage& stage) { return {matrix_of(stage).planes, matrix_of(stage).scales}; }

ResidentStage shape_of(const Stage& stage, int rows_a_unit, int first_block, int width, int limit) {
  const DeviceMatrix& m = matrix_of(stage);
  ResidentStage s;
  s.rows_a_unit = rows_a_unit;
  s.units = m.rows / kTileRows / rows_a_unit;
  s.k_tiles = m.k_tiles;
  s.wide = m.group == 128 ? 1 : 0;
  s.groups = m.group == 32 ? 2 * m.k_tiles : (m.k_tiles + s.wide) >> s.wide;
  s.slices = m.slices;
  s.per_slice = m.per_slice;
  const int fit = std::max(1, kPieceTiles / m.per_slice);
  s.piece_shift = fit >= 4 ? 2 : fit >= 2 ? 1 : 0;  // divides kPieceShares
  s.pieces = (m.slices + (1 << s.piece_shift) - 1) >> s.piece_shift;
  s.first_block = first_block;
  s.width = width;
  s.limit = limit;
  return s;
}

int tile_rows(const Stage& stage) { return matrix_of(stage).rows / kTileRows; }

/// The stages of a model, dealt out so that the blocks with a row of `out` are not those with the longer one of `down`.
ResidentArgs stages_of(const Model& model, int blocks) {
  const ModelConfig& c = model.config;
  const auto hidden = static_cast<int>(c.hidden_size);
  const auto inner = static_cast<int>(c.intermediate_size);
  ResidentArgs args;
  for (const ModelLayer& layer : model.layers) {
    if (layer.delta) {
      args.stages[kDeltaIn] = shape_of(layer.in, 1, 0, hidden, layer.in.width);
      args.stages[kDeltaOut] = shape_of(layer.out, 1, 0, static_cast<int>(c.value_dim()), hidden);
    } else {
      args.stages[kAttentionIn] = shape_of(layer.in, 1, 0, hidden, layer.in.width);
      args.stages[kAttentionOut] = shape_of(layer.out, 1, 0, static_cast<int>(c.query_dim()), hidden);
    }
    const int down_at = tile_rows(layer.down) % blocks;
    args.stages[kGateUp] =
        shape_of(layer.gate_up, 2, (blocks - std::max(blocks - 2 * tile_rows(layer.down), 0)) % blocks, hidden, inner);
    args.stages[kDown] = shape_of(layer.down, 1, down_at, inner, hidden);
  }
  args.stages[kHead] = shape_of(model.head, 1, 0, hidden, static_cast<int>(c.vocab_size));
  return args;
}

/// Why a stage is not one the kernel has.
std::string stage_obstacle(const Stage& stage, const DeviceMatrix& first, int rows_a_unit, int blocks, bool adds,
                           bool is_head) {
  if (stage.parts.size() != 1) return "a stage has matrices of several formats";
  const DeviceMatrix& m = stage.parts.front().matrix;
  if (m.format != Format::quantized) return "a matrix is not quantized";
  if (m.bits != first.bits || m.group != first.group || m.scale_type != first.scale_type)
    return "the matrices have several formats";
  if (m.k_tiles > kMaxResidentTiles) return "an input has more than 4,096 columns";
  if (m.per_slice > kPieceTiles) return "slices are longer than a slot";
  const int units = m.rows / kTileRows / rows_a_unit;
  const int rows = (units + blocks - 1) / blocks * rows_a_unit;
  if (is_head) return "";
  if (rows * m.slices > kMaxJobs || (adds && rows > kMaxAddRows)) return "the card has too few multiprocessors";
  return "";
}

bool same_shape(const Stage& a, const Stage& b) {
  const DeviceMatrix& x = matrix_of(a);
  const DeviceMatrix& y = matrix_of(b);
  return x.rows == y.rows && x.k_tiles == y.k_tiles && x.slices == y.slices && x.per_slice == y.per_slice &&
         a.width == b.width && a.at == b.at;
}

std::string shape_obstacle(const Model& model, int blocks) {
  const DeltaShape& d = model.delta;
  const AttentionShape& a = model.attention;
  if (model.delta_count > 0) {
    if (d.key_dim > 128 || d.key_dim % 4 != 0 || d.kernel != 4) return "unusual dimensions of the delta rule";
    if (d.value_dim % 4 != 0 || 128 % d.value_dim != 0 || d.value_dim < kStateColumns)
      return "value heads that do not divide 128 columns";
    if (d.value_heads * d.value_tiles > blocks) return "more parts of the state than multiprocessors";
  }
  if (model.attention_count > 0 && (a.head_dim <= 128 || a.head_dim > 256)) return "heads of unusual size";
  return "";
}

}  // namespace

std::string Resident::obstacle(const Device& device, const Model& model) {
  const int blocks = device.processors();
  if (device.architecture() != 90 || !hopper_built()) return "needs a Hopper card and a module built for 90a";
  if (!device.cooperative()) return "the card launches no cooperative kernels";
  if (model.layers.empty() || model.head.parts.size() != 1) return "the head has several formats";
  const DeviceMatrix& first = matrix_of(model.head);
  const ModelLayer* delta = nullptr;
  const ModelLayer* attention = nullptr;
  if (std::string why = stage_obstacle(model.head, first, 1, blocks, false, true); !why.empty()) return why;
  for (const ModelLayer& layer : model.layers) {
    if (!layer.pairs) return "gate and up have different formats";
    for (const auto& [stage, rows, adds] :
         {std::tuple{&layer.in, 1, false}, {&layer.out, 1, true}, {&layer.gate_up, 2, false}, {&layer.down, 1, true}}) {
      if (std::string why = stage_obstacle(*stage, first, rows, blocks, adds, false); !why.empty()) return why;
    }
    const ModelLayer*& like = layer.delta ? delta : attention;
    if (like == nullptr) like = &layer;
    if (!same_shape(layer.in, like->in) || !same_shape(layer.out, like->out) ||
        !same_shape(layer.gate_up, model.layers.front().gate_up) || !same_shape(layer.down, model.layers.front().down))
      return "the layers differ in shape";
  }
  if (std::string why = shape_obstacle(model, blocks); !why.empty()) return why;
  if (!resident_built(first.bits, first.group))
    return "no kernel for " + std::to_string(first.bits) + " bits in groups of " + std::to_string(first.group);
  if (resident_slots(first.bits, device.shared_bytes()) == 0) return "too little shared memory";
  return "";
}

template <typename T>
T* Resident::scratch(int64_t elements) {
  memory_.push_back(device_->allocate(elements * static_cast<int64_t>(sizeof(T)), "scratch memory"));
  scratch_bytes_ += memory_.back()->bytes();
  device_->clear(memory_.back()->as(), memory_.back()->bytes());
  return memory_.back()->as<T>();
}

Resident::Resident(std::shared_ptr<Device> device, const Model& model)
    : device_(std::move(device)), blocks_(device_->processors()), args_(stages_of(model, blocks_)) {
  const ModelConfig& c = model.config;
  bits_ = matrix_of(model.head).bits;
  args_.head_matrix = pointers_of(model.head);
  args_.layer_count = static_cast<int>(model.layers.size());
  args_.scale_type = matrix_of(model.head).scale_type;
  args_.norm = model.norm;
  args_.eps = c.rms_norm_eps;
  args_.embedding = model.embedding;
  args_.frequency = model.frequency;
  args_.delta = model.delta;
  args_.delta_layers = model.delta_layers;
  args_.attention = model.attention;
  args_.slots = resident_slots(bits_, device_->shared_bytes());
  std::vector<ResidentLayer> layers;
  for (const ModelLayer& layer : model.layers) {
    layers.push_back({pointers_of(layer.in), pointers_of(layer.out), pointers_of(layer.gate_up),
                      pointers_of(layer.down), layer.input_norm, layer.post_norm, layer.q_norm, layer.k_norm,
                      layer.delta ? 1 : 0, layer.mixer});
  }
  auto* const table = scratch<ResidentLayer>(static_cast<int64_t>(layers.size()));
  device_->copy(table, layers.data(), static_cast<int64_t>(layers.size() * sizeof(ResidentLayer)));
  args_.layers = table;
  args_.hidden = scratch<uint64_t>(c.hidden_size);
  args_.middle = scratch<uint64_t>(c.hidden_size);
  args_.rows = scratch<uint64_t>(model.max_width);
  args_.mixed = scratch<uint64_t>(std::max(c.value_dim(), c.query_dim()));
  args_.inner = scratch<uint64_t>(c.intermediate_size);
  if (model.attention_count > 0)
    args_.partial = scratch<uint64_t>(c.num_attention_heads * kMaxSpans * (c.head_dim + 2));
  connect();
  args_.given_up = scratch<uint32_t>(1);
  failure_ = device_->allocate_pinned(sizeof(uint32_t), "a sign of failure");
  *failure_->as<uint32_t>() = 0;
  args_.failure = failure_->as<uint32_t>();
}

void Resident::connect() {
  const auto from = [&](ResidentKind kind, Input in, const uint64_t* x, int back) {
    args_.stages[kind].in = in;
    args_.stages[kind].x = x;
    args_.stages[kind].x_back = back;
  };
  const auto to = [&](ResidentKind kind, Output out, uint64_t* row, const uint64_t* old, int back) {
    args_.stages[kind].out = out;
    args_.stages[kind].to = row;
    args_.stages[kind].old = old;
    args_.stages[kind].old_back = back;
  };
  for (const ResidentKind in : {kDeltaIn, kAttentionIn}) {
    from(in, Input::norm, args_.hidden, 1);
    to(in, Output::store, args_.rows, nullptr, 0);
  }
  from(kDeltaOut, Input::gated, args_.mixed, 0);
  args_.stages[kDeltaOut].y = args_.rows + args_.delta.z_at;
  from(kAttentionOut, Input::plain, args_.mixed, 0);
  for (const ResidentKind out : {kDeltaOut, kAttentionOut}) to(out, Output::add, args_.middle, args_.hidden, 1);
  from(kGateUp, Input::norm, args_.middle, 0);
  to(kGateUp, Output::silu, args_.inner, nullptr, 0);
  from(kDown, Input::plain, args_.inner, 0);
  to(kDown, Output::add, args_.hidden, args_.middle, 0);
  from(kHead, Input::norm, args_.hidden, 0);
}

void Resident::run(const RowArgs& row, const ItemArgs& item) {
  const auto marks = static_cast<uint32_t>(args_.layer_count) + 1;
  if (next_mark_ > std::numeric_limits<uint32_t>::max() - marks) {  // after weeks: no old mark may be met again
    for (const MemoryPtr& memory : memory_) {
      if (memory->as() != args_.layers) device_->clear(memory->as(), memory->bytes());
    }
    next_mark_ = 1;
  }
  args_.first_mark = next_mark_;
  args_.row = row;
  args_.item = item;
  next_mark_ += marks;
  launch_resident(device_->stream(), args_, bits_, blocks_);
}

std::vector<StageTime> Resident::take_profile() {
  static constexpr std::string_view kNames[kResidentTimes] = {"begin", "in",      "delta rule", "attention",
                                                              "out",   "gate_up", "down",       "head"};
  std::vector<StageTime> answer;
  device_->use();
  if (times_) {
    int64_t clocks[kResidentTimes] = {};
    device_->copy(clocks, times_->as(), sizeof clocks);
    device_->finish();
    for (int i = 0; i < kResidentTimes; ++i)
      answer.push_back({kNames[i], static_cast<double>(clocks[i]) / (device_->clock_khz() * 1e3)});
  } else {
    times_ = device_->allocate(kResidentTimes * 8, "scratch memory");
    args_.times = times_->as<int64_t>();
  }
  device_->clear(times_->as(), kResidentTimes * 8);
  return answer;
}

void Resident::check_passes() {
  auto* const failure = reinterpret_cast<volatile uint32_t*>(failure_->as<uint32_t>());
  if (*failure == 0) return;
  *failure = 0;
  throw Error(ErrorCode::io, "a decode step did not end: its blocks waited for each other for too long", "the card",
              "reset the conversation; if it happens again, use --backend cpu");
}

}  // namespace prosa::backend::cuda
