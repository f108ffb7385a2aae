// The model behind a Wyoming service: conversations that go on where they were, beside one another, and within bounds.
//
// The model speaks nonsense, greedily: that a conversation was remembered shows in that its reply is the one that a
// Chat gives to the whole of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "prosa/wyoming.h"

namespace prosa {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const Model& model() {
  static const Model loaded = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  return loaded;
}

WyomingConversations::Options options() {
  WyomingConversations::Options options;
  options.sampling = {.temperature = 0, .max_tokens = 8};
  return options;
}

/// What a Chat says to the whole conversation: `turns` are the user's, its own replies stand between them.
std::vector<std::string> expected(const std::vector<std::string>& turns, const std::string& system = {}) {
  Chat chat(model());
  SamplingConfig sampling = options().sampling;
  sampling.disable_thinking = true;
  std::vector<Message> messages;
  if (!system.empty()) messages.push_back({Role::system, system});
  std::vector<std::string> replies;
  for (const std::string& turn : turns) {
    messages.push_back({Role::user, turn});
    replies.push_back(chat.generate(messages, sampling).text);
    messages.push_back({Role::assistant, replies.back()});
  }
  return replies;
}

std::string ask(WyomingConversations& conversations, const WyomingRequest& request) {
  std::string reply;
  conversations.answer(request, [&](std::string_view text) { return reply += text, true; });
  return reply;
}

template <typename Work>
std::string error_of(ErrorCode code, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(WyomingConversations, EachGoesOnWhereItWas) {
  const auto red = expected({"The red one.", "And then?", "Why?"}), blue = expected({"Blue.", "And then?"});
  ASSERT_NE(red[1], blue[1]);  // else nothing is shown by it
  for (const int replies : {1, 2}) {
    WyomingConversations::Options own = options();
    own.replies = replies;
    WyomingConversations conversations(model(), own);
    EXPECT_EQ(ask(conversations, {.text = "The red one.", .conversation = "r", .connection = 1}), red[0]);
    EXPECT_EQ(ask(conversations, {.text = "Blue.", .connection = 2}), blue[0]);
    EXPECT_EQ(ask(conversations, {.text = "And then?", .conversation = "r", .connection = 3}), red[1]);
    EXPECT_EQ(ask(conversations, {.text = "And then?", .connection = 2}), blue[1]);
    EXPECT_EQ(ask(conversations, {.text = "Why?", .conversation = "r", .connection = 2}), red[2]);
    EXPECT_EQ(conversations.remembered(), 2U);
  }
}

TEST(WyomingConversations, TheSystemMessageIsSaidToAll) {
  WyomingConversations::Options own = options();
  own.system = "Be brief.";
  WyomingConversations conversations(model(), own);
  const auto replies = expected({"Hello.", "Why?"}, own.system);
  EXPECT_EQ(ask(conversations, {.text = "Hello.", .connection = 1}), replies[0]);
  EXPECT_EQ(ask(conversations, {.text = "Why?", .connection = 1}), replies[1]);
}

TEST(WyomingConversations, TheOneThatWasSilentForLongestIsForgotten) {
  WyomingConversations::Options own = options();
  own.conversations = 2;
  WyomingConversations conversations(model(), own);
  const auto both = expected({"First.", "Again."}), fresh = expected({"Again."});
  ASSERT_NE(both[1], fresh[0]);
  for (const char* name : {"a", "b", "a"}) ask(conversations, {.text = "First.", .conversation = name});
  ask(conversations, {.text = "First.", .conversation = "c"});  // b goes
  EXPECT_EQ(conversations.remembered(), 2U);
  EXPECT_EQ(ask(conversations, {.text = "Again.", .conversation = "c"}), both[1]);
  EXPECT_EQ(ask(conversations, {.text = "Again.", .conversation = "b"}), fresh[0]);
  own.idle = 1ms;
  WyomingConversations hasty(model(), own);
  ask(hasty, {.text = "First.", .conversation = "a"});
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(ask(hasty, {.text = "Again.", .conversation = "a"}), fresh[0]);
}

TEST(WyomingConversations, ATurnWhoseClientWentAwayNeverWas) {
  WyomingConversations conversations(model(), options());
  const auto replies = expected({"First.", "Why?"});
  EXPECT_EQ(ask(conversations, {.text = "First.", .conversation = "a"}), replies[0]);
  int pieces = 0;
  conversations.answer({.text = "Something else.", .conversation = "a"},
                       [&](std::string_view) { return ++pieces < 2; });
  EXPECT_EQ(pieces, 2);
  struct Lost {};
  EXPECT_THROW(conversations.answer({.text = "Something else.", .conversation = "a"},
                                    [](std::string_view) -> bool { throw Lost(); }),
               Lost);
  EXPECT_EQ(ask(conversations, {.text = "Why?", .conversation = "a"}), replies[1]);
}

TEST(WyomingConversations, ManyAtOnceAreAllAnswered) {
  WyomingConversations conversations(model(), options());
  const auto replies = expected({"First.", "Why?"});
  std::vector<std::jthread> threads;
  std::atomic<int> first{0}, second{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const std::string own = "own " + std::to_string(i);
      if (ask(conversations, {.text = "First.", .conversation = own}) == replies[0]) ++first;
      if (ask(conversations, {.text = "Why?", .conversation = own}) == replies[1]) ++second;
      ask(conversations, {.text = "All of us.", .conversation = "shared"});  // one after the other
    });
  }
  threads.clear();
  EXPECT_EQ(first, 6);
  EXPECT_EQ(second, 6);
  EXPECT_EQ(conversations.remembered(), 7U);
}

