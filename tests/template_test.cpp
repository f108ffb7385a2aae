// The native chat template against the official one: the golden cases and generated ones (tests/data/
// template_cases.json: odd roles, contents, tool calls and white space, rendered by the official template in Jinja2),
// and the template of a folder: which file it comes from, how it is rendered, what its renderings show. Messages as
// JSON and back are tested here as well.
#include "chat/template.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/chat_template.h"
#include "chat/message_json.h"
#include "chat/python_text.h"
#include "prosa/error.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const fs::path data = PROSA_TEST_DATA;

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return Json::parse(file);
}

Json render_case(const Json& item, const std::string& variant) {
  TemplateOptions options;
  options.thinking_default = variant == "default_on" ? ThinkingDefault::on : ThinkingDefault::off;
  options.add_generation_prompt = item.value("add_generation_prompt", true);
  if (item.contains("kwargs")) options.enable_thinking = item["kwargs"]["enable_thinking"].get<bool>();
  try {
    return render(item["messages"], item.contains("tools") ? item["tools"] : Json(), options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_template);
    return {{"error", error.message()}};
  }
}

/// An error of null stands for one that Jinja raises by itself: any text will do.
void expect_all_equal(const Json& cases) {
  for (const Json& item : cases) {
    for (const std::string variant : {"default_on", "default_off"}) {
      const Json& expected = item["rendered"][variant];
      const Json rendered = render_case(item, variant);
      if (expected.is_object() && expected["error"].is_null()) {
        EXPECT_TRUE(rendered.is_object()) << item["messages"].dump();
      } else {
        EXPECT_EQ(rendered, expected) << variant << " " << item["messages"].dump();
      }
    }
  }
}

TEST(Template, EqualsTheGoldenCases) {
  const Json cases = read_json(data / "golden" / "chat_template.json");
  ASSERT_GE(cases.size(), 17U);
  expect_all_equal(cases);
}

TEST(Template, EqualsTheGeneratedCases) {
  const Json cases = read_json(data / "template_cases.json");
  ASSERT_GE(cases.size(), 150U);
  expect_all_equal(cases);
}

TEST(PythonText, PrintsNumbersAsPython) {
  const auto text = [](double value) { return to_python_string(Json(value)); };
  EXPECT_EQ(text(0.1), "0.1");
  EXPECT_EQ(text(1.0), "1.0");
  EXPECT_EQ(text(-0.0), "-0.0");
  EXPECT_EQ(text(1e16), "1e+16");
  EXPECT_EQ(text(123456789012345680.0), "1.2345678901234568e+17");
  EXPECT_EQ(text(1e15), "1000000000000000.0");
  EXPECT_EQ(text(0.0001), "0.0001");
  EXPECT_EQ(text(0.00001), "1e-05");
  EXPECT_EQ(text(5e-324), "5e-324");
  EXPECT_EQ(text(-1234.5), "-1234.5");
  EXPECT_EQ(to_python_string(Json(std::numeric_limits<uint64_t>::max())), "18446744073709551615");
  EXPECT_EQ(to_python_json(Json(std::nan(""))), "NaN");
  EXPECT_EQ(to_python_json(Json::parse(R"({"b":[1,2.0,"é\u0001\u007f\n\"/"],"a":{}})")),
            "{\"b\": [1, 2.0, \"é\\u0001\x7f\\n\\\"/\"], \"a\": {}}");
}

TEST(PythonText, StripsUnicodeWhiteSpace) {
  EXPECT_EQ(python_strip("\u3000\x1c\u2028 a\u00a0b \u0085\u202f\n"), "a\u00a0b");
  EXPECT_EQ(python_strip("\u200b x"), "\u200b x") << "a zero-width space is no white space";
  EXPECT_EQ(python_strip(" \u3000\t"), "");
  EXPECT_EQ(python_strip("\x80\xe3\x80"), "\x80\xe3\x80") << "damaged text stays";
}

// ---- the template of a folder

std::string official_template() {
  std::ostringstream text;
  text << std::ifstream(data / "golden" / "qwen3.5-4b.chat_template.jinja").rdbuf();
  return text.str();
}

/// The small models' variant: the last branches changed places.
std::string small_template() {
  std::string text = official_template();
  const size_t prompt = text.rfind("{%- if add_generation_prompt %}");
  return text.substr(0, prompt) +
         "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
         "    {%- if enable_thinking is defined and enable_thinking is true %}\n        {{- '<think>\\n' }}\n"
         "    {%- else %}\n        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}";
}

