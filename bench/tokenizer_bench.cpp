// How fast text becomes ids, on one core with a real Qwen vocabulary: MB/s of English, code, Chinese and of text
// without spaces; how fast ids become text; how long loading takes.
//
// Before a text is timed, its ids are checked for decoding to it. Ids themselves are the tests' business.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "base/utf8.h"
#include "tokenizer/tokenizer.h"

namespace {

using prosa::Tokenizer;

const std::string kFile = PROSA_SOURCE_DIR "/tests/data/golden/tokenizer/qwen3-tokenizer.json";

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load_file(kFile);
  return loaded;
}

/// Sentences of words drawn by their place in the list (the first ones most often), with names and numbers in between.
std::string english(size_t bytes) {
  static const char* const kWords[] = {
      "the",     "of",         "and",       "a",          "to",         "in",        "is",         "you",
      "that",    "it",         "was",       "for",        "on",         "are",       "with",       "as",
      "they",    "be",         "at",        "one",        "have",       "this",      "from",       "had",
      "by",      "not",        "but",       "what",       "all",        "were",      "when",       "we",
      "there",   "can",        "an",        "your",       "which",      "their",     "said",       "if",
      "will",    "each",       "about",     "how",        "didn't",     "morning",   "kitchen",    "question",
      "weather", "remarkable", "machine",   "translated", "carefully",  "I'm",       "quietly",    "Margaret",
      "Lisbon",  "thermostat", "unfolding", "overheard",  "reluctance", "vignettes", "Fairweather"};
  std::mt19937 random(1);
  std::string text;
  while (text.size() < bytes) {
    for (size_t left = 4 + random() % 16; left > 0; --left) {
      const double draw = static_cast<double>(random()) / static_cast<double>(std::mt19937::max());
      text += kWords[static_cast<size_t>(draw * draw * static_cast<double>(std::size(kWords) - 1))];
      if (random() % 60 == 0) text.append(" ").append(std::to_string(random() % 3000));
      text += left > 1 ? (random() % 12 == 0 ? ", " : " ") : "";
    }
    text += random() % 6 == 0 ? ".\n\n" : ". ";
  }
  return text;
}

std::string code(size_t bytes) {
  std::ifstream file(PROSA_SOURCE_DIR "/src/tokenizer/unicode.cpp");
  const std::string one((std::istreambuf_iterator<char>(file)), {});
  if (one.empty()) std::abort();
  std::string text;
  while (text.size() < bytes) text += one;
  return text;
}

std::string random_points(size_t bytes, char32_t first, size_t count) {
  std::mt19937 random(2);
  std::string text;
  while (text.size() < bytes) prosa::utf8::append(text, first + static_cast<char32_t>(random() % count));
  return text;
}

void encode(benchmark::State& state, const std::string& text) {
  std::vector<int32_t> ids = tokenizer().encode(text);
  if (tokenizer().decode(ids) != text) {
    state.SkipWithError("the ids do not decode to the text");
    return;
  }
  const double per_token = static_cast<double>(text.size()) / static_cast<double>(ids.size());
  for (auto _ : state) {
    ids.clear();
    tokenizer().encode(text, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
  state.counters["bytes_per_token"] = per_token;
}

constexpr size_t kMegabyte = 1'000'000;

void BM_EncodeEnglish(benchmark::State& state) { encode(state, english(kMegabyte)); }
void BM_EncodeCode(benchmark::State& state) { encode(state, code(kMegabyte)); }
void BM_EncodeChinese(benchmark::State& state) { encode(state, random_points(kMegabyte, 0x4e00, 0x1000)); }
void BM_EncodeOneLetter(benchmark::State& state) { encode(state, std::string(kMegabyte, 'a')); }
void BM_EncodeRandomLetters(benchmark::State& state) { encode(state, random_points(kMegabyte, 'a', 26)); }
void BM_EncodeChatTurn(benchmark::State& state) {
  encode(state, "<|im_start|>user\nTell me a joke<|im_end|>\n<|im_start|>assistant\n");
}

void BM_DecodeEnglish(benchmark::State& state) {
  const std::string text = english(kMegabyte);
  const std::vector<int32_t> ids = tokenizer().encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer().decode(ids));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::load_file(kFile).vocab_size());
}

BENCHMARK(BM_EncodeEnglish)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeCode)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeChinese)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeOneLetter)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeRandomLetters)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_EncodeChatTurn)->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_DecodeEnglish)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);

}  // namespace
