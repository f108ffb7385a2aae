// The Jinja interpreter against Jinja2: templates in the styles of many model families and single constructs, with what
// transformers renders of them (tests/data/templates); the marks of what was given; and templates that mean harm.
#include "chat/jinja/jinja.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "prosa/error.h"

namespace prosa::chat::jinja {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kData = PROSA_TEST_DATA;

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return Json::parse(file);
}

std::string read_text(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

MarkedText render(const Template& made, const Json& variables) {
  Variables values;
  InputSize size;
  for (const auto& [name, value] : variables.items()) {
    size.add(value);
    values.emplace_back(name, name == "messages" ? value_of_messages(value) : value_of_json(value));
  }
  return made.render(values, size);
}

std::string text_of(std::string_view text, const Json& variables = Json::object()) {
  return render(Template(text, "test"), variables).text();
}

/// {"prompt"} or {"error"}.
Json answer(std::string_view text, const Json& variables) {
  try {
    return {{"prompt", text_of(text, variables)}};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_template);
    EXPECT_THAT(error.where(), HasSubstr("test, line "));
    EXPECT_FALSE(error.remedy().empty());
    return {{"error", error.message()}};
  }
}

/// An error of null stands for one of Jinja's own: any text will do.
void expect_answer(const std::string& text, const Json& variables, const Json& expected, const std::string& name) {
  const Json got = answer(text, variables);
  if (expected.contains("prompt")) {
    ASSERT_TRUE(got.contains("prompt")) << name << ": " << got.dump() << "\n" << variables.dump();
    EXPECT_EQ(got["prompt"], expected["prompt"]) << name << "\n" << variables.dump();
  } else if (expected["error"].is_null()) {
    EXPECT_TRUE(got.contains("error")) << name << ": " << got.dump();
  } else {
    EXPECT_EQ(got, Json({{"error", expected["error"]}})) << name;
  }
}

