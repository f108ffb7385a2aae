// Speed of the cuda backend on one model folder: decoding by depth, prompts, sessions together, snapshots. Prints one
// line a measurement: median, smallest, largest; beside it bytes a second and the share of the read rate measured in
// this process.
//
// usage: gpu_bench MODEL [--no-graphs] [--no-overlap] [--gen N]
//                  [--only decode|deep|prefill|batch|snapshot|profile]
// profile: single passes for a profiler (ncu --profile-from-start off), not part of the rest.
#include <cuda_profiler_api.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "prosa/error.h"
#include "read_rate.h"

namespace prosa::test {
namespace {

using namespace prosa::backend;
using Clock = std::chrono::steady_clock;
using Ids = std::vector<int32_t>;

/// Since this process began, in steps of 10 ms.
double process_seconds() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int i = 0; i < 20; ++i) fields >> field;  // the 22nd of all: clock ticks from the machine's start
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 -
         std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

struct Figures {
  double median = 0, least = 0, most = 0;
};

template <typename Work>
Figures measure(int rounds, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = Clock::now();
    work();
    times.push_back(seconds_since(begin));
  }
  std::ranges::sort(times);
  return {times[times.size() / 2], times.front(), times.back()};
}

class Bench {
 public:
  Bench(Backend& backend, const Weights& weights, double read_rate, int gen)
      : backend_(backend), weights_(weights), read_rate_(read_rate), gen_(gen) {
    const ModelConfig& c = backend.config();
    for (const LayerType type : c.layer_types) (type == LayerType::full_attention ? attention_ : delta_) += 1;
    state_bytes_ = 4.0 * delta_ * c.linear_num_value_heads * c.linear_key_head_dim * c.linear_value_head_dim;
    kv_bytes_ = 2.0 * 2.0 * attention_ * static_cast<double>(c.kv_dim());
  }

  void decode(int64_t depth) {
    const auto state = backend_.new_state(depth + 16 * gen_ + 64);
    if (depth > 0) feed(*state, random_ids(depth), Rows::none);
    const double bytes =
        static_cast<double>(weights_.byte_size()) + 2 * state_bytes_ + kv_bytes_ * static_cast<double>(depth);
    int32_t token = 1;
    const auto step = [&] {
      feed(*state, {token}, Rows::last);
      const RowPick ask{state.get(), 0, {}};
      Candidates answer;
      backend_.candidates({&ask, 1}, {&answer, 1});
      token = answer.best.empty() ? 1 : answer.best.front().id;
    };
    for (int i = 0; i < 8; ++i) step();
    report("decode, greedy, each token asked for", depth, 1, gen_, bytes, measure(7, [&] {
             for (int i = 0; i < gen_; ++i) step();
           }));
    report("decode, steps alone", depth, 1, gen_, bytes, measure(5, [&] {
             for (int i = 0; i < gen_; ++i) feed(*state, {token}, Rows::last);
             wait(*state);
           }));
  }

  void prefill(int64_t count) {
    const Ids ids = random_ids(count);
    const auto state = backend_.new_state(count);
    const auto all = [&] {
      backend_.reset(*state);
      feed(*state, ids, Rows::last);
      wait(*state);
    };
    all();
    const Figures f = measure(9, all);
    const double products =
        2.0 *
        static_cast<double>(weights_.parameter_count() - weights_.embed_tokens.rows * weights_.embed_tokens.cols) *
        static_cast<double>(count);
    std::printf("prefill %6ld tokens: %9.0f tok/s (%.0f .. %.0f)  %.3f ms  %.1f TFLOP/s in products\n", count,
                count / f.median, count / f.most, count / f.least, f.median * 1e3, products / f.median * 1e-12);
    std::fflush(stdout);
  }

  /// The first token of a prompt of 20, as soon as the model is ready.
  void first_token() {
    const auto begin = Clock::now();
    const auto state = backend_.new_state(64);
    feed(*state, random_ids(20), Rows::last);
    wait(*state);
    std::printf("first prompt of 20 tokens: %.1f ms; from the begin of the process: %.2f s\n",
                seconds_since(begin) * 1e3, process_seconds());
    std::fflush(stdout);
  }

