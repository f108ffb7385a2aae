// How a conversion ends that can't be: a typed error that names the culprit, and nothing changed anywhere.
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <limits>

#include "base/bf16.h"
#include "checkpoint/compare.h"
#include "convert_fixture.h"

namespace prosa::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A folder with a damaged or odd source, and a place beside it. Neither may change.
class ConvertErrors : public testing::Test {
 protected:
  ConvertErrors() { fs::create_directory(source()); }
  [[nodiscard]] fs::path source() const { return out_.path() / "source"; }
  [[nodiscard]] fs::path made() const { return out_.path() / "made"; }
  void write_golden() const { EditableModel("tiny-hf").write(source()); }

  /// The conversion must fail so, and leave everything as it was.
  void expect_failure(ErrorCode code, const std::vector<std::string>& parts, const fs::path& destination,
                      const ConvertPlan& plan = rules(4, 64), const ConvertOptions& options = {}) const {
    const auto before = snapshot(out_.path());
    expect_error(code, parts, [&] { convert(source(), destination, plan, options); });
    EXPECT_EQ(snapshot(out_.path()), before);
  }

  TempFolder out_;
};

TEST_F(ConvertErrors, WeightsThatAreNotNumbers) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    EditableModel model("tiny-hf");
    auto& tensor = model.tensor("layers.2.mlp.up_proj.weight");
    const uint16_t half = float_to_bf16(bad);
    std::memcpy(tensor.bytes.data() + (5 * 128 + 17) * 2, &half, 2);
    model.write(source());
    expect_failure(ErrorCode::bad_checkpoint, {"row 5, column 17", "layers.2.mlp.up_proj", "not a finite"}, made());
    expect_failure(ErrorCode::bad_checkpoint, {"row 5, column 17", "layers.2.mlp.up_proj"}, made(), rules(16, 64));
  }
}

TEST_F(ConvertErrors, NormsThatAreNotNumbers) {
  EditableModel model("tiny-hf");
  const uint16_t half = 0x7fc0;
  std::memcpy(model.tensor("layers.1.input_layernorm.weight").bytes.data() + 6, &half, 2);
  model.write(source());
  expect_failure(ErrorCode::bad_checkpoint, {"layers.1.input_layernorm.weight", "value 3"}, made());
}

TEST_F(ConvertErrors, ScalesBeyondBfloat16) {
  EditableModel model("tiny-hf");
  auto& tensor = model.tensor("layers.0.mlp.gate_proj.weight");
  for (size_t i = 0; i < 64; ++i) {
    const uint16_t half = float_to_bf16(i % 2 == 0 ? 3e38F : -3e38F);
    std::memcpy(tensor.bytes.data() + i * 2, &half, 2);
  }
  model.write(source());
  expect_failure(ErrorCode::bad_checkpoint, {"layers.0.mlp.gate_proj", "span"}, made());
}

TEST_F(ConvertErrors, ReplacesNothingOnFailure) {
  EditableModel model("tiny-hf");
  const uint16_t nan = 0x7fc0;
  std::memcpy(model.tensor("layers.3.mlp.down_proj.weight").bytes.data(), &nan, 2);
  model.write(source());
  convert(golden("tiny-hf"), made(), rules(4, 64), {});
  ConvertOptions options;
  options.replace = true;
  expect_failure(ErrorCode::bad_checkpoint, {"layers.3.mlp.down_proj"}, made(), rules(8, 64), options);
}

TEST_F(ConvertErrors, DestinationExists) {
  write_golden();
  convert(source(), made(), rules(4, 64), {});
  expect_failure(ErrorCode::invalid_argument, {"exists already", "--force"}, made());
  ConvertOptions options;
  options.replace = true;
  const auto report = convert(source(), made(), rules(8, 64), options);
  EXPECT_EQ(load_weights(made())->config.quantization.bits, 8);
  EXPECT_EQ(std::distance(fs::directory_iterator(out_.path()), fs::directory_iterator()), 2);  // no old folder left
}

TEST_F(ConvertErrors, EmptyDestinationIsTaken) {
  write_golden();
  fs::create_directory(made());
  convert(source(), made().string() + "/", rules(4, 64), {});
  EXPECT_EQ(load_weights(made())->config.quantization.bits, 4);
}