TEST(WyomingConversations, MemoryIsBoundedWhereTheContextIs) {
  WyomingConversations conversations(model(), options());
  for (int i = 0; i < 60; ++i) {  // each turn some twenty tokens
    EXPECT_FALSE(ask(conversations, {.text = "Turn " + std::to_string(i), .conversation = "long"}).empty()) << i;
  }
  std::string text;
  for (int i = 0; i < 600; ++i) text += " word";
  error_of(ErrorCode::context_exceeded, [&] { ask(conversations, {.text = text, .conversation = "long"}); });
  EXPECT_FALSE(ask(conversations, {.text = "Goes on.", .conversation = "long"}).empty());
}

TEST(WyomingConversations, WhatCantBeAnsweredIsATypedError) {
  WyomingConversations conversations(model(), options());
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { ask(conversations, {.text = " \n"}); }),
              HasSubstr("no words"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument,
                       [&] { ask(conversations, {.text = "a", .conversation = std::string(257, 'x')}); }),
              HasSubstr("conversation_id"));
  EXPECT_EQ(conversations.remembered(), 0U);
  WyomingConversations::Options bad = options();
  bad.replies = 0;
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { WyomingConversations(model(), bad); }), HasSubstr("replies"));
  bad = options();
  bad.sampling.temperature = -1;
  error_of(ErrorCode::invalid_argument, [&] { WyomingConversations(model(), bad); });
}

TEST(WyomingConversations, StopEndsThoseUnderWayAndThoseThatWait) {
  WyomingConversations::Options own = options();
  own.replies = 1;
  own.sampling.max_tokens = 100'000;
  own.sampling.stop = {};
  WyomingConversations conversations(model(), own);
  std::atomic<bool> begun{false};
  std::jthread under_way([&] {
    try {
      conversations.answer({.text = "Talk.", .conversation = "a"}, [&](std::string_view) {
        begun = true;
        std::this_thread::sleep_for(1ms);
        return true;
      });
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled);
    }
  });
  while (!begun) std::this_thread::yield();
  std::jthread waiting(
      [&] { error_of(ErrorCode::cancelled, [&] { ask(conversations, {.text = "Wait.", .conversation = "b"}); }); });
  std::this_thread::sleep_for(20ms);
  conversations.stop();
  under_way.join();
  waiting.join();
}

}  // namespace
}  // namespace prosa
