// The model behind the dialects (service.h).
#include "server/service.h"

#include <algorithm>
#include <filesystem>

#include "prosa/session.h"

namespace prosa::server {
namespace {

/// A folder's name; of a snapshot in the hub's cache that of the repository.
std::string name_of(const ServerOptions& options, const ModelInfo& info) {
  if (!options.model_name.empty()) return options.model_name;
  std::filesystem::path path(info.path);
  if (!path.has_filename()) path = path.parent_path();
  for (const auto& part : path) {
    const std::string text = part.string();
    constexpr std::string_view kRepository = "models--";
    if (!text.starts_with(kRepository)) continue;
    const std::string repository = text.substr(kRepository.size());
    const size_t owner = repository.find("--");
    return owner == std::string::npos ? repository : repository.substr(owner + 2);
  }
  return path.filename().string();
}

SamplingConfig defaults_of(const ServerOptions& options) {
  SamplingConfig sampling = options.sampling;
  if (sampling.deadline_ms == 0) sampling.deadline_ms = options.reply_time.count();
  return sampling;
}

Desk::Limits limits_of(const ServerOptions& options) {
  return {.replies = options.replies,
          .waiting = options.waiting,
          .keys = std::max<size_t>(1, options.api_keys.size()),
          .conversations = static_cast<size_t>(options.conversations + options.replies),
          .conversation_bytes = options.conversation_bytes};
}

}  // namespace

Service::Service(const Model& model, const ServerOptions& options, Metrics& metrics)
    : model_(model),
      info_(model.info()),
      sampling_(defaults_of(options)),
      context_(Session(model).capacity()),
      metrics_(metrics),
      responses_(static_cast<size_t>(options.response_bytes)),
      desk_(model, limits_of(options), metrics_),
      text_chat_(model) {
  name_ = name_of(options, info_);
}

std::vector<int32_t> Service::tokenize(std::string_view text, ControlTokens control) {
  const std::lock_guard lock(text_mutex_);
  return text_chat_.tokenize(text, control);
}

std::string Service::detokenize(const std::vector<int32_t>& tokens) {
  const std::lock_guard lock(text_mutex_);
  return text_chat_.detokenize(tokens);
}

std::string Service::render(const Generation& generation) {
  const std::lock_guard lock(text_mutex_);
  return text_chat_.render_prompt(generation.messages, generation.sampling, generation.tools);
}

}  // namespace prosa::server
