// Conversations over time: what each turn computes, what hearing, cancelling, forgetting, saving and unloading change
// (the costs) and never change (the words).
//
// On a fake backend where tokens are counted, and on the tiny model where warm and cold runs are compared.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <thread>

#include "chat/engine.h"
#include "chat/reply_run.h"
#include "fake_backend.h"
#include "prosa/chat.h"
#include "temp_folder.h"

#ifdef PROSA_ADDRESS_SANITIZER
// Of AddressSanitizer's run-time library; Debian's g++ comes without the header that declares it.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace prosa {
namespace {

using test::FakeBackend;
using Messages = std::vector<Message>;

constexpr const char* kTinyChat = PROSA_TINY_CHAT;

std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

SamplingConfig greedy(int max_tokens = 40) {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1;
  config.max_tokens = max_tokens;
  return config;
}

Message user(std::string text) { return {Role::user, std::move(text)}; }
Message assistant(std::string text) { return {Role::assistant, std::move(text)}; }

/// An engine over the fake backend, which says a fixed text.
class CountedChat : public testing::Test {
 protected:
  void make(int64_t context, chat::EngineOptions options = {}) {
    backend = std::make_shared<FakeBackend>(512);
    engine = std::make_shared<chat::Engine>(
        "scripted",
        [this, context](const chat::KeptStates& kept) {
          ++loads;
          LoadedModel model;
          model.backend = backend;
          model.context = context;
          model.fingerprint = fingerprint;
          return chat::assemble(std::move(model), Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"),
                                chat::ThinkingDefault::off, kept);
        },
        std::move(options));
    engine->load();
  }
  void SetUp() override { make(20'000); }

  /// A reply of `text`, with what it cost.
  Reply play(const std::string& text, const Messages& messages, const SamplingConfig& sampling = greedy(1000)) {
    chat::ReplyRun run(engine, messages, sampling, {});
    return drain(run, text);
  }
  Reply drain(chat::ReplyRun& run, const std::string& text) {
    const auto prompt = static_cast<size_t>(run.stats().prompt_tokens);
    const Tokenizer& tokenizer = engine->loaded()->text->tokenizer;
    backend->script = [end = *tokenizer.token_id("<|im_end|>"), prompt,
                       tokens = tokenizer.encode(text)](std::span<const int32_t> fed) {
      const size_t at = fed.size() - prompt;
      return fed.size() >= prompt && at < tokens.size() ? tokens[at] : end;
    };
    Reply reply;
    while (const auto piece = run.next()) reply.text += piece->text;
    reply.stats = run.stats();
    return reply;
  }
  int64_t tokens_of(const std::string& text) { return std::ssize(engine->loaded()->text->tokenizer.encode(text)); }
  /// Of the prompt: the header and think block after the user's turn.
  int64_t generation_prompt() { return tokens_of("<|im_start|>assistant\n<think>\n\n</think>\n\n"); }
  static int64_t computed(const Reply& reply) { return reply.stats.prompt_tokens - reply.stats.cached_tokens; }
  int64_t fed_since_last_call() {
    int64_t sum = 0;
    for (const int64_t count : std::exchange(backend->prefills, {})) sum += count;
    return sum;
  }

  std::shared_ptr<FakeBackend> backend;
  std::shared_ptr<chat::Engine> engine;
  int loads = 0;
  uint64_t fingerprint = 7;
};

TEST_F(CountedChat, EachOfFortyTurnsComputesItsNewTokensOnly) {
  Messages messages = {{Role::system, "Be kind and brief, and answer in whole sentences."}};
  const std::string answer = "Yes, that is so; and there is more to be said about it than fits into one line of text.";
  int64_t before = 0;  // tokens up to the end of the last user turn
  for (int turn = 0; turn < 40; ++turn) {
    std::string question = "Question " + std::to_string(turn);
    while (tokens_of(question) < 110) question += " and what of the other one?";
    messages.push_back(user(question));
    fed_since_last_call();
    const Reply reply = play(answer, messages);
    const int64_t added = reply.stats.prompt_tokens - before;
    EXPECT_EQ(computed(reply), added) << "turn " << turn;
    EXPECT_EQ(fed_since_last_call(), added) << "turn " << turn;
    EXPECT_EQ(reply.stats.reuse.reused, before);
    before = reply.stats.prompt_tokens - generation_prompt();
    messages.push_back(assistant(reply.text));
  }
  EXPECT_GT(before, 6000);
}

TEST_F(CountedChat, RetryEditAndUndoCostWhatIsNew) {
  Messages messages = {{Role::system, "Be kind."}, user("Hello"), assistant("Good day."), user("Who are you?")};
  play("Anna.", messages);
  EXPECT_EQ(computed(play("Eva.", messages)), generation_prompt()) << "retry";
  messages.back().content = "What is your name?";
  const int64_t question = tokens_of("<|im_start|>user\nWhat is your name?<|im_end|>\n");
  EXPECT_EQ(computed(play("Anna.", messages)), question + generation_prompt()) << "edit";
  messages.resize(2);
  EXPECT_EQ(computed(play("Good day.", messages)), generation_prompt()) << "undo, and retry";
}

TEST_F(CountedChat, ConversationsInTurnShareTheSystemPrompt) {
  const Message system = {Role::system, "Be kind."};
  play("Yes.", {system, user("One")});
  const Reply other = play("Yes.", {system, user("Two")});
  EXPECT_EQ(other.stats.cached_tokens, tokens_of("<|im_start|>system\nBe kind.<|im_end|>\n"));
  EXPECT_EQ(other.stats.reuse.path, SyncPath::restored);
  EXPECT_EQ(
      computed(play("No.", {system, user("One"), assistant("Yes."), user("More")})),
      tokens_of("<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n") + generation_prompt());
}

// ---- hearing

TEST_F(CountedChat, WhatWasHeardIsNotReadAgain) {
  const Messages history = {{Role::system, "Be kind."}, user("Hello"), assistant("Good day to you.")};
  play("Good day to you.", {history[0], history[1]});
  fed_since_last_call();
  std::string said;
  int slot = 0;
  engine->hear(history, said, {}, greedy(), slot++);
  EXPECT_EQ(fed_since_last_call(), tokens_of("<|im_start|>assistant\nGood day to you.<|im_end|>\n"));
  int64_t heard = 0;
  for (const char* word : {"Could", " you", " tell", " me", " what", " the", " weather", " is", " in", " Oslo"}) {
    said += word;
    const SyncReport report = engine->hear(history, said, {}, greedy(), slot++);
    const int64_t fed = fed_since_last_call();
    EXPECT_EQ(report.computed, fed);
    heard += fed;
  }
  EXPECT_LE(heard, tokens_of("<|im_start|>user\n" + said)) << "nothing is read twice";
  Messages messages = history;
  messages.push_back(user(said + "?"));
  const Reply reply = play("It rains.", messages);
  EXPECT_LE(computed(reply), 8 + tokens_of("?<|im_end|>\n") + generation_prompt());
  EXPECT_EQ(engine->loaded()->session.tokens().size(),
            static_cast<size_t>(reply.stats.prompt_tokens + reply.stats.generated_tokens - 1));
}

TEST_F(CountedChat, ATranscriptThatShrinksOrChangesIsOneStepBack) {
  const Messages history = {{Role::system, "Be kind."}};
  std::mt19937 random(3);
  std::string said;
  std::vector<std::string> words = {"I", " would", " like", " two", " to", " too", " tickets", " for", " four", " you"};
  engine->hear(history, "", {}, greedy(), 0);
  for (int i = 0; i < 300; ++i) {
    if (random() % 4 == 0) said.resize(said.find_last_of(' ') == std::string::npos ? 0 : said.find_last_of(' '));
    if (random() % 6 == 0) said.resize(random() % (said.size() + 1));
    said += words[random() % words.size()];
    if (said.size() > 400) said.clear();
    fed_since_last_call();
    const SyncReport report = engine->hear(history, said, {}, greedy(), i);
    ASSERT_EQ(fed_since_last_call(), report.computed);
    ASSERT_LE(report.computed, tokens_of("<|im_start|>user\n" + said)) << "at most from the turn's beginning";
    if (i % 10 != 9) continue;
    // Whatever was heard, the reply is to what was committed: the fake backend's script checks every token fed.
    Messages messages = history;
    messages.push_back(user(said));
    const Reply reply = play("Fine.", messages);
    ASSERT_EQ(reply.text, "Fine.");
    std::vector<int32_t> fed(engine->loaded()->session.tokens().begin(), engine->loaded()->session.tokens().end());
    fed.resize(static_cast<size_t>(reply.stats.prompt_tokens));
    ASSERT_EQ(engine->loaded()->text->tokenizer.decode(fed),
              chat::render_prompt(chat::ThinkingDefault::off, messages, {}, greedy()).text());
  }
}

TEST_F(CountedChat, HeardCutsTheReplyAndReadsItAhead) {
  EXPECT_EQ(code_of([&] { engine->heard(0); }), ErrorCode::invalid_argument) << "no reply yet";
  Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  play("Grüße! How are you today?", messages);
  EXPECT_EQ(code_of([&] { engine->heard(1000); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { engine->heard(26); }), ErrorCode::invalid_argument) << "one beyond the end";
  fed_since_last_call();
  EXPECT_EQ(engine->heard(10), "Grüße! How");
  const int64_t reply = tokens_of("<|im_start|>assistant\nGrüße! How<|im_end|>\n");
  EXPECT_EQ(fed_since_last_call(), reply);
  messages.push_back(assistant("Grüße! How"));
  messages.push_back(user("Stop."));
  const Reply next = play("Yes.", messages);
  EXPECT_EQ(computed(next), tokens_of("<|im_start|>user\nStop.<|im_end|>\n") + generation_prompt());
  EXPECT_EQ(engine->heard(0), "");
  EXPECT_EQ(code_of([&] { engine->heard(1); }), ErrorCode::invalid_argument) << "what was cut is gone";
}

// ---- cancel and deadline

TEST_F(CountedChat, ADeadlineEndsAReplyInTheMiddle) {
  std::string endless;
  for (int i = 0; i < 400; ++i) endless += " on";
  SamplingConfig config = greedy(100'000);
  config.deadline_ms = 50;
  backend->on_decode = [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
  const Reply reply = play(endless, {user("Hello")}, config);
  EXPECT_EQ(reply.stats.finish, FinishReason::deadline);
  EXPECT_LT(reply.stats.generated_tokens, 400);
  backend->on_decode = nullptr;
  config.deadline_ms = INT64_MAX;  // far away is no error
  EXPECT_EQ(play("Fine.", {user("Hello")}, config).stats.finish, FinishReason::stop);
  config.deadline_ms = -1;
  EXPECT_EQ(code_of([&] { play("Fine.", {user("Hello")}, config); }), ErrorCode::invalid_argument);
}

TEST_F(CountedChat, ACancelledPrefillKeepsWhatItReached) {
  const Messages messages = {{Role::system, "Be kind."}, user("One"), assistant("Yes."), user("Two")};
  backend->fail_after = tokens_of(chat::render_prompt(chat::ThinkingDefault::off, messages, {}, greedy()).text()) - 3;
  EXPECT_EQ(play("Fine.", messages).stats.finish, FinishReason::cancelled);
  const Reply again = play("Fine.", messages);
  EXPECT_EQ(again.text, "Fine.");
  EXPECT_GT(again.stats.cached_tokens, 20) << "states it had passed";
}

// ---- a context that is too small

TEST_F(CountedChat, DropOldestKeepsSystemPromptAndNewestTurn) {
  chat::EngineOptions options;
  options.chat.context_policy = ContextPolicy::drop_oldest;
  make(400, std::move(options));
  Messages messages = {{Role::system, "Be kind."}};
  int64_t dropped = 0;
  int rebuilt = 0;
  for (int turn = 0; turn < 40; ++turn) {
    messages.push_back(user("Question " + std::to_string(turn) + " about the weather in Oslo"));
    const Reply reply = play("It rains there.", messages);
    ASSERT_EQ(reply.text, "It rains there.");
    EXPECT_GE(reply.stats.dropped_messages, dropped) << "what was left out stays out";
    if (reply.stats.dropped_messages != dropped) ++rebuilt;
    dropped = reply.stats.dropped_messages;
    EXPECT_EQ(dropped % 2, 0) << "whole turns";
    const std::span<const int32_t> fed = engine->loaded()->session.tokens();
    const std::string prompt = engine->loaded()->text->tokenizer.decode(std::vector<int32_t>(fed.begin(), fed.end()));
    EXPECT_THAT(prompt, testing::StartsWith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nQuestion " +
                                            std::to_string(dropped / 2) + " "));
    EXPECT_THAT(prompt, testing::HasSubstr(messages.back().content));
    messages.push_back(assistant(reply.text));
  }
  EXPECT_GT(dropped, 20);
  EXPECT_LE(rebuilt, 10) << "not at every turn";
  EXPECT_EQ(play("Yes.", {{Role::system, "Be kind."}, user("New")}).stats.dropped_messages, 0);
  EXPECT_EQ(code_of([&] { play("Yes.", {user(std::string(2000, 'x'))}); }), ErrorCode::context_exceeded);
  engine->hear(messages, "And", {}, greedy(), 0);
  messages.push_back(user("And now?"));
  EXPECT_EQ(play("Yes.", messages).text, "Yes.");
}

// ---- unloading

TEST_F(CountedChat, UnloadMayKeepStates) {
  const Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  play("Good day.", messages);
  engine->unload(Unload::keep);
  EXPECT_FALSE(engine->is_loaded());
  EXPECT_GT(engine->memory().stored_states, 0);
  EXPECT_EQ(engine->memory().total(), engine->memory().stored_states);
  EXPECT_EQ(code_of([&] { play("No.", messages); }), ErrorCode::not_loaded);
  engine->load();
  EXPECT_EQ(computed(play("Good day.", messages)), generation_prompt());
  engine->unload(Unload::keep);
  fingerprint = 8;  // the files have changed meanwhile
  engine->load();
  EXPECT_EQ(play("Good day.", messages).stats.cached_tokens, 0);
  engine->unload();
  EXPECT_EQ(engine->memory().total(), 0);
}

TEST_F(CountedChat, UnloadMayParkStatesInAFile) {
  const TempFolder folder;
  const std::string path = (folder.path() / "parked").string();
  Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  play("Good day.", messages);
  EXPECT_EQ(code_of([&] { engine->unload(Unload::park); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { engine->unload(Unload::park, "/nowhere/file"); }), ErrorCode::io);
  EXPECT_TRUE(engine->is_loaded()) << "what could not be parked is still there";
  engine->unload(Unload::park, path);
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(engine->memory().total(), 0);
  engine->load();
  EXPECT_FALSE(std::filesystem::exists(path));
  messages.push_back(assistant("Good day."));
  messages.push_back(user("Bye"));
  EXPECT_EQ(computed(play("Bye.", messages)), tokens_of("<|im_start|>user\nBye<|im_end|>\n") + generation_prompt());
}

TEST_F(CountedChat, IdlenessUnloadsAndTheNextReplyLoads) {
  chat::EngineOptions options;
  options.chat.idle_unload_seconds = 0.05;
  const int64_t again = generation_prompt();  // asking for tokens loads too: before, not between, what is counted
  make(2000, std::move(options));
  const Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  const auto wait_for_idleness = [&] {
    while (engine->is_loaded()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  play("Good day.", messages);
  wait_for_idleness();
  loads = 0;
  EXPECT_EQ(computed(play("Good day.", messages)), again);
  EXPECT_EQ(loads, 1);
  wait_for_idleness();
  EXPECT_GT(engine->loaded()->text->tokenizer.vocab_size(), 0) << "asking for tokens loads too";
  engine->unload();
  EXPECT_EQ(code_of([&] { (void)engine->loaded(); }), ErrorCode::not_loaded)
      << "but what was unloaded by hand stays so";
}

TEST_F(CountedChat, ReplyThatMeetsTheUnloadingOfIdlenessWaits) {
  chat::EngineOptions options;
  options.chat.idle_unload_seconds = 0.01;
  make(2000, std::move(options));
  for (int i = 0; i < 100; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(9'000 + 30 * i));
    ASSERT_EQ(play("Good day.", {user("Hello")}).text, "Good day.") << "reply " << i;
  }
  EXPECT_GT(loads, 10);
}

TEST_F(CountedChat, LoadingCanBeCancelled) {
  chat::EngineOptions options;
  const auto cancellation = options.cancellation;
  std::shared_ptr<chat::Engine> late;
  late = std::make_shared<chat::Engine>(
      "late",
      [&](const chat::KeptStates&) -> std::shared_ptr<chat::Loaded> {
        std::thread([&] { late->cancel(); }).join();
        if (cancellation->requested()) throw Error(ErrorCode::cancelled, "loading was cancelled");
        return nullptr;
      },
      std::move(options));
  EXPECT_EQ(code_of([&] { late->load(); }), ErrorCode::cancelled);
  EXPECT_FALSE(late->is_loaded());
}

// ---- on files, through the public API

class TinySessions : public testing::Test {
 protected:
  static LoadOptions options() {
    LoadOptions load;
    load.threads = 1;
    load.context = 700;
    return load;
  }
  static Chat fresh(const LoadOptions& load = options()) { return Chat::from_pretrained(kTinyChat, load); }
  static SamplingConfig sampling(uint64_t seed = 3, int max_tokens = 12) {
    SamplingConfig config;
    config.seed = seed;
    config.max_tokens = max_tokens;
    return config;
  }
  const TempFolder folder;
  std::string path(const char* name) const { return (folder.path() / name).string(); }
};

TEST_F(TinySessions, ASavedConversationGoesOnWithTheSameWords) {
  Chat first = fresh();
  Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  messages.push_back(assistant(first.generate(messages, sampling()).text));
  first.save_session(path("talk"), messages, sampling());
  messages.push_back(user("What is your name?"));

  Chat second = fresh();
  Messages loaded = second.load_session(path("talk"));
  ASSERT_EQ(loaded.size(), 3U);
  EXPECT_EQ(loaded[0].content, "Be kind.");
  EXPECT_EQ(loaded[2].content, messages[2].content);
  loaded.push_back(messages.back());
  const Reply resumed = second.generate(loaded, sampling());
  const Reply cold = fresh().generate(messages, sampling());
  EXPECT_EQ(resumed.text, cold.text);
  EXPECT_EQ(resumed.stats.prompt_tokens - resumed.stats.cached_tokens,
            std::ssize(second.tokenize("<|im_start|>user\nWhat is your name?<|im_end|>\n"
                                       "<|im_start|>assistant\n<think>\n\n</think>\n\n")));
  EXPECT_EQ(code_of([&] { second.load_session(path("absent")); }), ErrorCode::not_found);
}

TEST_F(TinySessions, ARestartForgetsNeitherRetryNorEdit) {
  Chat first = fresh();
  Messages messages = {{Role::system, "Be kind."}, user("Hello")};
  for (const char* question : {"What is your name?", "Where do you live?"}) {
    messages.push_back(assistant(first.generate(messages, sampling()).text));
    messages.push_back(user(question));
  }
  const Reply reply = first.generate(messages, sampling(5));
  Messages all = messages;
  all.push_back(assistant(reply.text));
  first.save_session(path("talk"), all, sampling());

  Chat second = fresh();
  second.load_session(path("talk"));
  EXPECT_EQ(second.stats().seed, 5U) << "of the last reply";
  const auto computed = [](const Reply& of) { return of.stats.prompt_tokens - of.stats.cached_tokens; };
  const Reply retried = second.generate(messages, sampling(5));
  EXPECT_EQ(retried.text, reply.text);
  EXPECT_EQ(computed(retried), std::ssize(second.tokenize("<|im_start|>assistant\n<think>\n\n</think>\n\n")));
  second.load_session(path("talk"));
  messages.back().content = "How old are you?";
  EXPECT_EQ(computed(second.generate(messages, sampling())),
            std::ssize(second.tokenize("<|im_start|>user\nHow old are you?<|im_end|>\n"
                                       "<|im_start|>assistant\n<think>\n\n</think>\n\n")));
}

TEST_F(TinySessions, ACacheFolderKeepsSystemPromptsAcrossRestarts) {
  LoadOptions load = options();
  load.cache_dir = path("cache");
  const Messages messages = {{Role::system, "Be kind and brief."}, user("Hello")};
  const std::string cold = fresh().generate(messages, sampling()).text;
  EXPECT_EQ(fresh(load).generate(messages, sampling()).stats.cached_tokens, 0);
  Chat again = fresh(load);
  const Reply warm = again.generate(messages, sampling());
  EXPECT_EQ(warm.stats.cached_tokens, std::ssize(again.tokenize("<|im_start|>system\nBe kind and brief.<|im_end|>\n")));
  EXPECT_EQ(warm.text, cold);

  std::filesystem::path file;
  const auto count = [&] {
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(load.cache_dir)) file = entry.path(), ++files;
    return files;
  };
  ASSERT_EQ(count(), 1);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_EQ(fresh(load).generate(messages, sampling()).text, cold) << "a damaged file is no error";
  ASSERT_EQ(count(), 1);
  load.cache_bytes = static_cast<int64_t>(std::filesystem::file_size(file)) * 5 / 2;
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms(0600));
  std::ofstream(load.cache_dir + "/.0123456789abcdef0123456789abcdef.prosa-session.0123456789abcdef.tmp")
      << "of a process that was killed";
  Chat many = fresh(load);
  for (const char* system : {"One.", "Two.", "Three.", "Four."}) {
    many.generate({{Role::system, system}, user("Hello")}, sampling(1, 1));
    EXPECT_LE(count(), 2);
  }
  const std::vector<std::string> users = {"talk.prosa-session", "0123456789ABCDEF0123456789ABCDEF.prosa-session",
                                          ".talk.prosa-session.0123456789abcdef.tmp"};
  for (const std::string& name : users) std::ofstream(load.cache_dir + "/" + name) << std::string(1 << 20, 'x');
  many.generate({{Role::system, "Five."}, user("Hello")}, sampling(1, 1));
  for (const std::string& name : users) EXPECT_TRUE(std::filesystem::exists(load.cache_dir + "/" + name)) << name;
  load.cache_dir = (folder.path() / "cache" / "x").string();
  std::ofstream(load.cache_dir) << "a file";
  EXPECT_EQ(code_of([&] { fresh(load); }), ErrorCode::io);
}

TEST_F(TinySessions, HearingNeverShowsInTheWords) {
  Chat chat = fresh();
  Messages history = {{Role::system, "Be kind."}};
  for (const char* text : {"Hello there my friend", "What is your name and where are you from", "Tell me a joke"}) {
    Turn turn = chat.begin_turn(history, sampling());
    const std::string whole = text;
    turn.hear("Something that was misunderstood");
    turn.hear("");
    Reply reply;
    ReplyStream stream = turn.commit(whole);
    for (const Piece& piece : stream) reply.text += piece.text;
    EXPECT_EQ(code_of([&] { turn.hear("more"); }), ErrorCode::invalid_argument);
    EXPECT_EQ(code_of([&] { turn.commit("more"); }), ErrorCode::invalid_argument);
    history.push_back(user(whole));
    // Nothing of the committed words was heard: the cuts are those of a cold run, and so are the bits.
    EXPECT_EQ(reply.text, fresh().generate(history, sampling()).text);
    history.push_back(assistant(chat.heard(reply.text.empty() ? 0 : 1)));
  }
  EXPECT_EQ(code_of([&] { chat.begin_turn(history).hear("\xff"); }), ErrorCode::invalid_argument);
}

TEST_F(TinySessions, LoadingFromFilesCanBeCancelled) {
  std::atomic<bool> cancel = true;
  LoadOptions load = options();
  load.cancel = &cancel;
  EXPECT_EQ(code_of([&] { fresh(load); }), ErrorCode::cancelled);
  cancel = false;
  Chat chat = fresh(load);
  chat.unload();
  cancel = true;  // the flag of from_pretrained() is not looked at again
  EXPECT_NO_THROW(chat.load());
}

TEST_F(TinySessions, ASecondThreadIsToldSo) {
  Chat chat = fresh();
  ReplyStream stream = chat.generate_stream({user("Hello")}, sampling());
  std::thread([&] {
    EXPECT_EQ(code_of([&] { chat.save_session(path("s"), {user("Hello")}); }), ErrorCode::busy);
    EXPECT_EQ(code_of([&] { chat.load_session(path("s")); }), ErrorCode::busy);
    EXPECT_EQ(code_of([&] { chat.heard(0); }), ErrorCode::busy);
    EXPECT_EQ(code_of([&] { chat.begin_turn({}).hear("Hello"); }), ErrorCode::busy);
    EXPECT_EQ(code_of([&] { chat.unload(Unload::keep); }), ErrorCode::busy);
    (void)chat.memory_footprint();
    chat.cancel();
  }).join();
  for (const Piece& piece : stream) EXPECT_TRUE(piece.text.empty());
  EXPECT_EQ(stream.stats().finish, FinishReason::cancelled);
}

/// Memory that is in use, MiB: what is resident; under AddressSanitizer, which holds on to what was freed, the live
/// heap.
double memory_in_use_mib() {
#ifdef PROSA_ADDRESS_SANITIZER
  return static_cast<double>(__sanitizer_get_current_allocated_bytes()) / (1 << 20);
#else
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return static_cast<double>(resident) * 4096 / (1 << 20);
#endif
}

// Random turns with everything that can happen to a conversation between and during them. The words are always those of
// a cold run; memory does not grow.
TEST_F(TinySessions, TwoThousandTurns) {
  std::mt19937 random(17);
  LoadOptions load = options();
  load.state_store_bytes = 8 << 20;
  std::optional<Chat> chat = fresh(load);
  Chat cold = fresh(load);
  Messages history;
  const std::vector<std::string> texts = {"Hello",  "What is your name?", "Tell me a joke", "日本 🦊", "and",
                                          "Why so?"};
  const auto text = [&] { return texts[random() % texts.size()] + " " + std::to_string(random() % 5); };
  double after_warm_up = 0;
  const int turns = PROSA_LONG_TEST_TURNS;
  for (int turn = 0; turn < turns; ++turn) {
    if (history.empty() || history.size() > 14) history = {{Role::system, "Be kind " + std::to_string(random() % 3)}};
    switch (random() % 10) {
      case 0: {  // an edit somewhere
        const size_t at = random() % history.size();
        history.resize(at + 1);
        if (history.back().role == Role::user) history.pop_back();
        if (history.empty()) history = {{Role::system, "Be kind."}};
        break;
      }
      case 1:  // a restart
        chat->save_session(path("long"), history, sampling());
        chat.reset();
        chat = fresh(load);
        ASSERT_EQ(chat->load_session(path("long")).size(), history.size());
        break;
      case 2:
        chat->unload(random() % 2 == 0 ? Unload::keep : Unload::park, path("parked"));
        chat->load();
        break;
      default: break;
    }
    const std::string question = text();
    Turn listening = chat->begin_turn(history, sampling(turn));
    if (random() % 3 == 0) listening.hear("Something else was understood here, many words of it: " + text());
    history.push_back(user(question));
    if (random() % 4 == 0) {  // cancelled somewhere, then asked again
      std::thread canceller([&chat, pause = random() % 3000] {
        std::this_thread::sleep_for(std::chrono::microseconds(pause));
        chat->cancel();
      });
      chat->generate(history, sampling(turn));
      canceller.join();
    }
    const Reply warm = chat->generate(history, sampling(turn));
    if (random() % 8 == 0) {
      cold.reset_state();
      const Reply expected = cold.generate(history, sampling(turn));
      ASSERT_EQ(expected.stats.cached_tokens, 0);
      ASSERT_EQ(warm.text, expected.text) << "turn " << turn;
    }
    const size_t heard = random() % 3 == 0 && !warm.text.empty() ? 1 : 0;
    history.push_back(assistant(heard > 0 ? chat->heard(heard) : warm.text));
    ASSERT_LE(chat->memory_footprint().stored_states, load.state_store_bytes);
    if (turn == turns / 2) after_warm_up = memory_in_use_mib();
  }
  EXPECT_LT(memory_in_use_mib(), after_warm_up + 16);
}

}  // namespace
}  // namespace prosa
