// Tokenizer: ids equal to the official library's, text that survives the way there and back, files that are refused.
//
// Expected ids come from the official library (golden/tokenizer, data/tokenizer: random text of every class of
// character, and added tokens with every flag). The Qwen3.5 variant is the same file with the other expression in it.
#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "base/utf8.h"
#include "prosa/error.h"
#include "temp_folder.h"
#include "test_files.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"

namespace prosa {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kData = PROSA_TEST_DATA;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::string& qwen3_text() {
  static const std::string text = read_text(kData + "/golden/tokenizer/qwen3-tokenizer.json");
  return text;
}

const Tokenizer& qwen3() {
  static const Tokenizer tokenizer = Tokenizer::load_file(kData + "/golden/tokenizer/qwen3-tokenizer.json");
  return tokenizer;
}

/// The same vocabulary with Qwen3.5's expression.
const Tokenizer& qwen35() {
  static const Tokenizer tokenizer = [] {
    std::string text = qwen3_text();
    const std::string old_regex = json(expression_of(PreTokenizer::qwen2)).dump();
    const size_t at = text.find(old_regex);
    EXPECT_NE(at, std::string::npos);
    text.replace(at, old_regex.size(), json(expression_of(PreTokenizer::qwen35)).dump());
    return Tokenizer::load_json(text, "qwen35 variant");
  }();
  return tokenizer;
}

/// A whole file of another's making, small: the 256 bytes, a few merges, one control token.
json small_file() {
  json file = json::parse(R"({"version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFC"},
    "added_tokens": [{"id": 260, "content": "<|end|>", "special": true, "normalized": false,
                      "lstrip": false, "rstrip": false, "single_word": false}],
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "unk_token": null, "dropout": null, "ignore_merges": false, "byte_fallback": false,
              "fuse_unk": false, "end_of_word_suffix": null, "continuing_subword_prefix": null}})");
  file["pre_tokenizer"]["type"] = "Sequence";
  file["pre_tokenizer"]["pretokenizers"] = {
      {{"type", "Split"},
       {"pattern", {{"Regex", expression_of(PreTokenizer::qwen35)}}},
       {"behavior", "Isolated"},
       {"invert", false}},
      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}};
  json& vocab = file["model"]["vocab"];
  char32_t spare = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    std::string key;
    utf8::append(key, printable ? byte : spare++);
    vocab[key] = byte;
  }
  for (const char* token : {"he", "ll", "llo", "hello"}) vocab[token] = vocab.size();
  file["model"]["merges"] = {"l l", "h e", "ll o", "he llo"};
  return file;
}

/// What loading says to a changed small file: "code where message", or "fine".
std::string verdict(const std::function<void(json&)>& change) {
  json file = small_file();
  change(file);
  try {
    (void)Tokenizer::load_json(file.dump(), "F");
    return "fine";
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + " " + error.what();
  }
}

std::string nfc(std::string_view text) { return unicode::to_nfc(text); }

// ---- ids

void expect_official_ids(const std::string& path) {
  const json cases = json::parse(read_text(path));
  ASSERT_GE(cases.size(), 100U);
  for (const json& entry : cases) {
    const auto text = entry["text"].get<std::string>();
    for (const auto& [key, tokenizer] : {std::pair("qwen3_ids", &qwen3()), std::pair("qwen35_regex_ids", &qwen35())}) {
      const std::vector<int32_t> ids = tokenizer->encode(text);
      EXPECT_EQ(ids, entry[key].get<std::vector<int32_t>>()) << key << ": " << json(text).dump(-1, ' ', true);
      EXPECT_EQ(tokenizer->decode(ids), nfc(text)) << json(text).dump(-1, ' ', true);
    }
  }
}

TEST(TokenizerIds, GoldenTexts) { expect_official_ids(kData + "/golden/tokenizer/tokens.json"); }
TEST(TokenizerIds, RandomUnicode) { expect_official_ids(kData + "/tokenizer/unicode.json"); }

