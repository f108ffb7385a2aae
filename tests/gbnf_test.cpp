// Grammars in GBNF: what they allow, over how many lines a rule goes, and what is refused.
#include "grammar/gbnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "grammar/constraint.h"
#include "prosa/error.h"

namespace prosa::grammar {
namespace {

using testing::HasSubstr;

void check(std::string_view grammar, const std::vector<std::string>& allowed, const std::vector<std::string>& others) {
  const Rules rules = read_gbnf(grammar);
  for (const std::string& text : allowed) EXPECT_TRUE(matches(rules, text, "g")) << text << " by " << grammar;
  for (const std::string& text : others) EXPECT_FALSE(matches(rules, text, "g")) << text << " by " << grammar;
}

TEST(Gbnf, PartsOfARule) {
  check("root ::= \"turn \" (\"on\" | \"off\") [0-9]{2}", {"turn on12", "turn off00"},
        {"turn on1", "turn 12", "turn on123"});
  check("root ::= [a-c]* [^a-c\\n]+ .? \"\\\"\\x41\\u00e9\\n\"", {"abcx\"Aé\n", "xyü\"Aé\n"}, {"abc\"Aé\n", "x"});
  check("root ::= \"a\"{1,2} \"b\"{2,} [-x\\]]", {"abb-", "aabbb]"}, {"ab-", "aaabb-", "abb\\"});
  check("root ::= \"ä\"+", {"ää"}, {"\xc3", ""});
  check("root ::= \"\"", {""}, {"a"});
}

TEST(Gbnf, RulesAndLines) {
  check(
      "# lists\nroot ::= item (\n  \",\"  # and more\n  item)*\n\nitem ::= \"x\"\n  | \"[\" root \"]\"\r\nnever-used "
      "::= \"y\"",
      {"x", "x,x", "[x,[x]],x"}, {"", "x,", "[x", "y"});
  check("root ::= a |\n b\na ::= \"1\"\nb ::= \"2\" a", {"1", "21"}, {"2", "12"});
  check("thing ::= \"z\"\nroot ::=\n  thing", {"z"}, {"zz"});
}

TEST(Gbnf, SaysWhatIsWrongAndWhere) {
  const auto refused = [](std::string_view grammar, const char* what) {
    try {
      read_gbnf(grammar);
      ADD_FAILURE() << grammar;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_EQ(error.where(), "grammar");
      EXPECT_THAT(error.message(), HasSubstr(what)) << grammar;
    }
  };
  refused("", "no rule 'root'");
  refused("root ::= a", "no rule 'a'");
  refused("root ::= \"a\"\nroot ::= \"b\"", "stands twice, in line 2");
  refused("root = \"a\"", "'::=' is missing");
  refused("root ::= \"a", "does not end");
  refused("root ::= [a", "does not end");
  refused("root ::= (\"a\"", "without its ')'");
  refused("root ::= \"a\")", "a name is missing");
  refused("root ::= *", "stands where");
  refused("root ::= \"a\"{2,1}", "ends before");
  refused("root ::= \"a\"{x}", "a repetition");
  refused("root ::= \"a\"{9999999}", "a repetition");
  refused("root ::= [z-a]", "a range");
  refused("root ::= \"\\q\"", "an escape");
  refused("root ::= \"\\uD800\"", "no character");
  refused("root ::= \"\\u12\"", "too few");
  refused("root ::= \"a\"" + std::string(100, '*'), "too many repetitions");
  refused("\xff", "not UTF-8");
  refused("root ::= " + std::string(100, '('), "too deep");
  refused(std::string(kMaxGbnfBytes + 1, ' '), "more than");
}

TEST(Gbnf, ARuleThatBeginsWithItselfIsRefusedByName) {
  try {
    Network(read_gbnf("root ::= list\nlist ::= list \",\" \"x\" | \"x\""), "grammar");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("list begins with itself"));
  }
}

}  // namespace
}  // namespace prosa::grammar
