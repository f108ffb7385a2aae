// Recognition by pocketsphinx of what flite says: words compared loosely, for both are machines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <thread>

#include "prosa/error.h"
#include "temp_folder.h"
#include "voice/engines/engines.h"
#include "voice/engines/pocketsphinx_model.h"
#include "voice_speech.h"

namespace prosa::test {
namespace {

/// How many of the words of `said` are in `heard`, in any order.
int words_of(const std::string& said, const std::string& heard) {
  int count = 0;
  std::istringstream words(said);
  for (std::string word; words >> word;)
    count += (" " + heard + " ").find(" " + word + " ") != std::string::npos ? 1 : 0;
  return count;
}

Sound turn(const std::string& text) {
  Sound sound = noise(kHeardRate / 2, 8);
  append(sound, speech("slt", text));
  append(sound, noise(kHeardRate / 3, 8));
  return sound;
}

class Pocketsphinx : public testing::Test {
 protected:
  static void SetUpTestSuite() { ears = make_speech_to_text("pocketsphinx", "en-US"); }
  static void TearDownTestSuite() { ears.reset(); }
  static std::unique_ptr<SpeechToText> ears;  // loading takes a second
};
std::unique_ptr<SpeechToText> Pocketsphinx::ears;

TEST_F(Pocketsphinx, RecognisesACommandWhileItIsSpoken) {
  const Sound sound = turn("Turn on the light.");
  ears->begin();
  std::string partial, earlier;
  for (size_t at = 0; at < sound.size(); at += 1600) {
    partial = ears->push(std::span(sound).subspan(at, std::min<size_t>(1600, sound.size() - at)));
    if (at < sound.size() * 2 / 3 && !partial.empty()) earlier = partial;
  }
  EXPECT_GE(words_of("turn on the light", partial), 3) << partial;
  EXPECT_FALSE(earlier.empty()) << "words come before the end";
  EXPECT_EQ(ears->end(), partial) << "without the search of the best path the last partial is the final one";
}

TEST_F(Pocketsphinx, SilenceAndNothingAreNoWords) {
  for (const size_t samples : {size_t{0}, size_t{10}, size_t{2 * kHeardRate}}) {
    ears->begin();
    ears->push(Sound(samples));
    EXPECT_EQ(ears->end(), "");
  }
}

TEST_F(Pocketsphinx, ACancelledUtteranceIsForgotten) {
  ears->begin();
  ears->push(turn("What time is it?"));
  ears->cancel();
  EXPECT_THROW(ears->push(Sound(100)), Error);
  EXPECT_THROW(ears->end(), Error);
  ears->begin();
  EXPECT_EQ(ears->end(), "");
  EXPECT_THROW(ears->end(), Error);  // none is open
  ears->begin();
  std::thread canceller([&] { ears->cancel(); });
  try {
    for (int i = 0; i < 1000; ++i) ears->push(noise(kHeardRate, 3000));  // minutes of work
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  canceller.join();
}

TEST(PocketsphinxModel, AMissingModelIsNamedWithItsPackage) {
  try {
    voice::make_pocketsphinx({.models = "/no/such/folder"});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.what(), testing::HasSubstr("pocketsphinx-en-us"));
  }
  EXPECT_THROW(make_speech_to_text("pocketsphinx", "de"), Error);
}

/// The installed model, of which one file is another.
class DamagedModel {
 public:
  DamagedModel(const std::string& name, const std::function<void(std::string&)>& damage) {
    const std::filesystem::path model = PROSA_POCKETSPHINX_MODELS "/en-us";
    std::filesystem::create_directory(folder_.path() / "en-us");
    for (const auto& each : std::filesystem::recursive_directory_iterator(model)) {
      const std::filesystem::path own = folder_.path() / std::filesystem::relative(each.path(), model);
      if (each.is_regular_file()) std::filesystem::create_symlink(each.path(), own);
    }
    std::ifstream file(model / name, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    damage(bytes);
    std::filesystem::remove(folder_.path() / name);
    std::ofstream(folder_.path() / name, std::ios::binary) << bytes;
  }
  [[nodiscard]] std::filesystem::path path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

// Each of these ended the process, or read beyond the end of a file, when pocketsphinx got to it.
TEST(PocketsphinxModel, ADamagedFileIsNamed) {
  const std::pair<const char*, std::function<void(std::string&)>> damages[] = {
      {"is empty", [](std::string& bytes) { bytes.clear(); }},
      {"half", [](std::string& bytes) { bytes.resize(bytes.size() / 2); }},
      {"a byte short", [](std::string& bytes) { bytes.pop_back(); }},
      {"another head", [](std::string& bytes) { std::fill_n(bytes.begin(), 64, '\xa5'); }},
      {"zeros inside", [](std::string& bytes) { std::fill(bytes.begin() + 200, bytes.end() - 200, '\0'); }}};
  for (const char* name : {"mdef", "means", "variances", "transition_matrices", "sendump"}) {
    for (const auto& [how, damage] : damages) {
      if (name == std::string_view("sendump") && how == std::string_view("zeros inside")) continue;  // weights may be 0
      const DamagedModel model("en-us/" + std::string(name), damage);
      try {
        voice::make_pocketsphinx({.models = model.path()});
        ADD_FAILURE() << name << " " << how << ": no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::io) << error.what();
        EXPECT_THAT(error.what(), testing::HasSubstr(name)) << how;
        EXPECT_THAT(error.what(), testing::HasSubstr("pocketsphinx-en-us")) << how;
      }
    }
  }
}

TEST(PocketsphinxModel, NoDamageEndsTheProcess) {
  std::mt19937 random(1);
  for (const char* name : {"mdef", "means", "variances", "transition_matrices", "sendump"}) {
    for (int i = 0; i < 20; ++i) {
      const DamagedModel model("en-us/" + std::string(name), [&](std::string& bytes) {
        for (size_t k = 1 + random() % 3; k > 0; --k) bytes[random() % 2000] = static_cast<char>(random());
        if (random() % 2 == 0) bytes.resize(random() % bytes.size());
      });
      try {
        voice::check_pocketsphinx_model(model.path());
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::io) << error.what();
      }
    }
  }
  voice::check_pocketsphinx_model(PROSA_POCKETSPHINX_MODELS "/en-us");
}

}  // namespace
}  // namespace prosa::test