TEST(TokenizerIds, TheExpressionThatTellsCasesApart) {
  json file = json::parse(qwen3_text());
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = expression_of(PreTokenizer::cased);
  const Tokenizer tokenizer = Tokenizer::load_json(file.dump(), "cased");
  const json cases = json::parse(read_text(kData + "/tokenizer/cased.json"));
  ASSERT_GE(cases.size(), 100U);
  for (const json& entry : cases) {
    const auto text = entry["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), entry["ids"].get<std::vector<int32_t>>()) << json(text).dump(-1, ' ', true);
  }
}

TEST(TokenizerIds, MergesAreIgnoredForWholeTokensWhereTheFileSaysSo) {
  json file = small_file();
  file["model"]["vocab"]["xy"] = 261;  // no merge leads there
  EXPECT_THAT(Tokenizer::load_json(file.dump(), "F").encode("xy"), ElementsAre('x', 'y'));
  file["model"]["ignore_merges"] = true;
  const Tokenizer tokenizer = Tokenizer::load_json(file.dump(), "F");
  EXPECT_THAT(tokenizer.encode("xy"), ElementsAre(261));
  EXPECT_THAT(tokenizer.encode("xyz"), ElementsAre('x', 'y', 'z')) << "only as a whole";
  EXPECT_THAT(tokenizer.encode("hello<|end|>"), ElementsAre(259, 260));
}

TEST(TokenizerIds, OfATokenToldTwiceTheLastOneCounts) {
  json file = small_file();
  file["added_tokens"].push_back(file["added_tokens"][0]);
  const Tokenizer same = Tokenizer::load_json(file.dump(), "F");
  EXPECT_TRUE(same.warnings().empty());
  EXPECT_THAT(same.encode("a<|end|>b"), ElementsAre('a', 260, 'b'));
  file["added_tokens"][1]["id"] = 900;
  file["added_tokens"][1]["rstrip"] = true;
  const Tokenizer other = Tokenizer::load_json(file.dump(), "F");
  EXPECT_THAT(other.encode("a<|end|> b"), ElementsAre('a', 260, 'b'));
  EXPECT_THAT(other.warnings(), ElementsAre(HasSubstr("the ids 260 and 900: 260 is used")));
  EXPECT_EQ(other.vocab_size(), 261);
}

/// A folder with this tokenizer.json and these texts as config.json and tokenizer_config.json ("": no such file).
Tokenizer load_from_folder(const json& file, const std::string& config, const std::string& tokenizer_config = "") {
  const TempFolder folder;
  test::write_bytes(folder.path() / "tokenizer.json", file.dump());
  if (!config.empty()) test::write_bytes(folder.path() / "config.json", config);
  if (!tokenizer_config.empty()) test::write_bytes(folder.path() / "tokenizer_config.json", tokenizer_config);
  return Tokenizer::load(folder.path());
}

/// As AutoTokenizer of transformers 5.24 has it, with each of these files.
TEST(TokenizerOfModel, Qwen35ModelsSplitAsQwen35DoesWhateverTheFileSays) {
  json file = json::parse(qwen3_text());  // with Qwen2's expression, for which a mark is no part of a word
  const std::string text = "\u0e17\u0e35\u0e48";
  const std::vector<int32_t> by_file = qwen3().encode(text);
  const std::vector<int32_t> by_model = qwen35().encode(text);
  ASSERT_NE(by_file, by_model);
  const std::string full = R"({"model_type": "qwen3_5"})";
  const std::string bare = R"({"model_type": "qwen3_5_text"})";
  const std::string qwen2 = R"({"tokenizer_class": "Qwen2Tokenizer"})";
  const auto expect = [&](bool model, const std::string& config, const std::string& tokenizer_config) {
    const Tokenizer tokenizer = load_from_folder(file, config, tokenizer_config);
    EXPECT_EQ(tokenizer.encode(text), model ? by_model : by_file) << config << tokenizer_config;
    EXPECT_EQ(tokenizer.warnings().size(), model ? 1U : 0U) << config << tokenizer_config;
  };
  expect(true, full, qwen2);
  expect(true, full, R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  expect(true, full, "");
  expect(true, bare, "");
  expect(true, bare, R"({"tokenizer_class": "Qwen3_5Tokenizer"})");
  expect(false, bare, qwen2);
  expect(false, bare, R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  expect(false, R"({"model_type": "qwen3"})", "");
  expect(false, "", "");
  expect(false, "{", qwen2);
  // The class brings all of its steps along, so the file may even have some that are unknown here.
  file["normalizer"] = {{"type", "NFKC"}};
  file["pre_tokenizer"] = {{"type", "Whitespace"}};
  const Tokenizer tokenizer = load_from_folder(file, full);
  EXPECT_EQ(tokenizer.encode(text), by_model);
  EXPECT_THAT(tokenizer.warnings(), ElementsAre(HasSubstr("normalizer"), HasSubstr("AutoTokenizer")));
  // And where file and model agree, there is nothing to say.
  json agrees = json::parse(qwen3_text());
  agrees["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = expression_of(PreTokenizer::qwen35);
  EXPECT_TRUE(load_from_folder(agrees, full, qwen2).warnings().empty());
}

TEST(TokenizerIds, AddedTokensWithEveryFlag) {
  const json fixture = json::parse(read_text(kData + "/tokenizer/added_tokens.json"));
  json file = json::parse(qwen3_text());
  for (const json& token : fixture["added_tokens"]) file["added_tokens"].push_back(token);
  const Tokenizer tokenizer = Tokenizer::load_json(file.dump(), "with more added tokens");
  ASSERT_GE(fixture["cases"].size(), 100U);
  for (const json& entry : fixture["cases"]) {
    const auto text = entry["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text), entry["ids"].get<std::vector<int32_t>>()) << text;
    EXPECT_EQ(tokenizer.encode(text, false), entry["plain_ids"].get<std::vector<int32_t>>()) << text;
  }
}

TEST(TokenizerIds, SpecialTokensArePlainTextWhenAsked) {
  const auto end = qwen3().token_id("<|im_end|>");
  ASSERT_EQ(end, 151645);
  EXPECT_THAT(qwen3().encode("<|im_end|>"), ElementsAre(*end));
  EXPECT_THAT(qwen3().encode("<|im_end|>", false), testing::Not(testing::Contains(*end)));
  EXPECT_EQ(qwen3().decode(qwen3().encode("<|im_end|>", false)), "<|im_end|>");
}

TEST(TokenizerIds, SmallVocabularyOfAnothersMaking) {
  for (const bool pairs : {false, true}) {
    json file = small_file();
    if (pairs) file["model"]["merges"] = json::parse(R"([["l","l"],["h","e"],["ll","o"],["he","llo"]])");
    const Tokenizer tokenizer = Tokenizer::load_json(file.dump(), "small");
    EXPECT_EQ(tokenizer.vocab_size(), 261);
    EXPECT_THAT(tokenizer.encode("hello"), ElementsAre(259));
    EXPECT_THAT(tokenizer.encode("hell o<|end|>"), ElementsAre(256, 257, ' ', 'o', 260));
    EXPECT_THAT(tokenizer.encode("e\xcc\x81"), ElementsAre(0xc3, 0xa9)) << "NFC";
    EXPECT_EQ(tokenizer.token_id("llo"), 258);
    EXPECT_EQ(tokenizer.token_id("lo"), std::nullopt);
  }
}

TEST(TokenizerIds, AModelWithoutATypeIsBpe) {
  json file = small_file();
  file["model"]["type"] = "BPE";
  const std::vector<int32_t> ids = Tokenizer::load_json(file.dump(), "F").encode("hell o<|end|>");
  file["model"].erase("type");
  EXPECT_EQ(Tokenizer::load_json(file.dump(), "F").encode("hell o<|end|>"), ids);
  file["model"]["type"] = "Unigram";
  EXPECT_THROW((void)Tokenizer::load_json(file.dump(), "F"), Error);
}

TEST(TokenizerIds, ATokenThatMergingNeverReachesIsNotUsed) {
  json file = small_file();
  file["model"]["vocab"]["lo"] = 260;  // no merge makes it
  file["added_tokens"][0]["id"] = 261;
  EXPECT_THAT(Tokenizer::load_json(file.dump(), "small").encode("lo"), ElementsAre('l', 'o'));
}

TEST(TokenizerIds, ManyThreadsShareOneTokenizer) {
  const std::string text = read_text(kData + "/golden/README.md");
  const std::vector<int32_t> expected = qwen3().encode(text);
  std::vector<std::vector<int32_t>> got(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : got) threads.emplace_back([&] { ids = qwen3().encode(text); });
  }
  for (const auto& ids : got) EXPECT_EQ(ids, expected);
}

// ---- merging: both ways of merging, and no quadratic time

/// Merging as the definition says: the lowest rank anywhere, the leftmost of these, again and again.
std::vector<int32_t> merge_by_definition(std::string_view text, const std::vector<std::array<std::string, 2>>& merges,
                                         const Tokenizer& tokenizer) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [left, right] : merges) {
      for (size_t i = 0; i + 1 < symbols.size() && !changed; ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += right;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        changed = true;
      }
      if (changed) break;
    }
  }
  std::vector<int32_t> ids;
  for (const auto& symbol : symbols) ids.push_back(*tokenizer.token_id(symbol));
  return ids;
}

TEST(TokenizerMerging, EqualsTheDefinitionForRandomMergesAndLengths) {
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    json file = small_file();
    file["model"]["merges"] = json::array();
    for (const char* token : {"he", "ll", "llo", "hello"}) file["model"]["vocab"].erase(token);
    std::vector<std::string> symbols = {"a", "b", "c"};
    std::vector<std::array<std::string, 2>> merges;
    while (merges.size() < 25) {
      const std::string left = symbols[random() % symbols.size()];
      const std::string right = symbols[random() % symbols.size()];
      if (left.size() + right.size() > 60 || file["model"]["vocab"].contains(left + right)) continue;
      file["model"]["vocab"][left + right] = 256 + merges.size();
      file["model"]["merges"].push_back({left, right});
      merges.push_back({left, right});
      symbols.push_back(left + right);
    }
    file["added_tokens"][0]["id"] = 256 + merges.size();
    const Tokenizer tokenizer = Tokenizer::load_json(file.dump(), "random merges");
    for (int i = 0; i < 60; ++i) {
      std::string text;
      for (size_t left = random() % (i < 30 ? 48 : 200) + 1; left > 0; --left) text += "aaabbc"[random() % 6];
      EXPECT_EQ(tokenizer.encode(text), merge_by_definition(text, merges, tokenizer)) << text;
    }
  }
}