  /// First token of a short turn on a state that is warm.
  void turn(int64_t count) {
    const auto state = backend_.new_state(4096);
    feed(*state, random_ids(1000), Rows::none);
    const auto warm = backend_.snapshot(*state);
    const Ids ids = random_ids(count);
    const auto all = [&] {
      backend_.restore(*state, *warm);
      feed(*state, ids, Rows::last);
      const RowPick ask{state.get(), 0, {}};
      Candidates answer;
      backend_.candidates({&ask, 1}, {&answer, 1});
    };
    all();
    const Figures f = measure(21, all);
    backend_.restore(*state, *warm);
    const auto begin = Clock::now();
    feed(*state, ids, Rows::last);
    const double put = seconds_since(begin);
    std::printf("first token of a turn of %ld tokens at 1,000: %.3f ms (%.3f .. %.3f); put on the stream in %.3f ms\n",
                count, f.median * 1e3, f.least * 1e3, f.most * 1e3, put * 1e3);
    std::fflush(stdout);
  }

  void sessions(int count, int64_t k) {
    std::vector<std::unique_ptr<State>> states;
    for (int i = 0; i < count; ++i) {
      states.push_back(backend_.new_state(4 * gen_ + 400));
      feed(*states.back(), random_ids(65 + i), Rows::last);
    }
    Ids tokens(static_cast<size_t>(count), 1);
    const auto step = [&] {
      std::vector<Segment> segments(static_cast<size_t>(count));
      std::vector<RowPick> asks(static_cast<size_t>(count));
      std::vector<Candidates> answers(static_cast<size_t>(count));
      for (size_t i = 0; i < segments.size(); ++i) {
        segments[i].state = states[i].get();
        segments[i].tokens = std::span(tokens).subspan(i, 1);
        asks[i] = {states[i].get(), 0, {.k = k, .log_sum = k > 1}};
      }
      backend_.run(segments);
      backend_.candidates(asks, answers);
      for (size_t i = 0; i < segments.size(); ++i) tokens[i] = answers[i].best.front().id;
    };
    for (int i = 0; i < 4; ++i) step();
    const double bytes = static_cast<double>(weights_.byte_size()) + 2 * state_bytes_ * count;
    const int steps = std::max(gen_ / 8, 8);
    report(k > 1 ? "sessions together, 50 best" : "sessions together, greedy", 100, count, steps, bytes,
           measure(5, [&] {
             for (int i = 0; i < steps; ++i) step();
           }));
  }

  /// One step of 64 sessions, a turn of 20 tokens, a prompt of 2,048 and a token, between the signs that a profiler
  /// looks for.
  void single_passes() {
    const auto one = [&](const char* what, const auto& work) {
      work();
      std::printf("profiled: %s\n", what);
      std::fflush(stdout);
      cudaProfilerStart();
      work();
      cudaProfilerStop();
    };
    std::vector<std::unique_ptr<State>> states;
    for (int i = 0; i < 64; ++i) {
      states.push_back(backend_.new_state(400));
      feed(*states.back(), random_ids(65 + i), Rows::last);
    }
    const Ids tokens(64, 1);
    one("64 sessions", [&] {
      std::vector<Segment> segments(64);
      for (size_t i = 0; i < segments.size(); ++i) {
        segments[i].state = states[i].get();
        segments[i].tokens = std::span(tokens).subspan(i, 1);
        segments[i].rows = Rows::last;
      }
      backend_.run(segments);
      wait(*states.front());
    });
    const auto state = backend_.new_state(8192);
    for (const int64_t count : {20, 2048, 1}) {
      const Ids ids = random_ids(count);
      one(count == 1    ? "a token"
          : count == 20 ? "a turn of 20"
                        : "a prompt of 2,048",
          [&] {
            feed(*state, ids, Rows::last);
            wait(*state);
          });
    }
  }

