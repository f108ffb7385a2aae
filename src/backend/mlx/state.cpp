// Arrays as bytes and back. Host memory only: every array here is computed, and a device of unified memory has one.
#include "backend/mlx/state.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "prosa/error.h"

namespace prosa::backend::mlx {
namespace {

using Floats = std::vector<float>;

constexpr std::array<std::pair<const char*, std::optional<mx::array> MlxLayerState::*>, 4> kParts = {
    {{"keys", &MlxLayerState::keys},
     {"values", &MlxLayerState::values},
     {"conv", &MlxLayerState::conv},
     {"recurrent", &MlxLayerState::recurrent}}};

/// From rows of heads [1, heads, blocks, width] to the first `length` tokens [length, heads, width], and back.
void copy_tokens(float* cache, float* tokens, int64_t heads, int64_t blocks, int64_t width, int64_t length, bool back) {
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < length; ++t) {
      float* const in_cache = cache + (h * blocks + t) * width;
      float* const in_tokens = tokens + (t * heads + h) * width;
      std::memcpy(back ? in_cache : in_tokens, back ? in_tokens : in_cache, static_cast<size_t>(width) * sizeof(float));
    }
  }
}

std::shared_ptr<Floats> tokens_of(const mx::array& cache, int64_t length) {
  const int64_t heads = cache.shape(1), blocks = cache.shape(2), width = cache.shape(3);
  auto tokens = std::make_shared<Floats>(static_cast<size_t>(length * heads * width));
  copy_tokens(const_cast<float*>(cache.data<float>()), tokens->data(), heads, blocks, width, length, false);
  return tokens;
}

SnapshotPart part_of(std::string name, const std::shared_ptr<Floats>& values) {
  return {std::move(name), PartType::f32, std::as_bytes(std::span(*values)), values};
}

}  // namespace

int64_t bytes_of(const std::vector<MlxLayerState>& layers) noexcept {
  int64_t bytes = 0;
  for (const MlxLayerState& layer : layers)
    for (const auto& [name, part] : kParts)
      if (layer.*part) bytes += static_cast<int64_t>((layer.*part)->nbytes());
  return bytes;
}

std::vector<SharedBlock> blocks_of(const std::vector<MlxLayerState>& layers) {
  std::vector<SharedBlock> blocks;
  for (const MlxLayerState& layer : layers)
    for (const auto& [name, part] : kParts)
      if (layer.*part) blocks.push_back({(layer.*part)->data<float>(), static_cast<int64_t>((layer.*part)->nbytes())});
  return blocks;
}

void MlxState::set_rows(std::vector<mx::array> parts) noexcept {
  rows_of_ = std::move(parts);
  rows_ = 0;
  int64_t bytes = 0;
  for (const mx::array& part : rows_of_) {
    rows_ += part.shape(0);
    bytes += static_cast<int64_t>(part.nbytes());
  }
  row_bytes_ = bytes;
}

std::pair<size_t, int> MlxState::place(int64_t row) const {
  size_t part = 0;
  for (; row >= rows_of_[part].shape(0); ++part) row -= rows_of_[part].shape(0);
  return {part, static_cast<int>(row)};
}

const float* MlxState::row(int64_t row) const {
  const auto [part, at] = place(row);
  return rows_of_[part].data<float>() + static_cast<int64_t>(at) * rows_of_[part].shape(1);
}

mx::array MlxState::row_array(int64_t row) const {
  const auto [part, at] = place(row);
  const int vocab = rows_of_[part].shape(1);
  return mx::reshape(mx::slice(rows_of_[part], {at, 0}, {at + 1, vocab}), {vocab});
}

std::vector<SnapshotPart> MlxSnapshot::parts() const {
  std::vector<SnapshotPart> parts;
  for (size_t i = 0; i < layers.size(); ++i) {
    for (const auto& [name, part] : kParts) {
      const std::optional<mx::array>& values = layers[i].*part;
      if (!values) continue;
      std::string full = name + ("." + std::to_string(i));
      if (values->ndim() == 4 && part != &MlxLayerState::recurrent) {
        if (position_ > 0) parts.push_back(part_of(std::move(full), tokens_of(*values, position_)));
        continue;
      }
      const auto kept = std::make_shared<mx::array>(*values);
      parts.push_back({std::move(full), PartType::f32,
                       std::as_bytes(std::span(kept->data<float>(), static_cast<size_t>(kept->size()))), kept});
    }
  }
  return parts;
}

namespace {

class PartReader {
 public:
  PartReader(const ModelConfig& config, int64_t position, const Backend::FindPart& find)
      : config_(config), position_(position), find_(find) {}

  [[nodiscard]] Floats read(const std::string& part, int64_t count) const {
    const std::span<const std::byte> bytes = find_(part);
    if (bytes.size() != static_cast<size_t>(count) * sizeof(float)) {
      throw Error(ErrorCode::bad_session, fmt::format("has {} bytes for {} values", bytes.size(), count), part,
                  "the file is of another model, or damaged");
    }
    Floats values(static_cast<size_t>(count));
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  /// Keys or values up to the position; those of `longer` where there are no bytes of their own.
  [[nodiscard]] std::optional<mx::array> cache(const std::string& part, const std::optional<mx::array>* longer) const {
    if (position_ == 0) return std::nullopt;
    if (longer != nullptr && *longer && find_(part).empty()) return *longer;
    Floats tokens = read(part, position_ * config_.kv_dim());
    const int64_t blocks = (position_ + kKvBlock - 1) / kKvBlock * kKvBlock;
    Floats cache(static_cast<size_t>(blocks * config_.kv_dim()));
    copy_tokens(cache.data(), tokens.data(), config_.num_key_value_heads, blocks, config_.head_dim, position_, true);
    return float_array(cache.data(), {1, static_cast<int>(config_.num_key_value_heads), static_cast<int>(blocks),
                                      static_cast<int>(config_.head_dim)});
  }

 private:
  const ModelConfig& config_;
  int64_t position_;
  const Backend::FindPart& find_;
};

}  // namespace

std::vector<MlxLayerState> layers_of_parts(const ModelConfig& c, int64_t position, const Backend::FindPart& find,
                                           const MlxSnapshot* longer) {
  const PartReader reader(c, position, find);
  std::vector<MlxLayerState> layers(c.layer_types.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string number = "." + std::to_string(i);
    if (c.layer_types[i] == LayerType::full_attention) {
      layers[i].keys = reader.cache("keys" + number, longer == nullptr ? nullptr : &longer->layers[i].keys);
      layers[i].values = reader.cache("values" + number, longer == nullptr ? nullptr : &longer->layers[i].values);
      continue;
    }
    const int kept = static_cast<int>(c.linear_conv_kernel_dim - 1);
    const int heads = static_cast<int>(c.linear_num_value_heads);
    const int dv = static_cast<int>(c.linear_value_head_dim), dk = static_cast<int>(c.linear_key_head_dim);
    layers[i].conv =
        float_array(reader.read("conv" + number, kept * c.conv_dim()).data(), {kept, static_cast<int>(c.conv_dim())});
    layers[i].recurrent =
        float_array(reader.read("recurrent" + number, int64_t{heads} * dv * dk).data(), {1, heads, dv, dk});
  }
  return layers;
}

}  // namespace prosa::backend::mlx
