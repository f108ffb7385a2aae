// Choosing among options: on a scripted backend for what is chosen and what it costs, and on the tiny golden model for
// the numbers, against the logits of single steps.
#include "prosa/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "chat/choice.h"
#include "chat/engine.h"
#include "chat/prompt_plan.h"
#include "fake_backend.h"
#include "prosa/chat.h"
#include "scripted_engine.h"

namespace prosa {
namespace {

using test::FakeBackend;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using Messages = std::vector<Message>;
using Options = std::vector<std::string>;

constexpr const char* kTinyChat = PROSA_TINY_CHAT;

std::optional<Error> error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

/// An engine whose model wants to reply exactly `wish`.
class ScriptedChoice : public testing::Test {
 protected:
  void SetUp() override { make(2000); }
  void make(int64_t context) {
    backend = std::make_shared<FakeBackend>(512);
    engine = test::scripted_engine(backend, context);
  }
  const Tokenizer& tokenizer() { return engine->loaded()->text->tokenizer; }

  void wish(const std::string& reply) {
    SamplingConfig sampling;
    sampling.disable_thinking = true;
    const size_t prompt =
        chat::plan_prompt(tokenizer(), chat::ThinkingDefault::off, messages, {}, sampling).tokens.size();
    backend->script = [prompt, tokens = tokenizer().encode(reply),
                       end = *tokenizer().token_id("<|im_end|>")](std::span<const int32_t> fed) {
      const size_t at = fed.size() - prompt;
      return fed.size() >= prompt && at < tokens.size() ? tokens[at] : end;
    };
  }
  Choice choose(const Options& options, const ChooseConfig& config = {}) {
    return chat::choose(*engine, messages, options, config, {});
  }
  std::optional<Error> refusal(const Options& options, const ChooseConfig& config = {}) {
    return error_of([&] { choose(options, config); });
  }

