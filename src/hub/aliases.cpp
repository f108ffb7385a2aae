// The short names. Each is the repository of the model's own authors; other formats have their own names on the hub.
#include <algorithm>
#include <array>
#include <string>

#include "prosa/hub_cache.h"

namespace prosa {
namespace {

constexpr std::array<ModelAlias, 6> kAliases{{
    {"qwen3.5-0.8b", "Qwen/Qwen3.5-0.8B", "bfloat16, 1.7 GB"},
    {"qwen3.5-2b", "Qwen/Qwen3.5-2B", "bfloat16"},
    {"qwen3.5-4b", "Qwen/Qwen3.5-4B", "bfloat16"},
    {"qwen3.5-9b", "Qwen/Qwen3.5-9B", "bfloat16"},
    {"qwen3.5-27b", "Qwen/Qwen3.5-27B", "bfloat16"},
    {"qwen3.5-0.8b-mlx", "aufklarer/Qwen3.5-0.8B-Chat-MLX", "quantized, in the format of MLX"},
}};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::span<const ModelAlias> model_aliases() noexcept { return kAliases; }

std::optional<std::string> expand_alias(std::string_view name) {
  const std::string_view alias = name.substr(0, name.find_first_of(":@"));
  const auto same = [&](const ModelAlias& candidate) {
    return std::ranges::equal(candidate.alias, alias, {}, {}, lower);
  };
  const auto found = std::ranges::find_if(kAliases, same);
  if (found == kAliases.end()) return std::nullopt;
  return std::string(found->name) + std::string(name.substr(alias.size()));
}

}  // namespace prosa
