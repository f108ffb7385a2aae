// The whole server over loopback with a model that speaks nonsense, greedily: each reply is the one that a Chat gives,
// whatever the dialect, and what is refused names the field.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "prosa/chat.h"
#include "prosa/server.h"
#include "server_client.h"

namespace prosa {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

const Model& model() {
  static const Model loaded = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  return loaded;
}

ServerOptions options() {
  ServerOptions options;
  options.port = 0;
  options.replies = 3;
  options.sampling = {.temperature = 0, .max_tokens = 12, .disable_thinking = true};
  return options;
}

/// Most tests ask this one.
Server& server() {
  static Server shared(model(), options());
  return shared;
}

std::string said_alone(const std::vector<Message>& messages, SamplingConfig sampling = options().sampling) {
  Chat chat(model());
  return chat.generate(messages, sampling).text;
}

json messages_json(const std::vector<Message>& messages) {
  json list = json::array();
  for (const Message& message : messages) {
    const char* role = message.role == Role::system ? "system" : message.role == Role::user ? "user" : "assistant";
    list.push_back({{"role", role}, {"content", message.content}});
  }
  return list;
}

Answer post(const std::string& path, const json& body, const std::string& headers = {}) {
  return ask(server().port(), "POST", path, body.dump(), headers);
}

const std::vector<Message> kHello = {{Role::system, "Be kind."}, {Role::user, "Hello"}};

TEST(Server, OpenAiRepliesAreThoseOfAChat) {
  const std::string expected = said_alone(kHello);
  ASSERT_FALSE(expected.empty());
  const Answer whole = post("/v1/chat/completions", {{"messages", messages_json(kHello)}});
  ASSERT_EQ(whole.status, 200) << whole.body;
  const json reply = whole.json();
  EXPECT_EQ(reply["object"], "chat.completion");
  EXPECT_EQ(reply["choices"][0]["message"]["content"], expected);
  EXPECT_EQ(reply["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(reply["usage"]["completion_tokens"], 12);
  EXPECT_EQ(reply["usage"]["total_tokens"],
            reply["usage"]["prompt_tokens"].get<int>() + reply["usage"]["completion_tokens"].get<int>());
  EXPECT_EQ(reply["model"], server().model_name());

  const Answer stream =
      post("/chat/completions",
           {{"messages", messages_json(kHello)}, {"stream", true}, {"stream_options", {{"include_usage", true}}}});
  const auto events = events_of(stream.body);
  ASSERT_GE(events.size(), 4U) << stream.body;
  EXPECT_EQ(events.front()["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", nullptr}}));
  std::string text;
  for (const json& event : events) {
    if (event.is_string() || event["choices"].empty()) continue;
    EXPECT_EQ(event["id"], events.front()["id"]);
    text += event["choices"][0]["delta"].value("content", json("")).is_string()
                ? event["choices"][0]["delta"].value("content", std::string())
                : std::string();
  }
  EXPECT_EQ(text, expected);
  EXPECT_EQ(events.back(), "[DONE]");
  const json& usage = events[events.size() - 2];
  EXPECT_TRUE(usage["choices"].empty());
  EXPECT_EQ(usage["usage"]["completion_tokens"], 12);
  EXPECT_EQ(events[events.size() - 3]["choices"][0]["finish_reason"], "length");
}

TEST(Server, OllamaRepliesAreThoseOfAChat) {
  const std::string expected = said_alone(kHello);
  const Answer whole = post("/api/chat", {{"model", "any"}, {"messages", messages_json(kHello)}, {"stream", false}});
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json()["message"]["content"], expected);
  EXPECT_EQ(whole.json()["done_reason"], "length");
  EXPECT_EQ(whole.json()["eval_count"], 12);
  const Answer stream = post("/api/chat", {{"messages", messages_json(kHello)}, {"options", {{"num_predict", 5}}}});
  std::string text;
  std::istringstream lines(stream.body);
  json last;
  for (std::string line; std::getline(lines, line);) {
    last = json::parse(line);
    EXPECT_EQ(last["message"]["role"], "assistant");
    text += last["message"]["content"].get<std::string>();
  }
  EXPECT_EQ(last["done"], true);
  EXPECT_EQ(last["eval_count"], 5);
  EXPECT_EQ(text, said_alone(kHello, {.temperature = 0, .max_tokens = 5, .disable_thinking = true}));
  const Answer generated = post("/api/generate", {{"system", "Be kind."}, {"prompt", "Hello"}, {"stream", false}});
  EXPECT_EQ(generated.json()["response"], expected);
  EXPECT_EQ(post("/api/generate", {{"model", "any"}}).json()["done_reason"], "load");
}

