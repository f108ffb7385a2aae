// Several models by name: which of them answers, when it is loaded and unloaded, and that no reply notices.
//
// All are the same nonsense model under different names, so that each reply is known.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "prosa/chat.h"
#include "prosa/server.h"
#include "server/model_field.h"
#include "server_client.h"

namespace prosa {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;

ServerOptions options() {
  ServerOptions options;
  options.port = 0;
  options.replies = 2;
  options.sampling = {.temperature = 0, .max_tokens = 12, .disable_thinking = true};
  return options;
}

ServedModel named(const std::string& name, const std::string& folder = PROSA_TINY_CHAT) {
  return {.name = name, .model = folder, .load = {.threads = 1, .context = 512}};
}

std::string said_alone() {
  static const std::string said = [] {
    Chat chat(Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512}));
    return chat.generate({{Role::user, "Hello"}}, options().sampling).text;
  }();
  return said;
}

Answer chat(uint16_t port, const std::string& model, json more = json::object()) {
  more["model"] = model;
  more["messages"] = {{{"role", "user"}, {"content", "Hello"}}};
  return ask(port, "POST", "/v1/chat/completions", more.dump());
}

std::string said_by(uint16_t port, const std::string& model) {
  const Answer answer = chat(port, model);
  if (answer.status != 200) return answer.body;
  EXPECT_EQ(answer.json()["model"], model);
  return answer.json()["choices"][0]["message"]["content"].get<std::string>();
}

/// {"a": "loaded", "b": "unloaded"}
json states(uint16_t port) {
  json states = json::object();
  const json listed = ask(port, "GET", "/v1/models").json();
  for (const json& model : listed["data"]) {
    states[model["id"].get<std::string>()] = model["status"]["value"];
  }
  return states;
}

template <typename Condition>
bool soon(Condition condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

TEST(ServerModels, ARequestLoadsTheModelThatItNames) {
  Server server({named("a"), named("b")}, options());
  const uint16_t port = server.port();
  EXPECT_EQ(server.model_name(), "a");
  EXPECT_EQ(states(port), (json{{"a", "loaded"}, {"b", "unloaded"}}));
  EXPECT_EQ(ask(port, "GET", "/api/ps").json()["models"].size(), 1U);
  EXPECT_EQ(ask(port, "GET", "/api/tags").json()["models"].size(), 2U);
  EXPECT_EQ(ask(port, "GET", "/v1/models/b").json()["status"]["value"], "unloaded") << "asking loads nothing";

  EXPECT_EQ(said_by(port, "b"), said_alone());
  EXPECT_EQ(states(port), (json{{"a", "loaded"}, {"b", "loaded"}}));
  EXPECT_EQ(ask(port, "GET", "/v1/models/b").json()["meta"]["n_ctx"], 512);
  EXPECT_THAT(ask(port, "GET", "/metrics").body, HasSubstr("prosa_models_loaded 2\n"));

  const json body = {
      {"model", "b:latest"}, {"stream", false}, {"messages", {{{"role", "user"}, {"content", "Hello"}}}}};
  const json ollama = ask(port, "POST", "/api/chat", body.dump()).json();
  EXPECT_EQ(ollama["model"], "b");
  EXPECT_EQ(ollama["message"]["content"], said_alone());
  const json nameless = ask(port, "POST", "/tokenize", json{{"content", "x"}}.dump()).json();
  EXPECT_TRUE(nameless.contains("tokens")) << "the first answers what names none";
  EXPECT_EQ(ask(port, "GET", "/props?model=b").json()["model_alias"], "b");
}

TEST(ServerModels, AnUnknownNameIsRefusedInTheFormOfItsDialect) {
  Server server({named("a"), named("b")}, options());
  const uint16_t port = server.port();
  const Answer openai = chat(port, "c");
  EXPECT_EQ(openai.status, 404);
  EXPECT_EQ(openai.json()["error"]["code"], "model_not_found");
  EXPECT_EQ(openai.json()["error"]["param"], "model");
  const std::string body = json{{"model", "c"}, {"max_tokens", 4}}.dump();
  EXPECT_EQ(ask(port, "POST", "/v1/messages", body).json()["error"]["type"], "not_found_error");
  EXPECT_TRUE(ask(port, "POST", "/api/chat", body).json()["error"].is_string());
  EXPECT_EQ(ask(port, "GET", "/v1/models/c").status, 404);
  EXPECT_EQ(ask(port, "GET", "/nothing").status, 404);
}

TEST(ServerModels, AModelThatCannotBeLoadedHarmsNoOther) {
  Server server({named("a"), named("bad", "/nothing/here")}, options());
  const uint16_t port = server.port();
  const Answer refused = chat(port, "bad");
  EXPECT_EQ(refused.status, 404) << refused.body;
  EXPECT_EQ(said_by(port, "a"), said_alone());
  EXPECT_EQ(states(port), (json{{"a", "loaded"}, {"bad", "unloaded"}}));
  EXPECT_THROW(Server({named("bad", "/nothing/here"), named("a")}, options()), Error);
  EXPECT_THROW(Server({named("a"), named("a")}, options()), Error);
  EXPECT_THROW(Server(std::vector<ServedModel>{}, options()), Error);
}

TEST(ServerModels, TheBudgetUnloadsWhatWasUnusedForLongest) {
  ServerOptions narrow = options();
  narrow.model_bytes = 1;
  Server server({named("a"), named("b"), named("c")}, narrow);
  const uint16_t port = server.port();
  for (const char* name : {"b", "c", "a", "b"}) {
    EXPECT_EQ(said_by(port, name), said_alone());
    json expected = {{"a", "unloaded"}, {"b", "unloaded"}, {"c", "unloaded"}};
    expected[name] = "loaded";
    EXPECT_EQ(states(port), expected);
  }
}

TEST(ServerModels, AReplyUnderWayKeepsItsModel) {
  ServerOptions narrow = options();
  narrow.model_bytes = 1;
  Server server({named("a"), named("b")}, narrow);
  const uint16_t port = server.port();
  const json body = {
      {"model", "a"}, {"stream", true}, {"max_tokens", 300}, {"messages", {{{"role", "user"}, {"content", "Hello"}}}}};
  const std::string text = body.dump();
  Client client(port);
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
              std::to_string(text.size()) + "\r\n\r\n" + text);
  ASSERT_TRUE(client.wait_for("data: "));
  std::thread other([&] { EXPECT_EQ(said_by(port, "b"), said_alone()); });
  const std::vector<json> events = events_of(client.answer().body);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "length");
  other.join();
  EXPECT_EQ(states(port), (json{{"a", "unloaded"}, {"b", "loaded"}}));
}

