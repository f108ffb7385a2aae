// The engine where things go wrong around a reply: parking a full context, turns that shrink, cancels at the edge of a
// call, replies that fail, options that cannot be meant. On the fake backend, where nothing takes time.
#include "chat/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "chat/reply_run.h"
#include "fake_backend.h"
#include "temp_folder.h"

namespace prosa {
namespace {

using test::FakeBackend;

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

class EngineTest : public testing::Test {
 protected:
  void make(int64_t context, ChatOptions options = {}) {
    chat::EngineOptions all;
    all.chat = std::move(options);
    engine = std::make_shared<chat::Engine>(
        "scripted",
        [this, context](const chat::KeptStates& kept) {
          LoadedModel model;
          model.backend = backend;
          model.context = context;
          return chat::assemble(std::move(model), Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"),
                                chat::ThinkingDefault::off, kept);
        },
        std::move(all));
    engine->load();
    // Never ends by itself.
    const int32_t word = engine->loaded()->text->tokenizer.encode(" and").front();
    backend->script = [word](std::span<const int32_t>) { return word; };
  }
  Reply reply(const std::vector<Message>& messages, int max_tokens) const {
    SamplingConfig sampling;
    sampling.temperature = 0;
    sampling.repetition_penalty = 1;
    sampling.max_tokens = max_tokens;
    chat::ReplyRun run(engine, messages, sampling, {});
    Reply all;
    while (const auto piece = run.next()) all.text += piece->text;
    all.stats = run.stats();
    return all;
  }

  std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>(512);
  std::shared_ptr<chat::Engine> engine;
};

TEST_F(EngineTest, AConversationThatHasFilledItsContextCanBeParked) {
  const TempFolder folder;
  const std::string path = (folder.path() / "parked").string();
  make(120);
  const std::vector<Message> messages = {{Role::user, "Hello"}};
  const Reply full = reply(messages, 5000);
  ASSERT_EQ(full.stats.finish, FinishReason::context_full);
  engine->unload(Unload::park, path);
  EXPECT_FALSE(engine->is_loaded());
  engine->load();
  EXPECT_GT(engine->loaded()->session.position(), 0) << "what could be kept is there";
  EXPECT_EQ(reply(messages, 3).text.substr(0, 4), full.text.substr(0, 4));
}

TEST_F(EngineTest, ATurnThatIsOnlyHeardLeavesNoMessagesBehind) {
  make(300, {.context_policy = ContextPolicy::drop_oldest});
  std::vector<Message> history;
  for (int turn = 0; turn < 3; ++turn) {
    history.push_back({Role::user, "Hello there, how are you today?"});
    history.push_back({Role::assistant, "I am well."});
  }
  SamplingConfig sampling;
  std::string longest;
  while (longest.size() < 900) longest += "and then I said that ";
  (void)engine->hear(history, longest, {}, sampling, 0);
  (void)engine->hear(history, "Why?", {}, sampling, 1);
  history.push_back({Role::user, "Why?"});
  EXPECT_EQ(reply(history, 3).stats.dropped_messages, 0);
}

TEST_F(EngineTest, AReplyThatFailsSaysSo) {
  make(300);
  backend->on_decode = [](int64_t) { throw Error(ErrorCode::io, "the device is gone"); };
  EXPECT_EQ(code_of([&] { (void)reply({{Role::user, "Hello"}}, 5); }), ErrorCode::io);
  EXPECT_EQ(engine->stats().finish, FinishReason::error);
  backend->on_decode = nullptr;
  EXPECT_EQ(reply({{Role::user, "Hello"}}, 5).stats.finish, FinishReason::length);
}

TEST_F(EngineTest, ACancelReachesTheCallThatIsUnderWayAndNoOther) {
  make(300);
  engine->cancel();  // nothing is under way
  EXPECT_EQ(reply({{Role::user, "Hello"}}, 5).stats.finish, FinishReason::length);
  {
    SamplingConfig sampling;
    const std::vector<Message> messages = {{Role::user, "Hello"}};
    chat::ReplyRun run(engine, messages, sampling, {});
    engine->cancel();  // before its first token
    EXPECT_FALSE(run.next().has_value());
    EXPECT_EQ(run.stats().finish, FinishReason::cancelled);
    engine->cancel();  // it has ended
  }
  EXPECT_EQ(reply({{Role::user, "Hello"}}, 5).stats.finish, FinishReason::length);
}

TEST(Cancellation, BelongsToACall) {
  chat::Cancellation cancellation;
  for (int call = 0; call < 200; ++call) {
    cancellation.cancel();
    cancellation.begin();
    EXPECT_FALSE(cancellation.requested());
    const std::atomic<bool>& flag = cancellation.flag();
    if (call % 3 == 0) cancellation.cancel();
    EXPECT_EQ(flag.load(), call % 3 == 0);
    cancellation.end();
    cancellation.cancel();
    EXPECT_EQ(flag.load(), call % 3 == 0) << "too late";
  }
}

TEST_F(EngineTest, IdlenessIsCheckedBeforeAThreadWaitsForIt) {
  for (const double seconds : {-1.0, 1e-5, 1e10, std::numeric_limits<double>::max(), HUGE_VAL, std::nan("")})
    EXPECT_EQ(code_of([&] { make(100, {.idle_unload_seconds = seconds}); }), ErrorCode::invalid_argument) << seconds;
  make(100, {.idle_unload_seconds = 1e9});
  EXPECT_TRUE(engine->is_loaded());
}

TEST_F(EngineTest, MemoryMayBeAskedForWhileASessionIsLoaded) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  make(300);
  const std::vector<Message> messages = {{Role::user, "Hello"}, {Role::assistant, "Good day."}};
  engine->save_session(path, messages, {}, {});
  std::atomic<bool> over = false;
  std::jthread asking([&] {
    while (!over) (void)engine->memory();
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(engine->load_session(path).size(), 2U);
  over = true;
}

}  // namespace
}  // namespace prosa
