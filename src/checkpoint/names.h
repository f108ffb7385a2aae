// Tensor and module names: the prefixes that exist in the wild, reduced to one form.
//
// Pure text. Canonical names are those below the text model: "embed_tokens.weight", "layers.0.mlp.up_proj.weight",
// "norm.weight", "lm_head.weight", "mtp.fc.weight".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace prosa::checkpoint {

enum class TensorRole { text, mtp, vision, ignored };
std::string_view to_string(TensorRole role) noexcept;

struct CanonicalName {
  TensorRole role = TensorRole::ignored;
  std::string name;
};

/// Works for tensor names and for module paths (without ".weight") alike.
CanonicalName canonical_name(std::string_view name);

/// What a tensor or module of this canonical name belongs to, for tables of sizes: embedding, head, attention,
/// deltanet, mlp, norms, mtp (all of that head); vision and other for what is no part of the text model.
std::string_view kind_of(const CanonicalName& canonical) noexcept;

/// True for the canonical names that a model of so many layers can have.
bool is_model_tensor(std::string_view name, int64_t num_layers);

}  // namespace prosa::checkpoint