TEST(Server, AnthropicRepliesAreThoseOfAChat) {
  const std::string expected = said_alone(kHello);
  const json body = {{"system", "Be kind."},
                     {"messages", {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "Hello"}}}}}}},
                     {"max_tokens", 12}};
  const Answer whole = post("/v1/messages", body);
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json()["content"], (json::array({{{"type", "text"}, {"text", expected}}})));
  EXPECT_EQ(whole.json()["stop_reason"], "max_tokens");
  json streamed = body;
  streamed["stream"] = true;
  const Answer stream = post("/v1/messages", streamed);
  std::string text;
  std::vector<std::string> types;
  for (const json& event : events_of(stream.body)) {
    if (types.empty() || types.back() != event["type"]) types.push_back(event["type"]);
    if (event["type"] == "content_block_delta") text += event["delta"]["text"].get<std::string>();
  }
  EXPECT_EQ(text, expected);
  EXPECT_EQ(types, (std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                             "content_block_stop", "message_delta", "message_stop"}));
  const Answer count = post("/v1/messages/count_tokens", body);
  EXPECT_EQ(count.json()["input_tokens"], whole.json()["usage"]["input_tokens"].get<int>() +
                                              whole.json()["usage"]["cache_read_input_tokens"].get<int>());
}

TEST(Server, AConversationGoesOnWithoutBeingReadAgain) {
  std::vector<Message> messages = {{Role::user, "Tell me something about violins, and take your time."}};
  json usage;
  for (int turn = 0; turn < 3; ++turn) {
    const Answer answer = post("/v1/chat/completions", {{"messages", messages_json(messages)}});
    ASSERT_EQ(answer.status, 200) << answer.body;
    const std::string text = answer.json()["choices"][0]["message"]["content"];
    EXPECT_EQ(text, said_alone(messages)) << turn;
    usage = answer.json()["usage"];
    messages.push_back({Role::assistant, text});
    messages.push_back({Role::user, "And then?"});
  }
  EXPECT_GT(usage["prompt_tokens_details"]["cached_tokens"].get<int>(), usage["prompt_tokens"].get<int>() / 2);
}

TEST(Server, ChoicesAndSeeds) {
  const json body = {{"messages", messages_json(kHello)}, {"n", 2}, {"temperature", 1.5}, {"seed", 7}};
  const json both = post("/v1/chat/completions", body).json();
  ASSERT_EQ(both["choices"].size(), 2U) << both;
  EXPECT_NE(both["choices"][0]["message"], both["choices"][1]["message"]);
  EXPECT_EQ(post("/v1/chat/completions", body).json()["choices"], both["choices"]);
  EXPECT_EQ(both["choices"][0]["message"]["content"],
            said_alone(kHello, {.temperature = 1.5F, .max_tokens = 12, .seed = 7, .disable_thinking = true}));
}