double seconds_to_encode(const std::string& text) {
  const std::clock_t start = std::clock();  // processor time: a busy machine must not fail the test
  const std::vector<int32_t> ids = qwen35().encode(text);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_EQ(qwen35().decode(ids), nfc(text));
  return seconds;
}

std::string repeat(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

TEST(TokenizerMerging, AMegabyteWithoutSpacesIsNoTrouble) {
  std::mt19937 random(3);
  std::string letters;
  std::string chinese;
  for (int i = 0; i < 1'000'000; ++i) letters += static_cast<char>('a' + random() % 26);
  for (int i = 0; i < 333'333; ++i) utf8::append(chinese, 0x4e00 + random() % 0x5000);
  const std::string hostile[] = {
      repeat("a", 1'000'000),
      letters,
      chinese,
      repeat(" ", 1'000'000),
      repeat("\n ", 1'000'000),
      repeat("!", 1'000'000),
      repeat("<|im_", 1'000'000),
      repeat("'", 1'000'000),
      "a" + repeat("\u0316\u0301", 1'000'000),  // a pile of marks that has to be sorted
  };
  (void)qwen35();
  for (const std::string& text : hostile) {
    // Quadratic work would take hours; 20 s is room for sanitizers.
    EXPECT_LT(seconds_to_encode(text), 20) << text.substr(0, 12);
  }
}

// ---- decoding

TEST(TokenizerDecode, AnyBytesComeBackWithDamageReplaced) {
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes;
    for (size_t left = random() % 24; left > 0; --left) {
      bytes += static_cast<char>(random() % 3 == 0 ? random() % 128 : 128 + random() % 128);
    }
    const std::string repaired = utf8::replace_invalid(bytes);
    ASSERT_TRUE(utf8::is_valid(repaired));
    EXPECT_EQ(qwen35().decode(qwen35().encode(bytes)), nfc(repaired));
  }
}

TEST(TokenizerDecode, StreamGivesWholeCharactersAndTheSameText) {
  std::mt19937 random(7);
  const auto size = static_cast<uint32_t>(qwen35().vocab_size());
  for (int i = 0; i < 3000; ++i) {
    std::vector<int32_t> ids;
    for (size_t left = random() % 20; left > 0; --left) {
      const bool any = random() % 3 == 0;  // else one of the 256 bytes, mostly parts of characters
      ids.push_back(static_cast<int32_t>(any ? random() % (size + 10) : random() % 256));
    }
    for (const bool skip : {false, true}) {
      StreamDecoder stream(qwen35(), skip);
      std::string text;
      for (const int32_t id : ids) {
        const std::string part = stream.push(id);
        EXPECT_TRUE(utf8::is_valid(part));
        text += part;
      }
      text += stream.flush();
      EXPECT_EQ(text, qwen35().decode(ids, skip));
      EXPECT_EQ(stream.flush(), "");
    }
  }
}

TEST(TokenizerDecode, StreamHoldsBackHalfACharacter) {
  const std::string emoji = "\U0001f600";
  StreamDecoder stream(qwen35());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(stream.push(*qwen35().token_id(emoji.substr(i, 1))), "");
  }
  EXPECT_EQ(stream.push(*qwen35().token_id(emoji.substr(3, 1))), emoji);
  EXPECT_EQ(stream.push(*qwen35().token_id(emoji.substr(0, 1))), "");
  EXPECT_EQ(stream.push(*qwen35().token_id("A")),
            "\ufffd"
            "A");
}

