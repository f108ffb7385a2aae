// What conversations cost beyond their tokens: checkpoints, coming back to them, files, cancelling, memory.
//
// Usage: session_bench MODEL [--long N] [--threads N] [--isa NAME] [--kv-bits N] [--turns]   (MODEL needs no tokenizer)
// A table of medians; every number is wall-clock on an otherwise idle machine. Not a test: nothing here fails.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
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
using Ids = std::vector<int32_t>;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

template <typename Call>
double time_ms(const Call& call) {
  const Clock::time_point start = Clock::now();
  call();
  return ms_since(start);
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}
double median(const std::vector<double>& values) { return quantile(values, 0.5); }

std::mt19937 generator(1);
Ids random_ids(int64_t count, int64_t vocab) {
  Ids ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(vocab));
  return ids;
}
Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

double resident_mib() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

void line(const std::string& what, const std::string& value) {
  fmt::print("{:<58} {}\n", what, value);
  std::fflush(stdout);
}

/// A turn of 20 tokens behind a short and behind a long history, one after the other, so that both meet the same host.
void measure_turns(const prosa::Model& model, int64_t near, int64_t far) {
  const int64_t vocab = model.info().vocab_size;
  struct Place {
    prosa::Session session;
    Ids context;
    std::vector<double> times = {};
  };
  std::vector<Place> places;
  for (const int64_t depth : {near, far}) {
    places.push_back({prosa::Session(model), random_ids(depth, vocab)});
    places.back().session.sync(places.back().context);
    places.back().session.mark();
  }
  std::vector<double> ratios;
  for (int round = 0; round < 15; ++round) {
    for (Place& place : places)
      place.times.push_back(time_ms([&] { place.session.sync(place.context + random_ids(20, vocab)); }));
    ratios.push_back(places[1].times.back() / places[0].times.back());
  }
  line(fmt::format("turns of 20 tokens at {} and at {}", near, far),
       fmt::format("{:.0f} ms, {:.0f} ms", median(places[0].times), median(places[1].times)));
  line("the second against the first: median, quartiles",
       fmt::format("{:.2f} ({:.2f} to {:.2f})", median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75)));
}

/// StateStore, restores and rewinds behind `depth` tokens.
void measure_at(const prosa::Model& model, int64_t depth) {
  const int64_t vocab = model.info().vocab_size;
  prosa::Session session(model);
  const Ids context = random_ids(depth, vocab);
  session.sync(context);
  // Neither copies the state: the step after it does, where it reads it anyway. So the costs are what that step takes
  // longer than the one behind it.
  std::vector<double> marks, after_marks, restores;
  session.mark();
  for (int i = 0; i < 15; ++i) {
    session.sync(context + random_ids(20, vocab));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // somebody speaks; memory is made ready meanwhile
    for (int step = 0; step < 2; ++step) session.decode(1);      // behind a pause the first ones take longer
    marks.push_back(time_ms([&] { session.mark(); }));
    const double first = time_ms([&] { session.decode(1); });
    after_marks.push_back(first - time_ms([&] { session.decode(1); }));
  }
  for (int i = 0; i < 15; ++i) {
    const Ids one = context + random_ids(1, vocab);
    const double first = time_ms([&] { session.sync(one); });
    restores.push_back(first - time_ms([&] { session.sync(one + random_ids(1, vocab)); }));
  }
  line(fmt::format("checkpoint at {} tokens; what it adds to the step after it", depth),
       fmt::format("{:.2f}; {:.2f} ms", median(marks), median(after_marks)));
  line(fmt::format("restore at {} tokens: what it adds to the step after it", depth),
       fmt::format("{:.2f} ms", median(restores)));

  std::vector<double> rewinds, prefills;
  for (int i = 0; i < 9; ++i) {
    session.sync(context);
    const Ids reply = random_ids(60, vocab);
    for (const int32_t token : reply) session.decode(token);
    rewinds.push_back(time_ms([&] { session.rewind(depth + 30); }));
    session.sync(context + random_ids(1, vocab));
    session.rewind(depth + 1);
    prefills.push_back(
        time_ms([&] { session.sync(Ids(session.tokens().begin(), session.tokens().end()) + random_ids(30, vocab)); }));
  }
  line(fmt::format("rewind to 30 tokens behind a mark at {}", depth), fmt::format("{:.0f} ms", median(rewinds)));
  line(fmt::format("prefill of 30 tokens at {}", depth), fmt::format("{:.0f} ms", median(prefills)));
}

