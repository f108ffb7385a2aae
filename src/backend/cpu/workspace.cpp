// Sizes of the buffers of a pass.
#include "backend/cpu/workspace.h"

#include <algorithm>
#include <initializer_list>

namespace prosa::backend::cpu {
namespace {

// The forms that the matrices ask for which read the shared and the inner inputs.
struct AskedForms {
  std::vector<InputForm> others;
  std::vector<InputForm> down;
  bool dense_down = false;  // some down_proj reads float32 rows, the shared ones
  bool dense_out = false;   // some out_proj or o_proj does, or a head ends within one of its groups

  explicit AskedForms(const PackedModel& model) {
    const auto ask = [](std::vector<InputForm>& forms, std::initializer_list<const PackedMatrix*> matrices) {
      for (const PackedMatrix* matrix : matrices) {
        if (matrix->bits != 0 && std::ranges::find(forms, matrix->input()) == forms.end())
          forms.push_back(matrix->input());
      }
    };
    ask(others, {&model.head()});
    for (const PackedLayer& layer : model.layers) {
      const PackedMatrix& out = layer.delta ? layer.delta->out : layer.attention->out;
      dense_out =
          dense_out || !hands_over(out, layer.delta ? model.config.linear_value_head_dim : model.config.head_dim);
      if (layer.delta)
        ask(others, {&layer.delta->qkv, &layer.delta->z, &layer.delta->b, &layer.delta->a, &layer.delta->out});
      else
        ask(others, {&layer.attention->q, &layer.attention->k, &layer.attention->v, &layer.attention->out});
      ask(others, {&layer.gate, &layer.up});
      ask(down, {&layer.down});
      dense_down = dense_down || layer.down.bits == 0;
    }
  }
};

// Values of the heads that a key head serves.
int64_t served_dim(const ModelConfig& config) {
  return config.linear_num_value_heads / config.linear_num_key_heads * config.linear_value_head_dim;
}

}  // namespace

InputRows::InputRows(int64_t rows, int64_t width, int64_t floats, std::span<const InputForm> forms)
    : rows_(rows > kLooseRows ? padded(rows, 16) : rows),
      width_(padded(width, 128)),
      pitch_((width_ / 64 | 1) * 64),
      x_pitch_(floats == 0 ? 0 : pitch(padded(floats, 128))),
      x_(rows * x_pitch_, "activations") {
  for (const InputForm& form : forms) {
    Quantized& to = quantized_[form_index(form)];
    const int64_t groups = rows_ * width_ / form.group_size;
    to.high = AlignedBuffer<int8_t>(rows_ * pitch_, "activations");
    if (form.planes == 2) to.low = AlignedBuffer<int8_t>(rows_ * pitch_, "activations");
    to.scale = AlignedBuffer<float>(groups, "activations");
    to.sum = AlignedBuffer<float>(groups, "activations");
    to.outliers = AlignedBuffer<uint8_t>(groups, "activations");
    to.outlier = AlignedBuffer<Outlier>(groups * kMaxOutliers, "activations");
  }
}

void InputRows::quantize(const Kernels& kernels, int64_t index, int64_t first, std::span<const float> x,
                         InputForm form) {
  Quantized& to = quantized_[form_index(form)];
  const int64_t at = index * pitch_ + first;
  const int64_t group = first / form.group_size * rows_ + index;
  kernels.quantize(
      x.data(), static_cast<int64_t>(x.size()), form.group_size,
      {to.high.data() + at, to.low.size() == 0 ? nullptr : to.low.data() + at, to.scale.data() + group,
       to.sum.data() + group, to.outliers.data() + group, to.outlier.data() + group * kMaxOutliers, rows_});
}

Activations InputRows::view(InputForm form, int64_t first) const {
  Activations view;
  if (x_.size() > 0) view.x = x_.data() + first * x_pitch_;
  view.ldx = x_pitch_;
  if (form.group_size == 0) return view;
  const Quantized& from = quantized_[form_index(form)];
  view.high = from.high.data() + first * pitch_;
  view.low = from.low.size() == 0 ? nullptr : from.low.data() + first * pitch_;
  view.ldq = pitch_;
  view.scale = from.scale.data() + first;
  view.sum = from.sum.data() + first;
  view.outliers = from.outliers.data() + first;
  view.outlier = from.outlier.data() + first * kMaxOutliers;
  view.ldg = rows_;
  return view;
}

int64_t InputRows::byte_size() const {
  int64_t total = x_.byte_size();
  for (const Quantized& form : quantized_) {
    total += form.high.byte_size() + form.low.byte_size() + form.scale.byte_size() + form.sum.byte_size();
    total += form.outliers.byte_size() + form.outlier.byte_size();
  }
  return total;
}

Workspace::Workspace(const PackedModel& model, int64_t rows, int workers)
    : max_rows(rows),
      hidden_width(pitch(model.config.hidden_size)),
      intermediate_width(pitch(model.config.intermediate_size)),
      head_width(pitch(model.config.linear_num_value_heads)),
      conv_width(pitch(model.config.conv_dim())),
      channels_width(pitch(2 * model.config.linear_key_head_dim + served_dim(model.config))),
      value_width(pitch(model.config.value_dim())),
      mixed_width(pitch(std::max(model.config.value_dim(), model.config.query_dim()))),
      query_width(pitch(2 * model.config.query_dim())),
      kv_width(pitch(model.config.kv_dim())),
      hidden(rows * hidden_width, "activations"),
      mixed(rows * mixed_width, "activations"),
      z(rows * value_width, "activations"),
      rotary(rows * model.config.rotary_dim, "activations") {
  const ModelConfig& config = model.config;
  // A stage's parts lie one behind the other from the beginning of the common memory.
  struct Part {
    std::span<float>& span;
    int64_t floats;
  };
  const std::vector<std::vector<Part>> stages{
      {{qkv, rows * conv_width}, {b, rows * head_width}, {a, rows * head_width}},
      {{query, rows * query_width}, {key, rows * kv_width}, {value, rows * kv_width}},
      {{gate, rows * intermediate_width}, {up, rows * intermediate_width}}};
  int64_t most = 0;
  for (const auto& pieces : stages) {
    int64_t floats = 0;
    for (const Part& part : pieces) floats += padded(part.floats);
    most = std::max(most, floats);
  }
  stage = AlignedBuffer<float>(most, "activations");
  for (const auto& pieces : stages) {
    std::span<float> left = stage.span();
    for (const Part& part : pieces) {
      part.span = left.first(static_cast<size_t>(part.floats));
      left = left.subspan(static_cast<size_t>(padded(part.floats)));
    }
  }
  const int64_t narrow = std::max({config.hidden_size, config.value_dim(), config.query_dim()});
  const int64_t width = std::max(narrow, config.intermediate_size);
  const AskedForms forms(model);
  const int64_t floats = forms.dense_down ? width : forms.dense_out ? narrow : config.hidden_size;
  shared = InputRows(rows, forms.dense_down ? width : narrow, floats, forms.others);
  if (!forms.down.empty()) inner = InputRows(rows, config.intermediate_size, 0, forms.down);
  const int64_t of_worker = std::max({delta_scratch_floats(config.linear_key_head_dim),
                                      attend_scratch_floats(config.head_dim), 2 * rows * pitch(kInnerColumns)});
  const int64_t of_head = std::max(rows * channels_width, kAttendRows * config.head_dim);
  for (int worker = 0; worker < workers; ++worker) {
    own.emplace_back(kOwnRows, width, width, kInputForms);
    scratch.emplace_back(of_worker, "a worker's scratch");
    channels.emplace_back(of_head, "a worker's scratch");
  }
}

int64_t Workspace::byte_size() const {
  int64_t total = shared.byte_size() + inner.byte_size() + parts.byte_size();
  for (const auto* buffer : {&hidden, &mixed, &z, &rotary, &stage}) total += buffer->byte_size();
  for (const InputRows& rows : own) total += rows.byte_size();
  for (const auto* buffers : {&scratch, &channels}) {
    for (const auto& floats : *buffers) total += floats.byte_size();
  }
  return total;
}

}  // namespace prosa::backend::cpu
