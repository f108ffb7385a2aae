// Chat: with a scripted backend for what a reply may do (channels, limits, stops, cancelling), and on the tiny golden
// model for reuse between turns. Its text is noise there; that it is the same noise is what counts.
#include "prosa/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "chat/reply_run.h"
#include "fake_backend.h"
#include "scripted_engine.h"

namespace prosa {
namespace {

using test::FakeBackend;
using testing::ElementsAre;
using testing::HasSubstr;
using Messages = std::vector<Message>;

constexpr const char* kTinyChat = PROSA_TINY_CHAT;  // tiny-hf with the tokenizer of tests/data/tiny-chat

std::optional<Error> error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

#define EXPECT_ERROR(code_expected, call)                                  \
  do {                                                                     \
    const std::optional<Error> raised = error_of([&] { (void)(call); });   \
    ASSERT_TRUE(raised.has_value()) << "no error";                         \
    EXPECT_EQ(raised->code(), ErrorCode::code_expected) << raised->what(); \
  } while (false)

Messages hello() { return {{Role::user, "Hello"}}; }

SamplingConfig plain() {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1;
  return config;
}

SamplingConfig thinking(int budget) {
  SamplingConfig config = plain();
  config.enable_thinking = true;
  config.max_thinking_tokens = budget;
  return config;
}

Message assistant(const std::string& text) { return {Role::assistant, text}; }

/// What one reply was.
struct Outcome {
  std::string text, thought;
  std::vector<ToolCall> calls;
  std::vector<Piece> pieces;
  ReplyStats stats;
};

Outcome drain(chat::ReplyRun& run) {
  Outcome outcome;
  while (std::optional<Piece> piece = run.next()) {
    if (piece->channel == Channel::speech) outcome.text += piece->text;
    if (piece->channel == Channel::thought) outcome.thought += piece->text;
    if (piece->call) outcome.calls.push_back(*piece->call);
    outcome.pieces.push_back(std::move(*piece));
  }
  outcome.stats = run.stats();
  return outcome;
}

/// An engine whose model says, after the prompt, exactly the tokens of `reply` (and <|im_end|> after them).
class ScriptedChat : public testing::Test {
 protected:
  void SetUp() override { make(400); }

  void make(int64_t context) {
    backend = std::make_shared<FakeBackend>(512);
    engine = test::scripted_engine(backend, context);
    im_end = *tokenizer().token_id("<|im_end|>");
  }

  const Tokenizer& tokenizer() { return engine->loaded()->text->tokenizer; }

  std::unique_ptr<chat::ReplyRun> start(const std::string& reply, const SamplingConfig& sampling = plain(),
                                        const Messages& messages = hello(), const std::vector<Tool>& tools = {}) {
    auto run = std::make_unique<chat::ReplyRun>(engine, messages, sampling, tools);
    const auto prompt = static_cast<size_t>(run->stats().prompt_tokens);
    backend->script = [this, prompt, tokens = tokenizer().encode(reply)](std::span<const int32_t> fed) {
      const size_t at = fed.size() - prompt;
      return fed.size() >= prompt && at < tokens.size() ? tokens[at] : im_end;
    };
    return run;
  }
  Outcome play(const std::string& reply, const SamplingConfig& sampling = plain(), const Messages& messages = hello(),
               const std::vector<Tool>& tools = {}) {
    return drain(*start(reply, sampling, messages, tools));
  }