const std::string kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const Json kHi = Json::parse(R"([{"role": "user", "content": "Hi"}])");

std::string prompt_of(const ChatTemplate& chat_template, const Json& messages = kHi, const RenderOptions& options = {},
                      const Json& tools = nullptr) {
  return chat_template.render(messages, tools, options).text();
}

/// The prompt, or {"error": text}.
Json answer_of(const ChatTemplate& chat_template, const Json& item) {
  RenderOptions options;
  options.add_generation_prompt = item.value("add_generation_prompt", true);
  if (item.contains("kwargs")) options.enable_thinking = item["kwargs"]["enable_thinking"].get<bool>();
  try {
    return prompt_of(chat_template, item["messages"], options, item.value("tools", Json()));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_template);
    return {{"error", error.message()}};
  }
}

TEST(ChatTemplate, TheFastWayWritesWhatTheInterpreterWrites) {
  const Tokenizer tokenizer = Tokenizer::load_file((data / "golden" / "tokenizer" / "qwen3-tokenizer.json").string());
  int prompts = 0;
  for (const std::string& text : {official_template(), small_template()}) {
    const ChatTemplate fast = ChatTemplate::of_text(text, "test");
    ASSERT_TRUE(fast.is_native());
    const ChatTemplate slow = *fast.interpreted();
    for (const char* file : {"golden/chat_template.json", "template_cases.json"}) {
      for (const Json& item : read_json(data / file)) {
        const Json a = answer_of(fast, item), b = answer_of(slow, item);
        ASSERT_EQ(a.is_object(), b.is_object()) << item["messages"].dump() << a.dump() << b.dump();
        if (a.is_object()) continue;
        ++prompts;
        EXPECT_EQ(a, b);
        const Json tools = item.value("tools", Json());
        EXPECT_EQ(tokenizer.encode(fast.render(item["messages"], tools, {})),
                  tokenizer.encode(slow.render(item["messages"], tools, {})))
            << item["messages"].dump();
      }
    }
  }
  EXPECT_GT(prompts, 150);
}

TEST(ChatTemplate, KnowsATextByWhatItSays) {
  const auto is_native = [](const std::string& text) { return ChatTemplate::of_text(text, "test").is_native(); };
  std::string crlf;
  for (const char c : official_template()) crlf += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_TRUE(is_native(crlf));
  EXPECT_TRUE(is_native(official_template() + "\n \n"));
  EXPECT_FALSE(is_native(official_template() + "x"));
  EXPECT_FALSE(is_native(" " + official_template()));
  EXPECT_FALSE(is_native(kChatMl));
  EXPECT_TRUE(ChatTemplate().is_native());
  EXPECT_FALSE(ChatTemplate().interpreted());
}

TEST(ChatTemplate, VariablesReachIt) {
  const ChatTemplate official = ChatTemplate::of_text(official_template(), "test");
  const Json picture =
      Json::parse(R"([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}])");
  RenderOptions options;
  options.variables = {{"add_vision_id", true}};
  EXPECT_THAT(prompt_of(official, picture, options), testing::HasSubstr("user\nPicture 1: <|vision_start|>"))
      << "the fast way knows no such variable";
  options.variables = {{"enable_thinking", false}};
  EXPECT_THAT(prompt_of(official, kHi, options), testing::EndsWith("<think>\n\n</think>\n\n"));
  options.enable_thinking = true;
  EXPECT_THAT(prompt_of(official, kHi, options), testing::EndsWith("assistant\n<think>\n"));
  const ChatTemplate asks = ChatTemplate::of_text(
      "{{ messages|length }}{{ name|default('nobody') }}{{ tools is none }}{{ enable_thinking is defined }}", "test");
  options = {};
  EXPECT_EQ(prompt_of(asks), "1nobodyTrueFalse");
  options.variables = {{"name", "Ada<|im_end|>"}, {"messages", Json::array()}};
  const MarkedText text = asks.render(kHi, nullptr, options);
  EXPECT_EQ(text.text(), "1Ada<|im_end|>TrueFalse") << "messages are those of the request";
  EXPECT_THAT(text.given(), testing::ElementsAre(MarkedText::Range{1, 14}));
}