  Messages messages = {{Role::user, "It is dark."}};
  std::shared_ptr<FakeBackend> backend;
  std::shared_ptr<chat::Engine> engine;
};

TEST_F(ScriptedChoice, TheOptionThatTheModelWouldSayComesFirst) {
  wish("turn on the light");
  const Choice choice = choose({"turn off the light", "turn on the light", "turn on the fan", "say nothing"});
  EXPECT_EQ(choice.best().index, 1U);
  EXPECT_EQ(choice.best().text, "turn on the light");
  EXPECT_GT(choice.best().probability, 0.99);
  double sum = 0;
  for (const ScoredOption& option : choice.options) {
    sum += option.probability;
    double tokens = 0;
    for (const double each : option.token_log_probabilities) tokens += each;
    EXPECT_DOUBLE_EQ(option.log_probability, tokens);
    EXPECT_EQ(option.token_log_probabilities.size(), tokenizer().encode(option.text).size() + 1) << "and its end";
  }
  EXPECT_NEAR(sum, 1, 1e-9);
  for (size_t i = 1; i < choice.options.size(); ++i)
    EXPECT_GE(choice.options[i - 1].log_probability, choice.options[i].log_probability);
}

TEST_F(ScriptedChoice, WhatOptionsBeginWithIsComputedOnce) {
  wish("turn on the light");
  const Options options = {"turn off the light", "turn on the light", "turn on the lamp", "turn on", "turn on the fan"};
  std::set<std::vector<int32_t>> beginnings;
  for (const std::string& option : options) {
    const std::vector<int32_t> tokens = tokenizer().encode(option);
    for (size_t length = 1; length <= tokens.size(); ++length)
      beginnings.insert({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(length)});
  }
  const Choice choice = choose(options);
  EXPECT_EQ(choice.scored_tokens, std::ssize(beginnings));
  EXPECT_EQ(choice.best().text, "turn on the light");
}

TEST_F(ScriptedChoice, AnOptionMayBeginAnother) {
  wish("yes");
  EXPECT_EQ(choose({"yes please", "yes", "no"}).best().text, "yes");
  wish("yes please");
  EXPECT_EQ(choose({"yes please", "yes", "no"}).best().text, "yes please");
}

TEST_F(ScriptedChoice, TheMeanRanksWithoutRegardToLength) {
  backend->script = nullptr;  // all tokens about alike: the shortest sum wins, whatever it says
  const Options options = {"a", "a long reply with many words in it, and then some more of them"};
  const Choice by_sum = choose(options);
  EXPECT_EQ(by_sum.best().index, 0U);
  const Choice by_mean = choose(options, {.by_mean = true});
  const ScoredOption& first = by_mean.options[0];
  const ScoredOption& second = by_mean.options[1];
  EXPECT_GE(first.mean_log_probability, second.mean_log_probability);
  EXPECT_NEAR(std::log(first.probability / second.probability),
              first.mean_log_probability - second.mean_log_probability, 1e-9);
}

TEST_F(ScriptedChoice, MoreOptionsThanABackendAnswersAtOnce) {
  Options options;
  for (int32_t id = 0; id < 512 && options.size() < kMaxOptions - 1; ++id) {
    const std::string text(tokenizer().token_bytes(id));
    const bool plain = !tokenizer().is_control(id) && text.find_first_of("{}") == std::string::npos;
    if (plain && !text.empty() && tokenizer().encode_given(text) == std::vector<int32_t>{id}) options.push_back(text);
  }
  ASSERT_GT(options.size(), 200U);
  const std::string last = options.back();
  wish(last);
  const Choice choice = choose(options);
  EXPECT_EQ(choice.best().text, last);
  EXPECT_EQ(choice.scored_tokens, std::ssize(options));
}

TEST_F(ScriptedChoice, LongOptionsAreFedInPieces) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "turn on the light and ";
  const std::string longer = text + "stop";
  ASSERT_GT(tokenizer().encode(longer).size(), 64U);
  wish(longer);
  const Choice choice = choose({text + "go", longer});
  EXPECT_EQ(choice.best().text, longer);
  EXPECT_GT(choice.best().log_probability, -0.1);
}

TEST_F(ScriptedChoice, SlotsAreFilledByTheModelWithinTheirLimits) {
  ChooseConfig config;
  config.slots = {{"minutes", Slot::number(1, 120)},
                  {"room", Slot::one_of({"kitchen", "hall", "bath"})},
                  {"code", Slot::matching("[A-C]{2}-[0-9]+")},
                  {"nest", Slot::grammar("root ::= \"(\" root \")\" | [a-z]+")},
                  {"what", Slot::free_words(3)}};
  const auto filled = [&](const std::string& said, const std::string& option) {
    wish(said);
    return choose({"say nothing", option}, config);
  };
  Choice choice = filled("wake me in 45 minutes", "wake me in {minutes} minutes");
  EXPECT_EQ(choice.best().text, "wake me in 45 minutes");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("minutes", "45")));
  EXPECT_GT(choice.best().probability, 0.99);

  choice = filled("light in the hall: on", "light in the {room}: on");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("room", "hall")));

  choice = filled("open AB-7", "open {code}");
  EXPECT_EQ(choice.best().text, "open AB-7");

  choice = filled("put ((x)) in the hall", "put {nest} in the {room}");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("nest", "((x))"), Pair("room", "hall")));

  choice = filled("note milk and bread", "note {what}");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("what", "milk and bread")));

  choice = filled("in 5 minutes in the bath", "in {minutes} minutes in the {room}");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("minutes", "5"), Pair("room", "bath")));

  choice = filled("{5}", "{{{minutes}}}");
  EXPECT_EQ(choice.best().text, "{5}");
  EXPECT_THAT(choice.best().slots, ElementsAre(Pair("minutes", "5")));
}

TEST_F(ScriptedChoice, ASlotNeverHoldsWhatItMayNot) {
  ChooseConfig config;
  config.slots = {{"minutes", Slot::number(1, 12)}, {"room", Slot::one_of({"kitchen", "hall"})}};
  wish("in 99 minutes in the garden");
  const Choice choice = choose({"in {minutes} minutes in the {room}"}, config);
  const int minutes = std::stoi(choice.best().slots.at("minutes"));
  EXPECT_TRUE(minutes >= 1 && minutes <= 12) << minutes;
  EXPECT_THAT(choice.best().slots.at("room"), testing::AnyOf("kitchen", "hall"));
  EXPECT_EQ(choice.best().text,
            "in " + choice.best().slots.at("minutes") + " minutes in the " + choice.best().slots.at("room"));
}