  std::shared_ptr<FakeBackend> backend;
  std::shared_ptr<chat::Engine> engine;
  int32_t im_end = -1;
};

TEST_F(ScriptedChat, SpeaksUntilTheEndToken) {
  const Outcome outcome = play("Good day, Anna.");
  EXPECT_EQ(outcome.text, "Good day, Anna.");
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop);
  const auto tokens = static_cast<int64_t>(tokenizer().encode("Good day, Anna.").size());
  EXPECT_EQ(outcome.stats.generated_tokens, tokens + 1);
  EXPECT_EQ(outcome.stats.thinking_tokens, 0);
  EXPECT_EQ(backend->decodes, tokens);
  EXPECT_GT(outcome.stats.first_token_ms, 0);
  EXPECT_GT(outcome.stats.decode_tok_s, 0);
  EXPECT_EQ(engine->stats().generated_tokens, outcome.stats.generated_tokens);
}

TEST_F(ScriptedChat, PiecesAreWholeCharacters) {
  const std::string text = "Grüße 🦊 é 日本";
  const Outcome outcome = play(text);
  EXPECT_EQ(outcome.text, text);
  for (const Piece& piece : outcome.pieces) {
    ASSERT_FALSE(piece.text.empty());
    EXPECT_NE(static_cast<unsigned char>(piece.text.front()) & 0xC0U, 0x80U) << "begins inside a character";
  }
  EXPECT_GT(outcome.pieces.size(), 3U);
}

TEST_F(ScriptedChat, EveryEndTokenEndsTheReply) {
  EXPECT_EQ(play("Good<|endoftext|> day").text, "Good");
  EXPECT_EQ(play("Good<|im_end|> day").text, "Good");
}

TEST_F(ScriptedChat, MaxTokensCountsTheAnswer) {
  SamplingConfig config = plain();
  config.max_tokens = 3;
  const Outcome outcome = play("one two three four five six", config);
  EXPECT_EQ(outcome.stats.finish, FinishReason::length);
  EXPECT_EQ(outcome.stats.generated_tokens, 3);
  EXPECT_EQ(backend->decodes, 2);  // the last one is not fed for nothing
}

TEST_F(ScriptedChat, ThoughtsAreTheirOwnChannelAndNotCounted) {
  SamplingConfig config = thinking(100);
  const std::string thought = "I should greet her.";
  config.max_tokens = static_cast<int>(tokenizer().encode("Hello Anna").size());
  const Outcome outcome = play(thought + "\n</think>\n\nHello Anna", config);
  EXPECT_EQ(outcome.thought, thought);
  EXPECT_EQ(outcome.text, "Hello Anna");
  EXPECT_EQ(outcome.stats.finish, FinishReason::length);
  EXPECT_EQ(outcome.stats.thinking_tokens, static_cast<int64_t>(tokenizer().encode(thought + "\n</think>").size()));
}

TEST_F(ScriptedChat, TheThinkingBudgetClosesTheBlock) {
  const std::string ramble = "and and and and and and and and and and and and";
  std::vector<int32_t> fed_at_answer;
  auto run = start(ramble, thinking(5));
  const auto prompt = static_cast<size_t>(run->stats().prompt_tokens);
  const std::vector<int32_t> closing = tokenizer().encode("\n</think>\n\n");
  const std::vector<int32_t> answer = tokenizer().encode("Yes.");
  backend->script = [&, loop = tokenizer().encode(ramble)](std::span<const int32_t> fed) {
    const size_t said = fed.size() - prompt;
    if (said < 5) return loop[said];
    const size_t at = said - 5 - closing.size();
    if (at == 0) fed_at_answer.assign(fed.begin(), fed.end());
    return at < answer.size() ? answer[at] : im_end;
  };
  const Outcome outcome = drain(*run);
  EXPECT_EQ(outcome.text, "Yes.");
  EXPECT_THAT(outcome.thought, testing::StartsWith("and"));
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop);
  // What the model has read is what it is believed to have said.
  std::vector<int32_t> expected = tokenizer().encode(ramble);
  expected.resize(5);
  expected.insert(expected.end(), closing.begin(), closing.end());
  ASSERT_GT(fed_at_answer.size(), prompt);
  EXPECT_THAT(std::vector<int32_t>(fed_at_answer.begin() + static_cast<std::ptrdiff_t>(prompt), fed_at_answer.end()),
              testing::ElementsAreArray(expected));
}

TEST_F(ScriptedChat, ABudgetOfZeroThinksNothing) {
  const std::vector<int32_t> closing = tokenizer().encode("\n</think>\n\n");
  auto run = start("", thinking(0));
  const auto prompt = static_cast<size_t>(run->stats().prompt_tokens);
  backend->script = [&, answer = tokenizer().encode("Yes.")](std::span<const int32_t> fed) {
    const size_t at = fed.size() - prompt - closing.size();
    return fed.size() >= prompt + closing.size() && at < answer.size() ? answer[at] : im_end;
  };
  const Outcome outcome = drain(*run);
  EXPECT_EQ(outcome.thought, "");
  EXPECT_EQ(outcome.text, "Yes.");
}