TEST(ChatTemplate, AReplyGoesOn) {
  RenderOptions options;
  options.continue_final_message = true;
  Json messages = kHi;
  messages.push_back({{"role", "assistant"}, {"content", "It is "}});
  const ChatTemplate chat_ml = ChatTemplate::of_text(kChatMl, "test");
  EXPECT_EQ(prompt_of(chat_ml, messages, options), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nIt is ");
  const std::string thought = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nIt is";
  EXPECT_EQ(prompt_of(ChatTemplate(), messages, options), thought) << "where the template trims, so does this";
  EXPECT_EQ(prompt_of(*ChatTemplate::of_text(official_template(), "test").interpreted(), messages, options), thought);
  messages[1]["content"] = Json::parse(R"([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])");
  EXPECT_THAT(prompt_of(ChatTemplate(), messages, options), testing::EndsWith("ab"));
  messages[1].erase("content");
  EXPECT_THROW(prompt_of(chat_ml, messages, options), Error);
  EXPECT_THROW(prompt_of(chat_ml, Json::array(), options), Error);
  try {
    prompt_of(ChatTemplate::of_text("nothing", "test"), kHi, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "continue_final_message");
  }
}

class TemplateFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("prosa_template_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "additional_chat_templates");
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
  ChatTemplate read() const { return ChatTemplate::load(folder_); }
  std::string prompt() const { return prompt_of(read()); }
  fs::path folder_;
};

constexpr const char* kOpen = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n";
constexpr const char* kClosed = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

TEST_F(TemplateFiles, AnUnsetVariableMeansWhatTheTemplateMakesOfIt) {
  write("chat_template.jinja", official_template());
  EXPECT_EQ(prompt(), kOpen);
  write("chat_template.jinja", small_template());
  EXPECT_EQ(prompt(), kClosed);
  const auto with = [&](const std::string& condition, const std::string& a, const std::string& b) {
    write("chat_template.jinja", "{% if " + condition + " -%}" + a + "{% else %}" + b + "{% endif %}");
    return prompt();
  };
  EXPECT_EQ(with("enable_thinking", "open", "closed"), "closed");
  EXPECT_EQ(with("not enable_thinking", "closed", "open"), "closed");
  EXPECT_EQ(with("enable_thinking is not defined or enable_thinking", "open", "closed"), "open");
  EXPECT_EQ(with("(enable_thinking  is\n defined) and not enable_thinking", "closed", "open"), "open");
  EXPECT_EQ(with("enable_thinking | default(true)", "open", "closed"), "open");
  EXPECT_EQ(with("enable_thinking == False", "closed", "open"), "open");
  EXPECT_EQ(with("enable_thinking is defined and enable_thinking is false", "closed", ""), "");
}

TEST_F(TemplateFiles, WithoutATemplateItIsTheSmallModels) {
  EXPECT_EQ(prompt(), kClosed);
  write("tokenizer_config.json", R"({"model_max_length": 10, "chat_template": null})");
  EXPECT_EQ(prompt(), kClosed);
  write("tokenizer_config.json", "[]");
  EXPECT_EQ(prompt(), kClosed);
}

TEST_F(TemplateFiles, FindsTheTemplateInJsonFiles) {
  write("tokenizer_config.json", Json{{"chat_template", official_template()}}.dump());
  EXPECT_EQ(prompt(), kOpen);
  const Json named = {{{"name", "rag"}, {"template", official_template()}},
                      {{"name", "default"}, {"template", small_template()}}};
  write("tokenizer_config.json", Json{{"chat_template", named}}.dump());
  EXPECT_EQ(prompt(), kClosed);
  write("chat_template.json", Json{{"chat_template", official_template()}}.dump());
  EXPECT_EQ(prompt(), kOpen) << "chat_template.json comes before tokenizer_config.json";
  write("chat_template.jinja", kChatMl);
  EXPECT_EQ(prompt(), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n") << "chat_template.jinja comes first";
}

TEST_F(TemplateFiles, RequestsWithToolsHaveATemplateOfTheirOwn) {
  const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  const Json named = {{{"name", "tool_use"}, {"template", "{{ tools[0].function.name }}"}},
                      {{"name", "default"}, {"template", official_template()}}};
  write("tokenizer_config.json", Json{{"chat_template", named}}.dump());
  EXPECT_EQ(prompt_of(read(), kHi, {}, tools), "f");
  EXPECT_EQ(prompt_of(read(), kHi, {}, Json::array()), kOpen);
  write("chat_template.jinja", "usual");
  EXPECT_EQ(prompt_of(read(), kHi, {}, tools), "usual");
  write("additional_chat_templates/tool_use.jinja", "{{ tools|length }} tool");
  EXPECT_EQ(prompt_of(read(), kHi, {}, tools), "1 tool");
  EXPECT_EQ(prompt_of(read(), kHi), "usual");
}

TEST_F(TemplateFiles, SpecialTokensAreTheTemplatesOwn) {
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<s>", "special": true}, "eos_token": "</s>", "pad_token": null})");
  write("special_tokens_map.json", R"({"eos_token": "other", "pad_token": "<pad>"})");
  write("chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token }}{{ unk_token }}");
  const MarkedText text = read().render(kHi, nullptr, {});
  EXPECT_EQ(text.text(), "<s>Hi</s><pad>");
  EXPECT_THAT(text.given(), testing::ElementsAre(MarkedText::Range{3, 5}));
}

TEST_F(TemplateFiles, NamesADamagedFile) {
  const auto error_of_read = [&] {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_template);
      return error.where();
    }
    return std::string("no error");
  };
  write("tokenizer_config.json", "{\"chat_template\": ");
  EXPECT_THAT(error_of_read(), testing::HasSubstr("tokenizer_config.json"));
  write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_THAT(error_of_read(), testing::HasSubstr("tokenizer_config.json"));
  write("chat_template.jinja", "a\n{% if %}");
  EXPECT_THAT(error_of_read(), testing::EndsWith("chat_template.jinja, line 2"));
}

