// /v1/score: which of a list of replies the model would rather give, without generating one.
//
// A list of options goes in, their log-probabilities come out, from one reading of the conversation (prosa/choice.h).
// Options may have slots, each described by a piece of JSON Schema that the library's slots can keep to: another
// keyword is refused by its path.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/json.h"
#include "chat/message_json.h"
#include "server/dialects.h"
#include "server/openai.h"

namespace prosa::server {
namespace {

void refuse_others(const Fields& slot, const Json& object, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : object.items()) {
    if (std::ranges::find(known, std::string_view(name)) == known.end()) {
      slot.refuse_unsupported(name, "can't be kept to by this kind of slot");
    }
  }
}

/// {"enum"}, {"type": "integer", "minimum", "maximum"}, {"type": "string", "pattern" or "maxWords"}, {"grammar"}.
Slot read_slot(const Fields& slot, const Json& object) {
  constexpr int64_t kMostNumber = int64_t{1} << 53;
  if (slot.has("enum")) {
    refuse_others(slot, object, {"type", "enum"});
    return Slot::one_of(slot.texts("enum"));
  }
  if (const auto grammar = slot.text("grammar")) {
    refuse_others(slot, object, {"grammar"});
    return Slot::grammar(*grammar);
  }
  const std::string type = slot.required_text("type");
  if (type == "integer") {
    refuse_others(slot, object, {"type", "minimum", "maximum"});
    const auto least = slot.integer("minimum", -kMostNumber, kMostNumber);
    const auto most = slot.integer("maximum", -kMostNumber, kMostNumber);
    if (!least || !most) slot.refuse(least ? "maximum" : "minimum", "is missing");
    return Slot::number(*least, *most);
  }
  if (type != "string") slot.refuse_unsupported("type", "must be \"integer\" or \"string\"");
  if (const auto pattern = slot.text("pattern")) {
    refuse_others(slot, object, {"type", "pattern"});
    return Slot::matching(*pattern);
  }
  refuse_others(slot, object, {"type", "maxWords"});
  const auto words = slot.integer("maxWords", 1, kMaxSlotWords);
  if (!words) slot.refuse("pattern", "or enum, or maxWords, is missing");
  return Slot::free_words(static_cast<int>(*words));
}

Generation read_score(const Fields& body, const SamplingConfig& defaults) {
  Generation generation;
  generation.scoring.emplace();
  Scoring& scoring = *generation.scoring;
  static_cast<void>(body.text("model"));
  if (const Json* messages = body.list("messages")) {
    generation.messages = chat::messages_from_json(*messages);
  } else if (auto input = body.text("input")) {
    generation.messages.push_back({Role::user, *std::move(input)});
  }
  if (generation.messages.empty()) body.refuse("messages", "or input is missing");
  if (const Json* tools = body.list("tools")) generation.tools = chat::tools_from_json(*tools);
  scoring.options = body.texts("options");
  if (scoring.options.empty()) body.refuse("options", "is missing or empty");
  if (const auto slots = body.object("slots")) {
    for (const auto& [name, value] : body.find("slots")->items()) {
      scoring.config.slots.emplace(name, read_slot(Fields(value, slots->path_of(name)), value));
    }
  }
  scoring.config.by_mean = body.boolean("by_mean").value_or(false);
  scoring.config.deadline_ms = defaults.deadline_ms;
  return generation;
}

/// JSON has no infinity: an option that came to no end has null.
Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(); }

class ScoreWriter : public ReplyWriter {
 public:
  ScoreWriter(std::shared_ptr<Exchange> exchange, std::string model)
      : exchange_(std::move(exchange)), model_(std::move(model)) {}

  void begin(int /*choice*/, const ReplyStats& /*stats*/) override {}
  bool piece(int /*choice*/, const Piece& /*piece*/) override { return !exchange_->gone(); }
  void end(int /*choice*/, const Outcome& /*outcome*/) override {}
  void done(const std::vector<Outcome>& /*outcomes*/) override {}
  void fail(const Refusal& refusal) override { openai_fail(*exchange_, refusal); }

  void scored(const Choice& choice) override {
    Json json = {{"object", "score"}, {"model", model_}};
    Json& options = json["options"] = Json::array();
    for (const ScoredOption& option : choice.options) {
      Json entry = {{"index", option.index}, {"text", option.text}};
      if (!option.slots.empty()) entry["slots"] = option.slots;
      entry["log_probability"] = number_json(option.log_probability);
      entry["mean_log_probability"] = number_json(option.mean_log_probability);
      entry["probability"] = option.probability;
      Json& tokens = entry["token_log_probabilities"] = Json::array();
      for (const double value : option.token_log_probabilities) tokens.push_back(number_json(value));
      options.push_back(std::move(entry));
    }
    json["usage"] = {{"prompt_tokens", choice.prompt_tokens},
                     {"prompt_tokens_details", {{"cached_tokens", choice.cached_tokens}}},
                     {"scored_tokens", choice.scored_tokens}};
    exchange_->respond({.body = to_text(json)});
  }

 private:
  const std::shared_ptr<Exchange> exchange_;
  const std::string model_;
};

void score(Service& service, const Request& request, const std::shared_ptr<Exchange>& exchange) {
  Json body = read_body(request.body);
  const JsonGuard guard(body);
  Generation asked = read_score(Fields(body), service.sampling());
  auto writer = std::make_unique<ScoreWriter>(exchange, service.name());
  service.desk().submit(request.domain, std::move(asked), exchange, std::move(writer));
}

}  // namespace

void add_score(Router& router, Service& service) {
  for (const char* path : {"/v1/score", "/score"}) {
    router.post(path, [&service](const Request& request, const auto& exchange) { score(service, request, exchange); });
  }
}

}  // namespace prosa::server