TEST_F(ConvertErrors, ForceReplacesCheckpointsOnly) {
  write_golden();
  ConvertOptions options;
  options.replace = true;
  fs::create_directory(made());
  write_bytes(made() / "thesis.doc", "mine");
  expect_failure(ErrorCode::invalid_argument, {"thesis.doc"}, made(), rules(4, 64), options);
  fs::remove(made() / "thesis.doc");
  write_bytes(made() / "config.json", "{}");
  expect_failure(ErrorCode::invalid_argument, {"no checkpoint"}, made(), rules(4, 64), options);
  write_bytes(made() / "model.safetensors", "");
  fs::create_directory(made() / "photos");
  expect_failure(ErrorCode::invalid_argument, {"photos"}, made(), rules(4, 64), options);
  const fs::path file = out_.path() / "file";
  write_bytes(file, "mine");
  expect_failure(ErrorCode::invalid_argument, {"not a folder"}, file, rules(4, 64), options);
}

TEST_F(ConvertErrors, NeverIntoTheSource) {
  write_golden();
  ConvertOptions options;
  options.replace = true;
  expect_failure(ErrorCode::invalid_argument, {"is the source itself"}, source(), rules(4, 64), options);
  expect_failure(ErrorCode::invalid_argument, {"is the source itself"}, source() / ".", rules(4, 64), options);
  expect_failure(ErrorCode::invalid_argument, {"in the source's folder"}, source() / "deep/er", rules(4, 64), options);
  expect_failure(ErrorCode::invalid_argument, {"holds the source"}, out_.path(), rules(4, 64), options);
  fs::create_directory_symlink(source(), out_.path() / "link");
  expect_failure(ErrorCode::invalid_argument, {"is the source itself"}, out_.path() / "link", rules(4, 64), options);
  options.layout = Layout::flat;
  expect_failure(ErrorCode::invalid_argument, {"in the source's folder"}, source(), rules(4, 64), options);
}

TEST_F(ConvertErrors, NeverOverFilesThatTheSourceLinksTo) {
  const fs::path blobs = out_.path() / "blobs";
  fs::create_directory(blobs);
  EditableModel("tiny-hf").write(blobs);
  for (const char* name : {"config.json", "model.safetensors"}) fs::create_symlink(blobs / name, source() / name);
  ConvertOptions options;
  options.replace = true;
  expect_failure(ErrorCode::invalid_argument, {"links"}, blobs, rules(4, 64), options);
}

TEST_F(ConvertErrors, DanglingLinkAsDestination) {
  write_golden();
  fs::create_symlink(out_.path() / "nowhere/at/all", made());
  EXPECT_THROW(convert(source(), made(), rules(4, 64), {}), Error);
  EXPECT_TRUE(fs::is_symlink(made()));
}

TEST_F(ConvertErrors, WidthThatTheGroupDoesNotDivide) {
  EditableModel("tiny-hf").write(source());  // 320 wide: no multiple of 128
  const auto report = convert(source(), made(), rules(4, 128), {});
  int noted = 0;
  for (const TensorReport& tensor : report.tensors) {
    if (tensor.note.empty()) continue;
    ++noted;
    EXPECT_TRUE(tensor.name.ends_with("mlp.down_proj")) << tensor.name;
    EXPECT_EQ(tensor.bits, 16);
    EXPECT_NE(tensor.note.find("320"), std::string::npos) << tensor.note;
  }
  EXPECT_EQ(noted, 4);
  EXPECT_FALSE(load_weights(made())->layers[0].mlp.down_proj.quantized());
  expect_failure(ErrorCode::invalid_argument, {"down_proj=4:128", "320"}, out_.path() / "other",
                 rules(4, 64, {"down_proj=4:128"}));
}

TEST_F(ConvertErrors, ConfigThatLiesAboutBits) {
  EditableModel model("tiny-mlx-4bit");
  model.config["quantization"]["bits"] = 8;
  model.config.erase("quantization_config");
  model.write(source());
  expect_failure(ErrorCode::shape_mismatch, {"8 bits"}, made());
}

TEST_F(ConvertErrors, TruncatedWeights) {
  write_golden();
  const fs::path file = source() / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) / 2);
  expect_failure(ErrorCode::bad_checkpoint, {"model.safetensors"}, made());
}

TEST_F(ConvertErrors, NoMtpHeadToKeep) {
  write_golden();
  ConvertOptions options;
  options.keep_mtp = true;
  expect_failure(ErrorCode::not_found, {"MTP"}, made(), rules(4, 64), options);
}

TEST_F(ConvertErrors, PlanWithUnknownFormats) {
  struct Plan : ConvertPlan {
    MatrixPlan matrix(const std::string& /*name*/, int64_t /*rows*/, int64_t /*cols*/) const override {
      return {WeightFormat::affine(7, 64), nullptr};
    }
  };
  write_golden();
  expect_failure(ErrorCode::invalid_argument, {"7 bits", "embed_tokens"}, made(), Plan());
  expect_error(ErrorCode::invalid_argument, {"4 bits in groups of 48"}, [] { rules(4, 48); });
}