TEST_F(ScriptedChoice, ASlotWithoutEndIsAsImprobableAsCanBe) {
  std::string letters;
  for (int i = 0; i < 2000; ++i) letters += "xy";
  ChooseConfig config;
  config.slots = {{"s", Slot::matching("[a-z]*!")}};
  wish(letters);
  const Choice choice = choose({"{s}", "no"}, config);
  EXPECT_EQ(choice.best().text, "no");
  EXPECT_EQ(choice.best().probability, 1);
  EXPECT_EQ(choice.options[1].probability, 0);
  EXPECT_TRUE(std::isinf(choice.options[1].log_probability));
}

TEST_F(ScriptedChoice, SaysWhatIsWrongWithOptionsAndSlots) {
  const auto expect = [&](const Options& options, const ChooseConfig& config, const std::string& where) {
    const std::optional<Error> error = refusal(options, config);
    ASSERT_TRUE(error) << where;
    EXPECT_EQ(error->code(), ErrorCode::invalid_argument) << error->what();
    EXPECT_EQ(error->where(), where) << error->what();
  };
  expect({}, {}, "options");
  expect(Options(kMaxOptions + 1, "a"), {}, "options");
  expect({"a", ""}, {}, "options[1]");
  expect({"a", "b", "a"}, {}, "options[2]");
  expect({"a", "\xff"}, {}, "options[1]");
  expect({"{"}, {}, "options[0]");
  expect({"a}"}, {}, "options[0]");
  expect({"{room}"}, {}, "options[0]");
  expect({std::string(5000, 'a')}, {}, "options[0]");
  std::string words;
  for (size_t i = 0; i <= kMaxOptionTokens; ++i) words += " the";
  expect({words}, {}, "options[0]");
  expect({"a"}, {.deadline_ms = -1}, "deadline_ms");
  const auto slot = [](Slot of) { return ChooseConfig{.slots = {{"s", std::move(of)}}}; };
  expect({"{s}"}, slot(Slot::one_of({})), "slots.s");
  expect({"{s}"}, slot(Slot::one_of({"a", ""})), "slots.s");
  expect({"{s}"}, slot(Slot::number(3, 2)), "slots.s");
  expect({"{s}"}, slot(Slot::matching("(")), "slots.s");
  expect({"{s}"}, slot(Slot::grammar("other ::= \"a\"")), "slots.s");
  expect({"{s}"}, slot(Slot::matching("\xff")), "slots.s");
  expect({"{s}"}, slot(Slot::free_words(0)), "slots.s");
  expect({"{s}"}, slot(Slot::free_words(1000)), "slots.s");
  EXPECT_EQ(refusal({"{s}"}, slot(Slot::matching("(a)\\1")))->code(), ErrorCode::unsupported);
  EXPECT_EQ(refusal({"{s}"}, slot(Slot::matching("(a{1000}){1000}")))->code(), ErrorCode::unsupported);
}

TEST_F(ScriptedChoice, OptionsThatDoNotFitTheContextAreRefusedFirst) {
  make(30);
  wish("a");
  const std::optional<Error> error = refusal({"turn on the light in the kitchen and then in the hall and the bath"});
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::context_exceeded) << error->what();
}

