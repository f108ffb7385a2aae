// The native chat template against the official one: the golden cases and generated ones (tests/data/
// template_cases.json: odd roles, contents, tool calls and white space, rendered by the official template in Jinja2),
// and how a model folder says whether it thinks by default. Messages as JSON and back are tested here as well.
#include "chat/template.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/message_json.h"
#include "chat/python_text.h"
#include "prosa/error.h"

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

// ---- read_thinking_default ----

class ThinkingDefaultTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("prosa_template_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }
  ThinkingDefault read() const { return read_thinking_default(folder_); }
  fs::path folder_;
};

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

TEST_F(ThinkingDefaultTest, ReadsTheOfficialTemplates) {
  write("chat_template.jinja", official_template());
  EXPECT_EQ(read(), ThinkingDefault::on);
  write("chat_template.jinja", small_template());
  EXPECT_EQ(read(), ThinkingDefault::off);
}

TEST_F(ThinkingDefaultTest, IsOffWithoutATemplate) {
  EXPECT_EQ(read(), ThinkingDefault::off);
  write("tokenizer_config.json", R"({"model_max_length": 10, "chat_template": null})");
  EXPECT_EQ(read(), ThinkingDefault::off);
}

TEST_F(ThinkingDefaultTest, FindsTheTemplateInJsonFiles) {
  write("tokenizer_config.json", Json{{"chat_template", official_template()}}.dump());
  EXPECT_EQ(read(), ThinkingDefault::on);
  const Json named = {{{"name", "rag"}, {"template", official_template()}},
                      {{"name", "default"}, {"template", small_template()}}};
  write("tokenizer_config.json", Json{{"chat_template", named}}.dump());
  EXPECT_EQ(read(), ThinkingDefault::off);
  write("chat_template.json", Json{{"chat_template", official_template()}}.dump());
  EXPECT_EQ(read(), ThinkingDefault::on) << "chat_template.json comes before tokenizer_config.json";
  write("chat_template.jinja", small_template());
  EXPECT_EQ(read(), ThinkingDefault::off) << "chat_template.jinja comes first";
}

TEST_F(ThinkingDefaultTest, FollowsTheConditionNotTheOrder) {
  const std::string closed = "{{ '<think>\\n\\n</think>\\n\\n' }}", open = "{{ '<think>\\n' }}";
  const auto with = [&](const std::string& condition, const std::string& a, const std::string& b) {
    write("chat_template.jinja", "{% if add_generation_prompt %}{{ 'x' }}{%- if " + condition + " -%}" + a +
                                     "{% else %}" + b + "{% endif %}{% endif %}");
    return read();
  };
  EXPECT_EQ(with("enable_thinking", open, closed), ThinkingDefault::off);
  EXPECT_EQ(with("not enable_thinking", closed, open), ThinkingDefault::off);
  EXPECT_EQ(with("enable_thinking is not defined or enable_thinking", open, closed), ThinkingDefault::on);
  EXPECT_EQ(with("(enable_thinking  is\n defined) and not enable_thinking", closed, open), ThinkingDefault::on);
  EXPECT_EQ(with("enable_thinking | default(true)", open, closed), ThinkingDefault::on);
  EXPECT_EQ(with("not enable_thinking|default(True)", closed, open), ThinkingDefault::on);
  EXPECT_EQ(with("enable_thinking == False", closed, open), ThinkingDefault::on);
  // Qwen3: nothing at all is written unless thinking is switched off.
  EXPECT_EQ(with("enable_thinking is defined and enable_thinking is false", closed, ""), ThinkingDefault::on);
}

TEST_F(ThinkingDefaultTest, NamesADamagedFile) {
  write("tokenizer_config.json", "{\"chat_template\": ");
  try {
    read();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_template);
    EXPECT_THAT(error.where(), testing::HasSubstr("tokenizer_config.json"));
  }
  write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_THROW(read(), Error);
  write("tokenizer_config.json", "[]");
  EXPECT_EQ(read(), ThinkingDefault::off);
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
