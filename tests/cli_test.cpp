// The program end to end: what the commands for developers and scripts print, and how every bad input ends.
//
// Chat has its own file (cli_chat_test.cpp). Numbers are checked against golden vectors; their bounds are the
// reference backend's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "golden.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

/// What every failure looks like: the exit code, nothing on stdout, and one line on stderr.
void expect_failure(const Outcome& outcome, int exit_code, const std::vector<std::string>& fragments) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("prosa: ")) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  for (const std::string& fragment : fragments) EXPECT_THAT(outcome.err, HasSubstr(fragment));
}

std::vector<json> json_lines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

/// A copy of tiny-hf that a test may damage.
class DamagedModel {
 public:
  DamagedModel() {
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy_file(golden_folder("tiny-hf") / name, folder_.path() / name);
    }
    const std::string file = read_file(weights());
    uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    header = json::parse(file.substr(sizeof length, length));
    data = file.substr(sizeof length + length);
  }
  [[nodiscard]] fs::path weights() const { return folder_.path() / "model.safetensors"; }
  [[nodiscard]] std::string folder() const { return folder_.path(); }
  /// Writes header and data back.
  void save() const {
    const std::string text = header.dump();
    const uint64_t length = text.size();
    write_file(weights(), std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
  }
  [[nodiscard]] std::string first_tensor() const {
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__" && entry["shape"].size() == 2) return name;
    }
    throw std::runtime_error("no matrix");
  }

  json header;
  std::string data;

 private:
  TempFolder folder_;
};

