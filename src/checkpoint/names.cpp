// The prefix table. Not the binding of names to weights (loader.cpp).
#include "checkpoint/names.h"

#include <array>

namespace prosa::checkpoint {

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
