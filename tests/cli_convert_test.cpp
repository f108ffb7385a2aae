// prosa convert and what prosa inspect says of its work, end to end.
//
// The bytes that are written are convert_test.cpp's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "format/safetensors.h"
#include "golden.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class CliConvert : public testing::Test {
 protected:
  [[nodiscard]] std::string place(const std::string& name) const { return folder_.path() / name; }
  static std::string source() { return golden_folder("tiny-hf"); }
  TempFolder folder_;
};

TEST_F(CliConvert, WritesAFolderThatTheOtherCommandsRead) {
  const Outcome converted = run_prosa({"convert", source(), place("q4"), "--bits", "4"});
  ASSERT_EQ(converted.exit_code, 0) << converted.err;
  EXPECT_THAT(converted.out, HasSubstr("embedding"));
  EXPECT_THAT(converted.out, HasSubstr("written to"));
  const Outcome forward = run_prosa({"forward", place("q4"), "--ids", "1,2,3", "--out", place("logits")});
  EXPECT_EQ(forward.exit_code, 0) << forward.err;
}

/// The logits that a backend computes.
std::vector<float> logits_of(const std::string& model, const std::string& backend, const std::string& file) {
  std::vector<std::string> words = {"forward", model, "--ids", "1,2,3,4", "--backend", backend, "--out", file};
  if (backend == "cpu")
    words.insert(words.end(), {"--activation-bits", "15"});  // whose rounding is far below the bound
  const Outcome forward = run_prosa(words);
  EXPECT_EQ(forward.exit_code, 0) << forward.err;
  const auto stored = format::SafetensorsFile::open(file);
  const auto bytes = stored.data(*stored.find("logits"));
  std::vector<float> logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  return logits;
}

TEST_F(CliConvert, SmallFloatsAreWrittenAndComputedWith) {
  const Outcome converted = run_prosa({"convert", source(), place("mx"), "--mode", "mxfp4"});
  ASSERT_EQ(converted.exit_code, 0) << converted.err;
  const Outcome inspected = run_prosa({"inspect", place("mx"), "--json"});
  EXPECT_EQ(json::parse(inspected.out)["config"]["mode"], "mxfp4") << inspected.err;
  const std::vector<float> expected = logits_of(place("mx"), "reference", place("r"));
  const std::vector<float> computed = logits_of(place("mx"), "cpu", place("c"));
  ASSERT_EQ(computed.size(), expected.size());
  float largest = 0;
  float apart = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    apart = std::max(apart, std::abs(expected[i] - computed[i]));
  }
  EXPECT_GT(largest, 0.0F);
  EXPECT_LT(apart, 0.02F * largest);
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"--bits", "5"}, {"--group", "64"}, {"--method", "clip", "--calibration", place("none")}}) {
    std::vector<std::string> words = {"convert", source(), place("no"), "--mode", "mxfp4"};
    words.insert(words.end(), wrong.begin(), wrong.end());
    EXPECT_EQ(run_prosa(words).exit_code, 2) << wrong.front();
  }
  EXPECT_FALSE(fs::exists(place("no")));
}

TEST_F(CliConvert, CalibratesWithAText) {
  json ids = json::array();
  for (int i = 0; i < 300; ++i) ids.push_back(i * 37 % 200);
  write_file(place("text.jsonl"), json{{"ids", ids}}.dump());
  for (const char* method : {"clip", "awq", "gptq", "mixed"}) {
    const Outcome converted = run_prosa(
        {"convert", source(), place(method), "--method", method, "--calibration", place("text.jsonl"), "--json"});
    ASSERT_EQ(converted.exit_code, 0) << converted.err;
    EXPECT_EQ(json::parse(converted.out).at("method"), method);
    const Outcome forward = run_prosa({"forward", place(method), "--ids", "1,2,3", "--out", place("logits")});
    EXPECT_EQ(forward.exit_code, 0) << forward.err;
  }
}