TEST(Server, CompletionsGoOnWithATextAsItIs) {
  const json body = {{"messages", messages_json(kHello)}};
  const std::string prompt = post("/apply-template", body).json()["prompt"];
  const json asked = {{"prompt", prompt}, {"max_tokens", 12}, {"temperature", 0}};
  const json whole = post("/v1/completions", asked).json();
  EXPECT_EQ(whole["object"], "text_completion") << whole;
  EXPECT_EQ(whole["choices"][0]["text"], said_alone(kHello)) << "control tokens of the prompt are read";
  json streamed = asked;
  streamed["stream"] = true;
  std::string text;
  for (const json& event : events_of(post("/completions", streamed).body)) {
    if (!event.is_string()) text += event["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(text, said_alone(kHello));
  const json raw = {{"prompt", prompt}, {"raw", true}, {"stream", false}, {"options", {{"num_predict", 12}}}};
  EXPECT_EQ(post("/api/generate", raw).json()["response"], said_alone(kHello));
  const auto param_of = [&](const json& change) {
    json wrong = asked;
    wrong.merge_patch(change);
    return post("/v1/completions", wrong).json()["error"]["param"];
  };
  EXPECT_EQ(param_of({{"prompt", {1, 2, 3}}}), "prompt");
  EXPECT_EQ(param_of({{"prompt", {"a", "b"}}}), "prompt");
  EXPECT_EQ(param_of({{"prompt", nullptr}}), "prompt");
  EXPECT_EQ(param_of({{"echo", true}}), "echo");
  EXPECT_EQ(param_of({{"logprobs", 1}}), "logprobs");
}

/// Speaks, and knows how tools are called.
Server& talking_server() {
  static const Model mini =
      Model::from_pretrained(PROSA_SOURCE_DIR "/models/prosa-mini", {.threads = 2, .context = 2048});
  static Server shared(mini, [] {
    ServerOptions talks = options();
    talks.sampling = {.temperature = 1.2F, .max_tokens = 200, .seed = 5, .disable_thinking = true};
    return talks;
  }());
  return shared;
}

TEST(Server, RepliesAreHeldToTheFormatThatIsAskedFor) {
  const uint16_t port = talking_server().port();
  const json schema = {
      {"type", "object"},
      {"properties",
       {{"mood", {{"enum", {"good", "bad"}}}}, {"stars", {{"type", "integer"}, {"minimum", 1}, {"maximum", 5}}}}},
      {"required", {"mood", "stars"}},
      {"additionalProperties", false}};
  const auto is_valid = [](const std::string& text) {
    const json value = json::parse(text, nullptr, false);
    return value.is_object() && value.size() == 2 && (value["mood"] == "good" || value["mood"] == "bad") &&
           value["stars"].is_number_integer() && value["stars"] >= 1 && value["stars"] <= 5;
  };
  const json messages = {{{"role", "user"}, {"content", "How was your day?"}}};
  const json openai = {
      {"messages", messages},
      {"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "day"}, {"schema", schema}}}}}};
  const Answer first = ask(port, "POST", "/v1/chat/completions", openai.dump());
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_TRUE(is_valid(first.json()["choices"][0]["message"]["content"])) << first.body;
  EXPECT_EQ(first.json()["choices"][0]["finish_reason"], "stop");
  const json ollama = {{"messages", messages}, {"format", schema}, {"stream", false}};
  const Answer second = ask(port, "POST", "/api/chat", ollama.dump());
  EXPECT_TRUE(is_valid(second.json()["message"]["content"])) << second.body;
  const json anthropic = {{"messages", messages},
                          {"max_tokens", 200},
                          {"output_config", {{"format", {{"type", "json_schema"}, {"schema", schema}}}}}};
  const Answer third = ask(port, "POST", "/v1/messages", anthropic.dump());
  EXPECT_TRUE(is_valid(third.json()["content"][0]["text"])) << third.body;
  const json object = {
      {"messages", messages}, {"format", "json"}, {"stream", false}, {"options", {{"num_predict", 500}}}};
  const json any = ask(port, "POST", "/api/chat", object.dump()).json();
  const bool whole = any["done_reason"] == "stop";
  EXPECT_TRUE(!whole || json::accept(any["message"]["content"].get<std::string>())) << any;
}

TEST(Server, ToolsAreCalledWhereTheyMustBe) {
  const uint16_t port = talking_server().port();
  const json schema = {
      {"type", "object"}, {"properties", {{"city", {{"enum", {"Oslo", "Rome"}}}}}}, {"required", {"city"}}};
  const json tool = {{"type", "function"}, {"function", {{"name", "weather"}, {"parameters", schema}}}};
  const json other = {{"type", "function"}, {"function", {{"name", "time"}}}};
  json body = {{"messages", {{{"role", "user"}, {"content", "Tell me a joke."}}}},
               {"tools", {tool, other}},
               {"tool_choice", {{"type", "function"}, {"function", {{"name", "weather"}}}}},
               {"parallel_tool_calls", false}};
  const auto fits = [](const std::string& arguments) {
    const json value = json::parse(arguments, nullptr, false);
    return value.is_object() && (value["city"] == "Oslo" || value["city"] == "Rome");
  };
  const json reply = ask(port, "POST", "/v1/chat/completions", body.dump()).json();
  const json& message = reply["choices"][0]["message"];
  ASSERT_EQ(message["tool_calls"].size(), 1U) << reply;
  EXPECT_EQ(message["tool_calls"][0]["function"]["name"], "weather");
  EXPECT_TRUE(fits(message["tool_calls"][0]["function"]["arguments"])) << reply;
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "tool_calls");
  body["stream"] = true;
  std::string arguments;
  int names = 0;
  for (const json& event : events_of(ask(port, "POST", "/v1/chat/completions", body.dump()).body)) {
    if (event.is_string() || !event["choices"][0]["delta"].contains("tool_calls")) continue;
    const json& function = event["choices"][0]["delta"]["tool_calls"][0]["function"];
    names += function.contains("name") ? 1 : 0;
    arguments += function.value("arguments", "");
  }
  EXPECT_EQ(names, 1) << "the name once";
  EXPECT_TRUE(fits(arguments)) << arguments;
  const json anthropic = {{"messages", body["messages"]},
                          {"max_tokens", 200},
                          {"tools", {{{"name", "weather"}, {"input_schema", schema}}}},
                          {"tool_choice", {{"type", "any"}, {"disable_parallel_tool_use", true}}}};
  const json block = ask(port, "POST", "/v1/messages", anthropic.dump()).json();
  EXPECT_EQ(block["stop_reason"], "tool_use") << block;
  EXPECT_TRUE(fits(block["content"].back()["input"].dump())) << block;
  body.erase("stream");
  body["tool_choice"] = "none";
  const json none = ask(port, "POST", "/v1/chat/completions", body.dump()).json();
  EXPECT_FALSE(none["choices"][0]["message"].contains("tool_calls")) << none;
}

TEST(Server, ManyAtOnceEachSayWhatTheyWouldHaveSaidAlone) {
  constexpr int kClients = 12;
  std::vector<std::thread> clients;
  std::vector<std::string> replies(kClients);
  std::vector<std::vector<Message>> prompts;
  for (int i = 0; i < kClients; ++i) prompts.push_back({{Role::user, fmt::format("What is {} times two?", i)}});
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      const json body = {{"messages", messages_json(prompts[static_cast<size_t>(i)])}, {"stream", i % 2 == 0}};
      const Answer answer = post("/v1/chat/completions", body);
      std::string& text = replies[static_cast<size_t>(i)];
      if (i % 2 != 0) {
        text = answer.json()["choices"][0]["message"]["content"];
        return;
      }
      for (const json& event : events_of(answer.body)) {
        if (event.is_string()) continue;
        const json& delta = event["choices"][0]["delta"];
        if (delta.contains("content") && delta["content"].is_string()) text += delta["content"].get<std::string>();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (int i = 0; i < kClients; ++i) {
    EXPECT_EQ(replies[static_cast<size_t>(i)], said_alone(prompts[static_cast<size_t>(i)])) << i;
  }
}

TEST(Server, WrongFieldsAreNamed) {
  const auto param_of = [](const json& change) {
    json body = {{"messages", messages_json(kHello)}};
    body.merge_patch(change);
    const Answer answer = post("/v1/chat/completions", body);
    EXPECT_EQ(answer.status, 400) << change << answer.body;
    EXPECT_EQ(answer.json()["error"]["type"], "invalid_request_error");
    return answer.json()["error"]["param"];
  };
  EXPECT_EQ(param_of({{"messages", nullptr}}), "messages");
  EXPECT_EQ(param_of({{"messages", "hello"}}), "messages");
  EXPECT_EQ(param_of({{"messages", {{{"role", "user"}, {"content", 5}}}}}), "messages[0]");
  EXPECT_EQ(param_of({{"messages", {{{"role", "king"}, {"content", "x"}}}}}), "messages[0]");
  EXPECT_EQ(param_of({{"temperature", "hot"}}), "temperature");
  EXPECT_EQ(param_of({{"temperature", -1}}), "temperature");
  EXPECT_EQ(param_of({{"max_tokens", 0}}), "max_tokens");
  EXPECT_EQ(param_of({{"max_completion_tokens", 1.5}}), "max_completion_tokens");
  EXPECT_EQ(param_of({{"n", 1000}}), "n");
  EXPECT_EQ(param_of({{"stop", {"a", 5}}}), "stop[1]");
  EXPECT_EQ(param_of({{"stream", "yes"}}), "stream");
  EXPECT_EQ(param_of({{"stream_options", true}}), "stream_options");
  EXPECT_EQ(param_of({{"tools", {{{"type", "function"}}}}}), "tools[0]");
  EXPECT_EQ(param_of({{"reasoning_effort", "enormous"}}), "reasoning_effort");
  EXPECT_EQ(param_of({{"seed", "x"}}), "seed");
  EXPECT_EQ(param_of({{"chat_template_kwargs", {{"enable_thinking", "yes"}}}}), "chat_template_kwargs.enable_thinking");
  // Asked for and not done: refused, never ignored.
  EXPECT_EQ(param_of({{"logprobs", true}}), "logprobs");
  EXPECT_EQ(param_of({{"logit_bias", {{"5", 1}}}}), "logit_bias");
  EXPECT_EQ(param_of({{"response_format", {{"type", "xml"}}}}), "response_format.type");
  EXPECT_EQ(param_of({{"response_format", {{"type", "json_schema"}, {"json_schema", json::object()}}}}),
            "response_format.json_schema.schema");
  const json schema = {{"type", "object"}, {"properties", {{"a", {{"type", "wrong"}}}}}};
  EXPECT_THAT(param_of({{"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", schema}}}}}}).dump(),
              HasSubstr("properties/a/type"));
  EXPECT_EQ(param_of({{"tool_choice", "required"}}), "tool_choice");
  EXPECT_EQ(param_of({{"functions", json::array()}}), "functions");

  EXPECT_THAT(post("/api/chat", {{"messages", messages_json(kHello)}, {"options", {{"top_k", "x"}}}}).body,
              HasSubstr("options.top_k"));
  EXPECT_THAT(post("/api/chat", {{"messages", messages_json(kHello)}, {"format", 5}}).body, HasSubstr("format"));
  const Answer anthropic = post("/v1/messages", {{"messages", messages_json(kHello)}});
  EXPECT_EQ(anthropic.json()["error"]["type"], "invalid_request_error");
  EXPECT_THAT(anthropic.json()["error"]["message"].get<std::string>(), StartsWith("max_tokens"));
}