TEST_F(ScriptedChat, DisableThinkingWins) {
  SamplingConfig config = thinking(50);
  config.disable_thinking = true;
  const Outcome outcome = play("Plain.", config);
  EXPECT_EQ(outcome.thought, "");
  EXPECT_EQ(outcome.text, "Plain.");
}

TEST_F(ScriptedChat, StopStringsEndBeforeThemselves) {
  SamplingConfig config = plain();
  config.stop = {"the end", "STOP"};
  const Outcome outcome = play("It goes on the endless way", config);
  EXPECT_EQ(outcome.text, "It goes on ");
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop_string);

  const Outcome held = play("It is near the en", config);
  EXPECT_EQ(held.text, "It is near the en");  // what was held back comes at the end
  EXPECT_EQ(held.stats.finish, FinishReason::stop);
}

TEST_F(ScriptedChat, StopStringsDoNotSeeThoughts) {
  SamplingConfig config = thinking(100);
  config.stop = {"greet"};
  const Outcome outcome = play("I greet.\n</think>\n\nHello, I greet you", config);
  EXPECT_EQ(outcome.thought, "I greet.");
  EXPECT_EQ(outcome.text, "Hello, I ");
  EXPECT_EQ(outcome.stats.finish, FinishReason::stop_string);
}

const Tool kWeather = {R"({"type": "function", "function": {"name": "weather", "description": "of a city",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}})"};

TEST_F(ScriptedChat, ToolCallsArePieces) {
  make(2000);
  const Outcome outcome = play(
      "One moment.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n"
      "</parameter>\n</function>\n</tool_call>",
      plain(), {{Role::user, "Weather in Oslo?"}}, {kWeather});
  EXPECT_EQ(outcome.text, "One moment.");
  ASSERT_EQ(outcome.calls.size(), 1U);
  EXPECT_EQ(outcome.calls[0].name, "weather");
  EXPECT_EQ(outcome.calls[0].arguments, R"({"city": "Oslo", "days": 3})");
  EXPECT_EQ(outcome.stats.finish, FinishReason::tool_calls);
}

TEST_F(ScriptedChat, ACallThatIsCutOffIsAnErrorAndNeverSpoken) {
  make(2000);
  SamplingConfig config = plain();
  config.max_tokens = 40;  // no reply can end within a call
  const Outcome outcome = play("One moment.\n\n<tool_call>\n<function=weather>\n<parameter=ci", config,
                               {{Role::user, "Weather?"}}, {kWeather});
  EXPECT_EQ(outcome.text, "One moment.");
  EXPECT_TRUE(outcome.calls.empty());
  ASSERT_EQ(outcome.stats.tool_call_errors.size(), 1U);
  EXPECT_THAT(outcome.stats.tool_call_errors[0], testing::HasSubstr("cut off"));
  EXPECT_EQ(outcome.stats.finish, FinishReason::length);
}

TEST_F(ScriptedChat, AFullContextEndsTheReply) {
  make(60);
  std::string endless;
  for (int i = 0; i < 100; ++i) endless += " on";
  const Outcome outcome = play(endless);
  EXPECT_EQ(outcome.stats.finish, FinishReason::context_full);
  EXPECT_EQ(outcome.stats.prompt_tokens + outcome.stats.generated_tokens, 61);  // the last is not fed
  EXPECT_EQ(play("Fine.").text, "Fine.");

  SamplingConfig config = thinking(1000);
  EXPECT_EQ(play(endless, config).stats.finish, FinishReason::context_full);
}