TEST_F(CliConvert, DryRunTellsTheSizesAndWritesNothing) {
  const std::vector<std::string> options = {"--bits", "3", "--group", "32", "--override", "embed_tokens=8", "--json"};
  std::vector<std::string> dry = {"convert", source(), place("made"), "--dry-run"};
  dry.insert(dry.end(), options.begin(), options.end());
  const Outcome planned = run_prosa(dry);
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  std::vector<std::string> wet = {"convert", source(), place("made")};
  wet.insert(wet.end(), options.begin(), options.end());
  const Outcome made = run_prosa(wet);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const json before = json::parse(planned.out);
  const json after = json::parse(made.out);
  EXPECT_EQ(before["kinds"], after["kinds"]);
  EXPECT_EQ(before["bytes"], after["bytes"]);
  EXPECT_EQ(after["path"], place("made"));
  const uint64_t header = fs::file_size(place("made/model.safetensors")) - after["bytes"].get<uint64_t>();
  EXPECT_LT(header, 40'000U);
  EXPECT_EQ(run_prosa({"convert", source(), "--dry-run"}).exit_code, 0);
}

TEST_F(CliConvert, InspectShowsWhereBytesGoAndWhatChanged) {
  ASSERT_EQ(run_prosa({"convert", source(), place("q4"), "--override", "down_proj=8:32"}).exit_code, 0);
  const Outcome text = run_prosa({"inspect", place("q4"), "--compare", source(), "--svg", place("kinds.svg")});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  for (const char* part :
       {"by kind", "deltanet", "exceptions", "8 bit, group 32", "method rtn", "most changed", "apart"}) {
    EXPECT_THAT(text.out, HasSubstr(part));
  }
  const std::string svg = read_file(place("kinds.svg"));
  EXPECT_THAT(svg, testing::StartsWith("<svg"));
  EXPECT_THAT(svg, HasSubstr("embedding"));

  const Outcome outcome = run_prosa({"inspect", place("q4"), "--compare", source(), "--json", "--tensors"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  int64_t bytes = 0;
  double share = 0;
  for (const auto& [kind, sum] : result["kinds"].items()) {
    bytes += sum["bytes"].get<int64_t>();
    share += sum["share"].get<double>();
  }
  EXPECT_EQ(bytes, result["roles"]["text"]["bytes"]);
  EXPECT_NEAR(share, 1.0, 1e-9);
  EXPECT_EQ(result["kinds"]["embedding"]["bits_per_weight"], 4.5);
  EXPECT_EQ(result["exceptions"].size(), 4U);
  EXPECT_EQ(result["conversion"]["method"], "rtn");
  const std::string module = "language_model.model.layers.0.mlp.up_proj";
  const double reported = result["conversion"]["tensors"][module];
  EXPECT_GT(reported, 0.01);
  EXPECT_NEAR(result["comparison"]["tensors"][module], reported, 1e-5);
  for (const char* kind : {"embedding", "mlp", "attention"}) {
    EXPECT_NEAR(result["comparison"]["relative_error"][kind], result["conversion"]["relative_error"][kind], 1e-5);
  }
}

TEST_F(CliConvert, ADamagedReportDoesNotHideTheRest) {
  ASSERT_EQ(run_prosa({"convert", source(), place("q4")}).exit_code, 0);
  write_file(place("q4/quantization_report.json"), "{");
  const Outcome outcome = run_prosa({"inspect", place("q4")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("by kind"));
  EXPECT_THAT(outcome.out, HasSubstr("quantization_report.json"));
}

TEST_F(CliConvert, FlatAndSharded) {
  ASSERT_EQ(run_prosa({"convert", source(), place("chat"), "--layout", "flat", "--bits", "5"}).exit_code, 0);
  EXPECT_EQ(run_prosa({"inspect", place("chat/int5")}).exit_code, 0);
  ASSERT_EQ(run_prosa({"convert", source(), place("cut"), "--shard-size", "100KB"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(place("cut/model.safetensors.index.json")));
  EXPECT_EQ(run_prosa({"inspect", place("cut")}).exit_code, 0);
}

TEST_F(CliConvert, BadCommandLinesAndDestinations) {
  const auto fails = [&](const std::vector<std::string>& arguments, int code, const std::string& part) {
    std::vector<std::string> words = {"convert"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_prosa(words);
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  };
  fails({}, 2, "SRC");
  fails({source()}, 2, "DST");
  fails({source(), place("a"), "--bits", "7"}, 2, "--bits");
  fails({source(), place("a"), "--group", "48"}, 2, "--group");
  fails({source(), place("a"), "--method", "gptq"}, 2, "--calibration");
  fails({source(), place("a"), "--calibration", place("none.txt")}, 2, "rtn takes no text");
  fails({source(), place("a"), "--budget", "4.5"}, 2, "mixed");
  fails({source(), "--method", "mixed", "--calibration", place("none.txt"), "--dry-run"}, 2, "--dry-run");
  fails({source(), place("a"), "--method", "mixed", "--calibration", place("none.txt"), "--bits", "2"}, 2, "--budget");
  fails({source(), place("a"), "--method", "gptq", "--calibration", place("none.txt")}, 3, "none.txt");
  write_file(place("short.jsonl"), R"({"ids": [1, 2, 3]})");
  fails({source(), place("a"), "--method", "clip", "--calibration", place("short.jsonl")}, 5, "too few");
  fails({source(), place("a"), "--override", "down_proj"}, 2, "PATTERN");
  fails({source(), place("a"), "--shard-size", "big"}, 2, "--shard-size");
  fails({source(), place("a"), "--override", "nothing_here=8"}, 5, "nothing_here=8");
  fails({place("missing"), place("a")}, 3, "missing");
  fails({source(), source(), "--force"}, 5, "source itself");
  ASSERT_EQ(run_prosa({"convert", source(), place("a")}).exit_code, 0);
  fails({source(), place("a")}, 5, "--force");
  write_file(place("absent.jsonl"), "{}");
  fails({source(), place("a"), "--method", "gptq", "--calibration", place("absent.jsonl")}, 5, "--force");
  EXPECT_EQ(run_prosa({"convert", source(), place("a"), "--force", "--bits", "8"}).exit_code, 0);
}

}  // namespace
}  // namespace prosa::test