TEST(Server, BodiesThatAreNoRequests) {
  const auto status_of = [](const std::string& body) {
    return ask(server().port(), "POST", "/v1/chat/completions", body).status;
  };
  EXPECT_EQ(status_of("{"), 400);
  EXPECT_EQ(status_of("[]"), 400);
  EXPECT_EQ(status_of("\"text\""), 400);
  EXPECT_EQ(status_of(""), 400);
  EXPECT_EQ(status_of("{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}"), 400);
  EXPECT_EQ(status_of(std::string(100'000, '[')), 400);
  EXPECT_EQ(status_of("{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}"), 400);
  std::string zeros = "{\"a\": [0";
  for (int i = 0; i < 500'000; ++i) zeros += ",0";
  EXPECT_EQ(status_of(zeros + "]}"), 400) << "more values than a request may have";
  EXPECT_EQ(status_of("{\"messages\": [], \"messages\": []}"), 400);
  EXPECT_EQ(ask(server().port(), "POST", "/nothing", "{}").status, 404);
  EXPECT_EQ(ask(server().port(), "GET", "/v1/chat/completions").status, 405);
  EXPECT_EQ(ask(server().port(), "DELETE", "/v1/models").status, 405);
  EXPECT_THAT(ask(server().port(), "GET", "/v1/api/tags").body, HasSubstr("/api/tags"));
  EXPECT_EQ(ask(server().port(), "GET", "/../../etc/passwd").status, 404);
}

TEST(Server, APromptThatDoesNotFitIsRefusedBeforeTheStreamBegins) {
  std::string words;
  for (int i = 0; i < 700; ++i) words += "word ";
  const Answer answer =
      post("/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", words}}}}, {"stream", true}});
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json()["error"]["code"], "context_length_exceeded");
}

