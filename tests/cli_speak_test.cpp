// prosa speak-text: its three forms of output, input in pieces, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli_process.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(CliSpeak, WritesALineForEachUnit) {
  const std::string reply = "# Prices\n\nIt costs **$3.50**. See `main.cpp`! 😀\n";
  const Outcome text = run_prosa({"speak-text"}, reply);
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_EQ(text.out, "Prices.\nIt costs 3 dollars and 50 cents.\nSee main dot cpp!\n");
  EXPECT_EQ(run_prosa({"speak-text", reply}).out, text.out);

  const Outcome ranges = run_prosa({"speak-text", "--ranges", "--words", "--language", "de", "Es sind 21 km. Ja."});
  EXPECT_EQ(ranges.out, "0-14\tEs sind einundzwanzig Kilometer.\n15-18\tJa.\n");

  const Outcome lines = run_prosa({"speak-text", "--json", "Hello *you*."});
  const json unit = json::parse(lines.out);
  EXPECT_EQ(unit, json::parse(R"({"text": "Hello you.", "begin": 0, "end": 12, "ends_sentence": true,
                                  "parts": [[5, 0, 5], [10, 7, 12]]})"));
}

TEST(CliSpeak, RefusesWhatItCannotDo) {
  const Outcome language = run_prosa({"speak-text", "--language", "tlh", "nuqneH"});
  EXPECT_EQ(language.exit_code, 4);
  EXPECT_THAT(language.err, HasSubstr("en, de, fr"));
  EXPECT_EQ(run_prosa({"speak-text", "--max-characters", "3", "x"}).exit_code, 5);
  EXPECT_EQ(run_prosa({"speak-text", "--json", "--ranges", "x"}).exit_code, 2);
  EXPECT_EQ(run_prosa({"speak-text"}, "").out, "");
}

}  // namespace
}  // namespace prosa::test