TEST(ServerModels, ManyWhoWantDifferentModelsAreAllAnswered) {
  ServerOptions narrow = options();
  narrow.model_bytes = 1;
  Server server({named("a"), named("b")}, narrow);
  const uint16_t port = server.port();
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([port, i] {
      for (int k = 0; k < 4; ++k) EXPECT_EQ(said_by(port, (i + k) % 2 == 0 ? "a" : "b"), said_alone());
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST(ServerModels, WhatNobodyAsksIsUnloadedAndComesBack) {
  ServerOptions idle = options();
  idle.idle_unload_seconds = 0.1;
  Server server({named("a")}, idle);
  const uint16_t port = server.port();
  EXPECT_TRUE(soon([&] { return states(port)["a"] == "unloaded"; }));
  EXPECT_EQ(ask(port, "GET", "/ready").status, 200);
  EXPECT_EQ(said_by(port, "a"), said_alone());
}

TEST(ServerModels, EndsWhileRequestsWaitForAModel) {
  ServerOptions narrow = options();
  narrow.model_bytes = 1;
  auto server = std::make_unique<Server>(std::vector{named("a"), named("b")}, narrow);
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([port = server->port(), i] { chat(port, i % 2 == 0 ? "b" : "a", {{"max_tokens", 400}}); });
  }
  std::this_thread::sleep_for(30ms);
  server.reset();
  for (std::thread& client : clients) client.join();
}

TEST(ModelField, IsFoundWhereItStands) {
  using server::model_field;
  EXPECT_EQ(model_field(R"({"model": "a"})"), "a");
  EXPECT_EQ(model_field(R"({"messages": [{"model": "no"}, [["x"]]], "o": {"model": "no"}, "model": "a", broken)"), "a");
  EXPECT_EQ(model_field(R"({"x": "model", "y": ["model"]})"), "");
  for (const char* text : {"", "[]", "null", "{", R"({"model": 1})", R"({"model": {"model": "no"}})",
                           R"({"model": ["no"]})", R"(["model", "no"])", R"("model")"}) {
    EXPECT_EQ(model_field(text), "") << text;
  }
  EXPECT_EQ(model_field(std::string(1'000'000, '[')), "") << "depth costs no stack";
  EXPECT_EQ(server::model_of({.method = "GET", .path = "/props", .query = "a=b&model=c&d"}), "c");
}

}  // namespace
}  // namespace prosa
