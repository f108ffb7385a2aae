// The probability that a user's turn ends with the words heard so far: what it says, what it costs, and that it moves
// nothing. On a scripted backend where tokens are counted, and on the embedded model.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "chat/engine.h"
#include "chat/reply_run.h"
#include "fake_backend.h"
#include "prosa/chat.h"

namespace prosa {
namespace {

using test::FakeBackend;
using Messages = std::vector<Message>;

SamplingConfig greedy() {
  SamplingConfig config;
  config.temperature = 0;
  config.max_tokens = 20;
  config.disable_thinking = true;
  return config;
}

/// A model that ends the user's message after "light", and goes on after anything else.
class ScriptedEnding : public testing::Test {
 protected:
  void SetUp() override {
    engine = std::make_shared<chat::Engine>("scripted", [this](const chat::KeptStates& kept) {
      LoadedModel model;
      model.backend = backend;
      model.context = 2000;
      return chat::assemble(std::move(model), Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"), chat::ThinkingDefault::off,
                            kept);
    });
    engine->load();
    const Tokenizer& tokenizer = engine->loaded()->text->tokenizer;
    backend->script = [&tokenizer, end = *tokenizer.token_id("<|im_end|>"),
                       word = tokenizer.encode(" and").front()](std::span<const int32_t> fed) {
      return tokenizer.decode({fed.begin(), fed.end()}).ends_with("light") ? end : word;
    };
  }
  std::optional<double> ending(const std::string& words) {
    SyncReport heard = engine->hear(history, words, {}, greedy(), 0);
    static_cast<void>(heard);
    backend->prefills.clear();
    return engine->ending_probability(history, words, {}, greedy(), 0, asked);
  }

  std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>(512);
  std::shared_ptr<chat::Engine> engine;
  const Messages history = {{Role::system, "Be kind."}};
  int64_t asked = 0;
};

TEST_F(ScriptedEnding, IsTheProbabilityOfTheEndTokenAfterTheLastWord) {
  EXPECT_GT(ending("turn on the light").value(), 0.999);
  EXPECT_LT(ending("turn on the").value(), 0.001);
  EXPECT_GT(ending("light").value(), 0.999) << "of a first word, too";
  EXPECT_EQ(ending(""), std::nullopt) << "nothing was said";
}

TEST_F(ScriptedEnding, CostsTheTokensHeldBackAndMovesNothing) {
  const std::string words = "please turn on the light";
  engine->hear(history, words, {}, greedy(), 0);
  const runtime::Session& session = engine->loaded()->session;
  const std::vector<int32_t> before(session.tokens().begin(), session.tokens().end());
  const size_t stored = session.store().size();
  const std::string turn = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n" + words;
  const auto held_back =
      std::ssize(engine->loaded()->text->tokenizer.encode(turn)) - static_cast<int64_t>(before.size());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(ending(words));
    EXPECT_EQ(asked, held_back);
    EXPECT_EQ(backend->prefills, std::vector<int64_t>{held_back}) << "one pass";
    EXPECT_EQ(std::vector<int32_t>(session.tokens().begin(), session.tokens().end()), before);
    EXPECT_EQ(session.store().size(), stored);
    EXPECT_FALSE(session.has_logits()) << "the row was that of tokens that were taken back";
  }
  // What was not read yet is read first.
  backend->prefills.clear();
  ASSERT_TRUE(engine->ending_probability(history, words + " and the other light", {}, greedy(), 1, asked));
  EXPECT_GT(asked, held_back);
}

TEST_F(ScriptedEnding, CancellingItLeavesTheConversationUsable) {
  engine->hear(history, "turn on the light", {}, greedy(), 0);
  backend->on_run = [this](std::span<const backend::Segment>) { engine->cancel(); };
  EXPECT_EQ(engine->ending_probability(history, "turn on the light", {}, greedy(), 0, asked), std::nullopt);
  backend->on_run = nullptr;
  EXPECT_GT(ending("turn on the light").value(), 0.999);
}

/// Replies do not show whether it was asked for.
TEST(TurnEnding, ChangesNoReplyOfTheEmbeddedModel) {
  const Chat model = Chat::from_pretrained();
  std::vector<std::string> replies;
  std::vector<int64_t> computed;
  for (const bool asks : {true, false}) {
    Chat chat(model.model());
    chat.reset_state();
    Messages history = {{Role::system, "Be kind."}};
    for (const std::string text : {"What is your name?", "Tell me about the sea."}) {
      Turn turn = chat.begin_turn(history, greedy());
      for (size_t at = text.find(' '); at != std::string::npos; at = text.find(' ', at + 1)) {
        turn.hear(text.substr(0, at));
        if (asks) {
          ASSERT_TRUE(turn.ending().probability);
          turn.ending();
        }
      }
      history.push_back({Role::user, text});
      std::string reply;
      ReplyStream stream = turn.commit(text);
      for (const Piece& piece : stream) reply += piece.text;
      history.push_back({Role::assistant, reply});
      replies.push_back(reply);
      computed.push_back(stream.stats().prompt_tokens - stream.stats().cached_tokens);
    }
  }
  ASSERT_EQ(replies.size(), 4U);
  EXPECT_EQ(replies[0], replies[2]);
  EXPECT_EQ(replies[1], replies[3]);
  EXPECT_EQ(computed[1], computed[3]) << "and what was heard is still there";
}

TEST(TurnEnding, WholeSentencesEndMoreProbablyThanTheirBeginnings) {
  Chat chat = Chat::from_pretrained();
  for (const std::string whole : {"What is the capital of France?", "Please remind me to call my mother tomorrow."}) {
    Turn turn = chat.begin_turn({{Role::system, "Be kind."}}, greedy());
    turn.hear(whole);
    const double end = turn.ending().probability.value();
    EXPECT_GT(end, 0.1) << whole;
    for (size_t at = whole.find(' '); at != std::string::npos; at = whole.find(' ', at + 1)) {
      turn.hear(whole.substr(0, at));
      EXPECT_LT(turn.ending().probability.value(), end / 10) << whole.substr(0, at);
    }
  }
}

TEST(TurnEnding, IsNotAskedOfATurnThatIsOver) {
  Chat chat = Chat::from_pretrained();
  Turn turn = chat.begin_turn({}, greedy());
  EXPECT_EQ(turn.ending().probability, std::nullopt);
  turn.hear("Hello");
  EXPECT_TRUE(turn.ending().probability) << "of the first word already";
  turn.hear("Hello there, how are you?");
  EXPECT_TRUE(turn.ending().probability);
  static_cast<void>(turn.commit("Hello there"));
  EXPECT_THROW(turn.ending(), Error);
  Turn moved = std::move(turn);
  EXPECT_THROW(turn.ending(), Error);  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace prosa