TEST(Cli, HelpOfEveryCommandHasExamples) {
  for (const std::string command : {"chat", "pull", "list", "show", "rm", "inspect", "bench", "eval", "forward",
                                    "tokenize", "template", "convert", "synth"}) {
    const Outcome outcome = run_prosa({command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0) << command;
    EXPECT_THAT(outcome.out, HasSubstr("prosa " + command)) << command;
    EXPECT_THAT(outcome.out, HasSubstr("Example")) << command;
    EXPECT_EQ(outcome.err, "") << command;
  }
  EXPECT_THAT(run_prosa({"--help"}).out, HasSubstr("Exit codes"));
}

TEST(Cli, WithoutACommandItHelps) {
  const Outcome bare = run_prosa({});
  EXPECT_EQ(bare.exit_code, 0);
  EXPECT_EQ(bare.out, run_prosa({"--help"}).out);
  EXPECT_EQ(run_prosa({"help"}).out, bare.out);
  EXPECT_EQ(run_prosa({"help", "chat"}).out, run_prosa({"chat", "--help"}).out);
}

TEST(Cli, VersionIsOneLine) {
  const Outcome outcome = run_prosa({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, testing::MatchesRegex("prosa [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Cli, WrongCommandLinesExitWithTwo) {
  expect_failure(run_prosa({"dance"}), 2, {"no command \"dance\" (see", "--help"});
  expect_failure(run_prosa({"caht", "hi"}), 2, {"no command \"caht\"; did you mean chat?"});
  expect_failure(run_prosa({"inspct"}), 2, {"did you mean inspect?"});
  expect_failure(run_prosa({"help", "evl"}), 2, {"did you mean eval?"});
  expect_failure(run_prosa({"inspect", "--frobnicate"}), 2, {"--frobnicate", "prosa inspect --help"});
  expect_failure(run_prosa({"forward", "--ids", "1,x", "--out", "f"}), 2, {"--ids"});
  expect_failure(run_prosa({"forward", "--ids", "1"}), 2, {"--out"});
  expect_failure(run_prosa({"bench", "--threads", "0"}), 2, {"--threads"});
  expect_failure(run_prosa({"bench", "--threads", "1,x"}), 2, {"--threads"});
  expect_failure(run_prosa({"chat", "hi", "--temperature", "-1"}), 2, {"temperature"});
  expect_failure(run_prosa({"chat", "hi", "--top-p", "1.5"}), 2, {"--top-p is 1.5, but must be in (0, 1]"});
  expect_failure(run_prosa({"chat", "hi", "--min-p", "2"}), 2, {"--min-p is 2"});
  expect_failure(run_prosa({"chat", "one", "two", "three"}), 2, {"quote"});
  expect_failure(run_prosa({"chat", "Hello", "there"}), 2, {"\"Hello\" is no model", "prosa chat \"Hello there\""});
  for (const char* name : {"qwen3.5-1b", "Llama-3.2-3B", "some-model-4bit", "model.gguf"}) {
    expect_failure(run_prosa({"chat", name}), 2, {name, "looks like a model", "prosa list"});
  }
  expect_failure(run_prosa({"synth", "--out", "f"}), 2, {"tiny"});
}

TEST(Cli, MissingFolder) {
  for (const char* command : {"inspect", "tokenize", "template", "bench"}) {
    expect_failure(run_prosa({command, "./no-such-folder"}), 3, {"./no-such-folder"});
  }
  expect_failure(run_prosa({"forward", "./no-such-folder", "--ids", "1", "--out", "f"}), 3, {"./no-such-folder"});
  expect_failure(run_prosa({"chat", "./no-such-folder", "hi"}), 3, {"./no-such-folder"});
}

TEST(Cli, HubNameThatIsNotInTheCache) {
  expect_failure(run_prosa({"inspect", "nobody/nothing", "--offline"}), 3,
                 {"nobody/nothing", "models--nobody--nothing"});
}

TEST(Cli, WhatIsOddAboutAFolderIsSaidOnce) {
  const TempFolder folder;
  json config = json::parse(read_file(golden_folder("tiny-hf") / "config.json"));
  config["text_config"]["tie_word_embeddings"] = false;  // its top level says true
  write_file(folder.path() / "config.json", config.dump());
  fs::copy_file(golden_folder("tiny-hf") / "model.safetensors", folder.path() / "model.safetensors");
  const TempFolder other;
  const std::string out = (other.path() / "out.safetensors").string();
  const std::string made = (other.path() / "made").string();
  const Outcome forward = run_prosa({"forward", folder.path(), "--ids", "1,2,3", "--out", out});
  EXPECT_EQ(forward.exit_code, 0) << forward.err;
  EXPECT_THAT(forward.err, testing::StartsWith("prosa: warning: "));
  EXPECT_THAT(forward.err, HasSubstr("tie_word_embeddings is"));
  EXPECT_EQ(std::ranges::count(forward.err, '\n'), 1) << forward.err;
  const Outcome converted = run_prosa({"convert", folder.path(), made, "--bits", "8"});
  EXPECT_EQ(converted.exit_code, 0) << converted.err;
  EXPECT_EQ(std::ranges::count(converted.err, '\n'), 1) << converted.err;
  const Outcome inspected = run_prosa({"inspect", folder.path()});
  EXPECT_EQ(inspected.err, "");
  EXPECT_THAT(inspected.out, HasSubstr("warnings"));
  // The result does not contradict itself any more.
  EXPECT_EQ(run_prosa({"forward", made, "--ids", "1", "--out", out}).err, "");
}

TEST(Cli, InspectSaysHowRepliesAreSampledAndWhoSaysSo) {
  const TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(golden_folder("tiny-hf") / name, folder.path() / name);
  }
  write_file(folder.path() / "generation_config.json", R"({"do_sample": true, "temperature": 0.8, "top_k": 0})");
  const Outcome text = run_prosa({"inspect", folder.path()});
  EXPECT_THAT(text.out, HasSubstr("temperature 0.8, top_k 0 (generation_config.json); top_p 0.95"));
  EXPECT_THAT(text.out, HasSubstr("(prosa's default)"));
  const json report = json::parse(run_prosa({"inspect", folder.path(), "--json"}).out);
  EXPECT_EQ(report["sampling"]["top_k"], (json{{"value", 0.0}, {"source", "generation_config.json"}}));
  EXPECT_EQ(report["sampling"]["repetition_penalty"]["source"], "prosa's default");
  EXPECT_EQ(report["warnings"], json::array());
}

TEST(Cli, TruncatedSafetensors) {
  DamagedModel model;
  model.data.resize(model.data.size() / 2);
  model.save();
  expect_failure(run_prosa({"inspect", model.folder()}), 4, {"model.safetensors"});
  fs::resize_file(model.weights(), 5);
  expect_failure(run_prosa({"inspect", model.folder()}), 4, {"model.safetensors"});
}

TEST(Cli, OverlappingTensors) {
  DamagedModel model;
  // Every tensor of one shape lies where the first of them lies.
  const json entry = model.header[model.first_tensor()];
  for (auto& [name, other] : model.header.items()) {
    if (name != "__metadata__" && other["shape"] == entry["shape"]) other["data_offsets"] = entry["data_offsets"];
  }
  model.save();
  expect_failure(run_prosa({"inspect", model.folder()}), 4, {"model.safetensors"});
}

TEST(Cli, HeaderOf2To63Bytes) {
  DamagedModel model;
  const uint64_t length = uint64_t{1} << 63;
  write_file(model.weights(), std::string(reinterpret_cast<const char*>(&length), sizeof length) + "{}" + model.data);
  expect_failure(run_prosa({"inspect", model.folder()}), 4, {"model.safetensors"});
}

TEST(Cli, WrongShapes) {
  DamagedModel model;
  const std::string name = model.first_tensor();
  json& shape = model.header[name]["shape"];
  shape = {shape[1], shape[0]};
  model.save();
  const bool square = shape[0] == shape[1];
  ASSERT_FALSE(square) << name;
  expect_failure(run_prosa({"inspect", model.folder()}), 4, {name});
}

TEST(Cli, UnknownQuantization) {
  const TempFolder folder;
  fs::copy_file(golden_folder("tiny-mlx-4bit") / "model.safetensors", folder.path() / "model.safetensors");
  json config = json::parse(read_file(golden_folder("tiny-mlx-4bit") / "config.json"));
  config["quantization"]["bits"] = 7;
  config["quantization_config"]["bits"] = 7;
  write_file(folder.path() / "config.json", config.dump());
  expect_failure(run_prosa({"inspect", folder.path()}), 4, {"config.json", "7"});
}

TEST(Cli, UnknownBackendAndIsa) {
  const std::string model = golden_folder("tiny-hf");
  const std::string out = TempFolder().path() / "out";
  expect_failure(run_prosa({"forward", model, "--ids", "1", "--backend", "abacus", "--out", out}), 2,
                 {"--backend", "abacus", "cpu"});
  expect_failure(run_prosa({"forward", model, "--ids", "1", "--isa", "mmx", "--out", out}), 2,
                 {"--isa", "mmx", "avx2"});
}

TEST(Cli, TokenizerWithoutMerges) {
  const TempFolder folder;
  json tokenizer = json::parse(read_file(fs::path(PROSA_SOURCE_DIR) / "models/prosa-mini/tokenizer.json"));
  tokenizer["model"].erase("merges");
  write_file(folder.path() / "tokenizer.json", tokenizer.dump());
  expect_failure(run_prosa({"tokenize", folder.path()}, "{\"text\": \"a\"}\n"), 4, {"tokenizer.json", "merges"});
}

TEST(Cli, TokenIdOutOfRange) {
  const TempFolder folder;
  const std::string out = folder.path() / "out";
  expect_failure(run_prosa({"forward", golden_folder("tiny-hf"), "--ids", "1,512", "--out", out}), 5, {"512"});
  EXPECT_FALSE(fs::exists(out));
}

TEST(Cli, OutputThatCannotBeWritten) {
  const std::string model = golden_folder("tiny-hf");
  expect_failure(run_prosa({"forward", model, "--ids", "1", "--out", "/no/such/folder/out"}), 3, {"/no/such/folder"});
  const Outcome full = run_command({"sh", "-c", shell_words({"inspect", model}) + ">/dev/full"});
  expect_failure(full, 3, {"standard output"});
  const Outcome closed = run_command({"sh", "-c", shell_words({"inspect", model}) + ">&-"});
  expect_failure(closed, 3, {"standard output"});
}

TEST(Cli, BrokenJsonLines) {
  const TempFolder folder;
  fs::copy_file(fs::path(PROSA_SOURCE_DIR) / "models/prosa-mini/tokenizer.json", folder.path() / "tokenizer.json");
  const std::string model = folder.path();
  expect_failure(run_prosa({"tokenize", model}, "{\"text\": \n"), 5, {"line 1"});
  expect_failure(run_prosa({"tokenize", model}, "\n[1]\n"), 5, {"line 2"});
  expect_failure(run_prosa({"tokenize", model}, "{\"ids\": [1]}\n"), 5, {"\"text\""});
  expect_failure(run_prosa({"tokenize", model, "--decode"}, "{\"ids\": [-1]}\n"), 5, {"-1"});
  expect_failure(run_prosa({"template", model}, "{\"messages\": 1}\n"), 5, {"messages"});
}

TEST(Cli, TokenizeAgreesWithTheOfficialIds) {
  const TempFolder folder;
  fs::copy_file(golden_folder("tokenizer") / "qwen3-tokenizer.json", folder.path() / "tokenizer.json");
  const json expected = json::parse(read_file(golden_folder("tokenizer") / "tokens.json"));
  std::string texts;
  for (const json& item : expected) texts += json{{"text", item["text"]}}.dump() + "\n";
  const Outcome encoded = run_prosa({"tokenize", folder.path()}, texts);
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  const std::vector<json> ids = json_lines(encoded.out);
  ASSERT_EQ(ids.size(), expected.size());
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i]["ids"], expected[i]["qwen3_ids"]) << expected[i]["text"];

  // The other way: the ids of the first text are its text again.
  const Outcome decoded = run_prosa({"tokenize", folder.path(), "--decode"}, ids[0].dump() + "\n");
  EXPECT_EQ(json_lines(decoded.out).at(0)["text"], expected[0]["text"]);
}

TEST(Cli, TemplateAgreesWithTheOfficialPrompts) {
  using nlohmann::ordered_json;  // key order shows in the prompt
  const auto cases = ordered_json::parse(read_file(golden_folder("chat_template.json")));
  for (const std::string variant : {"default_on", "default_off"}) {
    const TempFolder folder;
    if (variant == "default_on") {
      fs::copy_file(golden_folder("qwen3.5-4b.chat_template.jinja"), folder.path() / "chat_template.jinja");
    }
    std::string lines;
    for (const auto& item : cases) {
      ordered_json line = item.value("kwargs", ordered_json::object());
      for (const char* key : {"messages", "tools", "add_generation_prompt"}) {
        if (item.contains(key)) line[key] = item[key];
      }
      lines += line.dump() + "\n";
    }
    const Outcome outcome = run_prosa({"template", folder.path()}, lines);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<json> answers = json_lines(outcome.out);
    ASSERT_EQ(answers.size(), cases.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      const auto& rendered = cases[i]["rendered"][variant];
      if (rendered.is_string()) {
        EXPECT_EQ(answers[i].value("prompt", ""), rendered.get<std::string>()) << cases[i]["messages"];
      } else {
        EXPECT_EQ(answers[i].value("error", ""), rendered["error"].get<std::string>()) << cases[i]["messages"];
      }
    }
  }
}

/// Folders with the official template changed in one place, as published ones have it; every key of a line reaches it.
TEST(Cli, TemplateRendersTheFoldersOwn) {
  using nlohmann::ordered_json;
  const auto items = ordered_json::parse(read_file(fs::path(PROSA_TEST_DATA) / "templates/own.json"));
  for (const auto& item : items) {
    std::string text = item.value("template", read_file(golden_folder("qwen3.5-4b.chat_template.jinja")));
    for (const auto& edit : item.value("edits", ordered_json::array())) {
      const std::string from = edit[0], to = edit[1];
      text.replace(text.find(from), from.size(), to);
    }
    const TempFolder folder;
    std::ofstream(folder.path() / "chat_template.jinja") << text;
    std::string lines;
    for (const auto& one : item["cases"]) {
      ordered_json line = one["vars"];
      if (line.contains("preserve_thinking") && item["name"] == "preserve-option") {
        line["chat_template_kwargs"] = {{"preserve_thinking", line["preserve_thinking"]}};
        line.erase("preserve_thinking");
      }
      lines += line.dump() + "\n";
    }
    const Outcome outcome = run_prosa({"template", folder.path()}, lines);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<json> answers = json_lines(outcome.out);
    ASSERT_EQ(answers.size(), item["cases"].size());
    for (size_t i = 0; i < answers.size(); ++i) {
      const char* key = item["cases"][i].contains("prompt") ? "prompt" : "error";
      EXPECT_EQ(answers[i], (json{{key, item["cases"][i][key]}})) << item["name"] << " " << i;
    }
  }
}

TEST(Cli, TemplateShowsWhatWasGivenAndItsIds) {
  const TempFolder folder;
  fs::copy_file(fs::path(PROSA_TEST_DATA) / "tiny-chat/tokenizer.json", folder.path() / "tokenizer.json");
  const std::string said = "a<|im_end|>b";
  const json line = {{"messages", {{{"role", "user"}, {"content", said}}}}, {"add_generation_prompt", false}};
  const Outcome outcome = run_prosa({"template", folder.path(), "--ids"}, line.dump() + "\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json answer = json_lines(outcome.out).at(0);
  EXPECT_EQ(answer["prompt"], "<|im_start|>user\na<|im_end|>b<|im_end|>\n");
  EXPECT_EQ(answer["parts"],
            (json{{{"template", "<|im_start|>user\n"}}, {{"given", said}}, {{"template", "<|im_end|>\n"}}}));
  const auto ends = [](const json& ids) {
    constexpr int kImEnd = 501;
    return std::ranges::count(ids, json(kImEnd));
  };
  EXPECT_EQ(ends(answer["ids"]), 1);

  const std::string text = json{{"text", said}}.dump() + "\n";
  EXPECT_EQ(ends(json_lines(run_prosa({"tokenize", folder.path()}, text).out).at(0)["ids"]), 1);
  EXPECT_EQ(ends(json_lines(run_prosa({"tokenize", folder.path(), "--as-text"}, text).out).at(0)["ids"]), 0);
}

/// The F32 or I32 tensor of a file that `forward` wrote.
template <typename T>
std::vector<T> tensor_of(const fs::path& file, const std::string& name, const std::vector<int64_t>& shape) {
  const auto opened = format::SafetensorsFile::open(file);
  const format::TensorEntry* entry = opened.find(name);
  if (entry == nullptr) throw std::runtime_error("no tensor " + name);
  EXPECT_EQ(entry->shape, shape) << name;
  const auto bytes = opened.data(*entry);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

float max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  float most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

class ForwardGolden : public testing::TestWithParam<std::string> {};

TEST_P(ForwardGolden, ReferenceLogitsAndGreedyIds) {
  const TempFolder folder;
  fs::path model = golden_folder(GetParam());
  if (GetParam() == "grouped-hf") {
    model = folder.path() / "model";
    ASSERT_EQ(run_prosa({"synth", "grouped", "--seed", "2", "--out", model}).exit_code, 0);
  }
  const Golden golden(GetParam());
  const int64_t vocab = checkpoint::read_config(model).vocab_size;
  const int shortest = golden.prompts().at(1);  // the first is a single token
  const std::string prefix = "prompt_" + std::to_string(shortest) + ".";
  const std::vector<int32_t> ids = golden.ids(prefix + "input_ids");
  const std::vector<int32_t> greedy = golden.ids(prefix + "greedy_ids");
  std::string list;
  for (const int32_t id : ids) list += (list.empty() ? "" : ",") + std::to_string(id);
  const auto steps = static_cast<int64_t>(greedy.size());
  const fs::path out = folder.path() / "out.safetensors";
  const std::vector<std::string> command = {"forward",   model,       "--ids", list, "--greedy", std::to_string(steps),
                                            "--backend", "reference", "--out", out};
  const Outcome outcome = run_prosa(command);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const auto count = static_cast<int64_t>(ids.size());
  EXPECT_LE(max_difference(tensor_of<float>(out, "logits", {count, vocab}), golden.floats(prefix + "logits")), 1e-3F);
  EXPECT_EQ(tensor_of<int32_t>(out, "greedy_ids", {steps}), greedy);
  EXPECT_LE(
      max_difference(tensor_of<float>(out, "greedy_logits", {steps, vocab}), golden.floats(prefix + "greedy_logits")),
      1e-3F);

  std::vector<std::string> last = command;
  last.emplace_back("--last");
  ASSERT_EQ(run_prosa(last).exit_code, 0);
  const std::vector<float> all = golden.floats(prefix + "logits");
  EXPECT_LE(
      max_difference(tensor_of<float>(out, "logits", {1, vocab}), std::vector<float>(all.end() - vocab, all.end())),
      1e-3F);
}

INSTANTIATE_TEST_SUITE_P(Cli, ForwardGolden,
                         testing::Values("tiny-hf", "grouped-hf", "tiny-mlx-4bit", "grouped-mlx-4bit", "tiny-mlx-mixed",
                                         "tiny-flat-5bit", "tiny-flat-8bit"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

#if !defined(PROSA_ADDRESS_SANITIZER) && !defined(PROSA_THREAD_SANITIZER)
/// The largest resident memory of `prosa forward MODEL`, in bytes.
int64_t peak_of_forward(const std::string& model, const std::string& out) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), {"forward", model, "--ids", "1", "--last", "--threads", "1", "--out", out});
  pid_t child = 0;
  if (posix_spawnp(&child, words.front().c_str(), nullptr, nullptr, to_argv(words).data(), environ) != 0) return -1;
  int status = 0;
  rusage used{};
  EXPECT_EQ(wait4(child, &status, 0, &used), child);
  EXPECT_EQ(status, 0);
  return used.ru_maxrss * int64_t{1024};
}

/// The packed weights take the place of the mapped file part by part: nothing is held twice.
TEST(Cli, LoadingPeaksAtTheWeightsAndLittleMore) {
  const TempFolder folder;
  if (program_words().size() > 1) GTEST_SKIP() << "an emulator's memory is counted, too";
  ModelConfig config = checkpoint::synth_preset("tiny");
  checkpoint::SynthOptions options;
  options.threads = 1;
  checkpoint::synthesize(config, folder.path() / "small", options);
  config.vocab_size = 400'000;
  checkpoint::synthesize(config, folder.path() / "large", options);
  const std::string out = (folder.path() / "out").string();
  const int64_t small = peak_of_forward(folder.path() / "small", out);
  const int64_t large = peak_of_forward(folder.path() / "large", out);
  const auto weights = static_cast<int64_t>(fs::file_size(folder.path() / "large/model.safetensors"));
  EXPECT_GT(weights, 100'000'000);
  EXPECT_LT(large - small, weights + weights * 15 / 100 + 24'000'000) << "a part in the file, a row of logits";
}
#endif

TEST(Cli, SynthIsTheSameTwice) {
  const TempFolder folder;
  for (const std::vector<std::string>& extra : {std::vector<std::string>{}, {"--bits", "4", "--group", "64"}}) {
    const std::string tag = std::to_string(extra.size());
    for (const char* name : {"a", "b"}) {
      std::vector<std::string> command = {"synth", "tiny", "--seed", "3", "--out", folder.path() / (name + tag)};
      command.insert(command.end(), extra.begin(), extra.end());
      ASSERT_EQ(run_prosa(command).exit_code, 0);
    }
    for (const char* file : {"model.safetensors", "config.json"}) {
      EXPECT_EQ(read_file(folder.path() / ("a" + tag) / file), read_file(folder.path() / ("b" + tag) / file)) << file;
    }
  }
  // And the folder of a run is not overwritten by the next.
  expect_failure(run_prosa({"synth", "tiny", "--out", folder.path() / "a0"}), 5, {"a0"});
}

TEST(Cli, SynthMakesTheGoldenWeights) {
  const TempFolder folder;
  const fs::path out = folder.path() / "model";
  ASSERT_EQ(
      run_prosa({"synth", "--config", golden_folder("tiny-hf") / "config.json", "--seed", "1", "--out", out}).exit_code,
      0);
  EXPECT_EQ(checkpoint::read_config(out).hidden_size, checkpoint::read_config(golden_folder("tiny-hf")).hidden_size);
}

TEST(Cli, InspectCountsBytes) {
  const fs::path model = golden_folder("tiny-mlx-mixed");
  const Outcome outcome = run_prosa({"inspect", model, "--json", "--tensors", "--context", "1000"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report["config"]["bits"], 4);
  EXPECT_EQ(report["config"]["num_layers"], 4);
  EXPECT_EQ(report["matrices"].size(), 3U) << report["matrices"];  // 4, 6 and 8 bit
  const auto weights = checkpoint::load_weights(model);
  EXPECT_EQ(report["parameters"], weights->parameter_count());
  EXPECT_EQ(report["weight_bytes"], weights->byte_size());
  // One attention layer, 2 KV heads of 64, keys and values in 8 bits, and a float32 scale for each of these vectors.
  EXPECT_EQ(report["memory"]["kv"], 1000 * 2 * 2 * (64 + 4));
  const Outcome wide = run_prosa({"inspect", model, "--json", "--context", "1000", "--kv-bits", "16"});
  EXPECT_EQ(json::parse(wide.out)["memory"]["kv"], 1000 * 2 * 2 * (64 * 2 + 4));
  int64_t bytes = 0;
  for (const json& tensor : report["tensors"]) bytes += tensor["bytes"].get<int64_t>();
  const auto file_size = static_cast<int64_t>(fs::file_size(model / "model.safetensors"));
  EXPECT_LT(bytes, file_size);
  EXPECT_GT(bytes, file_size - 65536);

  const Outcome text = run_prosa({"inspect", model});
  EXPECT_THAT(text.out, HasSubstr("3 Gated DeltaNet"));
  EXPECT_THAT(text.out, HasSubstr("8 bit, group 64"));
}

}  // namespace
}  // namespace prosa::test
