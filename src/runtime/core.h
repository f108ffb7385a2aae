// What every handle of a loaded model shares: the backend, the scheduler that feeds it, and the stored states.
//
// Not a handle itself: Model, State, Session and Chat hold it by shared_ptr, and the weights go with the last of them.
// Thread safety: all of it from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "prosa/model.h"
#include "runtime/load.h"
#include "runtime/scheduler.h"
#include "runtime/state_store.h"

namespace prosa {

class ModelCore {
 public:
  /// `store`: of an earlier core of the same model, whose conversations may come back; null: a new one.
  explicit ModelCore(LoadedModel model, std::shared_ptr<runtime::StateStore> store = nullptr)
      : loaded_(std::move(model)),
        scheduler_(*loaded_.backend),
        store_(store ? std::move(store) : std::make_shared<runtime::StateStore>(loaded_.state_store_bytes)) {}

  [[nodiscard]] const LoadedModel& loaded() const { return loaded_; }
  [[nodiscard]] backend::Backend& backend() const { return *loaded_.backend; }
  [[nodiscard]] const ModelConfig& config() const { return backend().config(); }
  [[nodiscard]] runtime::Scheduler& scheduler() { return scheduler_; }
  [[nodiscard]] const std::shared_ptr<runtime::StateStore>& store() const { return store_; }

  /// What a part above keeps once for all users of the model: made by the first call, the same for all.
  template <typename T>
  std::shared_ptr<const T> extension(const std::function<std::shared_ptr<const T>()>& make) {
    const std::lock_guard lock(extending_);
    if (!extension_) extension_ = make();
    return std::static_pointer_cast<const T>(extension_);
  }

  // Of all live State objects.
  std::atomic<int64_t> state_bytes = 0;
  std::atomic<int64_t> state_count = 0;

 private:
  const LoadedModel loaded_;
  runtime::Scheduler scheduler_;
  const std::shared_ptr<runtime::StateStore> store_;
  std::mutex extending_;
  std::shared_ptr<const void> extension_;  // of one type: chat's
};

}  // namespace prosa
