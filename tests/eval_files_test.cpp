// What eval reads and writes: files of logits, texts, prompts; and what counts as strict JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "checkpoint_fixture.h"
#include "eval_fixture.h"
#include "temp_folder.h"
#include "tools/eval/corpus.h"
#include "tools/eval/json_schema.h"
#include "tools/eval/logits_file.h"
#include "tools/eval/strict_json.h"

namespace prosa::eval {
namespace {

/// What AtomicFile calls its temporaries.
bool holds_temporaries(const std::filesystem::path& folder) {
  return std::ranges::any_of(std::filesystem::directory_iterator(folder),
                             [](const auto& item) { return item.path().extension() == ".tmp"; });
}

using checkpoint::read_bytes;
using checkpoint::write_bytes;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class LogitsFile : public testing::Test {
 protected:
  LogitsFile() { save(); }
  void save() {
    const auto writer = make_logits_writer(path, "tiny-hf");
    EvalOptions with_file = options;
    with_file.save = writer.get();
    kl_and_perplexity(*reference, nullptr, documents, with_file);
  }
  EvalReport compare(const std::vector<Document>& text) {
    const auto source = make_backend_source(*model);
    const auto saved = open_logits_file(path);
    return kl_and_perplexity(*source, saved.get(), text, options);
  }

  TempFolder folder;
  std::filesystem::path path = folder.path() / "tiny.logits";
  std::unique_ptr<backend::Backend> reference = tiny("tiny-hf", "cpu", 2);
  std::unique_ptr<backend::Backend> model = tiny("tiny-mlx-4bit", "cpu", 1);
  std::vector<Document> documents = some_text(300, 500);
  EvalOptions options{.windows = {.window = 100, .stride = 90, .tail = Tail::keep}};
};

TEST_F(LogitsFile, StandsForTheModelThatWroteIt) {
  const EvalReport live = kl_and_perplexity(*model, reference.get(), documents, options);
  const EvalReport saved = compare(documents);
  EXPECT_EQ(saved.model.nll.value, live.model.nll.value);
  EXPECT_EQ(saved.divergence->top1.value, live.divergence->top1.value);
  EXPECT_NEAR(saved.reference->nll.value, live.reference->nll.value, 1e-4);
  EXPECT_NEAR(saved.divergence->kl.value, live.divergence->kl.value, 1e-3 * live.divergence->kl.value);
  const auto self = make_backend_source(*reference);
  const auto file = open_logits_file(path);
  EXPECT_LT(kl_and_perplexity(*self, file.get(), documents, options).divergence->kl.value, 1e-7);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  EXPECT_NEAR(static_cast<double>(size), static_cast<double>(logits_file_bytes(299, reference->config().vocab_size)),
              1000);
  EXPECT_FALSE(holds_temporaries(path.parent_path()));
}

TEST_F(LogitsFile, BelongsToItsTokensAndWindows) {
  std::vector<Document> other = documents;
  other[0].tokens[150] ^= 1;
  EXPECT_EQ(code_of([&] { compare(other); }), ErrorCode::invalid_argument);
  options.windows.stride = 80;
  EXPECT_EQ(code_of([&] { compare(documents); }), ErrorCode::invalid_argument);
}

TEST_F(LogitsFile, OfAnotherVocabulary) {
  const auto saved = open_logits_file(path);
  ScriptedSource narrow(1);
  EXPECT_EQ(code_of([&] { kl_and_perplexity(narrow, saved.get(), documents_of({12}), options); }),
            ErrorCode::invalid_argument);
}

TEST_F(LogitsFile, EveryFlippedByteIsSeen) {
  const std::string whole = read_bytes(path);
  std::mt19937 random(4);
  std::vector<size_t> places;
  for (size_t at = 0; at < 600; at += 7) places.push_back(at);  // the header, the first tensor's begin
  for (int i = 0; i < 40; ++i) places.push_back(random() % whole.size());
  for (const size_t at : places) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_bytes(path, damaged);
    EXPECT_THAT(code_of([&] { compare(documents); }),
                testing::AnyOf(ErrorCode::bad_checkpoint, ErrorCode::invalid_argument))
        << at;
  }
}

TEST_F(LogitsFile, CutOffOrOfAnotherKind) {
  const std::string whole = read_bytes(path);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    write_bytes(path, whole.substr(0, length));
    EXPECT_EQ(code_of([&] { compare(documents); }), ErrorCode::bad_checkpoint) << length;
  }
  EXPECT_EQ(code_of([] { open_logits_file(test::golden_folder("tiny-hf") / "model.safetensors"); }),
            ErrorCode::bad_checkpoint);
  EXPECT_EQ(code_of([&] { open_logits_file(folder.path() / "none"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { open_logits_file(folder.path()); }), ErrorCode::io);
}

TEST_F(LogitsFile, StaysWhatItWasWhenAnEvaluationEndsEarly) {
  const std::string before = read_bytes(path);
  options.progress = [](const Progress&) { throw Error(ErrorCode::cancelled, "enough"); };
  EXPECT_EQ(code_of([&] { save(); }), ErrorCode::cancelled);
  EXPECT_EQ(read_bytes(path), before);
  EXPECT_FALSE(holds_temporaries(path.parent_path()));
}

class CorpusTest : public testing::Test {
 protected:
  Corpus read(const std::string& name, std::string_view text) {
    write_bytes(folder.path() / name, std::string(text));
    return read_corpus(folder.path() / name, encoder);
  }
  TempFolder folder;
  TextEncoder encoder{std::filesystem::path(PROSA_SOURCE_DIR) / "models/prosa-mini"};
};

TEST_F(CorpusTest, TextIsOneDocumentAndLinesAreMany) {
  const Corpus text = read("a.txt", "Hello there.\nHow are you?\n");
  ASSERT_EQ(text.documents.size(), 1U);
  EXPECT_EQ(encoder.tokenizer()->decode(text.documents[0].tokens), "Hello there.\nHow are you?\n");
  EXPECT_FALSE(text.lines);
  const Corpus lines = read("a.jsonl", R"({"text": "Hello"}

{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
{"ids": [1, 2, 3]})");
  ASSERT_EQ(lines.documents.size(), 3U);
  EXPECT_TRUE(lines.lines);
  EXPECT_EQ(lines.documents[0].tokens, encoder.encode("Hello"));
  EXPECT_THAT(encoder.tokenizer()->decode(lines.documents[1].tokens), HasSubstr("<|im_start|>user\nHi<|im_end|>"));
  EXPECT_THAT(encoder.tokenizer()->decode(lines.documents[1].tokens), HasSubstr("Hello!<|im_end|>"));
  EXPECT_THAT(lines.documents[2].tokens, ElementsAre(1, 2, 3));
}

TEST_F(CorpusTest, WhatTextsSpellIsNoControlToken) {
  const auto controls = [&](const Document& document) {
    return std::ranges::count_if(document.tokens, [&](int32_t id) { return encoder.tokenizer()->is_control(id); });
  };
  const std::string text = "a<|im_end|>b<think>c<|endoftext|>";
  EXPECT_EQ(controls(read("a.txt", text).documents[0]), 0);
  const std::string lines = R"({"text": ")" + text + R"("}
{"messages": [{"role": "user", "content": "Hi)" +
                            text + R"("}, {"role": "assistant", "content": "x)" + text + R"("}]})";
  const Corpus corpus = read("a.jsonl", lines);
  EXPECT_EQ(controls(corpus.documents[0]), 0);
  EXPECT_EQ(controls(corpus.documents[1]), 6) << "two headers, two ends and a think block";
  TextEncoder trusting{std::filesystem::path(PROSA_SOURCE_DIR) / "models/prosa-mini", ControlTokens::read};
  const Corpus trusted = read_corpus(folder.path() / "a.jsonl", trusting);
  EXPECT_EQ(controls(trusted.documents[0]), 3);
  EXPECT_EQ(trusted.documents[1].tokens, corpus.documents[1].tokens) << "of messages the template writes them";
}

/// As the library reads a request: developer for system, arguments as text or as an object, tools.
TEST_F(CorpusTest, MessagesAreThoseOfTheLibrary) {
  const auto tokens = [&](const std::string& line) { return read("a.jsonl", line).documents.at(0).tokens; };
  const std::string rest = R"("content": "Be brief."}, {"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Hello."}]})";
  const auto one_line = [](std::string text) {
    std::erase(text, '\n');
    return text;
  };
  EXPECT_EQ(tokens(one_line(R"({"messages": [{"role": "developer", )" + rest)),
            tokens(one_line(R"({"messages": [{"role": "system", )" + rest)));
  const auto call = [&](const std::string& arguments) {
    return one_line(R"({"messages": [{"role": "user", "content": "light"}, {"role": "assistant", "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": )" +
                    arguments +
                    R"(}}]}, {"role": "tool", "content": "ok"}, {"role": "assistant", "content": "Done."}]})");
  };
  EXPECT_EQ(tokens(call(R"("{\"on\": true}")")), tokens(call(R"({"on": true})")));
  EXPECT_THAT(encoder.tokenizer()->decode(tokens(call(R"("{\"on\": true}")"))), HasSubstr("<function=f>"));
  const std::string asked =
      R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x"}])";
  const std::string with_tools =
      asked + R"(, "tools": [{"type": "function", "function": {"name": "lamp", "parameters": {}}}]})";
  EXPECT_THAT(encoder.tokenizer()->decode(tokens(with_tools)), HasSubstr("\"name\": \"lamp\""));
  // What is wrong is said with the line and the place in it.
  test::expect_error(ErrorCode::invalid_argument, {"a.jsonl:1: messages[0]", "chef"},
                     [&] { read("a.jsonl", R"({"messages": [{"role": "chef", "content": "x"}]})"); });
  test::expect_error(ErrorCode::bad_template, {"a.jsonl:2"}, [&] {
    read("a.jsonl", asked + "}\n" + one_line(R"({"messages": [{"role": "developer", "content": "a"},
        {"role": "developer", "content": "b"}, {"role": "user", "content": "c"}]})"));
  });
}

TEST_F(CorpusTest, KeysThatMeanNothingAreNamedOnce) {
  const Corpus corpus = read("a.jsonl", R"({"text": "a", "source": "web"}
{"text": "b", "source": "web"}
{"text": "c", "tool": []})");
  EXPECT_EQ(corpus.documents.size(), 3U);
  EXPECT_THAT(corpus.warnings,
              ElementsAre(HasSubstr("a.jsonl:1: the key \"source\""), HasSubstr("a.jsonl:3: the key \"tool\"")));
  const Corpus within = read("a.jsonl", R"({"messages": [{"role": "user", "content": "Hi", "weight": 1},)"
                                        R"( {"role": "assistant", "content": "x", "weight": 0, "name": "a"}]})");
  EXPECT_THAT(within.warnings, ElementsAre(AllOf(HasSubstr("a.jsonl:1: messages[0]: the key \"weight\""),
                                                 HasSubstr("reasoning_content"))));
}

TEST_F(CorpusTest, WhatCannotBeUsed) {
  EXPECT_EQ(code_of([&] { read("a.txt", ""); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read("a.txt", " \n\n"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read("a.txt", "abc\xff"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read("a.txt", "abc\xc3"); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read_corpus(folder.path() / "none.txt", encoder); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { read_corpus(folder.path(), encoder); }), ErrorCode::io);
  std::filesystem::resize_file(folder.path() / "a.txt", kMaxTextBytes + 1);  // costs nothing: it is sparse
  EXPECT_EQ(code_of([&] { read_corpus(folder.path() / "a.txt", encoder); }), ErrorCode::invalid_argument);
  for (const char* line : {"{", "[1]", "{\"text\": 1}", "{\"ids\": [-1]}", "{\"ids\": 5}", "{\"ids\": [99999999999]}",
                           "{\"messages\": \"x\"}", "{}"}) {
    EXPECT_EQ(code_of([&] { read("a.jsonl", line); }), ErrorCode::invalid_argument) << line;
  }
  EXPECT_EQ(code_of([&] { read("a.jsonl", R"({"messages": []})"); }), ErrorCode::bad_template);
  TextEncoder none(test::golden_folder("tiny-hf"));
  write_bytes(folder.path() / "a.txt", "abc");
  EXPECT_EQ(code_of([&] { read_corpus(folder.path() / "a.txt", none); }), ErrorCode::not_found);
}

JsonPrompt with_keys(std::vector<std::string> keys) {
  JsonPrompt prompt;
  prompt.keys = std::move(keys);
  return prompt;
}

TEST(StrictJson, TheWholeReplyIsOneValue) {
  const JsonPrompt any;
  for (const char* good : {"{}", "[1, 2]", "3", " {\"a\": null}\n", "\"x\"", "{\"a\": {\"a\": 1}}"}) {
    EXPECT_EQ(why_not_strict(good, any), "") << good;
  }
  for (const char* bad : {"", "  ", "```json\n{}\n```", "Here: {}", "{}{}", "{'a': 1}", "{\"a\": 1,}", "NaN",
                          "{\"a\": 1, \"a\": 2}", "\xEF\xBB\xBF{}", "{\"a\": 1e999}", "{\"a\": \"\xff\"}"}) {
    EXPECT_NE(why_not_strict(bad, any), "") << bad;
  }
  EXPECT_NE(why_not_strict(std::string(100000, '['), any), "");
}

TEST(StrictJson, Keys) {
  EXPECT_EQ(why_not_strict(R"({"b": 1, "a": 2})", with_keys({"a", "b"})), "");
  EXPECT_THAT(why_not_strict(R"({"a": 2})", with_keys({"a", "b"})), HasSubstr("'b' is missing"));
  EXPECT_THAT(why_not_strict(R"({"a": 2, "c": 1})", with_keys({"a"})), HasSubstr("'c' was not asked for"));
  EXPECT_THAT(why_not_strict("[]", with_keys({"a"})), HasSubstr("not an object"));
}

TEST(StrictJson, Schema) {
  const auto schema = nlohmann::ordered_json::parse(R"({"type": "object", "required": ["name", "tags"],
    "additionalProperties": false, "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"]},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}}, "v": {"const": 1}}})");
  check_schema(schema, "test");
  const auto problem = [&](const char* text) { return schema_violation(nlohmann::ordered_json::parse(text), schema); };
  EXPECT_EQ(problem(R"({"name": "x", "age": 3, "tags": ["a", "b"], "v": 1})"), "");
  EXPECT_EQ(problem(R"({"name": "x", "age": null, "tags": []})"), "");
  EXPECT_EQ(problem(R"({"name": "x", "age": 3.0, "tags": []})"), "");
  EXPECT_THAT(problem(R"({"name": "x"})"), HasSubstr("tags: missing"));
  EXPECT_THAT(problem(R"({"name": 1, "tags": []})"), HasSubstr("name: not of type"));
  EXPECT_THAT(problem(R"({"name": "", "age": 3.5, "tags": []})"), HasSubstr("age"));
  EXPECT_THAT(problem(R"({"name": "", "tags": ["a", "c"]})"), HasSubstr("tags[1]"));
  EXPECT_THAT(problem(R"({"name": "", "tags": [], "x": 1})"), HasSubstr("x: not asked for"));
  EXPECT_THAT(problem(R"({"name": "", "tags": [], "v": 2})"), HasSubstr("v: not 1"));
  EXPECT_THAT(problem("[]"), HasSubstr("not of type"));
  const auto refused = [](const char* text) {
    return code_of([&] { check_schema(nlohmann::ordered_json::parse(text), "test"); });
  };
  EXPECT_EQ(refused(R"({"pattern": "x"})"), ErrorCode::unsupported);
  for (const char* wrong : {"[]", R"({"type": "text"})", R"({"required": [1]})", R"({"properties": []})",
                            R"({"items": 1})", R"({"enum": []})", R"({"additionalProperties": {}})"}) {
    EXPECT_EQ(refused(wrong), ErrorCode::invalid_argument) << wrong;
  }
}

TEST(StrictJson, PromptsOfTheRepositoryAreWellFormed) {
  const auto prompts = read_json_prompts(std::filesystem::path(PROSA_TEST_DATA) / "json_prompts.jsonl");
  EXPECT_EQ(prompts.size(), 24U);
  for (const JsonPrompt& prompt : prompts) {
    EXPECT_TRUE(prompt.keys || prompt.schema);
    EXPECT_FALSE(prompt.messages.empty());
  }
}

TEST(StrictJson, PromptsThatCannotBeMeant) {
  const TempFolder folder;
  for (const char* line : {"{}", R"({"prompt": 1})", R"({"prompt": "a", "messages": []})",
                           R"({"prompt": "a", "keys": "b"})", R"({"prompt": "a", "schema": 1})", "x"}) {
    write_bytes(folder.path() / "p.jsonl", line);
    EXPECT_EQ(code_of([&] { read_json_prompts(folder.path() / "p.jsonl"); }), ErrorCode::invalid_argument) << line;
  }
}

}  // namespace
}  // namespace prosa::eval
