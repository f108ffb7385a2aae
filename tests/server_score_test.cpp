// /v1/score over loopback: the numbers are those of Chat::choose.
#include <gtest/gtest.h>

#include "prosa/chat.h"
#include "prosa/server.h"
#include "server_client.h"

namespace prosa {
namespace {

using nlohmann::json;

const Model& tiny() {
  static const Model loaded = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  return loaded;
}

Answer post(const json& body) {
  static Server shared(tiny(), {.port = 0, .replies = 2});
  return ask(shared.port(), "POST", "/v1/score", body.dump());
}

TEST(ServerScore, NumbersAreThoseOfAChat) {
  const std::vector<std::string> options = {"turn on the light", "turn off the light", "wait"};
  Chat chat(tiny());
  const Choice expected = chat.choose({{Role::user, "It is dark"}}, options);
  const json messages = {{{"role", "user"}, {"content", "It is dark"}}};
  for (int times = 0; times < 2; ++times) {
    const Answer answer = post({{"messages", messages}, {"options", options}});
    ASSERT_EQ(answer.status, 200) << answer.body;
    const json scored = answer.json();
    ASSERT_EQ(scored["options"].size(), 3U);
    for (size_t i = 0; i < 3; ++i) {
      const ScoredOption& option = expected.options[i];
      EXPECT_EQ(scored["options"][i]["index"], option.index);
      EXPECT_EQ(scored["options"][i]["text"], option.text);
      EXPECT_EQ(scored["options"][i]["log_probability"], option.log_probability);
      EXPECT_EQ(scored["options"][i]["probability"], option.probability);
      EXPECT_EQ(scored["options"][i]["token_log_probabilities"], json(option.token_log_probabilities));
    }
    EXPECT_EQ(scored["usage"]["prompt_tokens"], expected.prompt_tokens);
    if (times > 0) {
      EXPECT_GT(scored["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    }
  }
}

TEST(ServerScore, SlotsAreFilledByTheirSchema) {
  const json answer = post({{"input", "Wake me"},
                            {"options", {"wake me in {minutes} minutes", "play {what}"}},
                            {"slots",
                             {{"minutes", {{"type", "integer"}, {"minimum", 1}, {"maximum", 9}}},
                              {"what", {{"enum", {"music", "news"}}}}}}})
                          .json();
  ASSERT_EQ(answer["options"].size(), 2U) << answer;
  for (const json& option : answer["options"]) {
    if (option["index"] == 0) {
      const std::string minutes = option["slots"]["minutes"];
      EXPECT_TRUE(minutes.size() == 1 && minutes[0] >= '1' && minutes[0] <= '9') << minutes;
      EXPECT_EQ(option["text"], "wake me in " + minutes + " minutes");
    } else {
      EXPECT_TRUE(option["slots"]["what"] == "music" || option["slots"]["what"] == "news") << option;
    }
  }
}

TEST(ServerScore, WrongFieldsAreNamed) {
  const auto param_of = [](const json& change) {
    json body = {{"input", "Hello"}, {"options", {"yes {a}", "no"}}, {"slots", {{"a", {{"enum", {"x"}}}}}}};
    body.merge_patch(change);
    const Answer answer = post(body);
    EXPECT_EQ(answer.status, 400) << change << answer.body;
    return answer.json()["error"]["param"];
  };
  EXPECT_EQ(param_of({{"input", nullptr}}), "messages");
  EXPECT_EQ(param_of({{"options", nullptr}}), "options");
  EXPECT_EQ(param_of({{"options", {"no", "no"}}}), "options[1]");
  EXPECT_EQ(param_of({{"slots", {{"a", {{"enum", nullptr}, {"type", "integer"}, {"minimum", 1}}}}}}),
            "slots.a.maximum");
  EXPECT_EQ(param_of({{"slots", {{"a", {{"description", "x"}}}}}}), "slots.a.description");
}

}  // namespace
}  // namespace prosa
