// prosa bench on tiny models: that it measures what was asked, under the keys that scripts rely on, and draws a picture
// that every XML reader takes.
//
// No speed is checked: it is not this test's machine that matters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli_process.h"
#include "golden.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

Outcome run_bench(const std::string& model, const std::vector<std::string>& options) {
  std::vector<std::string> words = {"bench", model};
  words.insert(words.end(), options.begin(), options.end());
  return run_prosa(words);
}

/// Empty, or what is wrong with a document that should be well-formed XML (elements, attributes, text, entities).
class XmlCheck {
 public:
  explicit XmlCheck(std::string text) : text_(std::move(text)) {}

  std::string problem() {
    while (at_ < text_.size() && problem_.empty()) {
      if (text_[at_] == '<')
        tag();
      else
        content();
    }
    if (problem_.empty() && (!open_.empty() || roots_ != 1)) problem_ = "not one closed root element";
    return problem_;
  }

 private:
  static bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; }

  void fail(const std::string& what) { problem_ = what + ": " + text_.substr(at_, 60); }

  std::string name() {
    const size_t start = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

  void check_entities(const std::string& text) {
    for (size_t i = text.find('&'); i != std::string::npos; i = text.find('&', i + 1)) {
      bool known = false;
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;"})
        known |= text.compare(i, strlen(entity), entity) == 0;
      if (!known) fail("a bare &");
    }
  }

  void content() {
    const size_t end = std::min(text_.find('<', at_), text_.size());
    const std::string part = text_.substr(at_, end - at_);
    if (open_.empty() && part.find_first_not_of(" \n") != std::string::npos) return fail("text outside of the root");
    check_entities(part);
    at_ = end;
  }

  void tag() {
    ++at_;
    const bool closing = at_ < text_.size() && text_[at_] == '/';
    if (closing) ++at_;
    const std::string element = name();
    if (element.empty()) return fail("no element name");
    if (closing) {
      if (open_.empty() || open_.back() != element) return fail("closes what is not open");
      open_.pop_back();
    }
    std::vector<std::string> seen;
    for (;;) {
      at_ = std::min(text_.find_first_not_of(" \n", at_), text_.size());
      if (text_.compare(at_, 2, "/>") == 0) return end_tag(element, 2, false);
      if (text_.compare(at_, 1, ">") == 0) return end_tag(element, 1, !closing);
      attribute(seen);
      if (!problem_.empty()) return;
    }
  }

  void end_tag(const std::string& element, size_t length, bool opens) {
    at_ += length;
    if (open_.empty() && (opens || length == 2)) ++roots_;
    if (opens) open_.push_back(element);
  }

  void attribute(std::vector<std::string>& seen) {
    const std::string attribute = name();
    if (attribute.empty() || text_.compare(at_, 2, "=\"") != 0) return fail("not an attribute");
    if (std::ranges::count(seen, attribute) > 0) return fail("an attribute twice");
    seen.push_back(attribute);
    const size_t start = at_ + 2;
    const size_t end = text_.find('"', start);
    if (end == std::string::npos) return fail("an open attribute");
    const std::string value = text_.substr(start, end - start);
    if (value.find('<') != std::string::npos) return fail("< in an attribute");
    check_entities(value);
    at_ = end + 1;
  }

  std::string text_;
  size_t at_ = 0;
  size_t roots_ = 0;
  std::vector<std::string> open_;
  std::string problem_;
};

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

TEST(XmlCheck, FindsWhatIsWrong) {
  EXPECT_EQ(XmlCheck("<a b=\"1 &amp; 2\"><c/>x &lt; y</a>\n").problem(), "");
  for (const char* bad : {"<a>", "<a></b>", "<a/><a/>", "<a b=1/>", "<a b=\"1\" b=\"2\"/>", "<a>&</a>", "<a b=\"<\"/>",
                          "x<a/>", "<a", "", "<a>a < b</a>"}) {
    EXPECT_NE(XmlCheck(bad).problem(), "") << bad;
  }
}

