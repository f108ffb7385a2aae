// What a tokenizer costs stays in proportion to its file and its text, whatever they hold: tables that somebody made to
// collide, long added tokens, and added tokens that begin alike.
//
// The time limits are ten times and more what is needed; what they guard against takes minutes.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "test_files.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/tokenizer.h"

namespace {

std::atomic<int64_t> g_live = 0;  // bytes of the heap in use
std::atomic<int64_t> g_most = 0;

[[maybe_unused]] void count(int64_t bytes) {
  const int64_t live = g_live += bytes;
  int64_t most = g_most;
  while (live > most && !g_most.compare_exchange_weak(most, live)) {
  }
}

}  // namespace

// A sanitizer has operators of its own.
#if !defined(PROSA_ADDRESS_SANITIZER) && !defined(PROSA_THREAD_SANITIZER)
void* operator new(size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  count(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}
void operator delete(void* memory) noexcept {
  count(-static_cast<int64_t>(malloc_usable_size(memory)));
  std::free(memory);
}
void operator delete(void* memory, size_t /*bytes*/) noexcept { operator delete(memory); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept try { return operator new(bytes); } catch (...) {
  return nullptr;
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { operator delete(memory); }
#endif

namespace prosa {
namespace {

using nlohmann::json;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

json tiny_file() { return json::parse(test::read_bytes(std::filesystem::path(PROSA_TINY_CHAT) / "tokenizer.json")); }

/// The first id that no token of the file has.
[[maybe_unused]] int64_t free_id(const json& file) {
  int64_t id = 0;
  for (const auto& [token, each] : file["model"]["vocab"].items()) id = std::max(id, each.get<int64_t>() + 1);
  for (const json& token : file["added_tokens"]) id = std::max(id, token["id"].get<int64_t>() + 1);
  return id;
}

// ---- tables

TEST(TokenizerBounds, StringsMadeToCollideUnderAPlainHashAreAsFastAsOthers) {
  constexpr size_t kStrings = 100'000;
  StringPool pool;
  std::mt19937_64 random(1);
  for (size_t i = 0; i < kStrings; ++i) {  // the second word cancels what a plain multiplicative hash made of the first
    const uint64_t word = random();
    const std::array<uint64_t, 2> words = {word, std::rotl(word * 0x9e3779b97f4a7c15U, 29)};
    std::string text(sizeof words, '\0');
    std::memcpy(text.data(), words.data(), sizeof words);
    pool.add(text);
  }
  StringIndex index(kStrings);
  EXPECT_LT(seconds_of([&] {
              for (size_t i = 0; i < kStrings; ++i) EXPECT_TRUE(index.insert(pool, static_cast<int32_t>(i)));
              for (size_t i = 0; i < kStrings; ++i) EXPECT_EQ(index.find(pool, pool[i]), static_cast<int32_t>(i));
            }),
            3);
}

TEST(TokenizerBounds, MergesMadeToCollideUnderAPlainHashAreAsFastAsOthers) {
  constexpr size_t kMerges = 100'000;
  constexpr uint64_t kTimes = 0x9e3779b97f4a7c15U;
  uint64_t inverse = 1;  // of kTimes modulo 2^64, by Newton's iteration
  for (int i = 0; i < 7; ++i) inverse *= 2 - kTimes * inverse;
  std::vector<Merge> merges;
  for (uint64_t product = 1; merges.size() < kMerges; ++product) {  // small products: the first slot of the table
    const uint64_t mixed = product * inverse;                       // pair ^ (pair >> 29)
    const uint64_t pair = mixed ^ (mixed >> 29) ^ (mixed >> 58);
    merges.push_back({static_cast<int32_t>(pair >> 32), static_cast<int32_t>(pair), 1});
  }
  EXPECT_LT(seconds_of([&] {
              const MergeTable table(merges);
              for (size_t i = 0; i < kMerges; ++i) EXPECT_EQ(table.find(merges[i].left, merges[i].right).rank, i);
            }),
            3);
}

// ---- added tokens

/// The definition: at the first place where any token begins, the longest of those; control tokens hold no given byte.
AddedTokens::Found find_by_definition(const std::vector<AddedToken>& tokens, std::string_view text, size_t begin,
                                      const std::vector<MarkedText::Range>& given) {
  for (size_t at = begin; at < text.size(); ++at) {
    const AddedToken* best = nullptr;
    for (const AddedToken& token : tokens) {
      if (!text.substr(at).starts_with(token.content)) continue;
      const size_t end = at + token.content.size();
      const auto inside = [&](const MarkedText::Range& range) { return range.begin < end && range.end > at; };
      if (token.control && std::ranges::any_of(given, inside)) continue;
      if (best == nullptr || token.content.size() > best->content.size()) best = &token;
    }
    if (best == nullptr) continue;
    AddedTokens::Found found{.plain = {}, .token = AddedTokens::Span{at, at + best->content.size(), best->id}};
    if (at > begin) found.plain = AddedTokens::Span{begin, at};
    return found;
  }
  return {.plain = AddedTokens::Span{begin, text.size()}, .token = {}};
}

TEST(TokenizerBounds, TheSearchGivesTheLongestTokenAtTheFirstPlace) {
  std::mt19937 random(5);
  const auto word = [&](size_t most) {
    std::string text(1 + random() % most, 'a');
    for (char& c : text) c = static_cast<char>(random() % 8 == 0 ? 0xc0 + random() % 3 : 'a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 1000; ++round) {
    std::vector<AddedToken> tokens;
    const size_t count = 1 + random() % 60;
    while (tokens.size() < count) {
      std::string content = word(1 + random() % 12);
      // Often a token that goes on where another ends: long ways of tokens that begin with one another.
      if (!tokens.empty() && random() % 2 == 0) content = tokens[random() % tokens.size()].content + word(2);
      std::erase_if(tokens, [&](const AddedToken& other) { return other.content == content; });
      tokens.push_back(
          {.content = content, .id = static_cast<int32_t>(random() % 1'000'000), .control = random() % 2 == 0});
    }
    const AddedTokens search(tokens);
    const std::string text = word(200) + tokens[random() % count].content + word(20);
    std::vector<MarkedText::Range> given;
    for (size_t at = random() % 30; round % 2 == 0 && at + 20 < text.size(); at += 2 + random() % 40) {
      given.push_back({at, at + 1 + random() % 10});
      at = given.back().end;
    }
    WrittenReach reach(given);
    for (size_t at = 0; at < text.size();) {
      const AddedTokens::Found expected = find_by_definition(tokens, text, at, given);
      const AddedTokens::Found found = search.next(text, at, true, reach);
      ASSERT_EQ(found.plain.has_value(), expected.plain.has_value()) << text << " at " << at;
      ASSERT_EQ(found.token.has_value(), expected.token.has_value()) << text << " at " << at;
      if (found.plain) {
        ASSERT_EQ(found.plain->end, expected.plain->end);
      }
      if (!found.token) break;
      ASSERT_EQ(found.token->begin, expected.token->begin);
      ASSERT_EQ(found.token->end, expected.token->end);
      ASSERT_EQ(found.token->id, expected.token->id);
      at = found.token->end;
    }
  }
}

/// The only token of a text that was written.
std::optional<AddedTokens::Span> find(const AddedTokens& search, const std::string& text) {
  WrittenReach reach({});
  return search.next(text, 0, true, reach).token;
}

TEST(TokenizerBounds, LongTokensThatBeginAlikeLeaveEncodingLinear) {
  constexpr size_t kText = 1'000'000;
  std::mt19937 random(2);
  std::vector<AddedToken> tokens;
  for (int32_t id = 0; id < 20'000; ++id) {  // none of them is in the text, and all but their ends are everywhere
    const std::string content(1 + random() % 1000, 'a');
    tokens.push_back({.content = content + "b" + std::to_string(id), .id = id});
  }
  const AddedTokens search(tokens);
  EXPECT_LT(seconds_of([&] { EXPECT_FALSE(find(search, std::string(kText, 'a'))); }), 10);
}

TEST(TokenizerBounds, TokensOfAllLengthsOfOneCharacterLeaveEncodingLinear) {
  std::vector<AddedToken> tokens;
  for (int32_t id = 1; id <= 1000; ++id)
    tokens.push_back({.content = std::string(static_cast<size_t>(id) + 1, 'a'), .id = id});
  const AddedTokens search(tokens);
  std::string text;
  for (int i = 0; i < 500'000; ++i) text += "ac";
  EXPECT_LT(seconds_of([&] { EXPECT_FALSE(find(search, text)); }), 5);
  EXPECT_EQ(find(search, std::string(700, 'a') + "c")->id, 699);
}

#if !defined(PROSA_ADDRESS_SANITIZER) && !defined(PROSA_THREAD_SANITIZER)

TEST(TokenizerBounds, MemoryStaysWithinEightTimesTheFile) {
  json file = tiny_file();
  std::mt19937 random(3);
  const int64_t first = free_id(file);
  for (int64_t i = 0; i < 2000; ++i) {
    std::string content(1000, ' ');
    for (char& c : content) c = static_cast<char>('a' + random() % 26);
    file["added_tokens"].push_back({{"id", first + i}, {"content", content}, {"special", true}});
  }
  const std::string text = file.dump();
  const int64_t before = g_live;
  g_most = before;
  const Tokenizer tokenizer = Tokenizer::load_json(text, "long added tokens");
  const auto bytes = static_cast<int64_t>(text.size());
  EXPECT_LT(g_live - before, 5 * bytes);
  EXPECT_LT(g_most - before, 7 * bytes);  // the text itself is an eighth
  EXPECT_EQ(tokenizer.encode(file["added_tokens"].back()["content"].get<std::string>()).size(), 1U);
}

#endif

TEST(TokenizerBounds, WhatIsNoPartOfATokenizerIsRefusedByNumber) {
  std::string text = tiny_file().dump();
  text.pop_back();
  text += ",\"x\":[0";
  for (int i = 0; i < 600'000; ++i) text += ",0";
  test::expect_error(ErrorCode::bad_tokenizer, {"more than 524288 values"},
                     [&] { Tokenizer::load_json(text + "]}", "F"); });
}

}  // namespace
}  // namespace prosa
