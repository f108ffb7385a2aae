// The prefix table. Not the binding of names to weights (loader.cpp).
#include "checkpoint/names.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "model/for_each_matrix.h"

namespace prosa::checkpoint {

namespace {

/// What stands in a layer, below "layers.N.", without .weight, .scales and .biases.
bool is_layer_part(std::string_view part) {
  const auto is_matrix = [part](MatrixRole role) { return module_name(role) == part; };
  const auto is_vector = [part](VectorRole role) {
    std::string_view name = tensor_name(role);
    if (name.ends_with(".weight")) name.remove_suffix(std::string_view(".weight").size());
    return name == part;
  };
  const auto in_mixer = [&](LayerType type) {
    return std::ranges::any_of(mixer_matrices(type), is_matrix) || std::ranges::any_of(mixer_vectors(type), is_vector);
  };
  return is_vector(VectorRole::input_norm) || is_vector(VectorRole::post_attention_norm) ||
         in_mixer(LayerType::linear_attention) || in_mixer(LayerType::full_attention) ||
         std::ranges::any_of(mlp_matrices(), is_matrix);
}

}  // namespace

bool is_model_tensor(std::string_view name, int64_t num_layers) {
  for (const std::string_view suffix : {".weight", ".scales", ".biases"}) {
    if (name.ends_with(suffix)) {
      name.remove_suffix(suffix.size());
      break;
    }
  }
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return name == "embed_tokens" || name == "norm" || name == "lm_head";
  name.remove_prefix(kLayers.size());
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || layer < 0 || layer >= num_layers) return false;
  name.remove_prefix(static_cast<size_t>(end - name.data()));
  if (!name.starts_with('.')) return false;
  return is_layer_part(name.substr(1));
}

std::string_view kind_of(const CanonicalName& canonical) noexcept {
  const std::string_view name = canonical.name;
  const auto has = [name](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (canonical.role == TensorRole::mtp) return "mtp";
  if (canonical.role == TensorRole::vision) return "vision";
  if (canonical.role == TensorRole::ignored) return "other";
  if (name.starts_with("embed_tokens")) return "embedding";
  if (name.starts_with("lm_head")) return "head";
  if (has("norm")) return "norms";
  if (has(".self_attn.")) return "attention";
  if (has(".linear_attn.")) return "deltanet";
  if (has(".mlp.")) return "mlp";
  return "other";
}

std::string_view to_string(TensorRole role) noexcept {
  switch (role) {
    case TensorRole::text: return "text";
    case TensorRole::mtp: return "mtp";
    case TensorRole::vision: return "vision";
    case TensorRole::ignored: return "ignored";
  }
  return "unknown";
}

CanonicalName canonical_name(std::string_view name) {
  // Longest first: "model." is a prefix of "model.language_model.".
  constexpr std::array<std::string_view, 5> kPrefixes{"language_model.model.language_model.", "model.language_model.",
                                                      "language_model.model.", "language_model.", "model."};
  std::string_view rest = name;
  for (const std::string_view prefix : kPrefixes) {
    if (rest.starts_with(prefix)) {
      rest.remove_prefix(prefix.size());
      break;
    }
  }
  const auto is = [&rest](std::string_view module) {
    return rest.starts_with(module) && (rest.size() == module.size() || rest[module.size()] == '.');
  };
  TensorRole role = TensorRole::ignored;
  if (rest.ends_with("rotary_emb.inv_freq")) {
    role = TensorRole::ignored;
  } else if (is("visual") || is("vision_tower") || is("vision_model")) {
    role = TensorRole::vision;
  } else if (is("mtp")) {
    role = TensorRole::mtp;
  } else if (is("layers") || is("embed_tokens") || is("norm") || is("lm_head")) {
    role = TensorRole::text;
  }
  return {role, std::string(rest)};
}

}  // namespace prosa::checkpoint
