// /v1/responses over loopback: an answer is the one that a Chat gives, its events tell the object that stands at their
// end, and what is stored is gone on from by its own key alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "prosa/chat.h"
#include "prosa/server.h"
#include "server/response_store.h"
#include "server_client.h"

namespace prosa {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const Model& model() {
  static const Model loaded = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  return loaded;
}

ServerOptions options() {
  ServerOptions options;
  options.port = 0;
  options.replies = 2;
  options.sampling = {.temperature = 0, .max_tokens = 12, .disable_thinking = true};
  return options;
}

Server& server() {
  static Server shared(model(), options());
  return shared;
}

/// Knows how tools are called.
Server& talking_server() {
  static const Model mini =
      Model::from_pretrained(PROSA_SOURCE_DIR "/models/prosa-mini", {.threads = 2, .context = 2048});
  static Server shared(mini, [] {
    ServerOptions talks = options();
    talks.sampling = {.temperature = 1, .max_tokens = 100, .seed = 5, .disable_thinking = true};
    return talks;
  }());
  return shared;
}

std::string said_alone(const std::vector<Message>& messages) {
  Chat chat(model());
  return chat.generate(messages, options().sampling).text;
}

Answer post(const json& body, const std::string& path = "/v1/responses") {
  return ask(server().port(), "POST", path, body.dump());
}

std::string text_of(const json& response) { return response["output"].back()["content"][0]["text"]; }

json user(const std::string& text) {
  return {{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", text}}}}};
}

TEST(Responses, AnswersAreThoseOfAChat) {
  const json asked = {{"input", "Hello"}, {"instructions", "Be kind."}, {"metadata", {{"a", "b"}}}};
  const Answer answer = post(asked);
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json response = answer.json();
  EXPECT_EQ(text_of(response), said_alone({{Role::system, "Be kind."}, {Role::user, "Hello"}}));
  EXPECT_EQ(response["object"], "response");
  EXPECT_EQ(response["status"], "incomplete");
  EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(response["metadata"], (json{{"a", "b"}}));
  EXPECT_EQ(response["instructions"], "Be kind.");
  EXPECT_EQ(response["text"]["format"]["type"], "text");
  EXPECT_EQ(response["usage"]["output_tokens"], 12);
  EXPECT_EQ(post(asked, "/responses/input_tokens").json()["input_tokens"], response["usage"]["input_tokens"]);
  const json chat = {
      {"messages", {{{"role", "system"}, {"content", "Be kind."}}, {{"role", "user"}, {"content", "Hello"}}}}};
  EXPECT_EQ(post(chat, "/v1/chat/completions/input_tokens").json()["input_tokens"], response["usage"]["input_tokens"]);
  // Words of a developer join those of the system, wherever they stand.
  const json items = {{"input",
                       {{{"role", "system"}, {"content", "Be kind."}},
                        user("Hello"),
                        {{"type", "message"}, {"role", "developer"}, {"content", "Be short."}}}}};
  EXPECT_EQ(text_of(post(items).json()), said_alone({{Role::system, "Be kind.\n\nBe short."}, {Role::user, "Hello"}}));
}

TEST(Responses, EventsTellTheObjectAtTheirEnd) {
  const Answer stream = post({{"input", "Hello"}, {"stream", true}});
  const auto events = events_of(stream.body);
  ASSERT_GE(events.size(), 9U) << stream.body;
  std::vector<std::string> types;
  std::string text;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    const std::string type = events[i]["type"];
    EXPECT_THAT(stream.body, HasSubstr("event: " + type + "\n"));
    if (types.empty() || types.back() != type) types.push_back(type);
    if (type == "response.output_text.delta") text += events[i]["delta"].get<std::string>();
  }
  EXPECT_EQ(types, (std::vector<std::string>{"response.created", "response.in_progress", "response.output_item.added",
                                             "response.content_part.added", "response.output_text.delta",
                                             "response.output_text.done", "response.content_part.done",
                                             "response.output_item.done", "response.incomplete"}));
  const json last = events.back()["response"];
  EXPECT_EQ(text, said_alone({{Role::user, "Hello"}}));
  EXPECT_EQ(text_of(last), text);
  EXPECT_EQ(events[0]["response"]["status"], "in_progress");
  EXPECT_EQ(events[0]["response"]["id"], last["id"]);
  EXPECT_EQ(events[2]["item"]["id"], last["output"][0]["id"]);
  for (const json& event : events) {
    if (event.contains("item_id")) {
      EXPECT_EQ(event["item_id"], last["output"][0]["id"]);
    }
    if (event["type"] == "response.output_item.done") {
      EXPECT_EQ(event["item"], last["output"][0]);
    }
  }
  EXPECT_EQ(ask(server().port(), "GET", "/v1/responses/" + last["id"].get<std::string>()).json(), last);
}

TEST(Responses, ThoughtsAreAnItemOfTheirOwn) {
  const json asked = {{"input", "Hello"}, {"reasoning", {{"effort", "minimal"}}}, {"max_output_tokens", 5}};
  json streamed = asked;
  streamed["stream"] = true;
  const auto events = events_of(post(streamed).body);
  const json last = events.back()["response"];
  ASSERT_EQ(last["output"][0]["type"], "reasoning") << last;
  std::string thoughts;
  std::set<std::string> types;
  for (const json& event : events) {
    types.insert(event["type"]);
    if (event["type"] == "response.reasoning_text.delta") thoughts += event["delta"].get<std::string>();
  }
  EXPECT_TRUE(types.contains("response.reasoning_text.done"));
  EXPECT_EQ(last["output"][0]["content"][0]["text"], thoughts);
  EXPECT_GT(last["usage"]["output_tokens_details"]["reasoning_tokens"], 0);
  // Taken back as it was given.
  json items = last["output"];
  items.insert(items.begin(), user("Hello"));
  items.push_back(user("And?"));
  EXPECT_EQ(post({{"input", items}}).status, 200);
}

TEST(Responses, ACallComesWithItsArgumentsAndItsAnswerGoesBack) {
  const uint16_t port = talking_server().port();
  const json schema = {
      {"type", "object"}, {"properties", {{"city", {{"enum", {"Oslo", "Rome"}}}}}}, {"required", {"city"}}};
  json body = {
      {"input", "What is the weather?"},
      {"stream", true},
      {"parallel_tool_calls", false},
      {"tools", {{{"type", "web_search"}}, {{"type", "function"}, {"name", "weather"}, {"parameters", schema}}}},
      {"tool_choice", {{"type", "function"}, {"name", "weather"}}}};
  const auto events = events_of(ask(port, "POST", "/v1/responses", body.dump()).body);
  const json last = events.back()["response"];
  ASSERT_EQ(events.back()["type"], "response.completed") << last;
  const json& call = last["output"].back();
  EXPECT_EQ(call["type"], "function_call");
  std::string arguments;
  std::string whole;
  for (const json& event : events) {
    if (event["type"] == "response.function_call_arguments.delta") arguments += event["delta"].get<std::string>();
    if (event["type"] == "response.function_call_arguments.done") whole = event["arguments"];
  }
  EXPECT_EQ(arguments, call["arguments"]);
  EXPECT_EQ(whole, call["arguments"]);
  const json answer = {{"type", "function_call_output"}, {"call_id", call["call_id"]}, {"output", "Sunny"}};
  body["stream"] = false;
  body["tool_choice"] = "none";
  body["previous_response_id"] = last["id"];
  body["input"] = json::array({answer});
  EXPECT_EQ(ask(port, "POST", "/v1/responses", body.dump()).status, 200);
  body["input"][0]["call_id"] = "call_other";
  EXPECT_EQ(ask(port, "POST", "/v1/responses", body.dump()).json()["error"]["param"], "input[0].call_id");
}

TEST(Responses, AnAnswerIsGoneOnFromByItsIdWhileItIsKept) {
  const json first = post({{"input", "Hello"}, {"instructions", "Be kind."}}).json();
  const std::string id = first["id"];
  const json second = post({{"input", "And then?"}, {"previous_response_id", id}}).json();
  EXPECT_EQ(text_of(second),
            said_alone({{Role::user, "Hello"}, {Role::assistant, text_of(first)}, {Role::user, "And then?"}}))
      << "instructions are of their own request";
  EXPECT_EQ(second["previous_response_id"], id);
  const Answer removed = ask(server().port(), "DELETE", "/v1/responses/" + id);
  EXPECT_EQ(removed.json(), (json{{"id", id}, {"object", "response"}, {"deleted", true}}));
  EXPECT_EQ(ask(server().port(), "DELETE", "/v1/responses/" + id).status, 404);
  EXPECT_EQ(ask(server().port(), "GET", "/v1/responses/" + id).status, 404);
  const Answer gone = post({{"input", "And then?"}, {"previous_response_id", id}});
  EXPECT_EQ(gone.status, 404);
  EXPECT_EQ(gone.json()["error"]["code"], "previous_response_not_found");
  const json unkept = post({{"input", "Hello"}, {"store", false}}).json();
  EXPECT_EQ(ask(server().port(), "GET", "/v1/responses/" + unkept["id"].get<std::string>()).status, 404);
}

TEST(Responses, WhatDoesNotFitIsCutOnlyWhereThatIsAskedFor) {
  json items = json::array();
  for (int i = 0; i < 60; ++i) {
    items.push_back(user("One more line of a long conversation."));
    items.push_back({{"role", "assistant"}, {"content", {{{"type", "output_text"}, {"text", "I see."}}}}});
  }
  items.push_back(user("And then?"));
  EXPECT_EQ(post({{"input", items}}).json()["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(post({{"input", items}, {"truncation", "auto"}}).status, 200);
}

TEST(Responses, WrongFieldsAreNamed) {
  const auto param_of = [](const json& change) {
    json body = {{"input", "Hello"}};
    body.merge_patch(change);
    const Answer answer = post(body);
    EXPECT_EQ(answer.status, 400) << change << answer.body;
    return answer.json()["error"]["param"];
  };
  EXPECT_EQ(param_of({{"input", nullptr}}), "input");
  EXPECT_EQ(param_of({{"input", json::array()}}), "input");
  EXPECT_EQ(param_of({{"input", {user("x"), {{"type", "computer_call"}}}}}), "input[1].type");
  EXPECT_EQ(param_of({{"input", {{{"role", "king"}, {"content", "x"}}}}}), "input[0].role");
  EXPECT_EQ(param_of({{"input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}}}}),
            "input[0].content[0].type");
  EXPECT_EQ(param_of({{"tool_choice", {{"type", "web_search"}}}}), "tool_choice.type");
  EXPECT_EQ(param_of({{"tool_choice", "required"}}), "tool_choice");
  EXPECT_EQ(param_of({{"text", {{"format", {{"type", "xml"}}}}}}), "text.format.type");
  EXPECT_EQ(param_of({{"reasoning", {{"effort", "enormous"}}}}), "reasoning.effort");
  EXPECT_EQ(param_of({{"truncation", "maybe"}}), "truncation");
  EXPECT_EQ(param_of({{"background", true}}), "background");
  EXPECT_EQ(param_of({{"metadata", {{"a", 5}}}}), "metadata.a");
  EXPECT_EQ(param_of({{"max_output_tokens", 0}}), "max_output_tokens");
  EXPECT_EQ(ask(server().port(), "DELETE", "/v1/responses").status, 405);
}

TEST(Responses, TheStoreKeepsKeysApartAndItsBudget) {
  server::ResponseStore store(10'000);
  const auto response = [](size_t size) { return server::StoredResponse{{}, {}, std::string(size, 'x')}; };
  store.keep(1, "a", response(3000));
  EXPECT_EQ(store.find(2, "a"), nullptr);
  EXPECT_FALSE(store.erase(2, "a"));
  store.keep(1, "b", response(3000));
  ASSERT_NE(store.find(1, "a"), nullptr) << "used again, so it is the newer one";
  store.keep(2, "c", response(4000));
  EXPECT_EQ(store.find(1, "b"), nullptr);
  EXPECT_NE(store.find(1, "a"), nullptr);
  EXPECT_LE(store.bytes(), 10'000U);
  store.keep(1, "d", response(20'000));
  EXPECT_EQ(store.find(1, "d"), nullptr) << "larger than all there is";
  EXPECT_EQ(store.count(), 2U);
}

}  // namespace
}  // namespace prosa
