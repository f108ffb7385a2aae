// A guess of the reply changes how it is computed, and nothing else: on the embedded model, and on the tiny golden one,
// whose text is noise that its own tokenizer reads as other tokens.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "prosa/chat.h"

namespace prosa {

/// By hand: the printer of tests would show the bytes, padding included.
inline void PrintTo(const SamplingConfig& sampling, std::ostream* out) {
  *out << "temperature " << *sampling.temperature << ", top_k " << *sampling.top_k << ", top_p " << *sampling.top_p;
}

namespace {

using Messages = std::vector<Message>;

struct Answer {
  std::string text;
  ReplyStats stats;
};

class Guess : public testing::TestWithParam<SamplingConfig> {
 protected:
  Answer reply(std::string_view guess) { return reply(guess, chat); }
  Answer reply(std::string_view guess, Chat& from) {
    Turn turn = from.begin_turn(history, GetParam());
    ReplyStream stream = turn.commit("Hello", guess);
    Answer answer;
    for (const Piece& piece : stream) answer.text += piece.text;
    answer.stats = stream.stats();
    return answer;
  }
  Chat chat = Chat::from_pretrained(PROSA_TINY_CHAT, LoadOptions{.context = 600});
  const Messages history = {{Role::system, "Be kind."}};
};

TEST_P(Guess, RightOnesAreReadInFewerStepsAndChangeNothing) {
  Chat mini = Chat::from_pretrained();
  const Answer alone = reply({}, mini);
  ASSERT_GT(alone.stats.generated_tokens, 8);
  EXPECT_EQ(alone.stats.guessed_tokens, 0);
  const Answer guessed = reply(alone.text, mini);
  EXPECT_EQ(guessed.text, alone.text);
  EXPECT_EQ(guessed.stats.generated_tokens, alone.stats.generated_tokens);
  EXPECT_EQ(guessed.stats.finish, alone.stats.finish);
  EXPECT_GE(guessed.stats.guessed_tokens + 2, alone.stats.generated_tokens) << "all but the first and the end token";
}

TEST_P(Guess, WrongOnesAreLeftWhereTheyPart) {
  const Answer alone = reply({});
  for (const size_t right : {size_t{0}, alone.text.size() / 3, alone.text.size() / 2}) {
    std::string guess = alone.text.substr(0, right) + " certainly something else, and more of it";
    const Answer guessed = reply(guess);
    EXPECT_EQ(guessed.text, alone.text) << guess;
    EXPECT_LE(guessed.stats.guessed_tokens, alone.stats.generated_tokens);
  }
  EXPECT_EQ(reply(alone.text + alone.text).text, alone.text);
}

TEST_P(Guess, TheConversationGoesOnWithTheSameBits) {
  const auto two_turns = [&](bool guess) {
    Chat fresh = Chat::from_pretrained(PROSA_TINY_CHAT, LoadOptions{.context = 600});
    Turn first = fresh.begin_turn(history, GetParam());
    std::string said;
    const std::string hint = guess ? reply({}).text : std::string();
    for (const Piece& piece : first.commit("Hello", hint)) said += piece.text;
    Messages messages = history;
    messages.push_back({Role::user, "Hello"});
    messages.push_back({Role::assistant, said});
    messages.push_back({Role::user, "Go on"});
    return fresh.generate(messages, GetParam()).text;
  };
  EXPECT_EQ(two_turns(true), two_turns(false));
}

SamplingConfig config(float temperature, int top_k, float top_p) {
  SamplingConfig sampling;
  sampling.temperature = temperature;
  sampling.top_k = top_k;
  sampling.top_p = top_p;
  sampling.repetition_penalty = 1.3F;
  sampling.max_tokens = 70;  // more than one pass of a guess
  sampling.seed = 7;
  sampling.disable_thinking = true;
  return sampling;
}

INSTANTIATE_TEST_SUITE_P(All, Guess, testing::Values(config(0, 50, 1), config(0.8F, 20, 0.9F), config(0.7F, 0, 0.9F)));

}  // namespace
}  // namespace prosa
