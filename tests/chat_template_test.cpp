// Conversations with templates of a folder's own: where their prompts are cut, what is read again, and that a session
// never goes on from words that its template has since written differently. On a fake backend, which knows what it was
// fed.
#include "chat/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "chat/reply_run.h"
#include "fake_backend.h"
#include "tokenizer/tokenizer.h"

namespace prosa {
namespace {

using chat::ChatTemplate;
using Ids = std::vector<int32_t>;
using Messages = std::vector<Message>;

const std::string kData = PROSA_TEST_DATA;

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load(kData + "/tiny-chat");
  return loaded;
}

constexpr const char* kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

ChatTemplate of(const std::string& text) { return ChatTemplate::of_text(text, "test"); }
/// ChatML with something in front.
ChatTemplate headed(const std::string& head) { return of(head + kChatMl); }

SamplingConfig greedy() {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1;
  return config;
}

class OwnTemplate : public testing::Test {
 protected:
  void make(const ChatTemplate& chat_template) {
    backend = std::make_shared<test::FakeBackend>(512);
    engine = std::make_shared<chat::Engine>("scripted", [this, chat_template](const chat::KeptStates& kept) {
      LoadedModel model;
      model.backend = backend;
      model.context = 4000;
      return chat::assemble(std::move(model), Tokenizer::load(kData + "/tiny-chat"), chat_template, kept);
    });
    engine->load();
  }
  /// Says `text`; what was fed as the prompt is the whole prompt of these messages, however much of it was reused.
  Reply play(const Messages& messages, const std::string& text, const SamplingConfig& sampling = greedy()) {
    chat::ReplyRun run(engine, messages, sampling, {});
    const auto prompt = static_cast<size_t>(run.stats().prompt_tokens);
    const Ids reply = tokenizer().encode_given(text);
    Ids fed;
    backend->script = [&](std::span<const int32_t> all) {
      fed.assign(all.begin(), all.end());
      const size_t at = all.size() - prompt;
      return all.size() >= prompt && at < reply.size() ? reply[at] : *tokenizer().token_id("<|im_end|>");
    };
    Reply outcome;
    while (const auto piece = run.next())
      (piece->channel == Channel::speech ? outcome.text : outcome.thought) += piece->text;
    outcome.stats = run.stats();
    const Ids whole =
        chat::plan_prompt(tokenizer(), engine->loaded()->text->chat_template, messages, {}, sampling).tokens;
    EXPECT_GE(fed.size(), whole.size());
    fed.resize(std::min(fed.size(), whole.size()));
    EXPECT_EQ(fed, whole);
    return outcome;
  }
  static int64_t computed(const Reply& reply) { return reply.stats.prompt_tokens - reply.stats.cached_tokens; }
  static int64_t tokens_of(const std::string& text) { return std::ssize(tokenizer().encode(text)); }

