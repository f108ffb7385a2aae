// prosa bench: prefill and decode speed of a model beside what this machine can do, measured in the same process.
//
// Bytes of a decode step: every weight once, recurrent and conv state read and written, KV cache read, for each
// sequence of the batch. Token ids are arbitrary but fixed: speed does not depend on them.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "cli/ceilings.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/sizes.h"
#include "cli/terminal.h"
#include "hub/locate.h"

namespace prosa::cli {
namespace {

struct BenchArguments {
  std::string model;
  std::vector<int64_t> prompt = {128, 512};
  int64_t gen = 64;
  std::vector<int64_t> depth = {0};
  std::vector<int64_t> batch = {1};
  int repeat = 5;
  bool json = false;
  bool profile = false;
  LoadOptions load;
};

struct Run {
  const char* kind = "";
  int64_t tokens = 0, depth = 0, batch = 1;
  double tok_s = 0, tok_s_min = 0, tok_s_max = 0;  // median, slowest, fastest repetition
  double bytes_per_second = 0, macs_per_second = 0;
};

/// Fixed ids in [0, vocab), spread over the embedding table.
std::vector<int32_t> some_tokens(int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  uint64_t x = 1;
  for (int32_t& token : tokens) {
    x = x * 6364136223846793005U + 1442695040888963407U;
    token = static_cast<int32_t>((x >> 33) % static_cast<uint64_t>(vocab));
  }
  return tokens;
}

/// The benchmark of one loaded model.
class Bench {
 public:
  Bench(const BenchArguments& arguments, std::shared_ptr<const Weights> weights)
      : arguments_(arguments),
        weights_(std::move(weights)),
        sizes_(step_sizes(*weights_)),
        backend_(backend::make_backend(arguments.load.backend, weights_, backend_options())) {}

  [[nodiscard]] backend::Backend& backend() { return *backend_; }
  [[nodiscard]] const StepSizes& sizes() const { return sizes_; }

  Run prefill(int64_t tokens, int64_t depth) {
    progress("prefill", tokens, depth, 1);
    const auto state = state_at(depth, tokens);
    const auto snapshot = depth > 0 ? backend_->snapshot(*state) : nullptr;
    const auto ids = some_tokens(tokens, vocab());
    std::vector<float> logits(static_cast<size_t>(vocab()));
    const auto seconds = repeat([&] { rewind(*state, snapshot.get()); },
                                [&] {
                                  backend::PrefillRequest request;
                                  request.tokens = ids;
                                  request.logits = logits;
                                  backend_->prefill(*state, request);
                                });
    const double bytes = static_cast<double>(sizes_.step_bytes + 2 * sizes_.state_bytes) +
                         static_cast<double>(sizes_.kv_bytes_per_token * depth);
    const double macs = static_cast<double>(tokens * sizes_.layer_macs + sizes_.head_macs);
    return summarize({"prefill", tokens, depth, 1}, seconds, bytes, macs);
  }

  Run decode(int64_t tokens, int64_t depth, int64_t batch) {
    progress("decode", tokens, depth, batch);
    std::vector<std::unique_ptr<backend::State>> owned;
    std::vector<backend::State*> states;
    owned.push_back(state_at(depth, tokens));
    const auto snapshot = depth > 0 ? backend_->snapshot(*owned.front()) : nullptr;
    for (int64_t i = 1; i < batch; ++i) owned.push_back(backend_->new_state(depth + tokens));
    for (const auto& state : owned) states.push_back(state.get());
    const auto ids = some_tokens(tokens * batch, vocab());
    std::vector<float> logits(static_cast<size_t>(batch * vocab()));
    const auto seconds = repeat(
        [&] {
          for (backend::State* state : states) rewind(*state, snapshot.get());
        },
        [&] {
          for (int64_t step = 0; step < tokens; ++step) {
            const auto row = std::span(ids).subspan(static_cast<size_t>(step * batch), static_cast<size_t>(batch));
            if (batch == 1)
              backend_->decode(*states.front(), row.front(), logits);
            else
              backend_->decode_batch(states, row, logits);
          }
        });
    const double kv_read = static_cast<double>(sizes_.kv_bytes_per_token) *
                           (static_cast<double>(depth) + 0.5 * static_cast<double>(tokens + 1));
    const double each = 2.0 * static_cast<double>(sizes_.state_bytes) + kv_read;
    const double bytes =
        static_cast<double>(tokens) * (static_cast<double>(sizes_.step_bytes) + static_cast<double>(batch) * each);
    const double macs = static_cast<double>(tokens * batch * (sizes_.layer_macs + sizes_.head_macs));
    return summarize({"decode", tokens, depth, batch}, seconds, bytes, macs);
  }

