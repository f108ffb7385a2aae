// Sizes of the buffers of a pass.
#include "backend/cpu/workspace.h"

#include <algorithm>

namespace prosa::backend::cpu {

InputRows::InputRows(int64_t rows, int64_t width, int planes)
    : rows_(rows > kLooseRows ? padded(rows, 16) : rows),
      width_(padded(width, 128)),
      pitch_((width_ / 64 | 1) * 64),
      x_(rows * width_, "activations") {
  for (size_t i = 0; i < kGroupSizes.size(); ++i) {
    quantized_[i].high = AlignedBuffer<int8_t>(rows_ * pitch_, "activations");
    if (planes == 2) quantized_[i].low = AlignedBuffer<int8_t>(rows_ * pitch_, "activations");
    quantized_[i].scale = AlignedBuffer<float>(rows_ * width_ / kGroupSizes[i], "activations");
    quantized_[i].sum = AlignedBuffer<float>(rows_ * width_ / kGroupSizes[i], "activations");
  }
}

void InputRows::quantize(const Kernels& kernels, int64_t index, int64_t n, int64_t group_size) {
  Quantized& form = quantized_[group_index(group_size)];
  int8_t* low = form.low.size() == 0 ? nullptr : form.low.data() + index * pitch_;
  kernels.quantize(row(index), n, group_size, form.high.data() + index * pitch_, low, form.scale.data() + index,
                   form.sum.data() + index, rows_);
}

Activations InputRows::view(int64_t group_size, int64_t first) const {
  Activations view;
  view.x = x_.data() + first * width_;
  view.ldx = width_;
  if (group_size == 0) return view;
  const Quantized& form = quantized_[group_index(group_size)];
  view.high = form.high.data() + first * pitch_;
  view.low = form.low.size() == 0 ? nullptr : form.low.data() + first * pitch_;
  view.ldq = pitch_;
  view.scale = form.scale.data() + first;
  view.sum = form.sum.data() + first;
  view.ldg = rows_;
  return view;
}

int64_t InputRows::byte_size() const {
  int64_t total = x_.byte_size();
  for (const Quantized& form : quantized_)
    total += form.high.byte_size() + form.low.byte_size() + form.scale.byte_size() + form.sum.byte_size();
  return total;
}

Workspace::Workspace(const ModelConfig& config, int64_t rows, int workers, int planes)
    : max_rows(rows),
      hidden_width(padded(config.hidden_size)),
      intermediate_width(padded(config.intermediate_size)),
      head_width(padded(config.linear_num_value_heads)),
      hidden(rows * hidden_width, "activations"),
      mixed(rows * std::max(config.value_dim(), config.query_dim()), "activations") {
  // A stage's parts lie one behind the other from the beginning of the common memory.
  struct Part {
    std::span<float>& span;
    int64_t floats;
  };
  const std::vector<std::vector<Part>> stages{
      {{qkv, rows * config.conv_dim()},
       {conv, rows * config.conv_dim()},
       {z, rows * config.value_dim()},
       {b, rows * head_width},
       {a, rows * head_width}},
      {{query, rows * 2 * config.query_dim()}, {key, rows * config.kv_dim()}, {value, rows * config.kv_dim()}},
      {{gate, rows * intermediate_width}, {up, rows * intermediate_width}}};
  int64_t most = 0;
  for (const auto& parts : stages) {
    int64_t floats = 0;
    for (const Part& part : parts) floats += padded(part.floats);
    most = std::max(most, floats);
  }
  stage = AlignedBuffer<float>(most, "activations");
  for (const auto& parts : stages) {
    std::span<float> left = stage.span();
    for (const Part& part : parts) {
      part.span = left.first(static_cast<size_t>(part.floats));
      left = left.subspan(static_cast<size_t>(padded(part.floats)));
    }
  }
  const int64_t width =
      std::max({config.hidden_size, config.intermediate_size, config.value_dim(), config.query_dim()});
  shared = InputRows(rows, width, planes);
  const int64_t mixer_floats =
      std::max(delta_scratch_floats(config.linear_key_head_dim), attend_scratch_floats(config.head_dim));
  for (int worker = 0; worker < workers; ++worker) {
    own.emplace_back(kOwnRows, width, planes);
    scratch.emplace_back(mixer_floats, "mixer scratch");
  }
}

int64_t Workspace::byte_size() const {
  int64_t total = shared.byte_size();
  for (const auto* buffer : {&hidden, &mixed, &stage}) total += buffer->byte_size();
  for (const InputRows& rows : own) total += rows.byte_size();
  for (const auto& floats : scratch) total += floats.byte_size();
  return total;
}

}  // namespace prosa::backend::cpu