TEST(TokenizerDecode, SpecialTokensAndIdsOutOfRange) {
  const std::vector<int32_t> ids = {-1, 9707, 151645, 1 << 30, 151667};
  EXPECT_EQ(qwen3().decode(ids), "Hello<|im_end|><think>");
  EXPECT_EQ(qwen3().decode(ids, true), "Hello<think>");
  EXPECT_TRUE(qwen3().is_special(151645));
  EXPECT_FALSE(qwen3().is_special(151667));
  EXPECT_FALSE(qwen3().is_special(-5));
  EXPECT_EQ(qwen3().token_bytes(1 << 30), "");
  EXPECT_EQ(qwen3().vocab_size(), 151669);
}

// ---- characters

TEST(Unicode, ReplacesDamageByLongestStart) {
  EXPECT_EQ(utf8::replace_invalid("\xf0\x9f\x98"
                                  "A"),
            "\ufffdA");
  EXPECT_EQ(utf8::replace_invalid("\xc0\x80"), "\ufffd\ufffd");
  EXPECT_EQ(utf8::replace_invalid("\xed\xa0\x80"), "\ufffd\ufffd\ufffd") << "a surrogate";
  EXPECT_EQ(utf8::replace_invalid("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd") << "beyond U+10FFFF";
  EXPECT_EQ(utf8::replace_invalid("a\xe2\x82"), "a\ufffd");
}

TEST(Unicode, QuickCheckNeverPassesTextThatNfcWouldChange) {
  std::mt19937 random(9);
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    for (size_t left = random() % 5 + 1; left > 0; --left) {
      constexpr char32_t kStarts[] = {0x40,   0xc0,   0x300,  0x340,  0x900,  0x1100,
                                      0x1160, 0x11a0, 0xac00, 0x1e00, 0xf900, 0x11080};
      utf8::append(text, kStarts[random() % std::size(kStarts)] + random() % 0x40);
    }
    const std::string normal = nfc(text);
    EXPECT_EQ(nfc(normal), normal);
    if (unicode::is_surely_nfc(text)) {
      EXPECT_EQ(normal, text);
    }
  }
}