TEST_F(ScriptedChat, AnOverlongPromptIsRefusedWithNumbers) {
  make(60);
  Messages messages = {{Role::user, std::string(500, 'x')}};
  const std::optional<Error> error = error_of([&] { start("no", plain(), messages); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::context_exceeded);
  EXPECT_THAT(error->message(), HasSubstr("the context holds 60"));
  EXPECT_EQ(play("Fine.").text, "Fine.");
}

TEST_F(ScriptedChat, CancelBeforePrefill) {
  auto run = start("Never said.");
  engine->cancel();
  const Outcome outcome = drain(*run);
  EXPECT_EQ(outcome.stats.finish, FinishReason::cancelled);
  EXPECT_TRUE(outcome.pieces.empty());
  EXPECT_EQ(play("Said.").text, "Said.");
}

TEST_F(ScriptedChat, CancelDuringPrefill) {
  auto run = start("Never said.");
  backend->fail_after = 3;
  const Outcome outcome = drain(*run);
  EXPECT_EQ(outcome.stats.finish, FinishReason::cancelled);
  EXPECT_EQ(play("Said.").text, "Said.");
}

TEST_F(ScriptedChat, CancelFromAnotherThreadDuringDecode) {
  std::string endless;
  for (int i = 0; i < 60; ++i) endless += " on";
  backend->on_decode = [&](int64_t decodes) {
    if (decodes == 10) std::thread([&] { engine->cancel(); }).join();
  };
  const Outcome outcome = play(endless);
  EXPECT_EQ(outcome.stats.finish, FinishReason::cancelled);
  EXPECT_EQ(backend->decodes, 10);
  EXPECT_THAT(outcome.text, HasSubstr("on on"));
  backend->on_decode = nullptr;
  EXPECT_EQ(play("Said.").text, "Said.");
}

TEST_F(ScriptedChat, AnOldCancelDoesNotEndTheNextReply) {
  engine->cancel();
  EXPECT_EQ(play("Said.").text, "Said.");
}

TEST_F(ScriptedChat, OneReplyAtATime) {
  auto run = start("One two three");
  ASSERT_TRUE(run->next());
  EXPECT_ERROR(busy, start("Other"));
  EXPECT_ERROR(busy, engine->unload());
  EXPECT_ERROR(busy, engine->reset_state());
  drain(*run);
  EXPECT_EQ(play("Other").text, "Other");  // the first one has ended, though its object lives
}

TEST_F(ScriptedChat, DroppingAReplyEndsItThere) {
  start("One two three")->next();
  EXPECT_EQ(engine->stats().finish, FinishReason::cancelled);
  EXPECT_EQ(play("Other").text, "Other");
}

TEST_F(ScriptedChat, AReplyKeepsItsEngineAlive) {
  auto run = start("One two three");
  std::weak_ptr<chat::Engine> watch = engine;
  engine.reset();
  backend->script = [this](std::span<const int32_t>) { return im_end; };
  EXPECT_EQ(drain(*run).stats.finish, FinishReason::stop);
  EXPECT_FALSE(watch.expired());
  run.reset();
  EXPECT_TRUE(watch.expired());
}

TEST_F(ScriptedChat, AnErrorInTheMiddleLeavesTheChatUsable) {
  auto run = start("One two three four");
  backend->on_decode = [](int64_t decodes) {
    if (decodes == 2) throw Error(ErrorCode::io, "the device is gone");
  };
  EXPECT_ERROR(io, drain(*run));
  EXPECT_FALSE(run->next());
  backend->on_decode = nullptr;
  EXPECT_EQ(play("Fine.").text, "Fine.");
}

TEST_F(ScriptedChat, UnloadAndLoad) {
  EXPECT_TRUE(engine->is_loaded());
  EXPECT_GT(engine->memory().total(), 0);
  engine->unload();
  EXPECT_FALSE(engine->is_loaded());
  EXPECT_EQ(engine->memory().total(), 0);
  EXPECT_ERROR(not_loaded, chat::ReplyRun(engine, hello(), plain(), {}));
  EXPECT_ERROR(not_loaded, engine->reset_state());
  engine->unload();
  engine->load();
  engine->load();
  EXPECT_EQ(play("Back.").text, "Back.");
}

TEST_F(ScriptedChat, RefusesWhatCannotBeMeant) {
  EXPECT_ERROR(bad_template, start("no", plain(), {}));
  EXPECT_ERROR(bad_template, start("no", plain(), {{Role::system, "Only a system message"}}));
  SamplingConfig hot = plain();
  hot.temperature = -1;
  EXPECT_ERROR(invalid_argument, start("no", hot));
  SamplingConfig empty_stop = plain();
  empty_stop.stop = {""};
  EXPECT_ERROR(invalid_argument, start("no", empty_stop));
  EXPECT_ERROR(invalid_argument, start("no", plain(), hello(), {Tool{"{not json"}}));
  Messages bad_call = hello();
  bad_call.push_back({Role::assistant, "", "", {{"weather", "[1, 2]"}}});
  EXPECT_ERROR(invalid_argument, start("no", plain(), bad_call));
  EXPECT_EQ(play("Fine.", plain(), {{Role::user, ""}}).text, "Fine.");  // an empty turn is a turn
}

TEST_F(ScriptedChat, ATokenizerTooLargeForTheModelIsRefused) {
  backend = std::make_shared<FakeBackend>(300);
  EXPECT_ERROR(bad_tokenizer, (chat::Engine("small", [this](const chat::KeptStates&) {
                                 LoadedModel model;
                                 model.backend = backend;
                                 model.context = 100;
                                 return chat::assemble(std::move(model), Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"),
                                                       chat::ThinkingDefault::off);
                               }).load()));
}

TEST_F(ScriptedChat, TheNextTurnReusesUpToTheGenerationPrompt) {
  Messages messages = {{Role::system, "Be kind."}, {Role::user, "Hello"}};
  const Outcome first = play("Good day.", plain(), messages);
  EXPECT_EQ(first.stats.cached_tokens, 0);
  messages.push_back(assistant("Good day."));
  const auto after_user = static_cast<int64_t>(
      tokenizer().encode("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n").size());
  messages.push_back({Role::user, "What is your name?"});
  EXPECT_EQ(play("Anna.", plain(), messages).stats.cached_tokens, after_user);

  // An edited question still finds the system prompt, another system prompt nothing.
  const auto system = static_cast<int64_t>(tokenizer().encode("<|im_start|>system\nBe kind.<|im_end|>\n").size());
  EXPECT_EQ(play("Yes.", plain(), {messages[0], {Role::user, "Bye"}}).stats.cached_tokens, system);
  EXPECT_EQ(play("Yes.", plain(), {{Role::system, "Be rude."}, messages[1]}).stats.cached_tokens, 0);
  engine->reset_state();
  EXPECT_EQ(play("Good day.", plain(), {messages[0], messages[1]}).stats.cached_tokens, 0);
}

TEST_F(ScriptedChat, AfterAToolCallTheWholeReplyIsReused) {
  make(2000);
  const std::string call =
      "<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>";
  Messages messages = {{Role::user, "Weather in Oslo?"}};
  const Outcome first = play(call, plain(), messages, {kWeather});
  ASSERT_EQ(first.calls.size(), 1U);
  messages.push_back({Role::assistant, "", "", first.calls});
  messages.push_back({Role::tool, "cold"});
  const Outcome second = play("It is cold.", plain(), messages, {kWeather});
  EXPECT_GE(second.stats.cached_tokens, first.stats.prompt_tokens + first.stats.generated_tokens - 2);
}

TEST_F(ScriptedChat, TokensUpToACutDoNotDependOnWhatFollows) {
  Messages messages = {{Role::system, "Be kind."}};
  std::vector<int32_t> before;
  std::vector<int64_t> cuts;
  for (const char* text :
       {"Hello", "", "  spaces  ", "line\n\n", "日本 🦊", "<think>odd</think>", "<|im_start|>user"}) {
    messages.push_back({Role::user, text});
    const chat::PromptPlan plan = chat::plan_prompt(tokenizer(), chat::ThinkingDefault::off, messages, {}, plain());
    const MarkedText prompt = chat::render_prompt(chat::ThinkingDefault::off, messages, {}, plain());
    ASSERT_FALSE(plan.cuts.empty());
    for (const int64_t cut : plan.cuts) {
      const std::span<const int32_t> head(plan.tokens.data(), static_cast<size_t>(cut));
      const std::string prefix = tokenizer().decode(head);
      ASSERT_THAT(plan.text, testing::StartsWith(prefix));
      EXPECT_EQ(tokenizer().encode(prompt.slice(std::string_view(prompt.text()).substr(0, prefix.size()))),
                std::vector<int32_t>(head.begin(), head.end()));
    }
    for (const int64_t cut : cuts) EXPECT_THAT(plan.cuts, testing::Contains(cut));  // earlier cuts stay
    const auto last = static_cast<size_t>(plan.cuts.back());
    for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(plan.tokens[i], before[i]);
    before.assign(plan.tokens.begin(), plan.tokens.begin() + static_cast<std::ptrdiff_t>(last));
    cuts = plan.cuts;
    messages.push_back(assistant("Fine.\n"));
  }
}

/// On files, through the public API only.
class TinyChat : public testing::Test {
 protected:
  static LoadOptions options() {
    LoadOptions load;
    load.backend = "reference";
    load.threads = 1;
    load.context = 512;
    return load;
  }
  static SamplingConfig sampling() {
    SamplingConfig config;
    config.seed = 11;
    config.max_tokens = 12;
    return config;
  }
  Chat chat = Chat::from_pretrained(kTinyChat, options());
};

TEST_F(TinyChat, StreamAndCallbackAndWholeReplyAgree) {
  const Reply whole = chat.generate(hello(), sampling());
  std::string streamed;
  ReplyStream stream = chat.generate_stream(hello(), sampling());
  for (const Piece& piece : stream) {
    if (piece.channel == Channel::speech) streamed += piece.text;
  }
  EXPECT_EQ(streamed, whole.text);
  EXPECT_EQ(stream.stats().generated_tokens, whole.stats.generated_tokens);
  EXPECT_EQ(stream.stats().seed, 11U);
  std::string called;
  chat.generate_stream(hello(), sampling(), [&](const Piece& piece) {
    called += piece.text;
    return true;
  });
  EXPECT_EQ(called, whole.text);
}

TEST_F(TinyChat, ACallbackMayEndTheReply) {
  int pieces = 0;
  const Reply reply = chat.generate_stream(hello(), sampling(), [&](const Piece&) { return ++pieces < 2; });
  EXPECT_EQ(pieces, 2);
  EXPECT_EQ(reply.stats.finish, FinishReason::cancelled);
  EXPECT_NO_THROW(chat.generate(hello(), sampling()));
}

TEST_F(TinyChat, BreakingOutOfTheRangeLeavesTheChatUsable) {
  const std::string expected = chat.generate(hello(), sampling()).text;
  for (const Piece& piece : chat.generate_stream(hello(), sampling())) {
    EXPECT_FALSE(piece.text.empty());
    break;
  }
  EXPECT_EQ(chat.generate(hello(), sampling()).text, expected);
}

TEST_F(TinyChat, AWarmConversationSaysWhatAColdOneSays) {
  Messages messages = {{Role::system, "Be kind."}};
  for (const char* text : {"Hello", "What is your name?", "Tell me a joke"}) {
    messages.push_back({Role::user, text});
    const Reply warm = chat.generate(messages, sampling());
    if (messages.size() > 2) {
      EXPECT_GT(warm.stats.cached_tokens, 10);
    }
    chat.reset_state();
    const Reply cold = chat.generate(messages, sampling());
    EXPECT_EQ(cold.stats.cached_tokens, 0);
    EXPECT_EQ(warm.text, cold.text);
    EXPECT_EQ(warm.stats.prompt_tokens, cold.stats.prompt_tokens);
    messages.push_back({Role::assistant, cold.text});
  }
}

TEST_F(TinyChat, AStreamOutlivesItsChat) {
  std::optional<Chat> short_lived = Chat::from_pretrained(kTinyChat, options());
  ReplyStream stream = short_lived->generate_stream(hello(), sampling());
  auto piece = stream.begin();
  short_lived.reset();
  int64_t pieces = 0;
  for (; piece != stream.end(); ++piece) ++pieces;
  EXPECT_GT(stream.stats().generated_tokens, 0);
}

TEST_F(TinyChat, InfoMemoryTokensAndPrompt) {
  const ModelInfo info = chat.info();
  EXPECT_EQ(info.vocab_size, 512);
  EXPECT_EQ(info.num_layers, 4);
  EXPECT_EQ(info.num_attention_layers, 1);
  EXPECT_EQ(info.backend, "reference");
  EXPECT_GT(info.parameters, 0);
  const MemoryFootprint before = chat.memory_footprint();
  EXPECT_GT(before.kv, 0);
  EXPECT_GT(before.state, 0);
  EXPECT_EQ(before.stored_states, 0);
  chat.generate(hello(), sampling());
  EXPECT_GT(chat.memory_footprint().stored_states, 0);
  EXPECT_EQ(chat.tokenize("<|im_end|>").size(), 1U);
  EXPECT_GT(chat.tokenize("<|im_end|>", ControlTokens::as_text).size(), 1U);
  EXPECT_EQ(chat.render_prompt(hello()),
            "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  SamplingConfig think;
  think.enable_thinking = true;
  EXPECT_THAT(chat.render_prompt(hello(), think), testing::EndsWith("assistant\n<think>\n"));
  chat.unload();
  EXPECT_EQ(chat.memory_footprint().total(), 0);
  EXPECT_ERROR(not_loaded, chat.generate(hello()));
  EXPECT_EQ(chat.info().vocab_size, 512);
  chat.load();
  EXPECT_NO_THROW(chat.generate(hello(), sampling()));
}

TEST_F(TinyChat, AFreshSeedEachTime) {
  SamplingConfig config = sampling();
  config.seed.reset();
  const uint64_t first = chat.generate(hello(), config).stats.seed;
  EXPECT_NE(first, chat.generate(hello(), config).stats.seed);
  config.seed = first;
  EXPECT_EQ(chat.generate(hello(), config).text, chat.generate(hello(), config).text);
}

TEST_F(TinyChat, ThinkingStaysWithinItsBudget) {
  SamplingConfig config = sampling();
  config.enable_thinking = true;
  config.max_thinking_tokens = 7;
  const Reply reply = chat.generate(hello(), config);
  EXPECT_GE(reply.stats.thinking_tokens, 7);
  EXPECT_LE(reply.stats.thinking_tokens, 12);  // the forced end included
}

TEST(ChatLoading, ReportsProgressAndNamesWhatIsMissing) {
  std::vector<double> fractions;
  LoadOptions options;
  options.backend = "reference";
  options.progress = [&](double fraction, std::string_view) { fractions.push_back(fraction); };
  Chat::from_pretrained(kTinyChat, options);
  ASSERT_GE(fractions.size(), 2U);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_EQ(fractions.front(), 0.0);
  EXPECT_EQ(fractions.back(), 1.0);

  EXPECT_ERROR(not_found, Chat::from_pretrained("/nonexistent/folder"));
  LoadOptions offline = options;
  offline.offline = true;
  EXPECT_ERROR(not_found, Chat::from_pretrained("nobody/has-this-model", offline));
  EXPECT_ERROR(not_found, Chat::from_pretrained(PROSA_TEST_DATA "/golden/tiny-hf", options));  // no tokenizer.json
  LoadOptions bad = options;
  bad.context = 0;
  EXPECT_ERROR(invalid_argument, Chat::from_pretrained(kTinyChat, bad));
  bad = options;
  bad.backend = "abacus";
  EXPECT_ERROR(unsupported, Chat::from_pretrained(kTinyChat, bad));
}

TEST(Chat, APromptIsReadAsItIs) {
  Chat chat = Chat::from_pretrained(kTinyChat, {.threads = 1});
  SamplingConfig sampling = plain();
  sampling.max_tokens = 8;
  const std::string written = chat.render_prompt(hello(), sampling);
  const std::string reply = chat.generate(hello(), sampling).text;
  EXPECT_EQ(chat.render_prompt({{Role::prompt, written}}), written);
  EXPECT_EQ(chat.generate({{Role::prompt, written}}, sampling).text, reply) << "control tokens are read";
  EXPECT_EQ(chat.detokenize(chat.tokenize(written)), written);
  EXPECT_ERROR(invalid_argument, chat.generate({{Role::prompt, "a"}, {Role::user, "b"}}, sampling));
  EXPECT_ERROR(invalid_argument, chat.generate({{Role::prompt, "a"}}, sampling, {{R"({"name": "f"})"}}));
  EXPECT_ERROR(bad_template, chat.generate({{Role::prompt, ""}}, sampling));
  EXPECT_ERROR(invalid_argument, chat.detokenize({-1}));
  EXPECT_EQ(chat.generate(hello(), sampling).text, reply);
}

}  // namespace
}  // namespace prosa
