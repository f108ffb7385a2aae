// prosa voice end to end, with recordings in place of a microphone: what a terminal shows, what a pipe gets, and what
// is said of sound and engines that can't be used.
//
// The engines are programs of the tests and the model speaks nonsense, so that a conversation takes two seconds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "cli_process.h"
#include "cli_terminal.h"
#include "prosa/voice_parts.h"
#include "wave.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// The model and the recordings of all tests of this program.
class Folder {
 public:
  Folder() { make_chat_model(path("model")); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.path() / name; }

  /// A second of which the middle is loud, or silent throughout.
  [[nodiscard]] std::string recording(const std::string& name, Wave wave, bool loud = true, double missing = 0) const {
    const int frames = wave.rate;
    for (int i = 0; i < frames; ++i) {
      const bool sounds = loud && i > frames / 5 && i < frames * 4 / 5;
      for (int channel = 0; channel < wave.channels; ++channel)
        wave.data += sample(wave, sounds ? 0.4 * std::sin(i * 2 * 3.14159 * 300 / wave.rate) : 0);
    }
    std::string bytes = wave.bytes();
    bytes.resize(bytes.size() - static_cast<size_t>(missing * static_cast<double>(wave.data.size())));
    write_file(path(name), bytes);
    return path(name);
  }

 private:
  TempFolder folder_;
};

const Folder& folder() {
  static const Folder made;
  return made;
}

std::string engine(const std::string& words) { return "stdio:'" PROSA_WYOMING_PROGRAM "' " + words; }