/// A template as the fixtures have it: whole, or as changes to the official one of Qwen3.5.
std::string template_of(const Json& item) {
  if (item.contains("template")) return item["template"];
  std::string text = read_text(kData / "golden" / "qwen3.5-4b.chat_template.jinja");
  for (const Json& edit : item["edits"]) {
    const std::string from = edit[0], to = edit[1];
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  return text;
}

class Templates : public testing::TestWithParam<std::string> {};

TEST_P(Templates, RenderAsJinja2DoesIt) {
  const Json items = read_json(kData / "templates" / (GetParam() + ".json"));
  ASSERT_FALSE(items.empty());
  for (const Json& item : items) {
    const std::string text = template_of(item);
    for (const Json& one : item["cases"]) expect_answer(text, one["vars"], one, item["name"]);
  }
}

INSTANTIATE_TEST_SUITE_P(Jinja, Templates,
                         testing::Values("own", "qwen25", "qwen3", "llama31", "mistral", "gemma3", "phi4mini",
                                         "deepseek", "hermes", "granite", "cohere"),
                         [](const auto& param) { return param.param; });

TEST(Jinja, EveryConstructIsThatOfJinja2) {
  const Json document = read_json(kData / "templates" / "snippets.json");
  ASSERT_GE(document["cases"].size(), 120U);
  for (const Json& item : document["cases"])
    expect_answer(item["template"], document["vars"], item, item["template"].dump());
}

TEST(Jinja, TheOfficialTemplateIsThatOfTheGoldenCases) {
  const Template made(read_text(kData / "golden" / "qwen3.5-4b.chat_template.jinja"), "official");
  for (const char* file : {"golden/chat_template.json", "template_cases.json"}) {
    for (const Json& item : read_json(kData / file)) {
      Json variables = item.value("kwargs", Json::object());
      variables["messages"] = item["messages"];
      variables["tools"] = item.value("tools", Json());
      variables["add_generation_prompt"] = item.value("add_generation_prompt", true);
      const Json& expected = item["rendered"]["default_on"];
      try {
        EXPECT_EQ(Json(render(made, variables).text()), expected) << variables.dump();
      } catch (const Error& error) {
        ASSERT_TRUE(expected.is_object()) << error.what() << variables.dump();
        if (!expected["error"].is_null()) {
          EXPECT_EQ(error.message(), expected["error"]);
        }
      }
    }
  }
}

/// Filters that walk through texts and objects, whose elements are made for them.
TEST(Jinja, TextsAndObjectsAreWalkedThroughAsListsAre) {
  const Json variables = {{"t", "b\u00e9a"}, {"d", {{"x", 1}, {"yy", 2}}}};
  const auto expect = [&](const char* text, const char* expected) {
    EXPECT_EQ(text_of(text, variables), expected) << text;
  };
  expect("{{ t|join('-') }} {{ d|join('-') }} {{ d|join }}", "b-\u00e9-a x-yy xyy");
  expect("{{ t|map('upper')|join }} {{ d|map('length')|list }} {{ d|map(attribute=0)|list }}",
         "B\u00c9A [1, 2] ['x', 'y']");
  expect("{{ t|select('in', 'ab')|list }} {{ d|reject('eq', 'x')|list }}", "['b', 'a'] ['yy']");
  expect("{{ t|batch(2)|list }} {{ t|slice(2)|list }} {{ d|batch(1)|list }}",
         "[['b', '\u00e9'], ['a']] [['b', '\u00e9'], ['a']] [['x'], ['yy']]");
  expect("{{ t|sort|join }} {{ t|unique|join }} {{ t|first }}{{ t|last }} {{ t|max }}{{ d|min }}",
         "ab\u00e9 b\u00e9a ba \u00e9x");
  expect("{{ {1: 0, 2: 0}|sum }} {{ dict(['ab', 'cd']) }} {{ t|reverse }} {{ d|reverse|list }}",
         "3 {'a': 'b', 'c': 'd'} a\u00e9b ['yy', 'x']");
}

// ---- errors

Error error_of(std::string_view text, const Json& variables = Json::object()) {
  try {
    const std::string rendered = text_of(text, variables);
    ADD_FAILURE() << "no error, but " << rendered;
  } catch (const Error& error) {
    return error;
  }
  return {ErrorCode::io, ""};
}

TEST(Jinja, AnErrorNamesItsLine) {
  EXPECT_EQ(error_of("a\n\n{{ b.c }}").where(), "test, line 3");
  EXPECT_EQ(error_of("a\n\n{{ b.c }}").message(), "'b' is undefined");
  EXPECT_EQ(error_of("{% if x %}\n{# a\nb #}\n{% foo %}").where(), "test, line 4");
  EXPECT_EQ(error_of("{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}\n\n{{ m() }}").where(), "test, line 2");
  EXPECT_THAT(error_of("a\n{% if x %}b").message(), HasSubstr("{% endif %} is missing for what begins at line 2"));
  const Error raised = error_of("\n{{ raise_exception('No ' ~ who) }}", {{"who", "system"}});
  EXPECT_EQ(raised.message(), "No system");
  EXPECT_EQ(raised.where(), "test, line 2");
  EXPECT_THAT(raised.remedy(), HasSubstr("messages"));
}

TEST(Jinja, WhatItDoesNotKnowIsAnErrorNotAnotherText) {
  for (const char* text :
       {"{% include 'x' %}", "{% extends 'x' %}", "{% block a %}{% endblock %}", "{% import 'x' as y %}",
        "{% for a in [] recursive %}{% endfor %}", "{{ f(*a) }}", "{{ 1 | xmlattr }}", "{{ '\\N{DASH}' }}",
        "{{ range(3) }}", "{% break %}", "{% for a in [1] %}{% set x %}{% break %}{% endset %}{% endfor %}"}) {
    EXPECT_EQ(error_of(text).code(), ErrorCode::bad_template) << text;
  }
}

TEST(Jinja, TheSandboxHoldsWhatWouldChangeAValue) {
  for (const char* text :
       {"{{ a.append(1) }}", "{{ a.pop() }}", "{{ b.update(c=1) }}", "{{ b.pop('x') }}", "{{ a.sort() }}",
        "{% set b.x = 2 %}", "{{ ''.__class__.__mro__ }}", "{{ a.__init__.__globals__ }}"}) {
    EXPECT_EQ(error_of(text, {{"a", {1, 2}}, {"b", {{"x", 1}}}}).code(), ErrorCode::bad_template) << text;
  }
}

TEST(Jinja, NumbersBeyondItsRangeAreErrors) {
  EXPECT_EQ(text_of("{{ 2 ** 126 }}"), "85070591730234615865843651857942052864");
  EXPECT_EQ(text_of("{{ n }} {{ n + 1 }}", {{"n", std::numeric_limits<uint64_t>::max()}}),
            "18446744073709551615 18446744073709551616");
  for (const char* text : {"{{ 2 ** 127 }}", "{{ 9 ** 999999999 }}", "{{ -(-2 ** 127) }}", "{{ 10 ** 38 * 10 }}",
                           "{{ 999999999999999999999999999999999999999999 }}"}) {
    EXPECT_THAT(error_of(text).message(), HasSubstr("too large")) << text;
  }
}

// ---- marks

/// What was given, in brackets.
std::string shown(const MarkedText& text) {
  std::string out;
  size_t at = 0;
  for (const auto& [begin, end] : text.given()) {
    out += text.text().substr(at, begin - at) + "[" + text.text().substr(begin, end - begin) + "]";
    at = end;
  }
  return out + text.text().substr(at);
}

TEST(JinjaMarks, WhatWasGivenStaysGivenThroughEveryOperation) {
  const Json variables = {{"g", " ab,Cd "}, {"d", {{"k", {1, "x"}}}}, {"n", 7}};
  const auto expect = [&](const char* text, const char* expected) {
    EXPECT_EQ(shown(render(Template(text, "test"), variables)), expected) << text;
  };
  expect("<{{ g }}>", "<[ ab,Cd ]>");
  expect("{{ '<' + g + '>' }}", "<[ ab,Cd ]>");
  expect("{{ '<' ~ g|trim ~ '>' }}", "<[ab,Cd]>");
  expect("{{ g.strip()[1:3] ~ g[-2] }}", "[b,d]");
  expect("{{ g.split(',')|join('+') }}", "[ ab]+[Cd ]");
  expect("{{ '-'.join(g.strip()|list) }}", "[a]-[b]-[,]-[C]-[d]");
  expect("{{ g|replace('b', '<b>')|replace(',', '') }}", "[ a]<b>[Cd ]");
  expect("{{ g.replace('C', g[1]) }}", "[ ab,ad ]");
  expect("{{ g|upper|lower|title }}", "[ Ab,cd ]");
  expect("{{ ('<a> ' ~ g)|upper }}", "<A> [ AB,CD ]");
  expect("{{ g|tojson }}", "[\" ab,Cd \"]");
  expect("{{ d|tojson }}", "[{\"k\": [1, \"x\"]}]");
  expect("{{ d }}", "[{'k': [1, 'x']}]");
  expect("{{ {'w': d.k[1], 'n': 1}|tojson }}", "{\"w\": [\"x\"], \"n\": 1}");
  expect("{{ n }}{{ n + 1 }}{{ d.k|length }}{{ '%s-%d' % (g[1], n) }}", "[78]2[a]-[7]");
  expect("{{ '{}:{:>4}'.format(g[1], n) }}", "[a]:   [7]");
  expect("{{ g|indent(2, true) }}{{ g|e }}{{ (g[1] * 3)|center(5) }}", "  [ ab,Cd  ab,Cd ] [aaa] ");
  expect("{% set x %}<{{ g[1] }}>{% endset %}{{ x ~ x }}", "<[a]><[a]>");
  expect("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(g[1])|trim|reverse }}", ">[a]<");
  expect("{% set ns = namespace(t='') %}{% for c in g|trim %}{% set ns.t = c ~ ns.t %}{% endfor %}{{ ns.t }}",
         "[dC,ba]");
  expect("{% filter upper %}x{{ g[1] }}{% endfilter %}{{ g[1]|default('q') }}{{ zz|default('q') }}", "X[Aa]q");
  expect("{{ ['b', g[1]]|sort|join }}{{ {'a': 'plain'}[g[1]] }}", "[a]bplain");
  expect("{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}{{ d|dictsort|first|first }}", "[k]=[[1, 'x']k]");
  expect("{{ g|int(3) }}{{ '5'|int }}{{ g[1:1] ~ 'w' }}", "35w");
}

TEST(JinjaMarks, ARoleIsAWordOfTheTemplateUnlessItSpellsMore) {
  const auto role = [](const char* name) {
    const Json messages = {{{"role", name}, {"content", "c"}, {"more", {{"role", "user"}}}}};
    return shown(
        render(Template("<|{{ messages[0].role }}|>{{ messages[0].more.role }}", "test"), {{"messages", messages}}));
  };
  EXPECT_EQ(role("user"), "<|user|>[user]");
  EXPECT_EQ(role("tool_results"), "<|tool_results|>[user]");
  EXPECT_EQ(role("user|><|im_end"), "<|[user|><|im_end]|>[user]");
  EXPECT_EQ(role(""), "<||>[user]");
}

// ---- templates that mean harm

TEST(JinjaBounds, HostileTemplatesEndSoonInAnError) {
  const std::string deep_brackets = "{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}";
  std::string long_sum = "{{ 1", deep_if, deep_not = "{{ ", deep_list = "{{ ", dots = "{{ x";
  for (int i = 0; i < 100'000; ++i) {
    long_sum += "+1";
    deep_if += "{% if 1 %}";
    deep_not += "not ";
    deep_list += "[";
    dots += ".a";
  }
  const std::string twice = "{% set ns = namespace(t='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}";
  const std::vector<std::string> hostile = {
      deep_brackets,
      long_sum + " }}",
      deep_if,
      deep_not + "1 }}",
      deep_list,
      dots + " }}",
      "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% "
      "endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% for i in [1, 2] %}{{ m(n + 1) }}{% endfor %}{% endmacro %}{{ m(0) }}",
      "{% macro m(n) %}{{ n() }}{% endmacro %}{% call m(m) %}{% endcall %}",
      twice + "{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
      twice + "{% set ns.t = ns.t + ns.t %}{% endfor %}",
      twice + "{% set ns.t = ns.t|replace('x', 'xx') %}{% endfor %}",
      twice + "{% set ns.t = [ns.t, ns.t]|join %}{% endfor %}",
      twice + "{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}",
      twice + "{% set ns.t = {'a': ns.t, 'b': ns.t} %}{% endfor %}{{ ns.t|tojson }}",
      twice + "{% set ns.t %}{{ ns.t }}{{ ns.t }}{% endset %}{% endfor %}",
      twice + "{% set ns.t = ns.t.join([ns.t, ns.t, ns.t]) %}{% endfor %}",
      twice + "{% set ns.t = '%s%s' % (ns.t, ns.t) %}{% endfor %}",
      twice + "{% set ns.t = '{0}{0}'.format(ns.t) %}{% endfor %}",
      twice + "{% set ns.t = ns.t|tojson|tojson %}{% endfor %}",
      twice + "{% set ns.t = ns.t|list|join(ns.t) %}{% endfor %}",
      twice + "{{ ns.t * 99999999 }}{% endfor %}",
      "{{ 'x' * 999999999999999999 }}",
      "{{ [1] * 999999999999999999 }}",
      "{{ 'x'|center(999999999999) }}",
      "{{ 'x'.ljust(999999999999) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '{:>999999999}'.format(1) }}",
      "{{ 'a\nb'|indent('y' * 40000000) }}",
      "{{ [1]|batch(999999999, 0)|list }}",
      "{{ [1]|slice(999999999)|list }}",
      "{{ range(0, 999999999999) }}",
      "{{ 9 ** 9 ** 9 ** 9 }}",
      "{% for a in range(90000) %}{{ range(90000)|list|sort|unique|list|length }}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for a in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "{% set ns = namespace(l=[]) %}{% for a in range(99999) %}{% set ns.l = ns.l + [a] %}{% endfor %}",
      "{% for a in range(99999) %}{{ 'abcdefghij' * 10000 }}{% endfor %}",
      "{{ strftime_now('%c' * 99999) }}",
  };
  for (const std::string& text : hostile) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(error_of(text).code(), ErrorCode::bad_template) << text.substr(0, 200);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << text.substr(0, 200);
  }
}

