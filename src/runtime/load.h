// From a model's name to a backend that holds it: what Model and Chat share.
//
// No tokenizer, no text, no state.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "prosa/model.h"

namespace prosa {

struct LoadedModel {
  std::filesystem::path folder;
  std::shared_ptr<backend::Backend> backend;
  ModelInfo info;
  uint64_t fingerprint = 0;  // of weights and dimensions (fingerprint.h)
  int64_t state_store_bytes = LoadOptions{}.state_store_bytes;
  int64_t context = 0;  // LoadOptions::context, at most what the model was made for
};

/// Reports progress in [0, 1]. Errors: those of resolve_model(), checkpoint::load_weights() and the backends;
/// invalid_argument for options out of range. What the callbacks of `options` throw comes as a CallersException.
LoadedModel load_model(const std::string& name, const LoadOptions& options);

}  // namespace prosa