  void snapshots() {
    const auto state = backend_.new_state(4096);
    for (const int64_t depth : {int64_t{100}, int64_t{2000}}) {
      backend_.reset(*state);
      feed(*state, random_ids(depth), Rows::last);
      wait(*state);
      std::vector<std::unique_ptr<Snapshot>> kept;
      const auto line = [&](const char* what, const Figures& f) {
        std::printf("%s at %ld: %.1f us (%.1f .. %.1f)\n", what, depth, f.median * 1e6, f.least * 1e6, f.most * 1e6);
      };
      line("snapshot on the card", measure(21, [&] { kept.push_back(backend_.snapshot(*state, Place::device)); }));
      line("restore on the card", measure(21, [&] { backend_.restore(*state, *kept.back()); }));
      kept.push_back(backend_.snapshot(*state, Place::pinned_host));
      kept.pop_back();
      line("snapshot to pinned memory", measure(21, [&] { (void)backend_.snapshot(*state, Place::pinned_host); }));
      kept.push_back(backend_.snapshot(*state, Place::pinned_host));
      line("restore from pinned memory, until the next token", measure(21, [&] {
             backend_.restore(*state, *kept.back());
             feed(*state, {1}, Rows::last);
             wait(*state);
           }));
      line("a token alone", measure(21, [&] {
             feed(*state, {1}, Rows::last);
             wait(*state);
           }));
    }
  }

 private:
  Ids random_ids(int64_t count) {
    Ids ids(static_cast<size_t>(count));
    for (int32_t& id : ids) id = static_cast<int32_t>(random_() % static_cast<uint32_t>(backend_.config().vocab_size));
    return ids;
  }
  void feed(State& state, const Ids& ids, Rows rows) {
    Segment segment;
    segment.state = &state;
    segment.tokens = ids;
    segment.rows = rows;
    backend_.run({&segment, 1});
  }
  void wait(State& state) {
    const RowPick ask{&state, 0, {}};
    Candidates answer;
    backend_.candidates({&ask, 1}, {&answer, 1});
  }
  void report(const char* what, int64_t depth, int batch, int steps, double bytes, const Figures& f) {
    const double each = f.median / steps;
    std::printf(
        "%s, depth %ld, %d rows: %9.1f tok/s (%.1f .. %.1f)  %.1f us a step  %.0f GB/s  %.1f %% of the read rate\n",
        what, depth, batch, batch / each, batch * steps / f.most, batch * steps / f.least, each * 1e6,
        bytes / each * 1e-9, 100 * bytes / each / read_rate_);
    std::fflush(stdout);
  }

  Backend& backend_;
  const Weights& weights_;
  const double read_rate_;
  const int gen_;
  int attention_ = 0, delta_ = 0;
  double state_bytes_ = 0, kv_bytes_ = 0;
  std::mt19937 random_{7};
};

int run(int argc, char** argv) {
  BackendOptions options;
  std::string only;
  int gen = 256;
  for (int i = 2; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--no-graphs") options.cuda.graphs = false;
    if (arg == "--no-overlap") options.cuda.overlap = false;
    if (arg == "--only" && i + 1 < argc) only = argv[++i];
    if (arg == "--gen" && i + 1 < argc) gen = std::stoi(argv[++i]);
  }
  const auto begin = Clock::now();
  const auto weights = checkpoint::load_weights(argv[1]);
  const auto backend = make_backend("cuda", weights, options);
  std::printf("%s; %s\nready after %.3f s\n", backend->description().kernels.c_str(),
              backend->description().details.c_str(), seconds_since(begin));
  Bench(*backend, *weights, 1, gen).first_token();
  const double rate = read_bytes_per_second();
  std::printf("read rate %.0f GB/s; weights %.1f MB in the file, on the card %.1f MB, scratch %.1f MB\n", rate * 1e-9,
              weights->byte_size() * 1e-6, backend->memory().weights * 1e-6, backend->memory().scratch * 1e-6);
  Bench bench(*backend, *weights, rate, gen);
  const auto wanted = [&](const char* what) { return only.empty() || only == what; };
  if (wanted("decode")) bench.decode(0);
  if (wanted("prefill")) {
    for (const int64_t count : {64, 128, 512, 2048, 8192}) bench.prefill(count);
    bench.turn(20);
  }
  if (wanted("deep")) bench.decode(16384);
  if (wanted("batch")) {
    for (const int count : {2, 4, 8, 16, 32, 64}) bench.sessions(count, 1);
    bench.sessions(64, 50);
  }
  if (wanted("snapshot")) bench.snapshots();
  if (only == "profile") bench.single_passes();
  return 0;
}

}  // namespace
}  // namespace prosa::test

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: gpu_bench MODEL [--no-graphs] [--no-overlap] [--only PART] [--gen N]\n");
    return 2;
  }
  try {
    return prosa::test::run(argc, argv);
  } catch (const prosa::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.code() == prosa::ErrorCode::unsupported ? 77 : 1;
  }
}
