// What all dialects stand on: the model, its name, the desk for replies, and questions about text that need no reply.
//
// No HTTP. Constant after construction but for what guards itself. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/chat.h"
#include "prosa/server.h"
#include "server/desk.h"
#include "server/metrics.h"
#include "server/response_store.h"

namespace prosa::server {

class Service {
 public:
  /// `metrics` outlives the service. Errors: those of Chat's constructor.
  Service(const Model& model, const ServerOptions& options, Metrics& metrics);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const ModelInfo& info() const noexcept { return info_; }
  [[nodiscard]] MemoryFootprint memory() const { return model_.memory_footprint(); }
  /// Tokens that a conversation may hold.
  [[nodiscard]] int64_t context() const noexcept { return context_; }
  /// What requests leave open.
  [[nodiscard]] const SamplingConfig& sampling() const noexcept { return sampling_; }
  [[nodiscard]] Metrics& metrics() noexcept { return metrics_; }
  [[nodiscard]] ResponseStore& responses() noexcept { return responses_; }
  [[nodiscard]] Desk& desk() noexcept { return desk_; }

  // As Chat's functions of the same names.
  std::vector<int32_t> tokenize(std::string_view text, ControlTokens control);
  std::string detokenize(const std::vector<int32_t>& tokens);
  std::string render(const Generation& generation);

 private:
  Model model_;
  std::string name_;
  ModelInfo info_;
  SamplingConfig sampling_;
  int64_t context_;
  Metrics& metrics_;  // of all models together
  ResponseStore responses_;
  Desk desk_;  // its workers write to the store
  std::mutex text_mutex_;
  Chat text_chat_;  // never replies; guarded by text_mutex_
};

}  // namespace prosa::server