void measure_file(const prosa::Model& model) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("session-bench-{}", getpid())).string();
  prosa::Session session(model);
  const Ids context = random_ids(2000, model.info().vocab_size);
  session.sync(context);
  std::vector<double> saves, loads;
  for (int i = 0; i < 7; ++i) {
    saves.push_back(time_ms([&] { session.save(path); }));
    prosa::Session other(model);
    loads.push_back(time_ms([&] { other.load(path); }));
  }
  line(fmt::format("save 2000 tokens ({:.0f} MiB)", static_cast<double>(std::filesystem::file_size(path)) / (1 << 20)),
       fmt::format("{:.0f} ms", median(saves)));
  line("load them", fmt::format("{:.0f} ms", median(loads)));
  std::filesystem::remove(path);
}

/// A process of its own: begin to first token of a 20-token turn, with `path` loaded. Called in that process.
int resume(const std::string& name, const std::string& path, const prosa::LoadOptions& options) {
  const prosa::Model model = prosa::Model::from_pretrained(name, options);
  prosa::Session session(model);
  session.load(path);
  const Ids held(session.tokens().begin(), session.tokens().end());
  session.sync(held + random_ids(20, model.info().vocab_size));
  return session.logits().empty() ? 1 : 0;
}

/// A session of 2000 tokens that another process goes on with.
void measure_restart(const std::string& name, const prosa::LoadOptions& options) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("session-bench-{}", getpid())).string();
  {
    const prosa::Model model = prosa::Model::from_pretrained(name, options);
    prosa::Session session(model);
    session.sync(random_ids(2000, model.info().vocab_size));
    session.save(path);
  }
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    times.push_back(time_ms([&] {
      const pid_t child = fork();
      if (child == 0) {
        std::vector<std::string> arguments = {"session_bench", name, "--resume", path};
        if (options.threads > 0) arguments.insert(arguments.end(), {"--threads", std::to_string(options.threads)});
        arguments.insert(arguments.end(), {"--kv-bits", std::to_string(options.kv_bits)});
        if (!options.isa.empty()) arguments.insert(arguments.end(), {"--isa", options.isa});
        std::vector<char*> pointers;
        for (std::string& argument : arguments) pointers.push_back(argument.data());
        pointers.push_back(nullptr);
        execv("/proc/self/exe", pointers.data());
        _exit(127);
      }
      int status = 0;
      if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        throw std::runtime_error("no second process");
    }));
  }
  line("process begin, load, 2000 saved tokens, a turn of 20, its first token and the end",
       fmt::format("{:.0f} ms ({:.0f} to {:.0f})", median(times), quantile(times, 0), quantile(times, 1)));
  std::filesystem::remove(path);
}

void measure_cancel(const prosa::Model& model) {
  const Ids prompt = random_ids(4000, model.info().vocab_size);
  std::vector<double> latencies;
  for (int i = 0; i < 100; ++i) {
    prosa::Session session(model);
    std::atomic<bool> cancel = false;
    Clock::time_point asked;
    std::thread asker([&, wait = 50 + generator() % 400] {
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      asked = Clock::now();
      cancel = true;
    });
    try {
      session.sync(prompt, {}, &cancel);
    } catch (const prosa::Error&) {
    }
    const Clock::time_point stopped = Clock::now();
    asker.join();
    latencies.push_back(std::chrono::duration<double, std::milli>(stopped - asked).count());
  }
  line("cancel in a prefill of 4000 tokens: median, p99, longest",
       fmt::format("{:.1f}, {:.1f}, {:.1f} ms", median(latencies), quantile(latencies, 0.99), quantile(latencies, 1)));
}