 private:
  [[nodiscard]] backend::BackendOptions backend_options() const {
    backend::BackendOptions options;
    options.threads = arguments_.load.threads;
    options.isa = arguments_.load.isa;
    return options;
  }
  [[nodiscard]] int64_t vocab() const { return weights_->config.vocab_size; }

  /// A state that has seen `depth` tokens, with room for `more`.
  std::unique_ptr<backend::State> state_at(int64_t depth, int64_t more) {
    auto state = backend_->new_state(depth + more);
    if (depth == 0) return state;
    const auto ids = some_tokens(depth, vocab());
    backend::PrefillRequest request;
    request.tokens = ids;
    request.rows = backend::LogitRows::none;
    backend_->prefill(*state, request);
    return state;
  }

  void rewind(backend::State& state, const backend::Snapshot* snapshot) {
    if (snapshot != nullptr)
      backend_->restore(state, *snapshot);
    else
      backend_->reset(state);
  }

  /// Seconds of each repetition, after one that is not counted.
  std::vector<double> repeat(const std::function<void()>& prepare, const std::function<void()>& work) {
    std::vector<double> seconds;
    for (int i = 0; i <= arguments_.repeat; ++i) {
      prepare();
      const auto start = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      if (i > 0) seconds.push_back(elapsed.count());
    }
    std::ranges::sort(seconds);
    return seconds;
  }

  /// `seconds` sorted; `bytes` and `macs` of one repetition.
  static Run summarize(Run run, const std::vector<double>& seconds, double bytes, double macs) {
    const size_t middle = seconds.size() / 2;
    const double median = seconds.size() % 2 == 1 ? seconds[middle] : 0.5 * (seconds[middle - 1] + seconds[middle]);
    const auto tokens = static_cast<double>(run.tokens * run.batch);
    run.tok_s = tokens / median;
    run.tok_s_min = tokens / seconds.back();
    run.tok_s_max = tokens / seconds.front();
    run.bytes_per_second = bytes / median;
    run.macs_per_second = macs / median;
    return run;
  }

  static void progress(const char* kind, int64_t tokens, int64_t depth, int64_t batch) {
    fmt::print(stderr, "{} {} tokens, depth {}, batch {}\n", kind, tokens, depth, batch);
  }

  const BenchArguments& arguments_;
  std::shared_ptr<const Weights> weights_;
  StepSizes sizes_;
  std::unique_ptr<backend::Backend> backend_;
};

struct Ceilings {
  double read_gbps = 0;
  double int8_gmacs = 0;  // 0: no int8 kernel for this ISA
};

/// Part of the whole; nothing where the whole is not known.
nlohmann::ordered_json fraction(double part, double whole) {
  return whole > 0 ? nlohmann::ordered_json(part / whole) : nlohmann::ordered_json();
}

std::string percent(double part, double whole) {
  return whole > 0 ? fmt::format("{:.0f} %", 100 * part / whole) : std::string("-");
}

void print_json(Bench& bench, const Weights& weights, const Ceilings& ceilings, const std::vector<Run>& runs) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Run& run : runs) {
    rows.push_back({{"kind", run.kind},
                    {"tokens", run.tokens},
                    {"depth", run.depth},
                    {"batch", run.batch},
                    {"tok_s", run.tok_s},
                    {"tok_s_min", run.tok_s_min},
                    {"tok_s_max", run.tok_s_max},
                    {"gbps", run.bytes_per_second / 1e9},
                    {"bandwidth_fraction", fraction(run.bytes_per_second / 1e9, ceilings.read_gbps)},
                    {"peak_fraction", fraction(run.macs_per_second / 1e9, ceilings.int8_gmacs)}});
  }
  const nlohmann::ordered_json result = {
      {"read_gbps", ceilings.read_gbps},
      {"int8_gmacs", ceilings.int8_gmacs},
      {"threads", bench.backend().threads()},
      {"isa", bench.backend().isa()},
      {"model", {{"bits", bench.sizes().bits}, {"weight_bytes", weights.byte_size()}}},
      {"runs", rows}};
  print_output(result.dump(2) + "\n");
}