TEST(CliBench, MeasuresWhatWasAskedUnderFixedKeys) {
  const fs::path model = golden_folder("tiny-mlx-4bit");
  const Outcome outcome = run_bench(
      model, {"--prompt", "8,16", "--gen", "4", "--depth", "0,8", "--batch", "1,2", "--threads", "1", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  EXPECT_GT(result.at("read_gbps").get<double>(), 0);
  EXPECT_GT(result.at("int8_gmacs").get<double>(), 0);
  EXPECT_EQ(result.at("threads"), 1);
  EXPECT_TRUE(result.at("isa").is_string());
  EXPECT_EQ(result.at("model").at("bits"), 4);
  EXPECT_EQ(result.at("model").at("weight_bytes"), checkpoint::load_weights(model)->byte_size());
  const json& runs = result.at("runs");
  ASSERT_EQ(runs.size(), 8U);
  for (const json& run : runs) {
    EXPECT_LE(run.at("tok_s_min").get<double>(), run.at("tok_s").get<double>());
    EXPECT_LE(run.at("tok_s").get<double>(), run.at("tok_s_max").get<double>());
    EXPECT_GT(run.at("gbps").get<double>(), 0);
    EXPECT_NEAR(run.at("bandwidth_fraction").get<double>(),
                run.at("gbps").get<double>() / result["read_gbps"].get<double>(), 1e-9);
    EXPECT_NEAR(run.at("peak_fraction").get<double>(),
                run.at("gmacs").get<double>() / result["int8_gmacs"].get<double>(), 1e-9);
  }
  struct Case {
    const char* kind;
    int tokens, depth, batch;
  };
  const Case expected[] = {{"prefill", 8, 0, 1}, {"prefill", 16, 0, 1}, {"decode", 4, 0, 1}, {"decode", 4, 0, 2},
                           {"prefill", 8, 8, 1}, {"prefill", 16, 8, 1}, {"decode", 4, 8, 1}, {"decode", 4, 8, 2}};
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(runs[i].at("kind"), expected[i].kind) << i;
    EXPECT_EQ(runs[i].at("tokens"), expected[i].tokens) << i;
    EXPECT_EQ(runs[i].at("depth"), expected[i].depth) << i;
    EXPECT_EQ(runs[i].at("batch"), expected[i].batch) << i;
  }
  // The time to the first token in decode steps at the same depth, and the cost of sampling beside a step.
  EXPECT_NEAR(runs[4].at("ttft_steps").get<double>(),
              runs[4].at("ttft_ms").get<double>() / runs[6].at("step_ms").get<double>(), 1e-9);
  EXPECT_FALSE(runs[2].contains("ttft_ms"));
  EXPECT_NEAR(result.at("sampling").at("step_fraction").get<double>(),
              result.at("sampling").at("ms").get<double>() / runs[2].at("step_ms").get<double>(), 1e-9);
  EXPECT_FALSE(runs[0].contains("stages"));
  EXPECT_FALSE(result.contains("start"));
}

// Weights of few bits meet 8 bits before gates and 15 behind them: neither number alone is the truth.
TEST(CliBench, SaysWhichActivationsItMeasured) {
  struct Case {
    std::string model;
    std::vector<std::string> options;
    std::string activations;
    int fewest;
  };
  for (const Case& of :
       {Case{"tiny-mlx-4bit", {}, "8-bit activations (15 behind gates)", 8},
        Case{"tiny-mlx-4bit", {"--activation-bits", "15"}, "15-bit activations", 15},
        Case{"tiny-flat-8bit", {}, "15-bit activations", 15}, Case{"tiny-hf", {}, "float32 activations", 32},
        Case{"tiny-mlx-4bit", {"--backend", "reference"}, "float32 activations", 32}}) {
    std::vector<std::string> words = {"--prompt", "8", "--gen", "0", "--repeat", "5", "--threads", "1", "--json"};
    words.insert(words.end(), of.options.begin(), of.options.end());
    const Outcome outcome = run_bench(golden_folder(of.model), words);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const json result = json::parse(outcome.out);
    EXPECT_EQ(result.at("activations"), of.activations) << of.model;
    EXPECT_EQ(result.at("activation_bits"), of.fewest) << of.model;
  }
  const Outcome table =
      run_bench(golden_folder("tiny-mlx-4bit"), {"--prompt", "8", "--gen", "0", "--repeat", "5", "--threads", "1"});
  EXPECT_THAT(table.out, HasSubstr("1 threads, 8-bit activations (15 behind gates)\n"));
}

TEST(CliBench, EachNumberOfThreadsHasItsOwnLimits) {
  const Outcome outcome = run_bench(golden_folder("tiny-mlx-4bit"),
                                    {"--prompt", "0", "--gen", "2", "--threads", "2,1", "--profile", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  EXPECT_EQ(result.at("threads"), 2);
  ASSERT_EQ(result.at("runs").size(), 2U);
  EXPECT_EQ(result["runs"][0].at("threads"), 2);
  EXPECT_EQ(result["runs"][1].at("threads"), 1);
  ASSERT_EQ(result.at("ceilings").size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    const json& limit = result["ceilings"][i];
    const json& run = result["runs"][i];
    EXPECT_EQ(limit.at("threads"), run["threads"]);
    const double read = limit.at("read_gbps").get<double>();
    EXPECT_LE(limit.at("read_gbps_min").get<double>(), read);
    EXPECT_GE(limit.at("read_gbps_max").get<double>(), read);
    const double int8 =
        std::max(limit.at("int8_gmacs_before").get<double>(), limit.at("int8_gmacs_after").get<double>());
    EXPECT_NEAR(run["bandwidth_fraction"].get<double>(), run["gbps"].get<double>() / read, 1e-9);
    EXPECT_NEAR(run["peak_fraction"].get<double>(), run["gmacs"].get<double>() / int8, 1e-9);
    double parts = 0;
    for (const json& stage : run.at("stages")) parts += stage.at("fraction").get<double>();
    EXPECT_NEAR(parts, 1, 1e-9);
  }
  EXPECT_EQ(result["read_gbps"], result["ceilings"][0]["read_gbps"]);
}

TEST(CliBench, DrawsAPictureOfAnyName) {
  const TempFolder folder;
  const fs::path model = folder.path() / "a<b>&\"c\"\xef\xbf\xbf\xef\xbf\xbe";
  fs::create_directory_symlink(golden_folder("tiny-mlx-4bit"), model);
  const fs::path picture = folder.path() / "bench.svg";
  const Outcome outcome = run_bench(
      model, {"--prompt", "8", "--gen", "2", "--batch", "1,2", "--threads", "1", "--profile", "--svg", picture});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string svg = read_file(picture);
  EXPECT_EQ(XmlCheck(svg).problem(), "");
  EXPECT_THAT(svg, HasSubstr("xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr("a&lt;b&gt;&amp;&quot;c&quot;\xef\xbf\xbd\xef\xbf\xbd: 4 bit"));  // no characters of XML
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_EQ(count(svg, " tok/s</text>"), 3U);  // a bar for each run
  EXPECT_EQ(count(svg, "class=\"track\""), 3U);
  EXPECT_THAT(svg, HasSubstr(">mlp</text>"));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
  EXPECT_THAT(svg, testing::Not(HasSubstr("<script")));
  for (const char* line : {"prefill 8", "decode", "decode × 2"})
    EXPECT_THAT(svg, HasSubstr(">" + std::string(line) + "<"));
  EXPECT_THAT(outcome.out, HasSubstr("sampling with the default parameters"));
  EXPECT_THAT(outcome.out, HasSubstr("decode × 2"));  // its stages
}

TEST(CliBench, APictureReplacesTheOldOneWholly) {
  const TempFolder folder;
  write_file(folder.path() / "real.svg", "old");
  fs::create_symlink("real.svg", folder.path() / "link.svg");
  const std::vector<std::string> quick = {"--prompt", "0", "--gen", "1", "--threads", "1", "--svg"};
  const auto draw = [&](const fs::path& picture) {
    std::vector<std::string> options = quick;
    options.push_back(picture);
    return run_bench(golden_folder("tiny-mlx-4bit"), options);
  };
  EXPECT_EQ(draw(folder.path() / "link.svg").exit_code, 0);
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link.svg"));
  EXPECT_THAT(read_file(folder.path() / "real.svg"), testing::EndsWith("</svg>\n"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2) << "a temporary was left";
  const Outcome full = draw("/dev/full");
  EXPECT_EQ(full.exit_code, 3);
  EXPECT_THAT(full.err, HasSubstr("/dev/full"));
}

TEST(CliBench, APictureThatCannotBeWrittenLosesNoResult) {
  const Outcome outcome = run_bench(golden_folder("tiny-mlx-4bit"), {"--prompt", "0", "--gen", "1", "--threads", "1",
                                                                     "--json", "--svg", "./no-such-folder/bench.svg"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("./no-such-folder/bench.svg"));
  EXPECT_EQ(json::parse(outcome.out).at("runs").size(), 1U);
}

TEST(CliBench, NothingToRunLeavesTheLimits) {
  const TempFolder folder;
  const fs::path picture = folder.path() / "bench.svg";
  const Outcome outcome = run_bench(golden_folder("tiny-hf"),
                                    {"--prompt", "0", "--gen", "0", "--threads", "1", "--json", "--svg", picture});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  EXPECT_GT(result.at("read_gbps").get<double>(), 0);
  EXPECT_EQ(result.at("runs"), json::array());
  EXPECT_EQ(XmlCheck(read_file(picture)).problem(), "");
}

TEST(CliBench, StartsProcessesOfItsOwn) {
  if (std::string(PROSA_EMULATOR) != "") GTEST_SKIP() << "an emulated program can't start itself";
  const Outcome outcome =
      run_bench(PROSA_TINY_CHAT, {"--prompt", "0", "--gen", "0", "--threads", "1", "--start", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = json::parse(outcome.out);
  const json& start = result.at("start");
  EXPECT_EQ(start.at("each").size(), 5U);
  EXPECT_GT(start.at("seconds").get<double>(), start.at("load_seconds").get<double>());
  EXPECT_GT(start.at("token_seconds").get<double>(), 0);
  EXPECT_EQ(start.at("tokenizer"), true);
  const json& memory = result.at("memory");
  EXPECT_EQ(memory.at("file_bytes"), fs::file_size(fs::path(PROSA_TINY_CHAT) / "model.safetensors"));
  EXPECT_GT(memory.at("context").get<int64_t>(), 0);
  for (const char* when : {"after_load", "after_token", "after_context"}) {
    const json& now = memory.at(when);
    EXPECT_GT(now.at("resident").get<int64_t>(), 0) << when;
    EXPECT_GE(now.at("peak"), now.at("resident")) << when;
    EXPECT_LE(now.at("anonymous").get<int64_t>() + now.at("file").get<int64_t>(), now.at("resident").get<int64_t>())
        << when;
  }
  EXPECT_THAT(run_bench(PROSA_TINY_CHAT, {"--prompt", "0", "--gen", "0", "--threads", "1", "--start"}).out,
              HasSubstr("start to first token"));
}

}  // namespace
}  // namespace prosa::test
