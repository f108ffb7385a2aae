// Lists and numbers (listing.h).
#include "server/listing.h"

#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace prosa::server {
namespace {

/// Of Ollama's API as it is spoken here. Probes want a number; thinking came with 0.9.
constexpr const char* kOllamaVersion = "0.9.0";

/// OpenAI's form, with what is known of the model in "meta" and whether it is in memory in "status".
Json openai_entry(const ListedModel& model, int64_t created) {
  Json json = {{"id", model.name}, {"object", "model"}, {"created", created}, {"owned_by", "prosa"}};
  json["status"] = {{"value", model.loaded ? "loaded" : model.loading ? "loading" : "unloaded"}};
  if (model.loading) json["status"]["progress"] = model.progress;
  if (model.context > 0) {
    json["meta"] = {{"n_ctx", model.context}, {"n_params", model.info.parameters}, {"n_vocab", model.info.vocab_size}};
  }
  return json;
}

Json ollama_entry(const ListedModel& model, int64_t created) {
  return {{"name", model.name},
          {"model", model.name},
          {"modified_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(created)))},
          {"size", model.info.weight_bytes},
          {"digest", ""},
          {"details", ollama_details(model.info)}};
}

void tags(const Models& models, int64_t created, Exchange& exchange) {
  Json json = {{"models", Json::array()}};
  for (const ListedModel& model : models.list()) json["models"].push_back(ollama_entry(model, created));
  exchange.respond({.body = to_text(json)});
}

/// Those in memory.
void ps(const Models& models, int64_t created, Exchange& exchange) {
  Json json = {{"models", Json::array()}};
  for (const ListedModel& model : models.list()) {
    if (!model.loaded) continue;
    Json entry = ollama_entry(model, created);
    entry["size"] = model.memory.total();
    entry["size_vram"] = 0;
    entry["context_length"] = model.context;
    entry["expires_at"] = "9999-12-31T23:59:59Z";
    json["models"].push_back(std::move(entry));
  }
  exchange.respond({.body = to_text(json)});
}

void metrics_text(const Models& models, const Metrics& metrics, Exchange& exchange) {
  MemoryFootprint memory;
  size_t running = 0;
  size_t waiting = 0;
  size_t conversations = 0;
  size_t speaking = 0;
  int64_t uncached = 0;
  int64_t idle_bytes = 0;
  size_t responses = 0;
  size_t response_bytes = 0;
  std::vector<Metrics::Gauge> gauges;
  for (const Models::Hold& hold : models.loaded()) {
    const MemoryFootprint own = hold->service.memory();
    memory.weights += own.weights;
    memory.kv += own.kv;
    memory.state += own.state;
    memory.stored_states += own.stored_states;
    memory.scratch += own.scratch;
    running += hold->service.desk().running();
    waiting += hold->service.desk().waiting();
    conversations += hold->service.desk().conversations().count();
    speaking += hold->service.desk().speaking();
    uncached += hold->service.desk().uncached_tokens_waiting();
    idle_bytes += hold->service.desk().conversations().idle_bytes();
    responses += hold->service.responses().count();
    response_bytes += hold->service.responses().bytes();
  }
  const auto in_memory = [](const char* kind, int64_t bytes) {
    return Metrics::Gauge{"prosa_memory_bytes", "Bytes held in memory, by what they are for.",
                          static_cast<double>(bytes), std::string("{kind=\"") + kind + "\"}"};
  };
  gauges = {
      {"prosa_replies_running", "Replies under way.", static_cast<double>(running)},
      {"prosa_requests_waiting", "Requests that wait for a worker.", static_cast<double>(waiting)},
      {"prosa_batch_size", "Replies that are past their prompts: their steps are computed together.",
       static_cast<double>(speaking)},
      {"prosa_uncached_tokens_waiting", "Tokens to be read for requests that wait or are being read, about.",
       static_cast<double>(uncached)},
      {"prosa_conversation_idle_bytes", "States of conversations that wait for their next request.",
       static_cast<double>(idle_bytes)},
      {"prosa_stored_responses", "Answers that can be gone on from by their ids.", static_cast<double>(responses)},
      {"prosa_stored_response_bytes", "The same in bytes.", static_cast<double>(response_bytes)},
      {"prosa_conversations", "Conversations that are warm.", static_cast<double>(conversations)},
      in_memory("weights", memory.weights),
      in_memory("kv", memory.kv),
      in_memory("state", memory.state),
      in_memory("stored_states", memory.stored_states),
      in_memory("scratch", memory.scratch)};
  size_t loaded = 0;
  for (const ListedModel& model : models.list()) loaded += model.loaded ? 1 : 0;
  gauges.push_back({"prosa_models_loaded", "Models in memory.", static_cast<double>(loaded)});
  exchange.respond({.type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.write(gauges)});
}

}  // namespace

Json ollama_details(const ModelInfo& info) {
  const double billions = static_cast<double>(info.parameters) / 1e9;
  return {{"parent_model", ""},
          {"format", "safetensors"},
          {"family", "qwen3.5"},
          {"families", {"qwen3.5"}},
          {"parameter_size", billions >= 1 ? fmt::format("{:.1f}B", billions) : fmt::format("{:.1f}M", billions * 1e3)},
          {"quantization_level", info.bits == 0 ? "none" : fmt::format("{} bit", info.bits)}};
}

void add_listing(Router& router, const Models& models, const Metrics& metrics) {
  const auto created = static_cast<int64_t>(std::time(nullptr));
  const Router::Handler lives = [](const Request&, const auto& exchange) {
    exchange->respond({.body = R"({"status":"ok"})"});
  };
  router.get("/health", lives);
  router.get("/ready", lives);  // a model is loaded before the server listens
  router.get("/metrics", [&](const Request&, const auto& exchange) { metrics_text(models, metrics, *exchange); });
  router.get("/api/version", [](const Request&, const auto& exchange) {
    exchange->respond({.body = to_text(Json{{"version", kOllamaVersion}})});
  });
  router.get("/api/tags",
             [&models, created](const Request&, const auto& exchange) { tags(models, created, *exchange); });
  router.get("/api/ps", [&models, created](const Request&, const auto& exchange) { ps(models, created, *exchange); });
  for (const std::string path : {"/v1/models", "/models"}) {
    router.get(path, [&models, created](const Request&, const auto& exchange) {
      Json list = {{"object", "list"}, {"data", Json::array()}};
      for (const ListedModel& model : models.list()) list["data"].push_back(openai_entry(model, created));
      exchange->respond({.body = to_text(list)});
    });
    const std::vector<ListedModel> all = models.list();
    for (size_t i = 0; i < all.size(); ++i) {
      router.get(path + "/" + all[i].name, [&models, i, created](const Request&, const auto& exchange) {
        exchange->respond({.body = to_text(openai_entry(models.list()[i], created))});
      });
    }
  }
}

}  // namespace prosa::server