TEST(Server, AnswersWhatProbesAsk) {
  const uint16_t port = server().port();
  EXPECT_EQ(ask(port, "GET", "/").body, "Ollama is running");
  EXPECT_EQ(ask(port, "HEAD", "/").status, 200);
  EXPECT_EQ(ask(port, "GET", "/health").json()["status"], "ok");
  EXPECT_EQ(ask(port, "GET", "/ready").status, 200);
  EXPECT_EQ(ask(port, "GET", "/v1/models").json()["data"][0]["id"], server().model_name());
  EXPECT_EQ(ask(port, "GET", "/v1/models/" + server().model_name()).status, 200);
  EXPECT_EQ(ask(port, "GET", "/api/tags").json()["models"][0]["name"], server().model_name());
  EXPECT_EQ(ask(port, "GET", "/api/ps").json()["models"].size(), 1U);
  EXPECT_THAT(ask(port, "GET", "/api/version").json()["version"].get<std::string>(), testing::MatchesRegex("[0-9.]+"));
  EXPECT_EQ(post("/api/show", {{"model", "x"}}).json()["capabilities"], (json{"completion", "tools", "thinking"}));
  EXPECT_EQ(post("/api/embed", {{"model", "x"}}).status, 501);
  EXPECT_EQ(ask(port, "GET", "/props").json()["default_generation_settings"]["n_ctx"], 512);
  const json tokens = post("/tokenize", {{"content", "Hello there"}}).json()["tokens"];
  EXPECT_EQ(post("/detokenize", {{"tokens", tokens}}).json()["content"], "Hello there");
  EXPECT_EQ(post("/detokenize", {{"tokens", {-1}}}).json()["error"]["param"], "tokens[0]");
  EXPECT_EQ(post("/detokenize", {{"tokens", {99'999'999}}}).json()["error"]["param"], "tokens[0]");
  EXPECT_THAT(post("/apply-template", {{"messages", messages_json(kHello)}}).json()["prompt"].get<std::string>(),
              HasSubstr("<|im_start|>user\nHello"));
  const std::string metrics = ask(port, "GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("prosa_requests_total{path=\"/v1/models\",status=\"200\"}"));
  EXPECT_THAT(metrics, HasSubstr("prosa_memory_bytes{kind=\"weights\"}"));
  EXPECT_THAT(metrics, HasSubstr("prosa_first_token_seconds_count"));
}

