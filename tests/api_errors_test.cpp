// What the public calls refuse, and what a call that fails leaves behind: nothing. Text that is no UTF-8, numbers at
// their ends, objects that were moved from, sessions that could not be read again, callbacks that throw.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "prosa/chat.h"
#include "prosa/text.h"
#include "test_files.h"

namespace prosa {
namespace {

using testing::HasSubstr;
using Call = std::function<void()>;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

LoadOptions options() {
  LoadOptions load;
  load.threads = 1;
  load.context = 512;
  return load;
}

SamplingConfig sampling() {
  SamplingConfig config;
  config.seed = 11;
  config.max_tokens = 12;
  return config;
}

std::vector<Message> question() { return {{Role::system, "Be brief."}, {Role::user, "How are you?"}}; }

class ApiErrors : public testing::Test {
 protected:
  std::string words() { return chat.generate(question(), sampling()).text; }
  void expect_refused(const std::vector<std::string>& parts, const Call& call) {
    test::expect_error(ErrorCode::invalid_argument, parts, call);
  }

  Chat chat = Chat::from_pretrained(PROSA_TINY_CHAT, options());
  std::string expected = words();
  TempFolder folder;
};

// ---- text

TEST_F(ApiErrors, BrokenTextIsRefusedAlikeBeforeAnythingIsTouched) {
  const std::string broken = "abc\xff\xfe";
  const std::string path = (folder.path() / "session").string();
  chat.save_session(path, question(), sampling());
  const std::string file = test::read_bytes(path);
  const std::string place = "byte 0xff at offset 3";

  std::vector<std::pair<std::string, std::vector<Message>>> lists;
  lists.push_back({"messages[0].content", {{Role::system, broken}, {Role::user, "hi"}}});
  lists.push_back({"messages[1].content", {{Role::user, "hi"}, {Role::tool, broken}, {Role::user, "hi"}}});
  lists.push_back({"messages[2].content", {{Role::user, "hi"}, {Role::assistant, "x"}, {Role::user, broken}}});
  lists.push_back({"messages[1].reasoning_content", {{Role::user, "hi"}, {Role::assistant, "x", broken}}});
  lists.push_back({"messages[1].tool_calls[1].name",
                   {{Role::user, "hi"}, {Role::assistant, "x", "", {{"f", "{}"}, {broken, "{}"}}}}});
  lists.push_back(
      {"messages[1].tool_calls[0].arguments", {{Role::user, "hi"}, {Role::assistant, "x", "", {{"f", broken}}}}});
  for (const auto& list : lists) {
    const std::string& where = list.first;
    const std::vector<Message>& messages = list.second;
    expect_refused({where, place}, [&] { static_cast<void>(chat.generate(messages, sampling())); });
    expect_refused({where, place}, [&] { static_cast<void>(chat.generate_stream(messages, sampling())); });
    expect_refused({where, place}, [&] { static_cast<void>(chat.begin_turn(messages, sampling())); });
    expect_refused({where, place}, [&] { chat.save_session(path, messages, sampling()); });
    expect_refused({where, place}, [&] { static_cast<void>(chat.render_prompt(messages)); });
  }
  expect_refused({"tools[1]", place}, [&] {
    static_cast<void>(chat.generate(question(), sampling(), {{R"({"name": "f"})"}, {broken}}));
  });
  SamplingConfig stops = sampling();
  stops.stop = {"fine", broken};
  expect_refused({"stop[1]", place}, [&] { static_cast<void>(chat.generate(question(), stops)); });
  expect_refused({"stop[1]", place}, [&] { static_cast<void>(chat.begin_turn(question(), stops)); });
  expect_refused({"text", place}, [&] { static_cast<void>(chat.tokenize(broken)); });
  Turn turn = chat.begin_turn({question().front()}, sampling());
  expect_refused({"transcript", place}, [&] { turn.hear(broken); });
  expect_refused({"transcript", place}, [&] { static_cast<void>(turn.commit(broken)); });

  EXPECT_EQ(chat.stats().seed, 11U) << "of the last reply that was one";
  std::string committed;
  for (const Piece& piece : turn.commit("How are you?")) committed += piece.text;
  EXPECT_EQ(committed, expected) << "a transcript that was refused does not end the turn";
  EXPECT_EQ(words(), expected);
  EXPECT_TRUE(test::read_bytes(path) == file) << "the old file stays";
}

// ---- failed replies

TEST_F(ApiErrors, AFailedReplyLeavesTheLogitsAlone) {
  const auto poisoned = [&](int top_k) {
    SamplingConfig config = sampling();
    config.repetition_penalty = 1e-40F;  // makes a logit infinite
    config.top_k = top_k;
    return config;
  };
  for (const int top_k : {50, 0}) {  // from candidates, and from the whole row
    expect_refused({"repetition_penalty"}, [&] { static_cast<void>(chat.generate(question(), poisoned(top_k))); });
    EXPECT_EQ(chat.stats().finish, FinishReason::error);
    EXPECT_EQ(words(), expected);
  }
}

struct Mine {};

TEST_F(ApiErrors, WhatACallbackThrowsComesBackAsItIs) {
  const auto throwing = [&](auto what) {
    static_cast<void>(chat.generate_stream(question(), sampling(), [&](const Piece&) -> bool { throw what; }));
  };
  EXPECT_THROW(throwing(Mine()), Mine);
  EXPECT_THROW(throwing(std::bad_alloc()), std::bad_alloc);
  EXPECT_THROW(throwing(std::filesystem::filesystem_error("x", std::error_code())), std::filesystem::filesystem_error);
  EXPECT_THROW(throwing(Error(ErrorCode::cancelled, "mine")), Error);
  EXPECT_EQ(words(), expected);

  for (const int after : {1, 2, 5}) {
    LoadOptions load = options();
    load.progress = [calls = 0, after](double, std::string_view) mutable {
      if (++calls == after) throw Mine();
    };
    EXPECT_THROW(static_cast<void>(Chat::from_pretrained(PROSA_TINY_CHAT, load)), Mine);
    EXPECT_THROW(static_cast<void>(Model::from_pretrained(PROSA_TINY_CHAT, load)), Mine);
  }
  LoadOptions load = options();
  load.progress = [](double, std::string_view) { throw std::bad_alloc(); };
  EXPECT_THROW(static_cast<void>(Model::from_pretrained(PROSA_TINY_CHAT, load)), std::bad_alloc);
}

// ---- sessions

/// {"a": {"a": … 1}}, so deep.
std::string nested(int depth) {
  std::string text = "1";
  for (int i = 0; i < depth; ++i) text = R"({"a": )" + text + "}";
  return text;
}

TEST_F(ApiErrors, ASessionThatCouldNotBeLoadedIsNotSaved) {
  const std::string path = (folder.path() / "session").string();
  const auto with_call = [](const std::string& arguments) -> std::vector<Message> {
    return {{Role::user, "hi"}, {Role::assistant, "", "", {{"f", arguments}}}, {Role::tool, "ok"}, {Role::user, "so?"}};
  };
  chat.save_session(path, question(), sampling());
  const std::string file = test::read_bytes(path);
  int saved = 0;
  int refused = 0;
  for (const int depth : {1, 190, 193, 194, 195, 196, 197, 198, 199, 200}) {
    const TempFolder other;
    const std::string place = (other.path() / "session").string();
    try {
      chat.save_session(place, with_call(nested(depth)), sampling());
      EXPECT_EQ(chat.load_session(place).size(), 4U) << depth;
      ++saved;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::context_exceeded)
          << error.what();
      EXPECT_FALSE(std::filesystem::exists(place)) << depth;
      if (error.code() == ErrorCode::invalid_argument) ++refused;
    }
  }
  EXPECT_GT(saved, 0);
  EXPECT_GT(refused, 0) << "some are read by themselves and not within a message";
  expect_refused({"messages", "nested"}, [&] { chat.save_session(path, with_call(nested(199)), sampling()); });
  EXPECT_TRUE(test::read_bytes(path) == file) << "the old file stays";
  EXPECT_EQ(words(), expected);
}

// ---- moved from

TEST_F(ApiErrors, ObjectsThatWereMovedFrom) {
  Chat moved = Chat::from_pretrained(PROSA_TINY_CHAT, options());
  Model model = moved.model();
  Session session(model);
  State state = model.new_state();
  Turn turn = moved.begin_turn({}, sampling());
  ReplyStream stream = moved.generate_stream(question(), sampling());
  ReplyStream::iterator at = stream.begin();
  const Chat chat_now = std::move(moved);
  const Model model_now = std::move(model);
  const Session session_now = std::move(session);
  const State state_now = std::move(state);
  const Turn turn_now = std::move(turn);
  const ReplyStream stream_now = std::move(stream);

  const std::string path = (folder.path() / "x").string();
  const std::vector<int32_t> ids = {1, 2};
  const std::vector<Call> calls = {
      [&] { static_cast<void>(moved.fork()); },
      [&] { static_cast<void>(moved.model()); },
      [&] { static_cast<void>(moved.generate(question())); },
      [&] { static_cast<void>(moved.generate_stream(question())); },
      [&] { static_cast<void>(moved.generate_stream(question(), {}, [](const Piece&) { return true; })); },
      [&] { static_cast<void>(moved.begin_turn({})); },
      [&] { static_cast<void>(moved.heard(1)); },
      [&] { moved.reset_state(); },
      [&] { moved.save_session(path, question()); },
      [&] { static_cast<void>(moved.load_session(path)); },
      [&] { moved.load(); },
      [&] { moved.unload(); },
      [&] { static_cast<void>(moved.memory_footprint()); },
      [&] { static_cast<void>(moved.info()); },
      [&] { static_cast<void>(moved.stats()); },
      [&] { static_cast<void>(moved.tokenize("x")); },
      [&] { static_cast<void>(moved.render_prompt(question())); },
      [&] { static_cast<void>(Chat(model)); },
      [&] { static_cast<void>(Session(model)); },
      [&] { static_cast<void>(model.info()); },
      [&] { static_cast<void>(model.memory_footprint()); },
      [&] { static_cast<void>(model.new_state()); },
      [&] { static_cast<void>(model.forward(ids, state)); },
      [&] { static_cast<void>(model_now.forward(ids, state)); },
      [&] { static_cast<void>(session.fork()); },
      [&] { static_cast<void>(session.sync(ids)); },
      [&] { session.decode(1); },
      [&] { static_cast<void>(session.rewind(1)); },
      [&] { session.mark(); },
      [&] { session.reset(); },
      [&] { static_cast<void>(session.logits()); },
      [&] { static_cast<void>(session.tokens()); },
      [&] { static_cast<void>(session.position()); },
      [&] { static_cast<void>(session.capacity()); },
      [&] { static_cast<void>(session.memory_footprint()); },
      [&] { session.save(path); },
      [&] { session.load(path); },
      [&] { turn.hear("x"); },
      [&] { static_cast<void>(turn.commit("x")); },
      [&] { static_cast<void>(stream.begin()); },
      [&] { static_cast<void>(stream.stats()); },
      [&] { ++at; },
      [&] { static_cast<void>(*at); },
      [&] { static_cast<void>(at->text); },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE(i);
    expect_refused({}, calls[i]);
  }
  moved.cancel();
  EXPECT_FALSE(moved.is_loaded());
  EXPECT_EQ(state.position(), 0);  // as a new one
  EXPECT_EQ(state.byte_size(), 0);
  EXPECT_EQ(state.copy().position(), 0);
  EXPECT_TRUE(at == stream.end());
}

TEST_F(ApiErrors, AReplyHasNothingBehindItsEnd) {
  ReplyStream stream = chat.generate_stream(question(), sampling());
  ReplyStream::iterator at = stream.begin();
  while (at != stream.end()) ++at;
  expect_refused({"ended"}, [&] { static_cast<void>(*at); });
  ++at;  // stays there
  EXPECT_TRUE(at == stream.end());
}

// ---- numbers

TEST_F(ApiErrors, SamplingAtTheEndsOfItsTypes) {
  using Set = std::function<void(SamplingConfig&)>;
  static constexpr float kNanF = std::numeric_limits<float>::quiet_NaN();
  static constexpr float kInfF = std::numeric_limits<float>::infinity();
  static constexpr float kMaxF = std::numeric_limits<float>::max();
  static constexpr float kLeastF = std::numeric_limits<float>::denorm_min();
  static constexpr int kMaxInt = std::numeric_limits<int>::max();
  static constexpr int kMinInt = std::numeric_limits<int>::min();
  const std::vector<std::pair<const char*, Set>> bad = {
      {"temperature", [](auto& c) { c.temperature = -1; }},
      {"temperature", [](auto& c) { c.temperature = kNanF; }},
      {"temperature", [](auto& c) { c.temperature = kInfF; }},
      {"top_k", [](auto& c) { c.top_k = -1; }},
      {"top_k", [](auto& c) { c.top_k = kMinInt; }},
      {"top_p", [](auto& c) { c.top_p = 0; }},
      {"top_p", [](auto& c) { c.top_p = kNanF; }},
      {"top_p", [](auto& c) { c.top_p = kMaxF; }},
      {"min_p", [](auto& c) { c.min_p = 1; }},
      {"min_p", [](auto& c) { c.min_p = kNanF; }},
      {"min_p", [](auto& c) { c.min_p = -kLeastF; }},
      {"max_tokens", [](auto& c) { c.max_tokens = 0; }},
      {"max_tokens", [](auto& c) { c.max_tokens = kMinInt; }},
      {"repetition_penalty", [](auto& c) { c.repetition_penalty = 0; }},
      {"repetition_penalty", [](auto& c) { c.repetition_penalty = kNanF; }},
      {"repetition_penalty", [](auto& c) { c.repetition_penalty = kInfF; }},
      {"presence_penalty", [](auto& c) { c.presence_penalty = kNanF; }},
      {"presence_penalty", [](auto& c) { c.presence_penalty = kInfF; }},
      {"frequency_penalty", [](auto& c) { c.frequency_penalty = kNanF; }},
      {"frequency_penalty", [](auto& c) { c.frequency_penalty = -kMaxF; }},
      {"max_thinking_tokens", [](auto& c) { c.max_thinking_tokens = -1; }},
      {"max_thinking_tokens", [](auto& c) { c.max_thinking_tokens = kMinInt; }},
      {"deadline_ms", [](auto& c) { c.deadline_ms = -1; }},
      {"deadline_ms", [](auto& c) { c.deadline_ms = std::numeric_limits<int64_t>::min(); }},
      {"stop", [](auto& c) { c.stop = {""}; }},
      {"stop", [](auto& c) { c.stop = std::vector<std::string>(1000, "x"); }},
      {"stop", [](auto& c) { c.stop = {std::string(1 << 20, 'x')}; }},
  };
  for (const auto& [field, set] : bad) {
    SamplingConfig config = sampling();
    set(config);
    expect_refused({field}, [&] { static_cast<void>(chat.generate(question(), config)); });
    expect_refused({field}, [&] { static_cast<void>(chat.begin_turn(question(), config)); });
  }
  const std::vector<Set> good = {
      [](auto& c) { c.temperature = kLeastF; },
      [](auto& c) { c.temperature = kMaxF; },
      [](auto& c) { c.top_k = kMaxInt; },
      [](auto& c) { c.top_k = 0, c.temperature = kMaxF; },
      [](auto& c) { c.top_p = kLeastF; },
      [](auto& c) { c.top_p = kLeastF, c.top_k = 0; },
      [](auto& c) { c.min_p = kLeastF; },
      [](auto& c) { c.max_tokens = kMaxInt; },
      [](auto& c) { c.repetition_penalty = kMaxF; },
      [](auto& c) { c.presence_penalty = -100, c.frequency_penalty = 100; },
      [](auto& c) { c.enable_thinking = true, c.max_thinking_tokens = kMaxInt; },
      [](auto& c) { c.enable_thinking = true, c.max_thinking_tokens = 0; },
      [](auto& c) { c.deadline_ms = std::numeric_limits<int64_t>::max(); },
      [](auto& c) { c.seed = std::numeric_limits<uint64_t>::max(); },
      [](auto& c) { c.seed = 0; },
  };
  for (size_t i = 0; i < good.size(); ++i) {
    SamplingConfig config = sampling();
    good[i](config);
    EXPECT_GT(chat.generate(question(), config).stats.generated_tokens, 0) << i;
  }
  EXPECT_EQ(words(), expected);
}

TEST_F(ApiErrors, LoadingAtTheEndsOfItsTypes) {
  using Set = std::function<void(LoadOptions&)>;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int kMaxInt = std::numeric_limits<int>::max();
  const std::vector<std::pair<const char*, Set>> bad = {
      {"threads", [](auto& o) { o.threads = -1; }},
      {"threads", [](auto& o) { o.threads = kMaxInt; }},
      {"threads", [](auto& o) { o.threads = std::numeric_limits<int>::min(); }},
      {"activation_bits", [](auto& o) { o.activation_bits = 7; }},
      {"activation_bits", [](auto& o) { o.activation_bits = -1; }},
      {"activation_bits", [](auto& o) { o.activation_bits = kMaxInt; }},
      {"kv_bits", [](auto& o) { o.kv_bits = 0; }},
      {"kv_bits", [](auto& o) { o.kv_bits = kMaxInt; }},
      {"context", [](auto& o) { o.context = 0; }},
      {"context", [](auto& o) { o.context = -1; }},
      {"context", [](auto& o) { o.context = kMost; }},
      {"context", [](auto& o) { o.context = kLeast; }},
      {"state_store_bytes", [](auto& o) { o.state_store_bytes = -1; }},
      {"state_store_bytes", [](auto& o) { o.state_store_bytes = kLeast; }},
      {"cache_bytes", [](auto& o) { o.cache_bytes = -1; }},
      {"cache_bytes", [](auto& o) { o.cache_bytes = kLeast; }},
      {"idle_unload_seconds", [](auto& o) { o.idle_unload_seconds = -1; }},
      {"idle_unload_seconds", [](auto& o) { o.idle_unload_seconds = 1e-300; }},
      {"idle_unload_seconds", [](auto& o) { o.idle_unload_seconds = 1e300; }},
      {"idle_unload_seconds", [](auto& o) { o.idle_unload_seconds = kNan; }},
      {"idle_unload_seconds", [](auto& o) { o.idle_unload_seconds = kInfinity; }},
      {"context_policy", [](auto& o) { o.context_policy = static_cast<ContextPolicy>(77); }},
  };
  for (const auto& [field, set] : bad) {
    LoadOptions load = options();
    set(load);
    expect_refused({field}, [&] { static_cast<void>(Chat::from_pretrained(PROSA_TINY_CHAT, load)); });
  }
  for (const char* name : {"", " ", "cpu ", "CPU", "\n"}) {
    LoadOptions load = options();
    load.backend = name;
    EXPECT_THROW(static_cast<void>(Chat::from_pretrained(PROSA_TINY_CHAT, load)), Error) << name;
    load = options();
    load.isa = std::string("no") + name;
    EXPECT_THROW(static_cast<void>(Chat::from_pretrained(PROSA_TINY_CHAT, load)), Error) << name;
  }
  const std::vector<Set> good = {
      [](auto& o) { o.state_store_bytes = 0; },
      [](auto& o) { o.state_store_bytes = kMost; },
      [](auto& o) { o.context = int64_t{1} << 30; },
      [](auto& o) { o.idle_unload_seconds = 1e9; },
      [&](auto& o) { o.cache_dir = folder.path() / "none", o.cache_bytes = 0; },
      [&](auto& o) { o.cache_dir = folder.path() / "all", o.cache_bytes = kMost; },
  };
  for (size_t i = 0; i < good.size(); ++i) {
    LoadOptions load = options();
    good[i](load);
    EXPECT_EQ(Chat::from_pretrained(PROSA_TINY_CHAT, load).generate(question(), sampling()).text, expected) << i;
  }
  LoadOptions smallest = options();
  smallest.context = 1;
  Chat tiny = Chat::from_pretrained(PROSA_TINY_CHAT, smallest);
  test::expect_error(ErrorCode::context_exceeded, {}, [&] { static_cast<void>(tiny.generate(question())); });
}

TEST_F(ApiErrors, TokensAndPlacesAtTheEndsOfTheirTypes) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  const Model model = chat.model();
  Session session(model);
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> odd_cuts = {kLeast, -1, 0, 3, 2, 3, 6, kMost};
  expect_refused({}, [&] { session.decode(1); });
  expect_refused({}, [&] { session.save((folder.path() / "x").string()); });
  EXPECT_EQ(session.sync(tokens, odd_cuts).computed, 6);
  for (const int32_t token : {-1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    expect_refused({}, [&] { session.decode(token); });
    expect_refused({}, [&] { static_cast<void>(session.sync(std::vector<int32_t>{1, token})); });
    State state = model.new_state();
    expect_refused({}, [&] { static_cast<void>(model.forward(std::vector<int32_t>{token}, state)); });
  }
  for (const int64_t position : {kLeast, int64_t{-1}, int64_t{0}, int64_t{7}, kMost})
    expect_refused({}, [&] { static_cast<void>(session.rewind(position)); });
  expect_refused({}, [&] { static_cast<void>(session.sync({})); });
  EXPECT_EQ(session.position(), 6) << "what was refused has changed nothing";
  expect_refused({"heard"}, [&] { static_cast<void>(chat.heard(std::numeric_limits<size_t>::max())); });
  expect_refused({"park_path"}, [&] { chat.unload(Unload::park); });
  EXPECT_EQ(chat.heard(0), "");
  EXPECT_EQ(words(), expected);
}

// ---- weights that are no numbers

TEST(ApiNumbers, WeightsThatAreNoNumbers) {
  const TempFolder folder;
  for (const char* name : {"config.json", "tokenizer.json"})
    std::filesystem::copy_file(std::filesystem::path(PROSA_TINY_CHAT) / name, folder.path() / name);
  const std::string whole = test::read_bytes(std::filesystem::path(PROSA_TINY_CHAT) / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), sizeof length);
  const auto header = nlohmann::json::parse(whole.substr(8, length));
  // Of matrices: every value of one, or some values of all.
  const auto damaged = [&](bool all, std::string_view value) {
    std::string bytes = whole;
    for (const auto& [name, tensor] : header.items()) {
      if (!tensor.contains("shape") || tensor["shape"].size() != 2) continue;
      if (!all && name.find("embed_tokens") == std::string::npos) continue;
      const size_t step = all ? 997 : 1;
      const auto begin = tensor["data_offsets"][0].get<size_t>();
      const auto end = tensor["data_offsets"][1].get<size_t>();
      for (size_t at = begin; at + 2 <= end; at += 2 * step) bytes.replace(8 + length + at, 2, value);
    }
    return bytes;
  };
  int replies = 0;
  for (const bool all : {false, true}) {
    for (const std::string_view value : {"\xff\xff", "\x80\x7f", "\x7f\x7f"}) {  // bfloat16: NaN, infinity, the largest
      test::write_bytes(folder.path() / "model.safetensors", damaged(all, value));
      for (const char* isa : {"portable", ""}) {
        for (const int bits : {15, 8}) {
          LoadOptions load = options();
          load.isa = isa;
          load.activation_bits = bits;
          load.kv_bits = bits == 8 ? 8 : 16;
          const bool finite = value == "\x7f\x7f";
          try {
            Chat chat = Chat::from_pretrained(folder.path(), load);
            EXPECT_TRUE(finite) << "what is no number is refused when it is loaded";
            EXPECT_GT(chat.generate(question(), sampling()).stats.generated_tokens, 0);
          } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::bad_checkpoint) << error.what();
            EXPECT_EQ(error.message().find("is not a finite number") == std::string::npos, finite) << error.what();
          }
          ++replies;
        }
      }
    }
  }
  EXPECT_EQ(replies, 24);
}

}  // namespace
}  // namespace prosa
