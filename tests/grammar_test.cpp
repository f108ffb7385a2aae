// Languages over bytes, and masks over a vocabulary: what is accepted against std::regex and by counting, masks against
// asking token by token, bounds, and what cannot be honoured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <set>
#include <thread>

#include "base/utf8.h"
#include "grammar/constraint.h"
#include "grammar/regex.h"
#include "prosa/error.h"

namespace prosa::grammar {
namespace {

using testing::ElementsAre;

std::optional<ErrorCode> code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

bool regex_matches(const std::string& pattern, std::string_view text, const RegexOptions& options = {}) {
  return matches({{read_regex(pattern, options)}}, text, "pattern");
}
bool part_matches(const Part& part, std::string_view text) { return matches({{part}}, text, "part"); }

std::shared_ptr<const TokenTrie> tiny_trie() {
  static const auto trie = std::make_shared<const TokenTrie>(Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"), 512);
  return trie;
}

// ---- the trie

TEST(TokenTrie, HoldsEveryTokenOnceInTheOrderOfAWalk) {
  const std::vector<TokenTrie::Token> tokens = {{"b", 0},   {"ab", 1}, {"a", 2}, {"\xff", 3},
                                                {"abc", 4}, {"", 5},   {"b", 6}};
  const TokenTrie trie(tokens, 7);
  std::vector<std::pair<std::string, int32_t>> seen;
  std::string path;
  for (const TrieNode& node : trie.nodes()) {
    path.resize(node.depth);
    path += static_cast<char>(node.byte);
    if (node.token >= 0) seen.emplace_back(path, node.token);
  }
  EXPECT_THAT(seen, ElementsAre(std::pair("a", 2), std::pair("ab", 1), std::pair("abc", 4), std::pair("b", 0),
                                std::pair("\xff", 3)));
  EXPECT_EQ(trie.nodes()[0].end, 3U);
  EXPECT_EQ(trie.max_depth(), 3U);
  EXPECT_TRUE(trie.goes_on("ab"));
  EXPECT_FALSE(trie.goes_on("abc"));
  EXPECT_FALSE(trie.goes_on("ac"));
  EXPECT_TRUE(trie.goes_on(""));
}

// ---- parts

TEST(Part, ASetOfCharactersIsItsUtf8AndNothingElse) {
  std::mt19937 random(1);
  const std::vector<uint32_t> edges = {0,      1,      0x7F,   0x80,    0x7FF,   0x800,   0xFFF,    0x1000,
                                       0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFE, 0x10FFFF};
  for (int round = 0; round < 60; ++round) {
    CharSet set;
    for (int i = 0; i < 3; ++i) {
      uint32_t a = edges[random() % edges.size()];
      uint32_t b = round % 2 == 0 ? edges[random() % edges.size()] : static_cast<uint32_t>(random() % 0x110000);
      if (a > b) std::swap(a, b);
      set.push_back({a, b});
    }
    set = normalized(set);
    const Rules rules{{one_of(set)}};
    const auto check = [&](uint32_t character) {
      std::string text;
      utf8::append(text, character);
      EXPECT_EQ(matches(rules, text, "set"), contains(set, character)) << character;
    };
    for (int i = 0; i < 12; ++i) {
      const uint32_t character = static_cast<uint32_t>(random() % 0x110000);
      if (character < 0xD800 || character > 0xDFFF) check(character);
    }
    for (const CharRange& range : set) {
      check(range.first);
      check(range.last);
      if (range.last < kLastCharacter && range.last + 1 != 0xD800) check(range.last + 1);
    }
    EXPECT_FALSE(matches(rules, "\xED\xA0\x80", "set")) << "a surrogate";
    EXPECT_FALSE(matches(rules, "\xC0\x80", "set")) << "too long a form";
  }
}

TEST(Part, IntegersOfARange) {
  const auto check = [](std::optional<int64_t> least, std::optional<int64_t> most) {
    const Network network({{integer_between(least, most)}}, "range");
    for (int64_t number = -1205; number <= 1205; ++number) {
      const bool inside = (!least || number >= *least) && (!most || number <= *most);
      ASSERT_EQ(part_matches(integer_between(least, most), std::to_string(number)), inside)
          << number << " in " << least.value_or(-9999) << ".." << most.value_or(9999);
    }
    EXPECT_FALSE(part_matches(integer_between(least, most), "007"));
    EXPECT_FALSE(part_matches(integer_between(least, most), "-0"));
  };
  check(1, 120);
  check(0, 0);
  check(-15, 15);
  check(-1000, -99);
  check(37, {});
  check({}, -37);
  check(100, 999);
  check(99, 1000);
  EXPECT_TRUE(part_matches(integer_between({}, {}), "-9223372036854775809"));
  EXPECT_TRUE(part_matches(integer_between(INT64_MIN, INT64_MAX), "-9223372036854775808"));
  EXPECT_FALSE(part_matches(integer_between(INT64_MIN, INT64_MAX), "9223372036854775808"));
  EXPECT_EQ(code_of([] { Network({{integer_between(2, 1)}}, "empty"); }), ErrorCode::invalid_argument);
}

// ---- regular expressions

TEST(Regex, AgreesWithTheStandardLibrary) {
  std::mt19937 random(7);
  const std::vector<std::string> atoms = {"a", "b", "[ab]", "[^a]", ".", "\\d", "(?:ab|b)", "(a*b)", "c"};
  const std::vector<std::string> times = {"", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"};
  int matched = 0;
  for (int round = 0; round < 300; ++round) {
    std::string pattern;
    const size_t count = 1 + random() % 4;
    for (size_t i = 0; i < count; ++i) {
      if (i > 0 && random() % 6 == 0) pattern += "|";
      pattern += atoms[random() % atoms.size()] + times[random() % times.size()];
    }
    const std::regex oracle(pattern);
    const Rules whole{{read_regex(pattern)}};
    const Rules found{{read_regex(pattern, {.whole = false})}};
    for (int i = 0; i < 12; ++i) {
      std::string text;
      for (size_t length = random() % 6; length > 0; --length) text += "abc1"[random() % 4];
      ASSERT_EQ(matches(whole, text, "w"), std::regex_match(text, oracle)) << pattern << " on " << text;
      ASSERT_EQ(matches(found, text, "f"), std::regex_search(text, oracle)) << pattern << " in " << text;
      matched += std::regex_match(text, oracle) ? 1 : 0;
    }
  }
  EXPECT_GT(matched, 300);
}

TEST(Regex, EndsAreWhereTheyAreSaid) {
  const RegexOptions search{.whole = false};
  EXPECT_TRUE(regex_matches("^ab", "abc", search));
  EXPECT_FALSE(regex_matches("^ab", "cab", search));
  EXPECT_TRUE(regex_matches("ab$|^c", "xab", search));
  EXPECT_FALSE(regex_matches("ab$|^c", "xabc", search));
  EXPECT_TRUE(regex_matches("", "anything", search));
  EXPECT_TRUE(regex_matches("^$", ""));
  EXPECT_FALSE(regex_matches("^$", "a", search));
}

TEST(Regex, CharactersAreNotBytes) {
  EXPECT_TRUE(regex_matches("gr.n", "grün"));
  EXPECT_TRUE(regex_matches("[ä-ü]{3}", "äöü"));
  EXPECT_FALSE(regex_matches(".", "ü\n"));
  EXPECT_TRUE(regex_matches("\\u{1F98A}\\xe9\\u00e9", "🦊éé"));
  EXPECT_TRUE(regex_matches("\\uD83E\\uDD8A", "🦊"));
  EXPECT_FALSE(regex_matches("[^x]", "\xff"));
}

TEST(Regex, InAJsonStringQuotesAreEscaped) {
  const RegexOptions in_json{.in_json = true};
  EXPECT_TRUE(regex_matches("a\"b\\\\\\n\\x01é", "a\\\"b\\\\\\n\\u0001é", in_json));
  EXPECT_FALSE(regex_matches("\"", "\"", in_json));
  EXPECT_TRUE(regex_matches("[\\s\\S]*", "x \\t\\\"", in_json));
  EXPECT_FALSE(regex_matches("[\\s\\S]*", "x\t", in_json));
}

TEST(Regex, RefusesWhatItCannotHonour) {
  for (const char* pattern : {"(a)\\1", "(?=a)b", "(?<!a)b", "\\bword", "\\p{L}", "a^b", "a$b", "(^a)", "a*+", "(?i)a"})
    EXPECT_EQ(code_of([&] { read_regex(pattern); }), ErrorCode::unsupported) << pattern;
  for (const char* pattern : {"(", ")", "a)", "[a", "*a", "a{2,1}", "\\", "[b-a]", "a{1000000}", "\\q", "\\uD800",
                              "\\u12", "\xff", "{2}", "(?<name"})
    EXPECT_EQ(code_of([&] { read_regex(pattern); }), ErrorCode::invalid_argument) << pattern;
  EXPECT_EQ(code_of([&] { read_regex(std::string(5000, 'a')); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { read_regex(std::string(300, '(')); }), ErrorCode::invalid_argument);
  EXPECT_NO_THROW(read_regex("a{,2}{"));  // as everywhere: these braces repeat nothing
}

// ---- networks

TEST(Network, BoundsWhatItIsMadeOf) {
  const auto make = [](const char* pattern) { Network({{read_regex(pattern)}}, "pattern"); };
  EXPECT_EQ(code_of([&] { make("(a{1000}){1000}"); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([&] { make("((a{100}){100}){100}"); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([&] { make("[]"); }), ErrorCode::invalid_argument) << "nothing matches";
  EXPECT_NO_THROW(make("(){1000}a"));
  std::vector<Part> many(Network::kMaxRules + 1, literal("a"));
  EXPECT_EQ(code_of([&] { Network({many}, "rules"); }), ErrorCode::unsupported);
  EXPECT_EQ(code_of([&] { Network({{}}, "rules"); }), ErrorCode::invalid_argument);
}

TEST(Network, ARuleMustNotBeginWithItself) {
  const auto code = [](std::vector<Part> parts) { return code_of([&] { Network({parts}, "rules"); }); };
  EXPECT_EQ(code({choice({literal("a"), sequence({rule(0), literal("b")})})}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({sequence({rule(1), rule(0)}), maybe(literal("a"))}), ErrorCode::invalid_argument)
      << "by an empty one";
  EXPECT_EQ(code({choice({literal("a"), sequence({literal("b"), rule(0)})})}), std::nullopt);
  EXPECT_EQ(code({sequence({literal("a"), rule(0)})}), ErrorCode::invalid_argument) << "never ends";
}

/// value ::= "[" (value ("," value)*)? "]" | "x"
Rules lists() {
  return {{choice({literal("x"),
                   sequence({literal("["), maybe(sequence({rule(0), repeat(sequence({literal(","), rule(0)}), 0, {})})),
                             literal("]")})})}};
}

TEST(Automaton, RulesNest) {
  for (const char* text : {"x", "[]", "[x]", "[x,[x,[]],x]", "[[[[]]]]"})
    EXPECT_TRUE(matches(lists(), text, "l")) << text;
  for (const char* text : {"", "[", "[x", "[x,]", "x]", "[[]", "[]x"})
    EXPECT_FALSE(matches(lists(), text, "l")) << text;
  const std::string deep = std::string(900, '[') + std::string(900, ']');
  EXPECT_TRUE(matches(lists(), deep, "l"));
  EXPECT_FALSE(matches(lists(), "[" + std::string(2000, '[') + std::string(2001, ']'), "l")) << "bounded";
}

TEST(Automaton, AListInLastPlaceNeedsNoDepth) {
  const Rules list{{choice({literal("."), sequence({literal("x"), rule(0)})})}};
  EXPECT_TRUE(matches(list, std::string(100'000, 'x') + ".", "l"));
}

TEST(Automaton, ADeadEndIsNeverEntered) {
  const Part dead = sequence({literal("b"), choice({})});
  const Rules rules{{sequence({literal("a"), choice({dead, literal("c")})})}};
  const auto constraint = std::make_shared<Constraint>(rules, tiny_trie(), std::vector<int32_t>{}, "rules");
  Matcher matcher(constraint);
  EXPECT_EQ(matcher.forced(), "ac");
  EXPECT_FALSE(matcher.accept("ab"));
  EXPECT_TRUE(matcher.accept("a"));
}

TEST(Automaton, ManyWaysAtOnceAreRefusedOrLinear) {
  EXPECT_TRUE(regex_matches("(a|b)*a(a|b){300}", std::string(200, 'a') + std::string(300, 'b')));
  EXPECT_TRUE(regex_matches("(a*)*(a*)*(a*)*", std::string(2000, 'a')));
  EXPECT_FALSE(regex_matches("(a+)+b", std::string(2000, 'a')));
  EXPECT_EQ(code_of([&] { regex_matches("x(a?){4100}y", "x"); }), ErrorCode::unsupported);
}

// ---- masks

/// The mask by asking for each token.
std::set<int32_t> asked(const Matcher& matcher, const TokenTrie& trie) {
  std::set<int32_t> allowed;
  std::string path;
  for (const TrieNode& node : trie.nodes()) {
    path.resize(node.depth);
    path += static_cast<char>(node.byte);
    if (node.token >= 0 && Matcher(matcher).accept(path)) allowed.insert(node.token);
  }
  return allowed;
}

std::set<int32_t> ids_of(std::span<const uint32_t> mask) {
  std::set<int32_t> ids;
  for (size_t i = 0; i < mask.size() * 32; ++i) {
    if ((mask[i / 32] >> (i % 32) & 1U) != 0) ids.insert(static_cast<int32_t>(i));
  }
  return ids;
}

std::string bytes_of(const TokenTrie& trie, int32_t token) {
  std::string path;
  for (const TrieNode& node : trie.nodes()) {
    path.resize(node.depth);
    path += static_cast<char>(node.byte);
    if (node.token == token) return path;
  }
  return "";
}

/// Walks through the language at random; every mask on the way must be right.
void check_masks(const Rules& rules, unsigned seed) {
  const auto trie = tiny_trie();
  constexpr int32_t kEnd = 509;
  const auto kept = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{kEnd}, "rules");
  const auto plain = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{kEnd}, "rules");
  plain->set_plain(true);
  std::mt19937 random(seed);
  for (int round = 0; round < 4; ++round) {
    Matcher matcher(kept);
    Matcher other(plain);
    for (int step = 0; step < 20; ++step) {
      const std::set<int32_t> mask = ids_of(matcher.mask());
      std::set<int32_t> expected = asked(matcher, *trie);
      if (matcher.may_end()) expected.insert(kEnd);
      ASSERT_EQ(mask, expected) << matcher.text();
      ASSERT_EQ(ids_of(other.mask()), expected) << matcher.text();
      ASSERT_FALSE(mask.empty()) << matcher.text();
      auto pick = mask.begin();
      std::advance(pick, static_cast<std::ptrdiff_t>(random() % mask.size()));
      if (*pick == kEnd) break;
      const std::string bytes = bytes_of(*trie, *pick);
      ASSERT_TRUE(matcher.accept(bytes));
      ASSERT_TRUE(other.accept(bytes));
    }
  }
}

TEST(Mask, IsWhatEachTokenWouldSay) {
  check_masks(lists(), 1);
  check_masks({{read_regex("[a-z ]*x|(the|a) (light|fan)s? (on|off)")}}, 2);
  check_masks({{read_regex(".{3,9}!")}}, 3);
  // Objects of strings: rules inside rules, strings that end inside tokens.
  const Part text = sequence({literal("\""), repeat(one_of_in_json({{0, kLastCharacter}}), 0, {}), literal("\"")});
  const Part pair = sequence({rule(2), literal(": "), rule(0)});
  const Part object = sequence(
      {literal("{"), maybe(sequence({rule(1), repeat(sequence({literal(", "), rule(1)}), 0, {})})), literal("}")});
  check_masks({{choice({rule(2), object}), pair, text}}, 4);
}

TEST(Mask, IsTheSameAfterWhatWasKeptIsForgotten) {
  const auto trie = tiny_trie();
  // Every byte makes another node, so that nodes are forgotten on the way.
  const Rules rules{{read_regex("(a|b)*a(a|b){900}")}};
  const auto constraint = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{}, "rules");
  Matcher first(constraint);
  ASSERT_TRUE(first.accept("ab"));
  const std::set<int32_t> before = ids_of(first.mask());
  std::mt19937 random(5);
  Matcher busy(constraint);
  for (int i = 0; i < 6000; ++i) ASSERT_TRUE(busy.accept(random() % 2 == 0 ? "a" : "b"));
  EXPECT_EQ(ids_of(first.mask()), before);
  EXPECT_TRUE(first.accept("ab"));
  EXPECT_EQ(first.text(), "abab");
}

TEST(Mask, WhatOneLanguageHasFoundAnotherUses) {
  // More tokens than are kept as a list: two letters each, and a quote behind.
  std::vector<std::string> texts = {"\""};
  for (char a = 'a'; a <= 'z'; ++a) {
    for (char b = 'a'; b <= 'z'; ++b) {
      texts.push_back({a, b});
      texts.push_back({a, b, '"'});
      texts.push_back({a, b, '"', '!'});
    }
  }
  std::vector<TokenTrie::Token> tokens;
  for (size_t i = 0; i < texts.size(); ++i) tokens.push_back({texts[i], static_cast<int32_t>(i)});
  const auto trie = std::make_shared<const TokenTrie>(tokens, std::ssize(texts));
  const Part rest = sequence({read_regex("[a-z]*"), literal("\"")});
  const auto masks = [&](const Rules& rules, const char* before) {
    const auto kept = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{}, "kept");
    const auto plain = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{}, "plain");
    plain->set_plain(true);
    Matcher one(kept);
    Matcher other(plain);
    EXPECT_TRUE(one.accept(before) && other.accept(before));
    EXPECT_EQ(ids_of(one.mask()), ids_of(other.mask()));
    return ids_of(one.mask()).size();
  };
  EXPECT_EQ(masks({{sequence({literal("x\""), rule(1), literal("!")}), rest}}, "x\""), texts.size());
  EXPECT_EQ(masks({{sequence({literal("y"), rule(1), literal("?")}), rest}}, "y"), 1U + 2 * 26 * 26) << "another end";
  EXPECT_EQ(
      masks({{sequence({literal("z"), rule(1), literal("?")}), sequence({read_regex("[b-z]*"), literal("\"")})}}, "z"),
      1U + 2 * 25 * 25)
      << "another inside";
}

TEST(Mask, ThreadsShareAConstraint) {
  const auto trie = tiny_trie();
  const auto constraint = std::make_shared<Constraint>(lists(), trie, std::vector<int32_t>{}, "lists");
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Matcher matcher(constraint);
      for (int step = 0; step < 50; ++step) {
        if (matcher.mask().empty() || !matcher.accept(step % 4 == i ? "[x," : "[")) return;
      }
      ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
}

TEST(Forced, IsWhatMustFollow) {
  const auto trie = tiny_trie();
  const auto constraint = std::make_shared<Constraint>(Rules{{read_regex("turn (on|off) the light")}}, trie,
                                                       std::vector<int32_t>{}, "rules");
  Matcher matcher(constraint);
  EXPECT_EQ(matcher.forced(), "turn o");
  ASSERT_TRUE(matcher.accept("turn of"));
  EXPECT_EQ(matcher.forced(), "f the light");
  ASSERT_TRUE(matcher.accept("f the light"));
  EXPECT_EQ(matcher.forced(), "");
  EXPECT_TRUE(matcher.may_end());
  EXPECT_FALSE(matcher.accept("s"));
  EXPECT_TRUE(matcher.may_end()) << "what cannot follow changes nothing";
}

TEST(Forced, TokensThatMayComeOutLongerAreLeft) {
  const Tokenizer tokenizer = Tokenizer::load(PROSA_TEST_DATA "/tiny-chat");
  const TokenTrie trie(tokenizer, 512);
  for (const char* text : {"turn on the light ", "Hello, ", "a", "the", "Oslo\n", ""}) {
    const std::vector<int32_t> settled = settled_tokens(tokenizer, trie, text);
    const std::vector<int32_t> all = tokenizer.encode_given(text);
    ASSERT_LE(settled.size(), all.size());
    EXPECT_TRUE(std::equal(settled.begin(), settled.end(), all.begin())) << text;
    std::string rest = text;
    for (const int32_t token : settled) rest.erase(0, tokenizer.token_bytes(token).size());
    if (settled.size() < all.size()) {
      EXPECT_TRUE(trie.goes_on(tokenizer.token_bytes(all[settled.size()]))) << text;
    }
  }
}

}  // namespace
}  // namespace prosa::grammar
