// prosa as the language model of a pipeline that is not its own: one end for each reply, calls to results, histories
// that lose their oldest message every turn. And SpeechCore's two interfaces on top: its own headers where
// PROSA_SPEECH_CORE names them, else the stand-in in tests/speech_core.
#include "prosa/speech_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "prosa/pipeline_llm.h"

namespace prosa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Messages = std::vector<Message>;

Message user(std::string text) { return {Role::user, std::move(text)}; }
Message assistant(std::string text) { return {Role::assistant, std::move(text)}; }
Message tool(std::string text) { return {Role::tool, std::move(text)}; }

std::string shown(const Messages& messages) {
  std::string all;
  for (const Message& message : messages) {
    all += "suat"[static_cast<int>(message.role)];
    all += ":" + message.content;
    for (const ToolCall& call : message.tool_calls) all += "<" + call.name + call.arguments + ">";
    all += " ";
  }
  return all;
}

// ---- what is kept of a history

TEST(KeptHistory, AListThatGrowsIsItself) {
  KeptHistory history;
  const Messages first = {{Role::system, "S"}, user("1")};
  EXPECT_EQ(shown(history.extend(first)), "s:S u:1 ");
  const Message answer = assistant("one");
  history.remember(first, &answer);
  EXPECT_EQ(shown(history.extend({{Role::system, "S"}, user("1"), assistant("one"), user("2")})), "s:S u:1 a:one u:2 ");
}

TEST(KeptHistory, AListWithoutItsOldestEntriesIsAnsweredFromTheWholeOne) {
  KeptHistory history;
  std::deque<Message> pipeline;
  for (int turn = 0; turn < 40; ++turn) {
    pipeline.push_back(user("question " + std::to_string(turn)));
    while (pipeline.size() > 8) pipeline.pop_front();
    Messages given = {{Role::system, "S"}};
    given.insert(given.end(), pipeline.begin(), pipeline.end());
    const size_t before = history.size();
    const Messages asked = history.extend(given);
    EXPECT_EQ(shown(Messages(asked.end() - std::ssize(pipeline), asked.end())),
              shown(Messages(pipeline.begin(), pipeline.end())));
    EXPECT_TRUE(asked.size() == before + 2 || asked.size() == given.size()) << "all of it, or cut at once";
    EXPECT_LE(asked.size(), KeptHistory::kMaxKeptTimes * 8 + 3);
    const Message answer = assistant("answer " + std::to_string(turn));
    history.remember(asked, &answer);
    pipeline.push_back(answer);
  }
}

TEST(KeptHistory, AnotherConversationGetsNothingOfIt) {
  KeptHistory history;
  const Messages first = {user("Hello"), assistant("Hi"), user("My name is Anna"), assistant("Fine"), user("Hello")};
  const Message answer = assistant("Hi again");
  history.remember(first, &answer);
  EXPECT_EQ(shown(history.extend({user("Hello")})), "u:Hello ");
  EXPECT_EQ(shown(history.extend({user("My name is Anna")})), "u:My name is Anna ");
  EXPECT_EQ(shown(history.extend({assistant("Fine"), user("Hello"), assistant("No")})), "a:Fine u:Hello a:No ");
}

TEST(KeptHistory, AnInterruptedReplyComesBackShorter) {
  KeptHistory history;
  Messages all = {user("1"), assistant("one"), user("2"), assistant("two"), user("3")};
  const Message answer = assistant("three and much more");
  history.remember(all, &answer);
  const Messages given = {assistant("one"), user("2"), assistant("two"), user("3"), assistant("three"), user("4")};
  EXPECT_EQ(shown(history.extend(given)), "u:1 a:one u:2 a:two u:3 a:three u:4 ");
}

TEST(KeptHistory, AResultHasItsCallInFront) {
  KeptHistory history;
  EXPECT_EQ(shown(history.extend({user("time?"), tool("[clock] noon")})), "u:time? a:<clock{}> t:noon ");
  const Message call{Role::assistant, "", "", {{"clock", "{\"zone\": 1}"}}};
  history.remember({user("time?")}, &call);
  EXPECT_EQ(shown(history.extend({user("time?"), tool("[clock] noon")})), "u:time? a:<clock{\"zone\": 1}> t:noon ");
  EXPECT_EQ(shown(history.extend({user("time?"), tool("[a] 1"), tool("[b] 2")})),
            "u:time? a:<clock{\"zone\": 1}> t:1 t:2 ");
  // The pipeline forgets the result; this history does not.
  const Messages asked = history.extend({user("time?"), tool("[clock] noon")});
  const Message answer = assistant("It is noon.");
  history.remember(asked, &answer);
  EXPECT_EQ(shown(history.extend({user("time?"), assistant("It is noon."), user("thanks")})),
            "u:time? a:<clock{\"zone\": 1}> t:noon a:It is noon. u:thanks ");
  EXPECT_EQ(shown(history.extend({user("time?"), user("never mind")})), "u:time? u:never mind ");
}