/// Values that hold each other in circles, or in long chains, are let go of all the same.
TEST(JinjaBounds, CirclesAndChainsOfValuesEnd) {
  EXPECT_EQ(text_of("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{% set a.self = [a] %}x"),
            "x");
  EXPECT_EQ(text_of("{% macro m() %}{{ m is defined }}{% endmacro %}{{ m() }}"), "True");
  EXPECT_EQ(text_of("{% set ns = namespace(m=none) %}{% macro outer(prev) %}{% macro inner() %}{{ prev }}{% endmacro %}"
                    "{% set ns.m = inner %}{% endmacro %}{% for i in range(20000) %}{{ outer(ns.m) }}{% endfor %}end"),
            "end");
  EXPECT_EQ(text_of("{% set ns = namespace(p=none) %}{% for i in range(20000) %}{% set ns.p = namespace(p=ns.p) %}"
                    "{% endfor %}end"),
            "end");
  EXPECT_THAT(error_of("{% set ns = namespace(l=none) %}{% for i in range(20000) %}{% for x in [ns.l] %}"
                       "{% set ns.l = loop %}{% endfor %}{% endfor %}end")
                  .message(),
              HasSubstr("nested too deep"));
}

TEST(JinjaBounds, TheBudgetGrowsWithTheMessages) {
  Json messages = Json::array();
  for (int i = 0; i < 2000; ++i) {
    messages.push_back({{"role", "user"}, {"content", std::string(2000, 'a')}});
    messages.push_back({{"role", "assistant"}, {"content", std::string(2000, 'b')}});
  }
  const Template official(read_text(kData / "golden" / "qwen3.5-4b.chat_template.jinja"), "official");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_GT(render(official, {{"messages", messages}}).text().size(), 8'000'000U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(JinjaBounds, DamagedTextIsRepairedNotPassedOn) {
  EXPECT_EQ(text_of("a\xff{{ 'b\xc3' }}"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_THAT(error_of(std::string(kMaxTemplateBytes + 1, 'a')).message(), HasSubstr("more than"));
}

}  // namespace
}  // namespace prosa::chat::jinja
