// What Model, its States and its Sessions share: the loaded model and the right to use it.
//
// Invariant: lives as long as any of them. Thread safety: `busy` is taken (base/busy.h) before the backend is used.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "prosa/model.h"
#include "runtime/load.h"

namespace prosa {

struct ModelCore {
  explicit ModelCore(LoadedModel model) : loaded(std::move(model)) {}

  LoadedModel loaded;
  std::atomic<bool> busy = false;
  std::atomic<int64_t> state_bytes = 0;  // of all live states
  std::atomic<int64_t> state_count = 0;
  std::shared_ptr<void> shared_by_sessions;  // what session/ keeps for all sessions; touched under `busy`

  [[nodiscard]] backend::Backend& backend() const { return *loaded.backend; }
};

struct Model::Impl {
  std::shared_ptr<ModelCore> core;
};

}  // namespace prosa
