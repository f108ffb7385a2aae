// Many conversations on one model: tokens per second together against one alone, what a second one adds to memory, and
// how long streams wait between tokens while a long prompt arrives.
//
// Usage: chats_bench MODEL [--chats N] [--tokens N] [--prompt N] [--rounds N] [--threads N] [--backend NAME]
// MODEL needs a tokenizer whose ids the model knows. One and many take turns within a round; medians over the rounds.
// Wall-clock on an otherwise idle machine. Not a test: nothing here fails.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include "prosa/chat.h"
#include "prosa/session.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double resident_mib() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return static_cast<double>(resident) * 4096 / (1 << 20);
}

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

prosa::SamplingConfig sampling(int tokens, uint64_t seed) {
  prosa::SamplingConfig config;
  config.max_tokens = tokens;
  config.seed = seed;
  config.disable_thinking = true;
  return config;
}

/// Tokens per second that these chats decode together. Their prompts have been read before the clock starts.
double together(std::vector<prosa::Chat>& chats, int tokens) {
  std::atomic<size_t> ready = 0;
  std::atomic<int64_t> generated = 0;
  std::atomic<bool> go = false;
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < chats.size(); ++i) {
    threads.emplace_back([&, i] {
      const std::vector<prosa::Message> messages = {{prosa::Role::user, fmt::format("Hello from number {}", i)}};
      (void)chats[i].generate(messages, sampling(1, i));
      ++ready;
      while (!go) std::this_thread::yield();
      generated += chats[i].generate(messages, sampling(tokens, i)).stats.generated_tokens;
    });
  }
  while (ready < chats.size()) std::this_thread::yield();
  const Clock::time_point start = Clock::now();
  go = true;
  threads.clear();
  return static_cast<double>(generated) / seconds_since(start);
}

struct Waits {
  double longest_ms = 0;
  double median_ms = 0;
  double prompt_s = 0;
};

/// How long `streams` sessions wait for each token while another one reads a prompt.
Waits waits(const prosa::Model& model, int streams, int prompt) {
  const int64_t vocab = model.info().vocab_size;
  std::atomic<bool> over = false;
  std::atomic<bool> reading = false;
  std::atomic<int> running = 0;
  std::vector<std::vector<double>> times(static_cast<size_t>(streams));
  std::vector<std::jthread> threads;
  for (int i = 0; i < streams; ++i) {
    threads.emplace_back([&, i] {
      prosa::Session session(model);
      session.sync(std::vector<int32_t>{1, 2, 3, i});
      std::mt19937 random(static_cast<unsigned>(i));
      session.decode(1);
      ++running;
      while (!over) {
        const Clock::time_point start = Clock::now();
        session.decode(static_cast<int32_t>(random() % static_cast<uint32_t>(vocab)));
        if (reading) times[static_cast<size_t>(i)].push_back(1000 * seconds_since(start));
      }
    });
  }
  while (running < streams) std::this_thread::yield();
  std::vector<int32_t> tokens(static_cast<size_t>(prompt));
  std::mt19937 random(99);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
  prosa::Session reader(model);
  const Clock::time_point start = Clock::now();
  reading = true;
  reader.sync(tokens);
  Waits result;
  result.prompt_s = seconds_since(start);
  over = true;
  threads.clear();
  std::vector<double> all;
  for (const auto& of_stream : times) all.insert(all.end(), of_stream.begin(), of_stream.end());
  result.longest_ms = *std::ranges::max_element(all);
  result.median_ms = median(all);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Many conversations on one model");
  std::string name;
  int chats = 8, tokens = 64, prompt = 2000, rounds = 3;
  prosa::LoadOptions options;
  app.add_option("model", name)->required();
  app.add_option("--chats", chats)->check(CLI::Range(2, 256));
  app.add_option("--tokens", tokens)->check(CLI::PositiveNumber);
  app.add_option("--prompt", prompt)->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads);
  app.add_option("--backend", options.backend);
  CLI11_PARSE(app, argc, argv);

  const prosa::Model model = prosa::Model::from_pretrained(name, options);
  std::vector<prosa::Chat> one, many;
  one.emplace_back(model);
  (void)together(one, 8);
  const double before = resident_mib();
  many.emplace_back(model);
  (void)together(many, 8);
  const prosa::MemoryFootprint added = many.front().memory_footprint();
  fmt::print(
      "a second chat adds {:.1f} MiB resident: state {:.1f}, KV {:.1f}, row of logits and shared scratch {:.1f} MiB\n",
      resident_mib() - before, mib(added.state), mib(added.kv), mib(added.scratch));
  while (std::ssize(many) < chats) many.emplace_back(model);

  std::vector<double> alone, all;
  for (int round = 0; round < rounds; ++round) {
    alone.push_back(together(one, tokens));
    all.push_back(together(many, tokens));
    fmt::print("round {}: 1 chat {:.1f} tok/s, {} chats {:.1f} tok/s, {:.2f} times\n", round + 1, alone.back(), chats,
               all.back(), all.back() / alone.back());
  }
  fmt::print("medians: 1 chat {:.1f} tok/s, {} chats {:.1f} tok/s, {:.2f} times\n", median(alone), chats, median(all),
             median(all) / median(alone));
  for (int round = 0; round < rounds; ++round) {
    const Waits result = waits(model, chats - 1, prompt);
    fmt::print(
        "{} streams while a prompt of {} tokens is read in {:.1f} s: a token takes {:.0f} ms (median), {:.0f} ms at "
        "most\n",
        chats - 1, prompt, result.prompt_s, result.median_ms, result.longest_ms);
  }
  return 0;
}
