// What phrases become when they are spoken: the table in data/speakable/cases.jsonl, read whole and byte by byte.
//
// A line of the table: "language", "written", "spoken" (a list of units), and the options that are not the default.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "prosa/speakable.h"

namespace prosa {
namespace {

struct Case {
  SpeakableOptions options;
  std::string written;
  std::vector<std::string> spoken;
};

std::vector<Case> read_cases() {
  std::vector<Case> cases;
  std::ifstream file(PROSA_TEST_DATA "/speakable/cases.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    Case read{{.language = json.at("language"), .first_clause_characters = 0}, json.at("written"), json.at("spoken")};
    if (json.value("numbers", "digits") == "words") read.options.numbers = SpokenNumbers::words;
    if (json.value("code", "announce") == "skip") read.options.code = SpokenCode::skip;
    cases.push_back(std::move(read));
  }
  return cases;
}

std::vector<std::string> speak(const Case& of, size_t piece) {
  SpeakableText speakable(of.options);
  std::vector<std::string> spoken;
  const auto keep = [&](const std::vector<SpokenUnit>& units) {
    for (const SpokenUnit& unit : units) spoken.push_back(unit.text);
  };
  for (size_t at = 0; at < of.written.size(); at += piece) keep(speakable.write(of.written.substr(at, piece)));
  keep(speakable.finish());
  return spoken;
}

TEST(SpeakableCases, AreSpokenAsTheTableSays) {
  const std::vector<Case> cases = read_cases();
  ASSERT_GE(cases.size(), 150U);
  std::set<std::string> languages;
  for (const Case& one : cases) {
    languages.insert(one.options.language.substr(0, 2));
    EXPECT_EQ(speak(one, one.written.size() + 1), one.spoken) << one.written;
    EXPECT_EQ(speak(one, 1), one.spoken) << one.written;
  }
  EXPECT_EQ(languages.size(), 7U);
}

}  // namespace
}  // namespace prosa
