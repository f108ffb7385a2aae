// Many conversations on one model, from many threads: each says the very text that it would have said alone, whatever
// the others do meanwhile.
//
// A schedule is a number of conversations, each with a list of acts (replies, edits, forks, cancels, deadlines, turns
// that are heard while they are spoken), drawn from a seed. Alone, every conversation plays on a model of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "prosa/chat.h"
#include "prosa/session.h"

namespace prosa {
namespace {

constexpr const char* kTinyChat = PROSA_TINY_CHAT;
constexpr const char* kMini = PROSA_SOURCE_DIR "/models/prosa-mini";
using Messages = std::vector<Message>;

struct Act {
  enum class Kind { reply, edit, fork, cancel, deadline, hear, drop } kind;
  std::string text;  // of the user
  SamplingConfig sampling;
  int pieces = 0;  // cancel, drop: after so many
};

struct Script {
  std::string system;
  std::vector<Act> acts;
};

Script random_script(std::mt19937& random) {
  static const std::vector<std::string> texts = {"Hello",
                                                 "What is your name?",
                                                 "Tell me a joke",
                                                 "Why?",
                                                 "日本 🦊",
                                                 "And what is a violin then?",
                                                 "One two three four five six seven eight nine ten."};
  static const std::vector<std::string> systems = {"", "Be kind.",
                                                   "You answer in short sentences, and you like music."};
  const auto pick = [&](size_t count) { return random() % count; };
  Script script;
  script.system = systems[pick(systems.size())];
  for (size_t i = 2 + pick(3); i > 0; --i) {
    Act act;
    act.kind = static_cast<Act::Kind>(pick(7));
    act.text = texts[pick(texts.size())];
    act.sampling.seed = random();
    act.sampling.max_tokens = static_cast<int>(2 + pick(9));
    if (pick(3) == 0) act.sampling.temperature = 0;
    if (pick(4) == 0) act.sampling.top_k = 0;
    if (act.kind == Act::Kind::deadline) act.sampling.deadline_ms = static_cast<int64_t>(1 + pick(12));
    act.pieces = static_cast<int>(pick(4));
    script.acts.push_back(std::move(act));
  }
  return script;
}

/// What an act said. A reply that was ended early may be any beginning of what it would have said.
struct Said {
  std::string text;
  bool whole = true;
};

Said play_act(Chat& chat, const Messages& messages, const Act& act) {
  Said said;
  const auto take = [&](ReplyStream stream, int stop_after) {
    int pieces = 0;
    for (const Piece& piece : stream) {
      if (piece.channel == Channel::speech) said.text += piece.text;
      if (stop_after >= 0 && pieces++ >= stop_after) {
        if (act.kind == Act::Kind::drop) break;
        std::thread([&] { chat.cancel(); }).join();
        stop_after = -1;
      }
    }
    const FinishReason finish = stream.stats().finish;
    said.whole = finish != FinishReason::cancelled && finish != FinishReason::deadline && act.kind != Act::Kind::drop;
  };
  switch (act.kind) {
    case Act::Kind::reply:
    case Act::Kind::edit:
    case Act::Kind::deadline: take(chat.generate_stream(messages, act.sampling), -1); break;
    case Act::Kind::cancel:
    case Act::Kind::drop: take(chat.generate_stream(messages, act.sampling), act.pieces); break;
    case Act::Kind::fork: {
      Chat draft = chat.fork();  // a reply beside the real one, which then follows
      SamplingConfig other = act.sampling;
      other.seed = *act.sampling.seed + 1;
      (void)draft.generate(messages, other);
      said.text = draft.generate(messages, act.sampling).text;
      break;
    }
    case Act::Kind::hear: {
      Messages history(messages.begin(), messages.end() - 1);
      Turn turn = chat.begin_turn(history, act.sampling);
      const std::string& text = messages.back().content;
      turn.hear(text.substr(0, text.find(' ')));
      turn.hear(text);
      take(turn.commit(text), -1);
      break;
    }
  }
  return said;
}

/// What every act says. `expected`: what was said alone, which is then the history; null: this is alone.
std::vector<Said> play(Chat& chat, const Script& script, const std::vector<Said>* expected) {
  std::vector<Said> all;
  Messages messages;
  if (!script.system.empty()) messages.push_back({Role::system, script.system});
  for (size_t i = 0; i < script.acts.size(); ++i) {
    Act act = script.acts[i];
    if (act.kind == Act::Kind::edit && messages.size() >= 2 && messages.back().role == Role::assistant) {
      messages.pop_back();
      messages.back().content += " Please.";
    } else {
      messages.push_back({Role::user, act.text});
    }
    if (expected == nullptr) {  // the whole of it
      act.sampling.deadline_ms = 0;
      if (act.kind != Act::Kind::hear && act.kind != Act::Kind::fork) act.kind = Act::Kind::reply;
    }
    all.push_back(play_act(chat, messages, act));
    messages.push_back({Role::assistant, (expected != nullptr ? (*expected)[i] : all.back()).text});
  }
  return all;
}

LoadOptions options() {
  LoadOptions load;
  load.threads = 2;
  load.context = 700;
  load.state_store_bytes = 256 << 20;  // nothing is dropped: a turn that was heard is read again in other pieces
  return load;
}

void play_schedules(const char* name, int count, unsigned seed) {
  const Model shared = Model::from_pretrained(name, options());
  const Model apart = Model::from_pretrained(name, options());
  std::mt19937 random(seed);
  for (int schedule = 0; schedule < count; ++schedule) {
    SCOPED_TRACE("schedule " + std::to_string(schedule));
    std::vector<Script> scripts(2 + random() % 4);
    for (Script& script : scripts) script = random_script(random);
    std::vector<std::vector<Said>> alone, together(scripts.size());
    for (const Script& script : scripts) {
      Chat chat(apart);
      alone.push_back(play(chat, script, nullptr));
      chat.reset_state();
    }
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < scripts.size(); ++i) {
      threads.emplace_back([&, i] {
        Chat chat(shared);
        together[i] = play(chat, scripts[i], &alone[i]);
      });
    }
    threads.clear();
    for (size_t i = 0; i < scripts.size(); ++i) {
      ASSERT_EQ(together[i].size(), alone[i].size());
      for (size_t act = 0; act < alone[i].size(); ++act) {
        if (together[i][act].whole)
          ASSERT_EQ(together[i][act].text, alone[i][act].text) << "conversation " << i << ", act " << act;
        else
          ASSERT_TRUE(alone[i][act].text.starts_with(together[i][act].text)) << "conversation " << i << ", act " << act;
      }
    }
  }
}

/// How many, unless the environment says it.
int schedules(int otherwise) {
  const char* const asked = std::getenv("PROSA_TEST_SCHEDULES");
  return asked != nullptr ? std::max(std::atoi(asked), 1) : otherwise;
}

TEST(SharedModel, EveryConversationSaysWhatItWouldHaveSaidAlone) {
  play_schedules(kTinyChat, schedules(PROSA_TEST_SCHEDULES), 11);
}

TEST(SharedModel, TheSameOnTheEmbeddedModel) {
  play_schedules(kMini, schedules(std::max(PROSA_TEST_SCHEDULES / 10, 2)), 12);
}

TEST(SharedModel, ASecondChatAddsItsStateAlone) {
  const Model model = Model::from_pretrained(kTinyChat, options());
  Chat first(model);
  SamplingConfig sampling;
  sampling.max_tokens = 3;
  (void)first.generate({{Role::system, "Be kind."}, {Role::user, "Hello"}}, sampling);
  const MemoryFootprint one = first.memory_footprint();
  Chat second(first.model());
  const MemoryFootprint two = second.memory_footprint();
  EXPECT_EQ(two.weights, one.weights);
  EXPECT_EQ(two.kv, 0) << "until it is fed";
  EXPECT_EQ(two.state, one.state);
  const Reply reply = second.generate({{Role::system, "Be kind."}, {Role::user, "And you?"}}, sampling);
  EXPECT_EQ(reply.stats.reuse.path, SyncPath::restored) << "the system prompt is there already";
}

TEST(SharedModel, AForkCostsItsNewTokens) {
  Chat chat = Chat::from_pretrained(kTinyChat, options());
  SamplingConfig sampling;
  sampling.max_tokens = 5;
  sampling.seed = 1;
  Messages messages = {{Role::system, "Be kind, and answer in whole sentences, whatever you are asked."}};
  messages.push_back({Role::user, "Hello"});
  messages.push_back({Role::assistant, chat.generate(messages, sampling).text});
  messages.push_back({Role::user, "Why?"});
  (void)chat.begin_turn({messages.begin(), messages.end() - 1}, sampling).hear("Why?");
  Chat draft = chat.fork();
  const Reply tried = draft.generate(messages, sampling);
  EXPECT_LT(tried.stats.prompt_tokens - tried.stats.cached_tokens, 30);
  EXPECT_EQ(chat.generate(messages, sampling).text, tried.text);
  chat.unload();
  EXPECT_EQ(draft.generate(messages, sampling).text, tried.text) << "a fork keeps the model";
  EXPECT_FALSE(chat.is_loaded());
}

TEST(SharedModel, UnloadLetsGoAndLoadTakesAgain) {
  std::optional<Model> model = Model::from_pretrained(kTinyChat, options());
  Chat chat(*model);
  SamplingConfig sampling;
  sampling.seed = 4;
  const std::string text = chat.generate({{Role::user, "Hello"}}, sampling).text;
  chat.unload();
  chat.load();
  EXPECT_EQ(chat.generate({{Role::user, "Hello"}}, sampling).text, text);
  model.reset();
  chat.unload();
  try {
    chat.load();
    ADD_FAILURE() << "nobody holds the model";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_loaded);
  }
}