TEST(Server, KeysHostsAndOrigins) {
  ServerOptions closed = options();
  closed.api_keys = {"first-key", "other-key"};
  closed.origins = {"https://page.example"};
  closed.hosts = {"prosa.lan"};
  std::mutex mutex;
  std::string log;
  closed.log = [&](std::string_view line) {
    const std::lock_guard lock(mutex);
    log += std::string(line) + "\n";
  };
  Server guarded(model(), closed);
  const uint16_t port = guarded.port();
  const std::string body = json{{"messages", messages_json(kHello)}}.dump();
  const auto status_with = [&](const std::string& headers) {
    return ask(port, "POST", "/v1/chat/completions", body, headers).status;
  };
  EXPECT_EQ(status_with(""), 401);
  EXPECT_EQ(status_with("Authorization: Bearer wrong-key\r\n"), 401);
  EXPECT_EQ(status_with("Authorization: Bearer first-key\r\n"), 200);
  EXPECT_EQ(status_with("X-Api-Key: other-key\r\n"), 200);
  EXPECT_EQ(ask(port, "GET", "/health").status, 200);
  EXPECT_EQ(ask(port, "GET", "/metrics").status, 401);
  EXPECT_EQ(ask(port, "GET", "/v1/messages").json()["type"], "error") << "in the form of its dialect";
  // What one key has read costs another one everything.
  const auto cached_with = [&](const std::string& key) {
    const json answer = ask(port, "POST", "/v1/chat/completions", body, "X-Api-Key: " + key + "\r\n").json();
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_GT(cached_with("first-key"), 0);
  ServerOptions fresh = closed;
  fresh.log = {};
  const json secret = {{"messages", {{{"role", "user"}, {"content", "A secret of the first key alone."}}}}};
  const auto read_by = [&](const std::string& key) {
    const json answer = ask(port, "POST", "/v1/chat/completions", secret.dump(), "X-Api-Key: " + key + "\r\n").json();
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(read_by("first-key"), 0);
  EXPECT_GT(read_by("first-key"), 0);
  EXPECT_EQ(read_by("other-key"), 0);

  const std::string key = "X-Api-Key: first-key\r\n";
  EXPECT_EQ(status_with(key + "Origin: https://evil.example\r\n"), 403);
  const Answer page = ask(port, "POST", "/v1/chat/completions", body, key + "Origin: https://page.example\r\n");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.header("Access-Control-Allow-Origin"), "https://page.example");
  const Answer preflight = ask(port, "OPTIONS", "/v1/chat/completions", "",
                               "Origin: https://page.example\r\nAccess-Control-Request-Headers: x-api-key\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.header("Access-Control-Allow-Headers"), "x-api-key");
  const auto host_status = [&](uint16_t where, const std::string& host) {
    Client client(where);
    client.send("GET /health HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.answer().status;
  };
  EXPECT_EQ(host_status(port, "prosa.lan:80"), 200);
  EXPECT_EQ(host_status(server().port(), "127.0.0.1:1"), 200);
  EXPECT_EQ(host_status(server().port(), "[::1]:1"), 200);
  EXPECT_EQ(host_status(server().port(), "rebound.example"), 403);
  guarded.drain();  // the log is complete then
  const std::lock_guard lock(mutex);
  EXPECT_THAT(log, HasSubstr("\"path\":\"/v1/chat/completions\",\"status\":401"));
  EXPECT_EQ(log.find("secret"), std::string::npos) << "no text of messages";
  EXPECT_EQ(log.find("first-key"), std::string::npos);
}

TEST(Server, AFullQueueSaysWhenToComeBackAndAClientThatGoesMakesRoom) {
  ServerOptions small = options();
  small.replies = 1;
  small.waiting = 1;
  small.sampling.max_tokens = 400;
  Server narrow(model(), small);
  const std::string body = json{{"messages", messages_json(kHello)}, {"stream", true}, {"n", 16}}.dump();
  const auto begin = [&](Client& client) {
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
  };
  const auto gauge = [&](const std::string& name) {
    const std::string text = ask(narrow.port(), "GET", "/metrics").body;
    const size_t at = text.find("\n" + name + " ");
    return std::stoi(text.substr(at + name.size() + 2));
  };
  const auto soon = [](const auto& condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  };
  Client running(narrow.port());
  begin(running);
  ASSERT_TRUE(running.wait_for("data: "));
  EXPECT_EQ(gauge("prosa_uncached_tokens_waiting"), 0) << "the one that speaks has been read";
  EXPECT_EQ(gauge("prosa_batch_size"), 1);
  Client waiting(narrow.port());
  begin(waiting);
  ASSERT_TRUE(soon([&] { return gauge("prosa_requests_waiting") == 1; }));
  EXPECT_GT(gauge("prosa_uncached_tokens_waiting"), 0);
  const Answer slots = ask(narrow.port(), "GET", "/slots");
  ASSERT_EQ(slots.json().size(), 2U) << slots.body;
  EXPECT_EQ(slots.json()[0]["state"], "speaking");
  EXPECT_GT(slots.json()[0]["prompt_tokens"], 0);
  EXPECT_GT(slots.json()[0]["generated_tokens"], 0);
  EXPECT_EQ(slots.json()[1]["state"], "waiting");
  EXPECT_EQ(slots.json()[1]["messages"], 2);
  EXPECT_EQ(slots.body.find("kind"), std::string::npos) << "no text of messages";
  const Answer refused = ask(narrow.port(), "POST", "/v1/chat/completions", body);
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_GE(std::stoi("0" + refused.header("Retry-After")), 1);
  waiting.leave();
  EXPECT_TRUE(soon([&] { return gauge("prosa_requests_waiting") == 0; }));
  running.leave();
  EXPECT_TRUE(soon([&] { return gauge("prosa_replies_running") == 0; }));
  EXPECT_THAT(ask(narrow.port(), "GET", "/metrics").body, HasSubstr("prosa_replies_total{finish=\"cancelled\"} 1"));
  // The desk is free again, and the conversation that was left is usable.
  const json next = {{"messages", messages_json(kHello)}, {"max_tokens", 12}};
  EXPECT_EQ(ask(narrow.port(), "POST", "/v1/chat/completions", next.dump()).json()["choices"][0]["message"]["content"],
            said_alone(kHello));
  json warm;
  ASSERT_TRUE(soon([&] {
    warm = ask(narrow.port(), "GET", "/slots").json();
    return !warm.empty() && warm[0]["state"] == "warm";
  }));
  EXPECT_EQ(warm[0]["messages"], 3) << "the reply is one of them";
  EXPECT_GT(warm[0]["bytes"], 0);
}

TEST(Server, DrainingLetsRepliesEndAndStoppingTellsThem) {
  ServerOptions long_replies = options();
  long_replies.sampling.max_tokens = 40;
  auto draining = std::make_unique<Server>(model(), long_replies);
  const std::string body = json{{"messages", messages_json(kHello)}}.dump();
  std::string text;
  std::atomic<bool> answered = false;
  std::thread client([&, port = draining->port()] {
    text = ask(port, "POST", "/v1/chat/completions", body).json()["choices"][0]["message"]["content"];
    answered = true;
  });
  while (ask(draining->port(), "GET", "/metrics").body.find("prosa_replies_running 1") == std::string::npos) {
    if (answered) break;
  }
  draining->drain(20s);
  client.join();
  EXPECT_EQ(text, said_alone(kHello, long_replies.sampling));
  draining.reset();
}

TEST(Server, OptionsOutOfRangeAreNamed) {
  const auto field_of = [](const auto& change) {
    ServerOptions wrong = options();
    change(wrong);
    try {
      const Server never(model(), wrong);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.where();
    }
    return std::string("no error");
  };
  EXPECT_EQ(field_of([](ServerOptions& wrong) { wrong.replies = 0; }), "replies");
  EXPECT_EQ(field_of([](ServerOptions& wrong) { wrong.body_bytes = size_t{1} << 40; }), "body_bytes");
  EXPECT_EQ(field_of([](ServerOptions& wrong) { wrong.api_keys = {""}; }), "api_keys");
  EXPECT_EQ(field_of([](ServerOptions& wrong) { wrong.address = "x"; }), "address");
  EXPECT_EQ(field_of([](ServerOptions& wrong) { wrong.sampling.top_p = 7; }), "SamplingConfig.top_p");
}

}  // namespace
}  // namespace prosa
