// The smallest model that chats: two layers by the synthetic rule, with the tokenizer of the tests' tiny model. The
// same on every machine, so that files made with it can be kept.
#pragma once

#include <filesystem>

#include "checkpoint/synth.h"
#include "model/config.h"

namespace prosa::fuzz {

inline ModelConfig tiny_config() {
  ModelConfig config = checkpoint::synth_preset("tiny");
  config.hidden_size = 32;
  config.intermediate_size = 32;
  config.num_layers = 2;
  config.layer_types = {LayerType::linear_attention, LayerType::full_attention};
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = 16;
  config.rotary_dim = 4;
  config.linear_num_key_heads = 1;
  config.linear_num_value_heads = 1;
  config.linear_key_head_dim = 16;
  config.linear_value_head_dim = 16;
  config.tie_word_embeddings = true;
  config.mtp_num_layers = 0;
  return config;
}

/// `folder` does not exist yet. `bits`: 0, or quantized in groups of 32.
inline void synthesize(const ModelConfig& config, const std::filesystem::path& folder, int bits = 0) {
  checkpoint::SynthOptions options;
  options.seed = 3;
  options.bits = bits;
  options.group_size = 32;
  options.threads = 1;
  checkpoint::synthesize(config, folder, options);
}

/// The same with a tokenizer.
inline void make_tiny_model(const std::filesystem::path& folder) {
  synthesize(tiny_config(), folder);
  std::filesystem::copy_file(PROSA_TEST_DATA "/tiny-chat/tokenizer.json", folder / "tokenizer.json");
}

}  // namespace prosa::fuzz