void print_table(Bench& bench, const Weights& weights, const Ceilings& ceilings, const std::vector<Run>& runs) {
  print_output(fmt::format(
      "{} bit, {} of weights; {} {}, {} threads; memory reads {:.1f} GB/s, int8 {:.0f} G multiply-adds/s\n\n",
      bench.sizes().bits, human_bytes(static_cast<double>(weights.byte_size())), bench.backend().name(),
      bench.backend().isa(), bench.backend().threads(), ceilings.read_gbps, ceilings.int8_gmacs));
  print_output(fmt::format("{:<8}{:>7}{:>7}{:>6}{:>10}  {:<17}{:>7}{:>11}{:>10}\n", "", "tokens", "depth", "batch",
                           "tok/s", "slowest..fastest", "GB/s", "bandwidth", "int8 peak"));
  for (const Run& run : runs) {
    print_output(fmt::format("{:<8}{:>7}{:>7}{:>6}{:>10.1f}  {:<17}{:>7.1f}{:>11}{:>10}\n", run.kind, run.tokens,
                             run.depth, run.batch, run.tok_s,
                             fmt::format("{:.1f}..{:.1f}", run.tok_s_min, run.tok_s_max), run.bytes_per_second / 1e9,
                             percent(run.bytes_per_second / 1e9, ceilings.read_gbps),
                             percent(run.macs_per_second / 1e9, ceilings.int8_gmacs)));
  }
}

/// Stage times of one run on stderr: where its time went.
void print_profile(const Run& run, const std::vector<backend::StageTime>& stages) {
  double total = 0;
  for (const auto& stage : stages) total += stage.seconds;
  if (total == 0) return;
  for (const auto& stage : stages) {
    fmt::print(stderr, "  {:<8}{:<24}{:>6.1f} %\n", run.kind, stage.stage, 100 * stage.seconds / total);
  }
}

void run(const BenchArguments& arguments) {
  const auto weights = checkpoint::load_weights(locate_model(arguments.model));
  Bench bench(arguments, weights);
  fmt::print(stderr, "measuring this machine\n");
  const Ceilings ceilings = {measure_read_gbps(bench.backend().threads()),
                             measure_int8_gmacs(bench.backend().isa(), bench.backend().threads())};
  if (arguments.profile) (void)bench.backend().take_profile();
  std::vector<Run> runs;
  const auto keep = [&](const Run& run) {
    runs.push_back(run);
    if (arguments.profile) print_profile(run, bench.backend().take_profile());
  };
  for (const int64_t depth : arguments.depth) {
    for (const int64_t tokens : arguments.prompt) {
      if (tokens > 0) keep(bench.prefill(tokens, depth));
    }
    for (const int64_t batch : arguments.batch) {
      if (arguments.gen > 0) keep(bench.decode(arguments.gen, depth, batch));
    }
  }
  if (arguments.json)
    print_json(bench, *weights, ceilings, runs);
  else
    print_table(bench, *weights, ceilings, runs);
}

}  // namespace

void add_bench(CLI::App& app) {
  constexpr int64_t most_tokens = int64_t{1} << 20;
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* bench = app.add_subcommand("bench", "prefill and decode speed beside this machine's limits");
  bench->add_option("MODEL", arguments->model, model_help);
  bench->add_option("--prompt", arguments->prompt, "prefill lengths; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, most_tokens))
      ->capture_default_str();
  bench->add_option("--gen", arguments->gen, "decode steps; 0: none")
      ->check(CLI::Range(int64_t{0}, most_tokens))
      ->capture_default_str();
  bench->add_option("--depth", arguments->depth, "tokens that stand before")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{0}, most_tokens))
      ->capture_default_str();
  bench->add_option("--batch", arguments->batch, "sequences decoded together")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{256}))
      ->capture_default_str();
  bench->add_option("--repeat", arguments->repeat, "repetitions; the median counts")
      ->check(CLI::Range(5, 1000))
      ->capture_default_str();
  bench->add_flag("--json", arguments->json, "one JSON object instead of a table");
  bench->add_flag("--profile", arguments->profile, "where the time goes, on stderr");
  add_load_options(*bench, arguments->load, false);
  bench->footer(
      "tok/s is a median. bandwidth: weights once, state read and written, KV cache read, against the memory's "
      "measured\n"
      "read speed. int8 peak: multiply-adds of the weight matrices against the measured dot-product rate.\n"
      "\n"
      "Examples:\n"
      "  prosa bench MODEL\n"
      "  prosa bench MODEL --prompt 0 --gen 64 --depth 0,4096 --batch 1,4 --json");
  bench->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