/// Of a model that can chat: from cancel() in a reply to its end, against the steps between pieces.
void measure_decode_cancel(const std::string& name, const prosa::LoadOptions& options) {
  if (!std::filesystem::exists(std::filesystem::path(name) / "tokenizer.json")) return;
  prosa::Chat chat = prosa::Chat::from_pretrained(name, options);
  std::vector<double> latencies;
  std::vector<double> steps;  // between two pieces: what a cancel may have to wait for
  for (int i = 0; i < 200; ++i) {
    std::thread asker;
    Clock::time_point asked;
    std::optional<Clock::time_point> last;
    chat.generate_stream({{prosa::Role::user, "Tell me a long story about the sea."}},
                         {.temperature = 1.5F, .max_tokens = 200}, [&](const prosa::Piece&) {
                           const Clock::time_point now = Clock::now();
                           if (last) steps.push_back(std::chrono::duration<double, std::milli>(now - *last).count());
                           last = now;
                           if (!asker.joinable()) {
                             asker = std::thread([&, wait = generator() % 20000] {
                               std::this_thread::sleep_for(std::chrono::microseconds(wait));
                               asked = Clock::now();
                               chat.cancel();
                             });
                           }
                           return true;
                         });
    const Clock::time_point stopped = Clock::now();
    if (asker.joinable()) asker.join();
    if (chat.stats().finish == prosa::FinishReason::cancelled)
      latencies.push_back(std::chrono::duration<double, std::milli>(stopped - asked).count());
  }
  if (latencies.empty() || steps.empty()) return;
  line(fmt::format("cancel in a reply ({} times): median, p99", latencies.size()),
       fmt::format("{:.2f}, {:.2f} ms", median(latencies), quantile(latencies, 0.99)));
  line("a decode step beside it: median, p99", fmt::format("{:.2f}, {:.2f} ms", median(steps), quantile(steps, 0.99)));
}

void measure_load_and_memory(const std::string& name, const prosa::LoadOptions& options) {
  const double before = resident_mib();
  std::optional<prosa::Model> model = prosa::Model::from_pretrained(name, options);
  {
    prosa::Session session(*model);
    session.sync(random_ids(1000, model->info().vocab_size), std::vector<int64_t>{300, 700});
    prosa::MemoryFootprint footprint = session.memory_footprint();
    const prosa::MemoryFootprint own = model->memory_footprint();
    const double told = static_cast<double>(footprint.total() + own.weights + own.scratch) / (1 << 20);
    line("resident memory beyond the bare program", fmt::format("{:.0f} MiB", resident_mib() - before));
    line("memory_footprint().total()", fmt::format("{:.0f} MiB", told));
  }
  model.reset();
  line("resident after unloading, beyond the bare program", fmt::format("{:.1f} MiB", resident_mib() - before));

  std::vector<double> latencies;
  for (int i = 0; i < 5; ++i) {
    std::atomic<bool> cancel = false;
    prosa::LoadOptions cancellable = options;
    cancellable.cancel = &cancel;
    Clock::time_point asked;
    std::thread asker([&, wait = 30 + generator() % 300] {
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      asked = Clock::now();
      cancel = true;
    });
    bool done = true;
    try {
      (void)prosa::Model::from_pretrained(name, cancellable);
    } catch (const prosa::Error&) {
      done = false;
    }
    const Clock::time_point stopped = Clock::now();
    asker.join();
    if (!done) latencies.push_back(std::chrono::duration<double, std::milli>(stopped - asked).count());
  }
  if (!latencies.empty()) line("cancel while loading: longest", fmt::format("{:.0f} ms", quantile(latencies, 1)));
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("What conversations cost beyond their tokens", "session_bench");
  std::string name, resumed;
  int64_t far = 8000;
  bool only_turns = false;
  prosa::LoadOptions options;
  app.add_option("MODEL", name, "folder of a checkpoint")->required();
  app.add_option("--long", far, "tokens of the long history")->check(CLI::Range(1, 1 << 20));
  app.add_option("--threads", options.threads, "physical cores if not given")->check(CLI::Range(1, 1024));
  app.add_option("--isa", options.isa, "the best one if not given");
  app.add_option("--kv-bits", options.kv_bits, "8 or 16")->check(CLI::IsMember({8, 16}));
  app.add_flag("--turns", only_turns, "only turns behind a short and a long history");
  app.add_option("--resume", resumed, "what this program calls itself with")->group("");
  CLI11_PARSE(app, argc, argv);
  if (!resumed.empty()) return resume(name, resumed, options);
  options.context = std::max<int64_t>(far, 4000) + 200;
  if (only_turns) {
    measure_turns(prosa::Model::from_pretrained(name, options), 200, far);
    return 0;
  }
  measure_load_and_memory(name, options);
  measure_restart(name, options);
  const prosa::Model model = prosa::Model::from_pretrained(name, options);
  line("model", fmt::format("{}, {} threads", model.info().isa, model.info().threads));
  measure_decode_cancel(name, options);
  measure_turns(model, 200, far);
  measure_at(model, 200);
  measure_file(model);
  measure_cancel(model);
  measure_at(model, far);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
