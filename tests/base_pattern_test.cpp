// Patterns for names: the language of each kind, what is refused, and that none of them takes long.
#include "base/pattern.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <random>
#include <regex>
#include <string>

#include "test_files.h"

namespace prosa {
namespace {

bool glob(std::string_view pattern, std::string_view name) { return Pattern::glob(pattern).matches(name); }
bool regex(std::string_view pattern, std::string_view name) { return Pattern::regex(pattern).matches(name); }

TEST(Pattern, GlobsMatchWholeNamesOrWhatFollowsADot) {
  EXPECT_TRUE(glob("a.b", "a.b"));
  EXPECT_TRUE(glob("b", "a.b"));
  EXPECT_FALSE(glob("a", "a.b"));
  EXPECT_FALSE(glob("b", "a_b"));
  EXPECT_TRUE(glob("*", ""));
  EXPECT_TRUE(glob("a*c", "abbc"));
  EXPECT_TRUE(glob("a*.c", "x.a.b.c"));
  EXPECT_TRUE(glob("a?c", "abc"));
  EXPECT_FALSE(glob("a?c", "ac"));
  EXPECT_TRUE(glob("[a-c]x", "bx"));
  EXPECT_FALSE(glob("[!a-c]x", "bx"));
  EXPECT_TRUE(glob("[^a-c]x", "dx"));
  EXPECT_TRUE(glob("layers.[[:digit:]]", "layers.7"));
  EXPECT_TRUE(glob("[]]", "]"));
  EXPECT_TRUE(glob("[a-]", "-"));
  EXPECT_TRUE(glob("\\*", "*"));
  EXPECT_FALSE(glob("\\*", "a"));
  EXPECT_TRUE(glob("[\\]a]", "]"));
}

TEST(Pattern, RegularExpressionsMatchAnywhere) {
  EXPECT_TRUE(regex("b+", "abbc"));
  EXPECT_FALSE(regex("^b", "abbc"));
  EXPECT_TRUE(regex("^a.*c$", "abbc"));
  EXPECT_TRUE(regex("layers\\.(0|23)\\.", "model.layers.23.mlp"));
  EXPECT_FALSE(regex("layers\\.(0|23)\\.", "model.layers.3.mlp"));
  EXPECT_TRUE(regex("^(?:ab){2,3}$", "ababab"));
  EXPECT_FALSE(regex("^(ab){2,3}$", "abababab"));
  EXPECT_TRUE(regex("^a{2,}$", "aaaa"));
  EXPECT_FALSE(regex("^a{2}$", "aaa"));
  EXPECT_TRUE(regex("^\\d+\\w\\s$", "12x "));
  EXPECT_TRUE(regex("^[^\\d]$", "x"));
  EXPECT_TRUE(regex("", ""));
  EXPECT_TRUE(regex("a|", "b"));
  EXPECT_TRUE(regex("^$", ""));
  EXPECT_FALSE(regex("$a", "a"));
  EXPECT_TRUE(regex("^(a|b)*?$", "abba"));
}

TEST(Pattern, AgreesWithTheStandardLibraryOnRandomExpressions) {
  std::mt19937 random(3);
  const std::function<std::string(int)> expression = [&](int depth) -> std::string {
    const auto inside = [&] { return expression(depth - 1); };
    switch (depth <= 0 ? random() % 3 : random() % 8) {
      case 0: return "a";
      case 1: return "b";
      case 2: return "[ab]";
      case 3: return inside() + inside();
      case 4: return "(" + inside() + "|" + inside() + ")";
      case 5: return "(" + inside() + ")*";
      case 6: return "(" + inside() + ")?";
      default: return "(" + inside() + "){1,2}";
    }
  };
  for (int round = 0; round < 300; ++round) {
    const std::string text = (random() % 2 == 0 ? "^" : "") + expression(3) + (random() % 2 == 0 ? "$" : "");
    const Pattern pattern = Pattern::regex(text);
    const std::regex standard(text);
    for (int i = 0; i < 20; ++i) {
      std::string name(random() % 8, 'a');
      for (char& c : name) c = static_cast<char>('a' + random() % 3);
      EXPECT_EQ(pattern.matches(name), std::regex_search(name, standard)) << text << " in " << name;
    }
  }
}

TEST(Pattern, SaysWhatIsWrong) {
  const auto refused = [](const char* text, const char* why) {
    test::expect_error(ErrorCode::invalid_argument, {why}, [&] { Pattern::regex(text); });
  };
  refused("(a", "without its ')'");
  refused("a)", "without its '('");
  refused("[a", "without its ']'");
  refused("*a", "in front of '*'");
  refused("a\\", "ends with");
  refused("(a)\\1", "'\\1' is not known");
  refused("a\\b", "'\\b' is not known");
  refused("(?=a)", "ahead");
  refused("[b-a]", "range");
  refused("[[:no:]]", "class");
  refused("a{3,2}", "before it begins");
  refused("a{1000}", "200");
  refused("^*", "cannot be repeated");
  refused("((((a{50}){50}){50}){50}){50}", "repeats too much");
  test::expect_error(ErrorCode::invalid_argument, {"256 bytes"}, [] { Pattern::glob(std::string(257, 'a')); });
  test::expect_error(ErrorCode::invalid_argument, {"too deep"}, [] { Pattern::regex(std::string(100, '(')); });
}

TEST(Pattern, NoneTakesLong) {
  const std::string name(1000, 'a');
  std::string stars;
  std::string empty;
  for (int i = 0; i < 40; ++i) stars += "a*";
  for (int i = 0; i < 40; ++i) empty += "{200}";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(regex("(a+)+$b", name));
  EXPECT_FALSE(regex("^(a|a)*b$", name));
  EXPECT_FALSE(regex("^(a*)*b$", name));
  EXPECT_FALSE(regex("^" + stars + "b$", name));
  EXPECT_TRUE(regex("()" + empty, name));
  EXPECT_FALSE(glob(stars + "b", name));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 5);
}

}  // namespace
}  // namespace prosa