TEST_F(ScriptedChoice, CancelledItLeavesTheConversationAsItWas) {
  wish("yes");
  int runs = 0;
  backend->on_run = [&](std::span<const backend::Segment>) {
    if (++runs == 2) engine->cancel();
  };
  EXPECT_EQ(refusal({"yes", "no"})->code(), ErrorCode::cancelled);
  backend->on_run = nullptr;
  EXPECT_EQ(choose({"yes", "no"}).best().text, "yes");
  EXPECT_EQ(refusal({"yes", "no"}, {.deadline_ms = 600'000}).has_value(), false) << "ten minutes are enough here";
}

// ---- on a model

SamplingConfig greedy() {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1;
  config.disable_thinking = true;
  config.max_tokens = 12;
  return config;
}

const Options kCommands = {"turn on the light", "turn off the light", "turn on the fan", "stop", "turn on"};

TEST(ModelChoice, ScoresAreThoseOfSingleStepsWhateverElseIsInTheList) {
  const Model model = Model::from_pretrained(kTinyChat);
  Chat chat(model);
  const Messages messages = {{Role::system, "You are a lamp."}, {Role::user, "It is dark."}};
  const Choice all = chat.choose(messages, kCommands);
  const auto tokenizer = Tokenizer::load(kTinyChat);
  const chat::PromptPlan plan = chat::plan_prompt(tokenizer, chat::ThinkingDefault::off, messages, {}, greedy());
  for (const ScoredOption& option : all.options) {
    const Choice alone = chat.choose(messages, {option.text});
    EXPECT_EQ(alone.best().token_log_probabilities, option.token_log_probabilities) << option.text;
    EXPECT_EQ(alone.best().probability, 1);

    Session session(model);
    session.sync(plan.tokens, plan.cuts);
    std::vector<int32_t> tokens = tokenizer.encode_given(option.text);
    tokens.push_back(*tokenizer.token_id("<|im_end|>"));
    ASSERT_EQ(option.token_log_probabilities.size(), tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      const std::span<const float> row = session.logits();
      double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<double>(logit));
      EXPECT_NEAR(option.token_log_probabilities[i], row[static_cast<size_t>(tokens[i])] - std::log(sum), 1e-5);
      if (i + 1 < tokens.size()) session.decode(tokens[i]);
    }
    // And, within the bounds of other cuts, what one pass over everything says.
    std::vector<int32_t> whole = plan.tokens;
    whole.insert(whole.end(), tokens.begin(), tokens.end());
    State state = model.new_state();
    const Logits logits = model.forward(whole, state);
    double total = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const std::span<const float> row = logits.row(static_cast<int64_t>(plan.tokens.size() + i) - 1);
      double sum = 0;
      for (const float logit : row) sum += std::exp(static_cast<double>(logit));
      total += row[static_cast<size_t>(tokens[i])] - std::log(sum);
    }
    EXPECT_NEAR(option.log_probability, total, 0.02) << option.text;
  }
}

TEST(ModelChoice, TheConversationStandsWhereItStood) {
  const Model model = Model::from_pretrained(kTinyChat);
  const auto play = [&](bool chooses) {
    Chat chat(model);
    chat.reset_state();
    Messages messages = {{Role::user, "Hello"}};
    messages.push_back({Role::assistant, chat.generate(messages, greedy()).text});
    messages.push_back({Role::user, "It is dark."});
    if (chooses) chat.choose(messages, kCommands);
    return chat.generate(messages, greedy());
  };
  const Reply without = play(false);
  const Reply with = play(true);
  EXPECT_EQ(with.text, without.text);
  EXPECT_GE(with.stats.cached_tokens, without.stats.cached_tokens) << "the choice has read the prompt ahead";
}

TEST(ModelChoice, AKeptChoiceIsTheReply) {
  Chat chat(Model::from_pretrained(kTinyChat));
  Messages messages = {{Role::user, "It is dark."}};
  const Choice choice = chat.choose(messages, {"turn on the light"}, {.keep = true});
  EXPECT_EQ(choice.prompt_tokens, std::ssize(chat.tokenize(chat.render_prompt(messages, greedy()))));
  messages.push_back({Role::assistant, choice.best().text});
  messages.push_back({Role::user, "Thanks."});
  const Reply next = chat.generate(messages, greedy());
  const int64_t begin = std::ssize(chat.tokenize(chat.render_prompt({{Role::user, "It is dark."}}, greedy())));
  EXPECT_GE(next.stats.cached_tokens, begin) << "the choice was read ahead";

  Messages again = {{Role::user, "It is dark."}};
  chat.choose(again, {"turn on the light"}, {.keep = true});
  EXPECT_EQ(chat.heard(7), "turn on");
}

TEST(ModelChoice, NeedsALoadedModelThatIsNotBusy) {
  Chat chat(Model::from_pretrained(kTinyChat));
  const Messages messages = {{Role::user, "Hello"}};
  {
    ReplyStream stream = chat.generate_stream(messages, greedy());
    EXPECT_EQ(error_of([&] { chat.choose(messages, {"a"}); })->code(), ErrorCode::busy);
  }
  EXPECT_EQ(error_of([&] { chat.choose({{Role::assistant, "a"}}, {"a"}); })->code(), ErrorCode::bad_template);
  chat.unload();
  EXPECT_EQ(error_of([&] { chat.choose(messages, {"a"}); })->code(), ErrorCode::not_loaded);
}

}  // namespace
}  // namespace prosa