// ---- what renderings show

TEST(TurnBorders, AreReadOffTheRenderings) {
  const auto borders_of = [](const char* name) {
    return ChatTemplate::of_text(
               read_json(data / "templates" / (std::string(name) + ".json"))[0]["template"].get<std::string>(), name,
               {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
        .borders();
  };
  const auto is = [](const char* user, const char* assistant, const char* end) {
    return testing::AllOf(testing::Field(&TurnBorders::user, user), testing::Field(&TurnBorders::assistant, assistant),
                          testing::Field(&TurnBorders::user_end, end));
  };
  const auto chat_ml = is("<|im_start|>user", "<|im_start|>assistant", "<|im_end|>\n");
  EXPECT_THAT(ChatTemplate().borders(), chat_ml);
  EXPECT_THAT(ChatTemplate(ThinkingDefault::on).borders(), chat_ml);
  EXPECT_THAT(ChatTemplate::of_text(official_template(), "x").interpreted()->borders(), chat_ml);
  EXPECT_THAT(ChatTemplate::of_text(kChatMl, "x").borders(), chat_ml);
  EXPECT_THAT(borders_of("qwen25"), chat_ml);
  EXPECT_THAT(borders_of("qwen3"), chat_ml);
  EXPECT_THAT(borders_of("llama31"), is("<|start_header_id|>user<|end_header_id|>",
                                        "<|start_header_id|>assistant<|end_header_id|>", "<|eot_id|>"));
  EXPECT_THAT(borders_of("gemma3"), is("<start_of_turn>user", "<start_of_turn>model", "<end_of_turn>\n"));
  EXPECT_THAT(borders_of("phi4mini"), is("<|user|>", "<|assistant|>", "<|end|>"));
  EXPECT_THAT(borders_of("mistral"), is("[INST]", "", "[/INST]"));
  EXPECT_THAT(ChatTemplate::of_text("{{ raise_exception('no') }}", "x").borders(), is("", "", ""));
  EXPECT_THAT(ChatTemplate::of_text("fixed", "x").borders(), is("", "", ""));
}

// ---- messages as JSON ----

template <typename Function>
Error error_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ErrorCode::io, ""};
}