// ---- on a model

SamplingConfig short_replies(int tokens = 6) {
  SamplingConfig sampling;
  sampling.temperature = 0;
  sampling.max_tokens = tokens;
  return sampling;
}

/// What a pipeline hears of a reply.
struct Heard {
  std::string text;
  int ends = 0;
  PipelineLlm::OnToken listener() {
    return [this](const std::string& token, bool is_final) {
      EXPECT_EQ(ends, 0) << "something came after the end";
      text += token;
      if (is_final) {
        EXPECT_EQ(token, "");
        ++ends;
      }
    };
  }
};

class PipelineTest : public testing::Test {
 protected:
  PipelineLlm make(int max_tokens = 6) { return PipelineLlm(Chat(model), short_replies(max_tokens)); }
  Model model = Model::from_pretrained(PROSA_TINY_CHAT);
};

TEST_F(PipelineTest, AReplyIsStreamedAndEndsOnce) {
  PipelineLlm llm = make();
  Heard heard;
  const PipelineReply reply = llm.chat({user("Hello")}, heard.listener());
  EXPECT_EQ(heard.ends, 1);
  EXPECT_EQ(heard.text, reply.text);
  EXPECT_FALSE(reply.text.empty());
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(llm.chat({user("Hello")}, nullptr).text, reply.text) << "nobody has to listen";
}

TEST_F(PipelineTest, AFailedReplyEndsOnceAndSaysWhy) {
  PipelineLlm llm = make();
  for (const Messages& bad : {Messages{}, Messages{user("\xff")}, Messages{{Role::system, "S"}}}) {
    Heard heard;
    const PipelineReply reply = llm.chat(bad, heard.listener());
    EXPECT_EQ(heard.ends, 1);
    EXPECT_EQ(reply.text, "");
    EXPECT_NE(reply.error, "");
  }
  Heard heard;
  EXPECT_NE(llm.chat({user("Hello")}, heard.listener()).text, "") << "and the next one works";
}

TEST_F(PipelineTest, AListenerThatThrowsEndsTheReplyAndNothingElse) {
  PipelineLlm llm = make();
  int ends = 0;
  const PipelineReply reply = llm.chat({user("Hello")}, [&](const std::string&, bool is_final) {
    ends += is_final ? 1 : 0;
    throw std::runtime_error("the pipeline has a cold");
  });
  EXPECT_EQ(ends, 1);
  EXPECT_THAT(reply.error, HasSubstr("a cold"));
  llm.chat({user("Hello")}, [](const std::string&, bool) { throw 7; });
  Heard heard;
  EXPECT_EQ(llm.chat({user("Hello")}, heard.listener()).error, "");
}

TEST_F(PipelineTest, CancellingEndsItOnceWheneverItComes) {
  PipelineLlm llm = make(400);
  llm.cancel();
  llm.cancel();
  Heard heard;
  EXPECT_NE(llm.chat({user("Hello")}, heard.listener()).text, "") << "an early cancel is of no later reply";
  Heard cut;
  const auto listener = cut.listener();
  const PipelineReply reply = llm.chat({user("Hello")}, [&](const std::string& token, bool is_final) {
    listener(token, is_final);
    llm.cancel();
    llm.cancel();
  });
  EXPECT_EQ(cut.ends, 1);
  EXPECT_EQ(reply.stats.finish, FinishReason::cancelled);
  EXPECT_EQ(reply.error, "");
}

TEST_F(PipelineTest, AHistoryThatIsCutEveryTurnStaysWarm) {
  PipelineLlm llm = make();
  std::deque<Message> pipeline;
  int cold = 0;
  for (int turn = 0; turn < 14; ++turn) {
    pipeline.push_back(user("Tell me about number " + std::to_string(turn) + ", please."));
    while (pipeline.size() > 8) pipeline.pop_front();
    Messages given = {{Role::system, "You are a friendly assistant who likes numbers."}};
    given.insert(given.end(), pipeline.begin(), pipeline.end());
    const PipelineReply reply = llm.chat(given, nullptr);
    ASSERT_EQ(reply.error, "");
    pipeline.push_back(assistant(reply.text));
    if (turn > 0 && reply.stats.prompt_tokens - reply.stats.cached_tokens > 100) ++cold;
  }
  EXPECT_LE(cold, 1) << "every other turn costs its own words only";
}