  std::shared_ptr<test::FakeBackend> backend;
  std::shared_ptr<chat::Engine> engine;
};

TEST_F(OwnTemplate, EachTurnComputesItsNewTokensOnly) {
  make(headed("{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Lumo.<|im_end|>\n{% endif %}"));
  Messages messages;
  for (int turn = 0; turn < 6; ++turn) {
    const std::string question = "Question " + std::to_string(turn);
    messages.push_back({Role::user, question});
    const Reply reply = play(messages, "Yes.");
    // The reply stands in history as it was said: what is new begins with its end.
    const std::string added = "<|im_end|>\n<|im_start|>user\n" + question + "<|im_end|>\n<|im_start|>assistant\n";
    EXPECT_EQ(computed(reply), turn == 0 ? reply.stats.prompt_tokens : tokens_of(added)) << turn;
    EXPECT_EQ(reply.stats.reread, "");
    messages.push_back({Role::assistant, reply.text});
  }
}

TEST_F(OwnTemplate, APersonaIsASystemPromptThatConversationsShare) {
  const ChatTemplate persona = headed("<|im_start|>system\nYou are Lumo.<|im_end|>\n");
  const chat::PromptPlan plan = chat::plan_prompt(tokenizer(), persona, Messages{{Role::user, "Hi"}}, {}, {});
  EXPECT_EQ(plan.system_end, tokens_of("<|im_start|>system\nYou are Lumo.<|im_end|>\n"));
  const int64_t reply_begin = std::ssize(plan.tokens) - tokens_of("<|im_start|>assistant\n");
  EXPECT_THAT(plan.cuts, testing::ElementsAre(plan.system_end, reply_begin));
  make(persona);
  play({{Role::user, "Hi"}}, "Yes.");
  EXPECT_EQ(play({{Role::user, "What now?"}}, "Yes.").stats.cached_tokens, plan.system_end);
  EXPECT_EQ(chat::plan_prompt(tokenizer(), of(kChatMl), Messages{{Role::user, "Hi"}}, {}, {}).system_end, 0);
}

/// The head changes with every message: nothing can be reused, and the reply says so.
TEST_F(OwnTemplate, WhatTheTemplateWritesAnewIsReadAnew) {
  make(headed("<|im_start|>system\n{{ messages|length }} messages<|im_end|>\n"));
  Messages messages = {{Role::user, "Hi"}};
  EXPECT_EQ(play(messages, "Yes.").stats.reread, "");
  messages.push_back({Role::assistant, "Yes."});
  messages.push_back({Role::user, "And now?"});
  const Reply second = play(messages, "No.");
  EXPECT_EQ(second.stats.cached_tokens, 0);
  EXPECT_THAT(second.stats.reread, testing::HasSubstr("the first 1 messages differently"));
  EXPECT_EQ(play({{Role::user, "Another conversation"}}, "No.").stats.reread, "");
}

/// A template that shows only the last thought rewrites the turn before, not those in front of it.
TEST_F(OwnTemplate, OnlyWhatChangedIsReadAgain) {
  make(
      of("{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content and loop.revindex <= 3 %}"
         "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
         "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"));
  Messages messages = {{Role::system, "Be kind."}, {Role::user, "Hi"}};
  int64_t first_turn = 0;
  for (int turn = 0; turn < 4; ++turn) {
    const Reply reply = play(messages, "Yes.");
    if (turn == 0) first_turn = reply.stats.prompt_tokens - tokens_of("<|im_start|>assistant\n");
    if (turn > 0) {
      EXPECT_GE(reply.stats.cached_tokens, first_turn);
    }
    EXPECT_EQ(reply.stats.reread.empty(), turn < 2) << reply.stats.reread;
    messages.push_back({Role::assistant, "Yes.", "thought " + std::to_string(turn)});
    messages.push_back({Role::user, "More"});
  }
}

TEST_F(OwnTemplate, ATurnIsReadAheadUpToItsLastWord) {
  for (const ChatTemplate& chat_template : {of(kChatMl), headed("<|im_start|>system\nBe brief.<|im_end|>\n"),
                                            of("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}"
                                               "<|im_end|>\n{% endfor %}")}) {
    make(chat_template);
    const Messages history = {{Role::user, "Hello there"}, {Role::assistant, "Good day."}};
    const std::string transcript = "tell me about the weather in the north of Norway";
    engine->hear(history, transcript, {}, greedy(), 0);
    Messages messages = history;
    messages.push_back({Role::user, transcript + " please"});
    const Reply reply = play(messages, "Yes.");
    EXPECT_LT(computed(reply), tokens_of(" of Norway please<|im_end|>\n<|im_start|>assistant\n") + 8);
    EXPECT_GT(reply.stats.cached_tokens, 20);
  }
}

TEST_F(OwnTemplate, VariablesReachItFromARequest) {
  make(headed("{% if mood %}<|im_start|>system\nBe {{ mood }}, {{ n + 1 }} {{ l|join('-') }}.<|im_end|>\n{% endif %}"));
  SamplingConfig sampling = greedy();
  sampling.template_variables = {{"mood", "very <|im_end|> kind"}, {"n", "41"}, {"l", R"(["a", 2])"}};
  const Messages messages = {{Role::user, "Hi"}};
  const chat::PromptPlan plan =
      chat::plan_prompt(tokenizer(), engine->loaded()->text->chat_template, messages, {}, sampling);
  EXPECT_THAT(plan.text, testing::StartsWith("<|im_start|>system\nBe very <|im_end|> kind, 42 a-2.<|im_end|>\n"));
  EXPECT_EQ(std::ranges::count(plan.tokens, *tokenizer().token_id("<|im_end|>")), 2) << "what was given is text";
  EXPECT_EQ(play(messages, "Yes.", sampling).text, "Yes.");
}

TEST_F(OwnTemplate, AReplyGoesOnWhereItsBeginningEnds) {
  make(of(kChatMl));
  SamplingConfig sampling = greedy();
  sampling.continue_final_message = true;
  const Messages messages = {{Role::user, "Hi"}, {Role::assistant, "Good"}};
  const chat::PromptPlan plan =
      chat::plan_prompt(tokenizer(), engine->loaded()->text->chat_template, messages, {}, sampling);
  EXPECT_THAT(plan.text, testing::EndsWith("<|im_start|>assistant\nGood"));
  EXPECT_EQ(play(messages, " day.", sampling).text, " day.");
}

TEST_F(OwnTemplate, WhatItRaisesIsTheError) {
  make(
      of("{% if messages|length > 1 %}{{ raise_exception('One message only.') }}{% endif %}{{ messages[0].content }}"));
  EXPECT_EQ(play({{Role::user, "Hi"}}, "Yes.").text, "Yes.");
  try {
    play({{Role::user, "Hi"}, {Role::assistant, "Yes."}, {Role::user, "Hi"}}, "Yes.");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_template);
    EXPECT_EQ(error.message(), "One message only.");
    EXPECT_EQ(error.where(), "test, line 1");
  }
  EXPECT_EQ(play({{Role::user, "Hi"}}, "Yes.").text, "Yes.");
}

/// A template that opens a thought whatever it is told: never to think still means so.
TEST_F(OwnTemplate, AThoughtThatNobodyWantsIsClosed) {
  make(of(std::string(kChatMl) + "{% if add_generation_prompt %}<think>\n{% endif %}"));
  SamplingConfig sampling = greedy();
  sampling.disable_thinking = true;
  const Reply reply = play({{Role::user, "Hi"}}, "", sampling);
  EXPECT_EQ(reply.thought, "");
  EXPECT_EQ(reply.stats.generated_tokens, tokens_of("\n</think>\n\n") + 1);
}

}  // namespace
}  // namespace prosa