TEST(MessageJson, RoundTrips) {
  const std::vector<Message> messages = {
      {Role::system, "Be brief."},
      {Role::user, "Weather?"},
      {Role::assistant, "I look.", "hm", {{"get_weather", R"({"city": "Oslo", "days": 3, "x": [1.0, null]})"}}},
      {Role::tool, "rain"}};
  const Json json = to_json(messages);
  EXPECT_EQ(json[2]["tool_calls"][0]["function"]["arguments"]["days"], 3);
  EXPECT_FALSE(json[1].contains("reasoning_content"));
  const std::vector<Message> back = messages_from_json(json);
  ASSERT_EQ(back.size(), messages.size());
  for (size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].role, messages[i].role);
    EXPECT_EQ(back[i].content, messages[i].content);
    EXPECT_EQ(back[i].reasoning_content, messages[i].reasoning_content);
  }
  EXPECT_EQ(back[2].tool_calls[0].arguments, messages[2].tool_calls[0].arguments);
}

TEST(MessageJson, TakesArgumentsAsObjectOrString) {
  const auto arguments = [](const std::string& text) {
    const Json json =
        Json::parse(R"([{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": )" +
                    text + "}}]}]");
    return messages_from_json(json)[0].tool_calls[0].arguments;
  };
  EXPECT_EQ(arguments(R"({"a":1})"), R"({"a": 1})");
  EXPECT_EQ(arguments(R"("{\"a\":1}")"), R"({"a": 1})");
  EXPECT_EQ(arguments(R"("")"), "{}");
  EXPECT_EQ(arguments("null"), "{}");
  const Error error = error_of([&] { arguments(R"("{\"a\":")"); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(error.where(), testing::HasSubstr("\"f\""));
  EXPECT_THROW(arguments("[1]"), Error);
}

TEST(MessageJson, JoinsTextPartsAndRefusesImages) {
  const auto content = [](const std::string& text) {
    return messages_from_json(Json::parse(R"([{"role": "developer", "content": )" + text + "}]"))[0];
  };
  EXPECT_EQ(content(R"([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])").content, "ab");
  EXPECT_EQ(content("null").role, Role::system);
  EXPECT_EQ(error_of([&] { content(R"([{"type": "image_url", "image_url": {}}])"); }).code(), ErrorCode::unsupported);
  for (const char* wrong : {"3", "{}", "[1]", "[null]", R"([{"type": "text"}])", R"([{"type": "text", "text": 3}])"}) {
    EXPECT_EQ(error_of([&] { content(wrong); }).where(), "messages[0]") << wrong;
  }
}

TEST(MessageJson, RefusesWrongShapes) {
  for (const char* wrong :
       {"{}", "[1]", "[{}]", R"([{"role": "robot"}])", R"([{"role": 1}])",
        R"([{"role": "assistant", "tool_calls": {}}])", R"([{"role": "assistant", "tool_calls": [1]}])",
        R"([{"role": "assistant", "reasoning_content": 1}])"}) {
    EXPECT_EQ(error_of([&] { messages_from_json(Json::parse(wrong)); }).code(), ErrorCode::invalid_argument) << wrong;
  }
}

TEST(MessageJson, KeepsToolsAsGiven) {
  const std::string wrapped = R"({"type": "function", "function": {"name": "f", "parameters": {"z": 1, "a": 2}}})";
  EXPECT_EQ(to_python_json(parse_tool({wrapped})), wrapped);
  EXPECT_EQ(parse_tool({R"({"name": "g"})"})["name"], "g");
  for (const char* wrong : {"", "{", "3", "{}", R"({"type": "function"})", R"({"type": "function", "function": {}})",
                            R"({"function": {"name": ""}})"}) {
    const Error error = error_of([&] { parse_tool({wrong}, 4); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << wrong;
    EXPECT_EQ(error.where(), "tools[4]") << wrong;
  }
  EXPECT_TRUE(to_json(std::span<const Tool>()).is_null());
  EXPECT_EQ(tools_from_json(Json::parse("[" + wrapped + "]"))[0].json, wrapped);
  EXPECT_THROW(tools_from_json(Json::parse("[{}]")), Error);
}

TEST(MessageJson, BoundsNesting) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') + std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_NO_THROW(parse_json(nested(kMaxJsonDepth), "x"));
  EXPECT_THROW(parse_json(nested(kMaxJsonDepth + 1), "x"), Error);
  EXPECT_THROW(parse_json(nested(2'000'000), "x"), Error);
  EXPECT_NO_THROW(parse_json("\"" + std::string(1000, '[') + "\\\"[[[\"", "x")) << "brackets in a string are text";
}

}  // namespace
}  // namespace prosa::chat