std::vector<std::string> talk(const std::vector<std::string>& recordings, const std::string& ears = "asr says 'hi you'",
                              const std::vector<std::string>& more = {}, const std::string& activity = "energy") {
  std::vector<std::string> words = {"voice",   folder().path("model"), "--threads", "1",          "--seed",
                                    "1",       "--max-tokens",         "6",         "--activity", activity,
                                    "--speak", engine("tts"),          "--hear",    engine(ears), "--in"};
  words.insert(words.end(), recordings.begin(), recordings.end());
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Escape sequences in what a terminal got.
std::set<std::string> sequences(const std::string& screen) {
  std::set<std::string> found;
  static const std::regex pattern("\x1b(\\[[0-9?;]*[A-Za-z]|.)");
  for (std::sregex_iterator each(screen.begin(), screen.end(), pattern), end; each != end; ++each)
    found.insert(std::regex_replace(each->str(0), std::regex("[0-9]+A"), "A"));
  return found;
}

Terminal on_terminal(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = program_words();
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Terminal(words);
}

const std::set<std::string> kOwnSequences = {"\x1b[A",  "\x1b[J",   "\x1b[?7l", "\x1b[?7h",
                                             "\x1b[0m", "\x1b[34m", "\x1b[35m", "\x1b[32m"};

TEST(CliVoiceTerminal, ShowsLanesAndText) {
  Terminal terminal = on_terminal(talk({folder().recording("a.wav", {})}));
  ASSERT_TRUE(terminal.shows("you   |")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("####")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("> hi you\r\n")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("C1")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("sound +")) << terminal.screen();
  EXPECT_EQ(terminal.exit_code(), 0) << terminal.screen();
  EXPECT_THAT(kOwnSequences, testing::IsSupersetOf(sequences(terminal.screen())));
  // The lanes are wiped in the end: the last thing drawn is the text, and the line of accounts.
  const std::string& screen = terminal.screen();
  const size_t wiped = screen.rfind("\x1b[J");
  EXPECT_EQ(screen.find("you   |", wiped), std::string::npos);
  EXPECT_NE(screen.find("1 turn", wiped), std::string::npos);
}

TEST(CliVoiceTerminal, NothingThatWasSaidMovesTheCursor) {
  const std::string rude = "asr says 'a \x1b[2J\x1b]0;title\x07 b \xe2\x80\xae \xc2\x9b c'";
  Terminal terminal = on_terminal(talk({folder().recording("a.wav", {})}, rude));
  ASSERT_TRUE(terminal.shows("\\x1b[2J\\x1b]0;title\\x07 b \\u202e \\x9b c")) << terminal.screen();
  EXPECT_EQ(terminal.exit_code(), 0);
  EXPECT_THAT(kOwnSequences, testing::IsSupersetOf(sequences(terminal.screen())));
  EXPECT_EQ(terminal.screen().find('\x07'), std::string::npos);
  EXPECT_EQ(terminal.screen().find("\xe2\x80\xae"), std::string::npos);
}

TEST(CliVoiceTerminal, AnErrorOfAnEngineStandsInTheText) {
  Terminal terminal = on_terminal(talk({folder().recording("a.wav", {})}, "asr die"));
  ASSERT_TRUE(terminal.shows("exit code 3: out of words")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("[no turn was taken]")) << terminal.screen();
  EXPECT_EQ(terminal.exit_code(), 3);
}

TEST(CliVoice, APipeGetsTextAlone) {
  const std::string timeline = folder().path("t.json");
  const Outcome outcome =
      run_prosa(talk({folder().recording("a.wav", {})}, "asr says 'hi you'", {"--timeline", timeline}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json seen = json::parse(read_file(timeline));
  ASSERT_EQ(seen["turns"].size(), 1U);
  EXPECT_EQ(outcome.out, "\n> hi you\n" + seen["turns"][0]["reply"].get<std::string>() + "\n");
  EXPECT_THAT(outcome.err, HasSubstr("[1 turn"));
  const json& recording = seen["recordings"][0];
  EXPECT_EQ(recording["file"], folder().path("a.wav"));
  EXPECT_NEAR(recording["end_ms"].get<double>() - recording["begin_ms"].get<double>(), 1000, 1);
  const double end_of_speech = seen["turns"][0]["end_of_speech_ms"];
  EXPECT_GT(end_of_speech, recording["begin_ms"].get<double>() + 500);
  EXPECT_LT(end_of_speech, recording["end_ms"].get<double>() + 200);
}

TEST(CliVoice, SoundOfAnyFormIsHeard) {
  const std::vector<std::string> recordings = {
      folder().recording("8k.wav", {.rate = 8'000}),
      folder().recording("stereo24.wav", {.bits = 24, .channels = 2, .rate = 44'100, .extensible = true}),
      folder().recording("float.wav", {.coding = 3, .bits = 32, .rate = 48'000}),
      folder().recording("cut.wav", {}, true, 0.1)};
  const std::string timeline = folder().path("forms.json");
  const Outcome outcome = run_prosa(talk(recordings, "asr", {"--timeline", timeline}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("cut.wav: ends before the sound it announces does"));
  const json seen = json::parse(read_file(timeline));
  ASSERT_EQ(seen["turns"].size(), 4U) << outcome.out;
  for (const json& turn : seen["turns"]) {
    const std::string user = turn["user"];  // "heard N": bytes of 16 bit at 16 kHz, with what stands around the sound
    ASSERT_TRUE(user.starts_with("heard ")) << user;
    EXPECT_NEAR(std::stod(user.substr(6)) / 32'000, 1.1, 0.2) << user;
  }
}

TEST(CliVoice, SilenceIsNoTurn) {
  const Outcome outcome = run_prosa(talk({folder().recording("silent.wav", {}, false)}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "[no turn was taken]\n");
}

TEST(CliVoice, AProgramNoticesSpeech) {
  const std::vector<std::string> recording = {folder().recording("a.wav", {})};
  const Outcome right = run_prosa(talk(recording, "asr says 'hi you'", {}, engine("vad")));
  EXPECT_EQ(right.exit_code, 0) << right.err;
  EXPECT_THAT(right.out, HasSubstr("> hi you\n"));
  const Outcome dead = run_prosa(talk(recording, "asr says 'hi you'", {}, engine("vad die")));
  EXPECT_EQ(dead.exit_code, 3) << dead.err;  // the conversation goes on, but scripts are told
  EXPECT_THAT(dead.err, HasSubstr("exit code 3: out of words"));
}

TEST(CliVoice, WhatCantBeUsedIsSaid) {
  write_file(folder().path("text.wav"), "RIFF of nothing");
  const Outcome damaged = run_prosa(talk({folder().path("text.wav")}));
  EXPECT_EQ(damaged.exit_code, 5) << damaged.err;
  EXPECT_THAT(damaged.err, HasSubstr("text.wav"));
  const Outcome missing = run_prosa(talk({folder().path("none.wav")}));
  EXPECT_EQ(missing.exit_code, 3) << missing.err;
  const Outcome other = run_prosa(talk({folder().path("a.wav")}, "tts"));
  EXPECT_EQ(other.exit_code, 4) << other.err;
  EXPECT_THAT(other.err, HasSubstr("offers no asr"));
  const Outcome dead = run_prosa(talk({folder().path("a.wav")}, "asr describe-die"));
  EXPECT_EQ(dead.exit_code, 3) << dead.err;
  EXPECT_THAT(dead.err, HasSubstr("exit code 3"));
  const Outcome nowhere = run_prosa(talk({folder().path("a.wav")}, "asr", {"--out", folder().path("none/out.wav")}));
  EXPECT_EQ(nowhere.exit_code, 3) << nowhere.err;
  for (const Outcome& outcome : {damaged, missing, other, dead, nowhere}) {
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

TEST(CliVoice, NoAudioDeviceIsAnError) {
  // A device that no machine has stands for machines without any: what is looked for is not there.
  const Outcome outcome =
      run_prosa({"voice", folder().path("model"), "--threads", "1", "--activity", "energy", "--hear", engine("asr"),
                 "--speak", engine("tts"), "--microphone", "no such device"});
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  const std::vector<std::string> built = voice_engines();
  if (std::ranges::find(built, "portaudio") == built.end()) {
    EXPECT_EQ(outcome.exit_code, 4) << outcome.err;
  } else {
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("no such microphone"));
    EXPECT_THAT(outcome.err, HasSubstr("there are:"));
  }
  EXPECT_EQ(run_prosa(talk({folder().path("a.wav")}, "asr", {"--microphone", "x"})).exit_code, 2);
}

/// PortAudio itself would end the process.
TEST(CliVoice, AnEmptyConfigurationOfAlsaIsAnError) {
  const std::vector<std::string> built = voice_engines();
  if (std::ranges::find(built, "portaudio") == built.end()) GTEST_SKIP() << "built without audio devices";
  setenv("ALSA_CONFIG_PATH", "/dev/null", 1);
  const Outcome outcome = run_prosa({"voice", folder().path("model"), "--threads", "1", "--activity", "energy",
                                     "--hear", engine("asr"), "--speak", engine("tts")});
  unsetenv("ALSA_CONFIG_PATH");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
}

TEST(CliVoice, APictureShowsWhatWasDone) {
  const std::string picture = folder().path("talk.svg");
  const std::string recording = folder().recording("drawn.wav", {});
  const Outcome outcome = run_prosa(talk({recording}, "asr says 'hi you'", {"--picture", picture}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string svg = read_file(picture);
  for (const std::string style : {"user", "reply", "wait", "mark", "token", "sentence"}) {
    const std::string drawn = "class=\"" + style + "\"";
    EXPECT_NE(svg.find(drawn, svg.find(drawn) + 1), std::string::npos) << style << " is in the legend alone";
  }
}

}  // namespace
}  // namespace prosa::test