TEST_F(ConvertErrors, MalformedOverrides) {
  for (const char* text : {"", "down_proj", "=4", "a=", "a=x", "a=7", "a=4:", "a=4:48", "a=4:64:1", "/(/=4"}) {
    expect_error(ErrorCode::invalid_argument, {}, [&] { FormatOverride::parse(text, 64); });
  }
  EXPECT_THROW(FormatOverride::parse(std::string(10'000, '(') + "=4", 64), Error);
}

TEST_F(ConvertErrors, NoPatternTakesLong) {
  // A search that tries every way to cut the name would not end in a lifetime.
  const auto slow = FormatOverride::parse("/(a*)*(a|a)*b/=8", 64);
  EXPECT_FALSE(slow.matches(std::string(200, 'a')));
  EXPECT_TRUE(slow.matches(std::string(200, 'a') + "b"));
  for (const char* pattern : {R"(/(a)\1/=8)", "/((a?){99}){99}/=8", "/a{99999999999999999999}/=8", "/(a{40}){50}/=8"}) {
    expect_error(ErrorCode::invalid_argument, {pattern}, [&] { FormatOverride::parse(pattern, 64); });
  }
  EXPECT_TRUE(
      FormatOverride::parse(R"(/layers\.[0-9]{1,2}\.mlp\.(up|down){1,3}/=8)", 64).matches("layers.23.mlp.up_proj"));
}

TEST_F(ConvertErrors, OverrideThatMatchesNothing) {
  const auto matrices = list_matrices(golden("tiny-hf"), false);
  expect_error(ErrorCode::invalid_argument, {"dwon_proj=8"}, [&] {
    rules(4, 64, {"down_proj=8", "dwon_proj=8"}).require_matches(matrices);
  });
  rules(4, 64, {"down_proj=8"}).require_matches(matrices);
}

TEST_F(ConvertErrors, InterruptedLeavesNothing) {
  write_golden();
  ConvertOptions options;
  std::atomic<int> asked = 0;
  options.cancelled = [&asked] { return ++asked > 20; };
  expect_failure(ErrorCode::cancelled, {"interrupted"}, out_.path() / "deep/er/made", rules(4, 64), options);
  EXPECT_GT(asked, 20);
}

TEST_F(ConvertErrors, RemainsOfAKilledConversionAreCleared) {
  write_golden();
  fs::create_directory(out_.path() / ".made.converting");
  const std::string left = ".model.safetensors.0123456789abcdef.tmp";
  write_bytes(out_.path() / ".made.converting" / left, "half");
  write_bytes(out_.path() / ".made.converting/config.json", "{}");
  convert(source(), made(), rules(4, 64), {});
  EXPECT_FALSE(fs::exists(out_.path() / ".made.converting"));
  EXPECT_FALSE(fs::exists(made() / left));
}

TEST_F(ConvertErrors, AFolderOfTheStagingsNameIsNotEmptied) {
  write_golden();
  const fs::path folder = out_.path() / ".made.converting";
  fs::create_directories(folder / "photos");
  const auto refused = [&](const char* what) {
    expect_error(ErrorCode::invalid_argument, {what, "no conversion"},
                 [&] { convert(source(), made(), rules(4, 64), {}); });
  };
  refused("photos");
  EXPECT_TRUE(fs::exists(folder / "photos"));
  fs::remove(folder / "photos");
  write_bytes(folder / "thesis.tex", "mine");
  refused("thesis.tex");
  fs::remove(folder / "thesis.tex");
  write_bytes(out_.path() / "mine.json", "mine");
  fs::create_symlink("../mine.json", folder / "link.json");
  refused("link.json");
  EXPECT_TRUE(fs::is_symlink(folder / "link.json"));
}

/// The destination changes when the conversion has long looked at it.
TEST_F(ConvertErrors, WhatAppearsMeanwhileIsKept) {
  write_golden();
  for (const bool replace : {false, true}) {
    for (const bool there : {false, true}) {
      SCOPED_TRACE(testing::Message() << replace << there);
      if (there) fs::create_directory(made());
      ConvertOptions options;
      options.replace = replace;
      options.progress = [&](const ConvertProgress& /*progress*/) {
        fs::create_directories(made());
        write_bytes(made() / "thesis.tex", "precious");
      };
      expect_error(ErrorCode::invalid_argument, {replace ? "thesis.tex" : "exists already"},
                   [&] { convert(source(), made(), rules(4, 64), options); });
      EXPECT_EQ(read_bytes(made() / "thesis.tex"), "precious");
      EXPECT_EQ(std::distance(fs::directory_iterator(out_.path()), fs::directory_iterator()), 2) << "source and made";
      fs::remove_all(made());
    }
  }
}

TEST_F(ConvertErrors, AStagingFolderThatWasMovedIsNotTaken) {
  write_golden();
  ConvertOptions options;
  bool moved = false;
  options.progress = [&](const ConvertProgress& progress) {
    if (progress.bytes_done < progress.bytes_total || std::exchange(moved, true)) return;
    fs::rename(out_.path() / ".made.converting", out_.path() / "moved");
    fs::create_directory(out_.path() / ".made.converting");
    write_bytes(out_.path() / ".made.converting/notes.md", "mine");
  };
  EXPECT_THROW(convert(source(), made(), rules(4, 64), options), Error);
  EXPECT_FALSE(fs::exists(made()));
  EXPECT_EQ(read_bytes(out_.path() / ".made.converting/notes.md"), "mine");
}

TEST_F(ConvertErrors, TwoConversionsIntoOneFolder) {
  write_golden();
  ConvertOptions options;
  bool tried = false;
  options.threads = 1;
  options.progress = [&](const ConvertProgress& /*progress*/) {
    if (std::exchange(tried, true)) return;
    expect_error(ErrorCode::io, {"another conversion"}, [&] { convert(source(), made(), rules(8, 64), {}); });
  };
  convert(source(), made(), rules(4, 64), options);
  EXPECT_TRUE(tried);
  EXPECT_EQ(load_weights(made())->config.quantization.bits, 4);
}

/// A limit on the size of files stands in for a disk without room: the system refuses in the same place.
TEST_F(ConvertErrors, NoRoomForTheWeights) {
  write_golden();
  const auto before = snapshot(out_.path());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      convert(source(), made(), rules(4, 64), {});
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::io ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(snapshot(out_.path()), before);
}

TEST_F(ConvertErrors, FolderThatMayNotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  write_golden();
  fs::create_directory(out_.path() / "locked");
  fs::permissions(out_.path() / "locked", fs::perms::owner_read | fs::perms::owner_exec);
  expect_failure(ErrorCode::io, {"locked"}, out_.path() / "locked/made");
}

TEST_F(ConvertErrors, DamagedReport) {
  fs::create_directory(made());
  write_bytes(made() / "quantization_report.json", R"({"tensors": [{"name": "a", "shape": [1, -2]}]})");
  expect_error(ErrorCode::bad_checkpoint, {"shape"}, [&] { read_quantization_report(made()); });
  write_bytes(made() / "quantization_report.json",
              R"({"tensors": [{"name": "a", "shape": [2], "relative_error": -1}]})");
  expect_error(ErrorCode::bad_checkpoint, {"relative_error"}, [&] { read_quantization_report(made()); });
  write_bytes(made() / "quantization_report.json", R"({"tensors": 7})");
  expect_error(ErrorCode::bad_checkpoint, {"tensors"}, [&] { read_quantization_report(made()); });
  fs::remove(made() / "quantization_report.json");
  EXPECT_FALSE(read_quantization_report(made()).has_value());
}

TEST_F(ConvertErrors, ComparingOtherModels) {
  expect_error(ErrorCode::invalid_argument, {"not the same model"},
               [] { compare_checkpoints(golden("tiny-hf"), golden("grouped-mlx-4bit"), 0); });
}

TEST(Compare, FindsTheErrorThatTheConversionReported) {
  const TempFolder out;
  const auto report = convert(golden("tiny-hf"), out.path() / "made", rules(4, 32), {});
  const auto differences = compare_checkpoints(out.path() / "made", golden("tiny-hf"), 3);
  ASSERT_EQ(differences.size(), report.tensors.size());
  for (size_t i = 0; i < differences.size(); ++i) {
    EXPECT_EQ(differences[i].name, report.tensors[i].name);
    const double error = std::sqrt(differences[i].differences / differences[i].squares);
    EXPECT_NEAR(error, *report.tensors[i].relative_error, 1e-9 + 1e-5 * error) << differences[i].name;
  }
  for (const TensorDifference& same : compare_checkpoints(golden("tiny-hf"), golden("tiny-hf"), 1)) {
    EXPECT_EQ(same.differences, 0.0) << same.name;
  }
}

}  // namespace
}  // namespace prosa::checkpoint
