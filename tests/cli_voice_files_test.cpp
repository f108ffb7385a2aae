// prosa voice with recordings: what it says where an engine fails, and that it writes over no recording.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli_process.h"
#include "prosa/audio.h"

namespace prosa::test {
namespace {

using testing::HasSubstr;

/// Where the engine of a recording fails, a script sees it by the exit code; recordings are not written over.
TEST(CliVoice, AVoiceWhoseEngineFailsSaysSo) {
  const TempFolder folder;
  const std::string sound = (folder.path() / "in.wav").string();
  std::vector<int16_t> samples(16000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int16_t>(i % 80 < 40 ? 9000 : -9000);
  write_wav(sound, samples, 16000);
  const std::string before = read_file(sound);
  const auto voice = [&](const std::string& how, const std::string& out) {
    return run_prosa({"voice", "--in", sound, "--out", out, "--activity", "energy", "--hear",
                      "stdio:'" + std::string(PROSA_WYOMING_PROGRAM) + "' asr " + how, "--speak",
                      "stdio:'" + std::string(PROSA_WYOMING_PROGRAM) + "' tts", "--model", PROSA_TINY_CHAT,
                      "--max-tokens", "2", "--threads", "1"});
  };
  const Outcome over = voice("", sound);
  EXPECT_EQ(over.exit_code, 5) << over.err;
  EXPECT_THAT(over.err, HasSubstr("overwrite"));
  EXPECT_TRUE(read_file(sound) == before);
  const std::string out = (folder.path() / "out.wav").string();
  const Outcome right = voice("", out);
  EXPECT_EQ(right.exit_code, 0) << right.err;
  const Outcome failed = voice("error", out);
  EXPECT_EQ(failed.exit_code, 3) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr("no voice today"));
}

}  // namespace
}  // namespace prosa::test