TEST(Unicode, NormalizesWhatCannotCompose) {
  EXPECT_EQ(nfc("A\u030a \u212b"), "\u00c5 \u00c5");
  EXPECT_EQ(nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307") << "marks in canonical order";
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c") << "excluded from composition";
}

// ---- files that are refused

TEST(TokenizerFile, SaysWhichKeyIsBad) {
  ASSERT_EQ(verdict([](json&) {}), "fine");
  const auto model = [](const char* key, json value) {
    return verdict([&](json& file) { file["model"][key] = value; });
  };
  const auto vocab = [](const char* token, json id) {
    return verdict([&](json& file) { file["model"]["vocab"][token] = id; });
  };
  const std::string bad = "bad_tokenizer F: ";
  EXPECT_THAT(verdict([](json& f) { f.erase("model"); }), HasSubstr(bad + "model: missing"));
  EXPECT_THAT(verdict([](json& f) { f["model"].erase("merges"); }), HasSubstr(bad + "model.merges: missing"));
  EXPECT_THAT(verdict([](json& f) { f["model"].erase("vocab"); }), HasSubstr(bad + "model.vocab: missing"));
  EXPECT_THAT(model("type", 3), HasSubstr(bad + "model.type"));
  EXPECT_THAT(model("vocab", json::array({1, 2})), HasSubstr(bad + "model.vocab"));
  EXPECT_THAT(model("merges", json::object()), HasSubstr(bad + "model.merges"));
  EXPECT_THAT(model("merges", {"l l", "h e f"}), HasSubstr(bad + "model.merges[1]"));
  EXPECT_THAT(model("merges", {"ll"}), HasSubstr(bad + "model.merges[0]"));
  EXPECT_THAT(model("merges", {" ll"}), HasSubstr("one side is empty"));
  EXPECT_THAT(model("merges", {7}), HasSubstr(bad + "model.merges[0]"));
  EXPECT_THAT(model("merges", json::parse(R"([["l"]])")), HasSubstr(bad + "model.merges"));
  EXPECT_THAT(model("merges", json::parse(R"([["l", ["l"]]])")), HasSubstr(bad + "model.merges"));
  EXPECT_THAT(model("merges", json::parse(R"([{"l": "l"}])")), HasSubstr(bad + "model.merges"));
  EXPECT_THAT(model("merges", {"l l", "x yz"}), HasSubstr(bad + "model.merges[1]: \"yz\" is not in model.vocab"));
  EXPECT_THAT(model("merges", {"x y"}), HasSubstr("\"xy\" is not in model.vocab"));
  EXPECT_THAT(vocab("new", -1), HasSubstr(bad + "model.vocab[\"new\"]: the id must be an integer"));
  EXPECT_THAT(vocab("new", 2.5), HasSubstr(bad + "model.vocab[\"new\"]"));
  EXPECT_THAT(vocab("new", "3"), HasSubstr(bad + "model.vocab[\"new\"]"));
  EXPECT_THAT(vocab("new", json::array({3})), HasSubstr(bad + "model.vocab[\"new\"]"));
  EXPECT_THAT(vocab("new", json::object()), HasSubstr(bad + "model.vocab[\"new\"]"));
  EXPECT_THAT(vocab("new", nullptr), HasSubstr(bad + "model.vocab[\"new\"]"));
  EXPECT_THAT(vocab("new", 2147483648U), HasSubstr("ids must be dense"));
  EXPECT_THAT(vocab("new", UINT64_MAX), HasSubstr("ids must be dense"));
  EXPECT_THAT(vocab("new", 300), HasSubstr("ids must be dense"));
  EXPECT_THAT(vocab("new", 12), HasSubstr("taken by another token"));
  EXPECT_THAT(vocab("new", 260), HasSubstr("added_tokens[0] \"<|end|>\": id 260 is taken"));
  EXPECT_THAT(vocab("", 261), HasSubstr("must not be empty"));
  EXPECT_THAT(verdict([](json& f) { f["model"]["vocab"].erase("A"); }), HasSubstr("ids must be dense"));
  EXPECT_THAT(verdict([](json& f) {
                f["model"]["vocab"].erase("A");
                f["model"]["vocab"]["new"] = 'A';
              }),
              HasSubstr("the token \"A\" for byte 0x41 is missing"));
}

TEST(TokenizerFile, SaysWhichAddedTokenIsBad) {
  const auto added = [](const char* key, json value) {
    return verdict([&](json& file) { file["added_tokens"][0][key] = value; });
  };
  EXPECT_THAT(added("id", 2147483648U), HasSubstr("added_tokens[0].id"));
  EXPECT_THAT(added("id", -1), HasSubstr("added_tokens[0].id"));
  EXPECT_THAT(added("id", "x"), HasSubstr("added_tokens[0].id"));
  EXPECT_THAT(added("id", 900), HasSubstr("ids must be dense"));
  EXPECT_THAT(added("content", ""), HasSubstr("added_tokens[0].content"));
  EXPECT_THAT(added("content", std::string(5000, 'x')), HasSubstr("added_tokens[0].content"));
  EXPECT_THAT(added("content", "hello"), HasSubstr("but 259 in model.vocab"));
  EXPECT_THAT(added("special", 1), HasSubstr("added_tokens[0].special"));
  EXPECT_THAT(verdict([](json& f) { f["added_tokens"] = 3; }), HasSubstr("added_tokens: must be an array"));
  EXPECT_EQ(verdict([](json& f) { f["added_tokens"][0]["content"] = "hello", f["added_tokens"][0]["id"] = 259; }),
            "fine");
  EXPECT_EQ(verdict([](json& f) { f["added_tokens"] = json::array(); }), "fine");
}

TEST(TokenizerFile, SaysWhatItDoesNotSupport) {
  const auto changed = [](const char* pointer, json value) {
    return verdict([&](json& file) { file[json::json_pointer(pointer)] = value; });
  };
  for (const char* key : {"ignore_merges", "byte_fallback", "fuse_unk"}) {
    const std::string pointer = std::string("/model/") + key;
    for (const json& value : {json(true), json(false), json(nullptr)}) {
      EXPECT_EQ(changed(pointer.c_str(), value), "fine") << key;
    }
  }
  EXPECT_EQ(verdict([](json& f) { f["model"].erase("type"); }), "fine") << "older files have none";
  EXPECT_THAT(changed("/model/dropout", 0.1), HasSubstr("unsupported F: model.dropout"));
  EXPECT_THAT(changed("/model/end_of_word_suffix", "</w>"), HasSubstr("unsupported F: model.end_of_word_suffix"));
  EXPECT_THAT(changed("/model/type", "Unigram"), HasSubstr("unsupported F: model.type"));
  EXPECT_THAT(changed("/normalizer", {{"type", "NFKC"}}), HasSubstr("unsupported F: normalizer"));
  EXPECT_EQ(changed("/normalizer", nullptr), "fine");
  EXPECT_EQ(changed("/normalizer", json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"}]})")), "fine");
  EXPECT_THAT(changed("/pre_tokenizer", nullptr), HasSubstr("unsupported F: pre_tokenizer"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\p{L}+)"),
              HasSubstr(R"(the expression \p{L}+)"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/0/pattern", {{"String", " "}}), HasSubstr("pattern.Regex"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/0/behavior", "Removed"), HasSubstr("behavior"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/0/invert", true), HasSubstr("invert"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/1/add_prefix_space", true), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(changed("/pre_tokenizer/pretokenizers/1/use_regex", true), HasSubstr("pre_tokenizer"));
  EXPECT_THAT(changed("/decoder", {{"type", "WordPiece"}}), HasSubstr("unsupported F: decoder"));
  EXPECT_THAT(changed("/post_processor", {{"type", "TemplateProcessing"}}), HasSubstr("unsupported F: post_processor"));
  json adding = json::parse(
      R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}})");
  EXPECT_EQ(changed("/post_processor", adding), "fine") << "it adds nothing";
  EXPECT_EQ(changed("/post_processor", {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, adding}}}),
            "fine");
  adding["single"].push_back(json::parse(R"({"SpecialToken": {"id": "<|end|>", "type_id": 0}})"));
  EXPECT_THAT(changed("/post_processor", adding), HasSubstr("unsupported F: post_processor"));
}

