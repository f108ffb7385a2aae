// prosa eval end to end: numbers that do not change, files, the picture, and how every bad input ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "golden.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class CliEval : public testing::Test {
 protected:
  CliEval() {
    std::string line;
    for (int i = 0; i < 300; ++i) line += (i > 0 ? "," : "") + std::to_string((i * 37 + i * i) % 500);
    write_file(ids(), "{\"ids\": [" + line + "]}\n{\"ids\": [1, 2, 3, 4, 5]}\n");
  }
  [[nodiscard]] std::string ids() const { return folder.path() / "ids.jsonl"; }
  [[nodiscard]] static std::string model(const char* name) { return golden_folder(name); }
  static json run_json(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "eval");
    arguments.emplace_back("--json");
    const Outcome outcome = run_prosa(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    json result = json::parse(outcome.out);
    if (result.contains("text")) {
      EXPECT_GT(result["text"]["tok_s"], 0);
      result["text"].erase("tok_s");
      result["text"].erase("seconds");
    }
    return result;
  }
  static void expect_failure(const std::vector<std::string>& arguments, int exit_code, const std::string& fragment) {
    std::vector<std::string> words = {"eval"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_prosa(words);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_TRUE(outcome.err.starts_with("prosa: ")) << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(fragment));
  }
  TempFolder folder;
};

TEST_F(CliEval, TheSameNumbersTwiceAndForAnyThreads) {
  const auto run = [&](const char* threads) {
    json result = run_json({model("tiny-mlx-4bit"), "--reference", model("tiny-hf"), "--text", ids(), "--window", "64",
                            "--threads", threads});
    EXPECT_EQ(result["threads"], std::stoi(threads));
    result.erase("threads");
    return result;
  };
  const json one = run("1");
  EXPECT_EQ(one, run("1"));
  EXPECT_EQ(one, run("3"));
  const json& text = one["text"];
  EXPECT_EQ(text["windows"], 6);  // 300 = 4 * 64 + 44, and 5
  EXPECT_EQ(text["scored"], 299 - 4 + 4);
  EXPECT_GT(text["perplexity"], 1);
  EXPECT_GT(text["kl"]["mean"], 0);
  EXPECT_GE(text["kl"]["max"], text["kl"]["p99"]);
  EXPECT_GT(text["top1"]["mean"], 0.1);          // of flat logits; chance is 0.002
  EXPECT_TRUE(text["bits_per_byte"].is_null());  // ids have no bytes
}

TEST_F(CliEval, SavedLogitsStandForTheReference) {
  const std::string file = folder.path() / "hf.logits";
  const std::vector<std::string> common = {"--text", ids(), "--window", "64"};
  std::vector<std::string> save = {model("tiny-hf"), "--save-logits", file};
  save.insert(save.end(), common.begin(), common.end());
  const json reference = run_json(save);
  std::vector<std::string> live = {model("tiny-mlx-4bit"), "--reference", model("tiny-hf")};
  live.insert(live.end(), common.begin(), common.end());
  std::vector<std::string> saved = {model("tiny-mlx-4bit"), "--reference-logits", file};
  saved.insert(saved.end(), common.begin(), common.end());
  const json a = run_json(live)["text"], b = run_json(saved)["text"];
  EXPECT_EQ(a["perplexity"], b["perplexity"]);
  EXPECT_EQ(a["top1"], b["top1"]);
  EXPECT_EQ(a["reference"]["perplexity"], reference["text"]["perplexity"]);
  const double kl = a["kl"]["mean"];
  EXPECT_NEAR(b["kl"]["mean"].get<double>(), kl, 1e-3 * kl);
  std::string damaged = read_file(file);
  damaged[damaged.size() - 5000] ^= 1;
  write_file(file, damaged);
  saved.emplace_back("--json");
  expect_failure(saved, 4, "damaged");
}