TEST_F(PipelineTest, WhatNoLongerFitsIsCutToWhatThePipelineRemembers) {
  LoadOptions options;
  options.context = 400;
  PipelineLlm llm(Chat::from_pretrained(PROSA_TINY_CHAT, options), short_replies());
  std::deque<Message> pipeline;
  for (int turn = 0; turn < 16; ++turn) {
    pipeline.push_back(user("Tell me about number " + std::to_string(turn) + ", please."));
    while (pipeline.size() > 6) pipeline.pop_front();
    const PipelineReply reply = llm.chat(Messages(pipeline.begin(), pipeline.end()), nullptr);
    ASSERT_EQ(reply.error, "") << turn;
    pipeline.push_back(assistant(reply.text));
  }
}

TEST_F(PipelineTest, ToolsWithoutASchemaAndResultsWithoutACall) {
  PipelineLlm llm = make();
  llm.set_tools({{"clock", "Tells the \"time\"\nof day"}, {"lamp", ""}});
  Heard heard;
  const PipelineReply reply = llm.chat({user("What time is it?"), tool("[clock] noon")}, heard.listener());
  EXPECT_EQ(reply.error, "");
  EXPECT_EQ(heard.ends, 1);
  EXPECT_GT(reply.stats.prompt_tokens, 60) << "the tools are in the prompt";
  llm.set_tools({});
  EXPECT_LT(llm.chat({user("What time is it?")}, nullptr).stats.prompt_tokens, reply.stats.prompt_tokens);
}

TEST_F(PipelineTest, TheSystemPromptIsReadAheadAndThatCanBeCancelled) {
  PipelineLlm llm = make();
  const std::string system = "You are a friendly assistant who answers in one short sentence, and never in two.";
  llm.set_tools({{"clock", "Tells the time"}});
  llm.read_ahead(system);
  const PipelineReply reply = llm.chat({{Role::system, system}, user("Hello")}, nullptr);
  EXPECT_GT(reply.stats.cached_tokens, reply.stats.prompt_tokens / 2);
  std::jthread other([&] { llm.cancel(); });
  EXPECT_NO_THROW(llm.read_ahead(system + system));
  EXPECT_THROW(llm.read_ahead("\xff"), Error);
}

// ---- SpeechCore

TEST_F(PipelineTest, SpeechCoresInterface) {
  SpeechCoreLlm llm(Chat(model), short_replies());
  speech_core::LLMInterface& slot = llm;
  speech_core::ToolDefinition clock;
  clock.name = "clock";
  clock.description = "Tells the time";
  slot.set_tools({clock});
  slot.cancel();
  Heard heard;
  const speech_core::LLMResponse response = slot.chat({{speech_core::MessageRole::System, "Be short."},
                                                       {speech_core::MessageRole::User, "What time is it?"},
                                                       {speech_core::MessageRole::Tool, "[clock] noon"}},
                                                      heard.listener());
  EXPECT_EQ(response.text, heard.text);
  EXPECT_EQ(heard.ends, 1);
  Heard failed;
  EXPECT_EQ(slot.chat({}, failed.listener()).text, "");
  EXPECT_EQ(failed.ends, 1);
}

TEST_F(PipelineTest, SpeechCoresTableOfFunctions) {
  PipelineLlm llm = make();
  const sc_llm_vtable_t table = speech_core_vtable(llm);
  struct Told {
    std::string text;
    int ends = 0;
  } told;
  const auto on_token = [](const char* token, bool is_final, void* context) {
    auto& to = *static_cast<Told*>(context);
    to.text += token;
    to.ends += is_final ? 1 : 0;
  };
  const std::vector<sc_message_t> messages = {{SC_ROLE_SYSTEM, "Be short."}, {SC_ROLE_USER, "Hello"}};
  table.chat(table.context, messages.data(), messages.size(), on_token, &told);
  EXPECT_EQ(told.ends, 1);
  EXPECT_FALSE(told.text.empty());
  told = {};
  const sc_message_t empty = {SC_ROLE_USER, nullptr};
  table.chat(table.context, &empty, 1, on_token, &told);
  EXPECT_EQ(told.ends, 1);
  told = {};
  table.chat(table.context, nullptr, 0, on_token, &told);
  EXPECT_EQ(told.ends, 1);
  table.cancel(table.context);
  EXPECT_GT(table.count_tokens(table.context, "Hello there"), 0);
  EXPECT_EQ(table.count_tokens(table.context, nullptr), 0);
  EXPECT_EQ(table.count_tokens(table.context, "\xff"), 0);
}

}  // namespace
}  // namespace prosa