TEST(TokenizerFile, DamagedTextIsAnErrorAndNothingElse) {
  const std::string whole = small_file().dump();
  for (size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_THROW((void)Tokenizer::load_json(std::string_view(whole).substr(0, size), "F"), Error) << size;
  }
  std::mt19937 random(13);
  for (int i = 0; i < 3000; ++i) {
    std::string text = whole;
    for (size_t left = random() % 3 + 1; left > 0; --left)
      text[random() % text.size()] = "\"{}[],:0a\x80"[random() % 10];
    try {
      (void)Tokenizer::load_json(text, "F").encode("hello");  // some changes hurt nobody
    } catch (const Error& error) {
      EXPECT_NE(error.where().find('F'), std::string::npos);
    }
  }
  for (const std::string text : {"", "null", "[]", "3", "\"x\"", "{}", "[[[[", "{\"model\": []}", "\xff"}) {
    EXPECT_THROW((void)Tokenizer::load_json(text, "F"), Error) << text;
  }
  EXPECT_THROW((void)Tokenizer::load_json(std::string(100'000, '['), "F"), Error);
  EXPECT_THROW((void)Tokenizer::load_json(R"({"model": {}, "model": {}})", "F"), Error);
  EXPECT_THROW((void)Tokenizer::load_json(R"({"model": {"vocab": {"a": 0, "a": 0}, "merges": []}})", "F"), Error);
}

TEST(TokenizerFile, CallsAGitLfsPointerByName) {
  const TempFolder folder;
  test::write_bytes(folder.path() / "tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n");
  test::expect_error(ErrorCode::not_found, {"tokenizer.json", "Git LFS pointer"},
                     [&] { (void)Tokenizer::load(folder.path()); });
}

TEST(TokenizerFile, NamesTheFileThatIsNotThere) {
  try {
    (void)Tokenizer::load(kData + "/no/such/folder");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.where(), HasSubstr("folder/tokenizer.json"));
  }
  EXPECT_THROW((void)Tokenizer::load_file(kData), Error) << "a folder";
}

}  // namespace
}  // namespace prosa