TEST(SharedModel, SessionsAndStatesWorkBesideEachOther) {
  const Model model = Model::from_pretrained(kTinyChat, options());
  const std::vector<int32_t> tokens = {5, 6, 7, 8, 9, 10, 11, 12};
  Session alone(model);
  alone.sync(tokens);
  alone.decode(13);
  const std::vector<float> expected(alone.logits().begin(), alone.logits().end());
  alone.reset();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        Session session(model);
        session.sync(tokens);
        Session twin = session.fork();
        EXPECT_TRUE(std::ranges::equal(twin.logits(), session.logits()));
        twin.decode(13);
        session.decode(13);
        EXPECT_TRUE(std::ranges::equal(session.logits(), expected));
        EXPECT_TRUE(std::ranges::equal(twin.logits(), expected));
        (void)session.memory_footprint();
      }
    });
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        State state = model.new_state();
        (void)model.forward(tokens, state);
        const Logits logits = model.forward(std::vector<int32_t>{13}, state, {}, true);
        EXPECT_TRUE(std::ranges::equal(logits.row(0), expected));
      }
    });
  }
}

TEST(SharedModel, WhatWasMovedFromSaysSo) {
  Chat chat = Chat::from_pretrained(kTinyChat, options());
  Model model = chat.model();
  Session session(model);
  const Chat taken = std::move(chat);
  const Model other = std::move(model);
  const Session third = std::move(session);
  const auto code = [](const auto& call) {
    try {
      call();
    } catch (const Error& error) {
      return std::string(to_string(error.code()));
    }
    return std::string("none");
  };
  // What moving leaves behind is what this test is about.
  EXPECT_EQ(code([&] { (void)chat.generate({{Role::user, "Hello"}}); }), "invalid_argument");
  EXPECT_EQ(code([&] { (void)chat.generate_stream({{Role::user, "Hello"}}); }), "invalid_argument");
  EXPECT_EQ(code([&] { (void)chat.begin_turn({}); }), "invalid_argument");
  EXPECT_EQ(code([&] { (void)chat.memory_footprint(); }), "invalid_argument");
  EXPECT_EQ(code([&] { chat.unload(); }), "invalid_argument");
  EXPECT_FALSE(chat.is_loaded());
  chat.cancel();
  EXPECT_EQ(code([&] { (void)model.info(); }), "invalid_argument");
  EXPECT_EQ(code([&] { (void)Chat(model); }), "invalid_argument");
  EXPECT_EQ(code([&] { session.decode(1); }), "invalid_argument");
}

}  // namespace
}  // namespace prosa