TEST_F(CliEval, TextTableAndPicture) {
  const std::string file = folder.path() / "text <1>.txt";
  std::string text;
  for (int i = 0; i < 60; ++i) text += "My name is Alex. What is the capital of France? ";
  write_file(file, text);
  const std::string svg = folder.path() / "kl.svg";
  const Outcome outcome =
      run_prosa({"eval", "--text", file, "--window", "128", "--limit", "400", "--reference",
                 std::string(PROSA_SOURCE_DIR) + "/models/prosa-mini", "--activation-bits", "8", "--svg", svg});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* part :
       {"perplexity", "bits a byte", "ratio", "same top-1", "384 tokens in 3 windows of 128", "16 left out", "tok/s"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  const std::string picture = read_file(svg);
  EXPECT_TRUE(picture.starts_with("<svg"));
  EXPECT_TRUE(picture.ends_with("</svg>\n"));
  EXPECT_THAT(picture, HasSubstr("KL by position"));
  EXPECT_THAT(picture, HasSubstr("text &lt;1&gt;.txt"));
  EXPECT_EQ(picture.find("nan"), std::string::npos);
}

TEST_F(CliEval, APictureOfOneModel) {
  const std::string svg = folder.path() / "nll.svg";
  run_json({model("tiny-hf"), "--text", ids(), "--window", "64", "--svg", svg});
  EXPECT_THAT(read_file(svg), HasSubstr("Surprise by position"));
}

TEST_F(CliEval, StrictJsonRate) {
  write_file(folder.path() / "p.jsonl", R"({"prompt": "Answer with JSON.", "keys": ["a"]}
{"messages": [{"role": "user", "content": "Hello!"}]})");
  const std::vector<std::string> words = {"--prompts", folder.path() / "p.jsonl", "--max-tokens", "8"};
  const json result = run_json(words);
  EXPECT_EQ(result, run_json(words));
  const json& rate = result["strict_json"];
  EXPECT_EQ(rate["prompts"], 2);
  EXPECT_EQ(rate["strict"].get<size_t>() + rate["failures"].size(), 2U);
  ASSERT_FALSE(rate["failures"].empty());  // it greets
  EXPECT_FALSE(result.contains("text"));
  const Outcome table = run_prosa({"eval", "--prompts", words[1], "--max-tokens", "8", "--verbose"});
  EXPECT_THAT(table.out, HasSubstr(" of 2 ("));
  EXPECT_THAT(table.out, HasSubstr(rate["failures"][0]["problem"].get<std::string>()));
}

TEST_F(CliEval, WrongCommandLines) {
  expect_failure({model("tiny-hf")}, 2, "--text");
  expect_failure({model("tiny-hf"), "--prompts", "p", "--reference", "x"}, 2, "--reference");
  expect_failure({"--text", "t", "--reference", "a", "--reference-logits", "b"}, 2, "excludes");
  expect_failure({"--text", "t", "--window", "1"}, 2, "--window");
  expect_failure({"--text", ids(), "--stride", "9", "--window", "8"}, 5, "stride");
  expect_failure({"--text", ids(), "--skip", "8", "--window", "8"}, 5, "skip");
}

TEST_F(CliEval, WrongTexts) {
  const std::string text = folder.path() / "t.txt";
  expect_failure({"--text", text}, 3, "t.txt");
  expect_failure({"--text", folder.path()}, 3, folder.path());
  write_file(text, "");
  expect_failure({"--text", text}, 5, "empty");
  write_file(text, "abc \xff\xfe def");
  expect_failure({"--text", text}, 5, "byte 4");
  write_file(text, "Too short.");
  expect_failure({"--text", text, "--window", "64"}, 5, "too few for a window of 64");
  expect_failure({model("tiny-hf"), "--text", text}, 3, "tokenizer.json");
  write_file(folder.path() / "t.jsonl", "{\"text\": \"fine\"}\n{\"txt\": 1}\n");
  expect_failure({"--text", folder.path() / "t.jsonl"}, 5, "t.jsonl:2");
}

TEST_F(CliEval, WrongReferences) {
  expect_failure({model("tiny-hf"), "--text", ids(), "--window", "64", "--reference", "./no-such-folder"}, 3,
                 "no-such-folder");
  expect_failure({model("tiny-hf"), "--text", ids(), "--window", "64", "--reference-logits", "./none"}, 3, "none");
  write_file(folder.path() / "other.logits", "no logits");
  expect_failure(
      {model("tiny-hf"), "--text", ids(), "--window", "64", "--reference-logits", folder.path() / "other.logits"}, 4,
      "other.logits");
  // Another vocabulary: the embedded model has 12,288 tokens.
  expect_failure({model("tiny-hf"), "--text", ids(), "--window", "64", "--reference",
                  std::string(PROSA_SOURCE_DIR) + "/models/prosa-mini"},
                 5, "vocabulary");
}

TEST_F(CliEval, AReferenceWithAnotherTokenizer) {
  const std::string text = folder.path() / "t.txt";
  write_file(text, "What is the capital of France?");
  expect_failure({"--text", text, "--window", "4", "--reference", PROSA_TINY_CHAT}, 5, "tokenizer");
}

TEST_F(CliEval, WeightsThatAreNoNumbers) {
  const fs::path broken = folder.path() / "broken";
  fs::create_directory(broken);
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(golden_folder("tiny-hf") / name, broken / name);
  }
  std::string file = read_file(broken / "model.safetensors");
  const auto header = json::parse(file.substr(8, *reinterpret_cast<const uint64_t*>(file.data())));
  for (const auto& [name, entry] : header.items()) {
    if (!name.ends_with("layers.0.mlp.down_proj.weight")) continue;
    const size_t at = 8 + *reinterpret_cast<const uint64_t*>(file.data()) + entry["data_offsets"][0].get<size_t>();
    file[at] = '\xc0';  // bfloat16 7fc0
    file[at + 1] = '\x7f';
  }
  write_file(broken / "model.safetensors", file);
  expect_failure({broken, "--text", ids(), "--window", "64"}, 4,
                 "layers.0.mlp.down_proj.weight' is not a finite number");
}

TEST_F(CliEval, APictureThatCannotBeWrittenIsReported) {
  const Outcome outcome = run_prosa(
      {"eval", model("tiny-hf"), "--text", ids(), "--window", "64", "--svg", folder.path() / "none" / "kl.svg"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.out, HasSubstr("perplexity"));  // the result is not lost
}

}  // namespace
}  // namespace prosa::test
