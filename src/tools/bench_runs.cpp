// Measures prefill and decode of one model with one number of threads, between two measurements of the machine.
//
// Bytes of a decode step: every weight once, recurrent and conv state read and written, KV cache read, for each
// sequence of the batch. Token ids are arbitrary but fixed: speed does not depend on them. Invariant: repetitions
// alternate between the cases, so that a slow minute of a shared host hits all of them alike.
#include "tools/bench.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"
#include "cli/terminal.h"
#include "sampling/sampler.h"
#include "tools/ceilings.h"

namespace prosa::tools {
namespace {

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

std::vector<BenchCase> cases_of(const BenchArguments& arguments) {
  std::vector<BenchCase> cases;
  for (const int64_t depth : arguments.depth) {
    for (const int64_t tokens : arguments.prompt) {
      if (tokens > 0) cases.push_back({BenchKind::prefill, tokens, depth, 1});
    }
    for (const int64_t batch : arguments.batch) {
      if (arguments.gen > 0) cases.push_back({BenchKind::decode, arguments.gen, depth, batch});
    }
  }
  return cases;
}

/// One loaded model, the states that all cases share, and a snapshot for each depth.
class Runner {
 public:
  Runner(backend::Backend& backend, const StepSizes& sizes, const std::vector<BenchCase>& cases, bool profile)
      : backend_(backend), sizes_(sizes), vocab_(backend.config().vocab_size), profile_(profile) {
    int64_t batch = 1;
    std::vector<int64_t> capacity;  // of each sequence of the largest batch
    for (const BenchCase& what : cases) {
      batch = std::max(batch, what.batch);
      capacity.resize(static_cast<size_t>(batch), 1);
      for (int64_t i = 0; i < what.batch; ++i) {
        int64_t& room = capacity[static_cast<size_t>(i)];
        room = std::max(room, what.depth + what.tokens);
      }
    }
    segments_.resize(static_cast<size_t>(batch));
    for (const int64_t room : capacity) states_.push_back(backend_.new_state(room));
    for (const BenchCase& what : cases) {
      if (what.depth > 0 && !snapshots_.contains(what.depth)) snapshots_[what.depth] = snapshot_at(what.depth);
    }
  }

  /// Seconds of one repetition. Its stages go to `stages` where that is given.
  double repeat(const BenchCase& what, std::vector<BenchStage>* stages) {
    for (int64_t i = 0; i < what.batch; ++i) rewind(*states_[static_cast<size_t>(i)], what.depth);
    if (profile_) (void)backend_.take_profile();
    const auto ids = some_tokens(what.tokens * what.batch, vocab_);
    const auto start = Clock::now();
    if (what.kind == BenchKind::prefill)
      run(*states_.front(), ids, backend::Rows::last);
    else
      decode(ids, what);
    const double seconds = seconds_since(start);
    if (profile_ && stages != nullptr) add_stages(*stages);
    return seconds;
  }

  /// Bytes and multiply-adds of one repetition.
  void count_work(BenchRun& run) const {
    const BenchCase& what = run.what;
    const auto tokens = static_cast<double>(what.tokens);
    const auto batch = static_cast<double>(what.batch);
    const auto weights = static_cast<double>(sizes_.step_bytes);
    const double state = 2.0 * static_cast<double>(sizes_.state_bytes);
    const auto kv = static_cast<double>(sizes_.kv_bytes_per_token);
    const auto depth = static_cast<double>(what.depth);
    const auto layers = static_cast<double>(sizes_.layer_macs);
    const auto head = static_cast<double>(sizes_.head_macs);
    if (what.kind == BenchKind::prefill) {
      run.bytes = weights + state + kv * depth;
      run.macs = tokens * layers + head;
    } else {
      run.bytes = tokens * (weights + batch * (state + kv * (depth + 0.5 * (tokens + 1))));
      run.macs = tokens * batch * (layers + head);
    }
  }

  /// Seconds a token of sampling with the default parameters, on logits that a decode step left.
  BenchSampling sampling() {
    constexpr int tries = 50;
    const auto ids = some_tokens(static_cast<int64_t>(sampling::kRepetitionWindow), vocab_);
    backend::State& state = *states_.front();
    rewind(state, 0);
    run(state, std::span(ids).first(1), backend::Rows::last);
    sampling::Sampler sampler(SamplingConfig{}, 1, ids);
    std::vector<double> seconds;
    backend::Candidates answer;
    for (int i = 0; i < tries; ++i) {
      const auto start = Clock::now();
      const backend::RowPick ask{&state, 0, sampler.pick()};
      backend_.candidates({&ask, 1}, {&answer, 1});
      sampler.accept(sampler.choose(answer));
      seconds.push_back(seconds_since(start));
    }
    return {median(seconds)};
  }

 private:
  std::unique_ptr<backend::Snapshot> snapshot_at(int64_t depth) {
    cli::tell(fmt::format("feeding {} tokens", depth));
    backend::State& state = *states_.front();
    backend_.reset(state);
    const auto ids = some_tokens(depth, vocab_);
    run(state, ids, backend::Rows::none);
    return backend_.snapshot(state);
  }

  void rewind(backend::State& state, int64_t depth) {
    if (depth > 0)
      backend_.restore(state, *snapshots_.at(depth));
    else
      backend_.reset(state);
  }

  void run(backend::State& state, std::span<const int32_t> ids, backend::Rows rows) {
    backend::Segment& segment = segments_.front();
    segment = {};
    segment.state = &state;
    segment.tokens = ids;
    segment.rows = rows;
    backend_.run({&segment, 1});
  }

  /// Steps of one token for each sequence.
  void decode(std::span<const int32_t> ids, const BenchCase& what) {
    const auto batch = static_cast<size_t>(what.batch);
    const auto segments = std::span(segments_).first(batch);
    for (size_t step = 0; step < static_cast<size_t>(what.tokens); ++step) {
      for (size_t i = 0; i < batch; ++i) {
        segments[i] = {};
        segments[i].state = states_[i].get();
        segments[i].tokens = ids.subspan(step * batch + i, 1);
      }
      backend_.run(segments);
    }
  }

  void add_stages(std::vector<BenchStage>& stages) {
    for (const backend::StageTime& stage : backend_.take_profile()) {
      auto found = std::ranges::find(stages, stage.stage, &BenchStage::name);
      if (found == stages.end()) found = stages.insert(found, {std::string(stage.stage), 0});
      found->seconds += stage.seconds;
    }
  }

  backend::Backend& backend_;
  const StepSizes& sizes_;
  int64_t vocab_;
  bool profile_;
  std::vector<std::unique_ptr<backend::State>> states_;
  std::map<int64_t, std::unique_ptr<backend::Snapshot>> snapshots_;  // by depth
  std::vector<backend::Segment> segments_;                           // [largest batch]
};

constexpr std::chrono::seconds kReading(3);  // of all passes together: where reading is slow (an emulator) it ends

// Which activations a backend computes with is for itself to say, and among other things it does: "8-bit KV, 8-bit
// activations (15 behind gates)".
std::string activations_of(std::string_view details) {
  const size_t at = details.find(" activations");
  if (at == std::string_view::npos) return "float32 activations";
  const size_t comma = details.rfind(", ", at);
  const size_t begin = comma == std::string_view::npos ? 0 : comma + 2;
  return std::string(details.substr(begin, details.find(", ", at) - begin));
}

// "8- and 15-bit activations": 8. Float32 has no integers.
int fewest_bits(std::string_view activations) {
  return activations.starts_with("8-") ? 8 : activations.starts_with("15-") ? 15 : 32;
}

}  // namespace

BenchSet measure_set(const BenchArguments& arguments, int threads, BenchReport& report) {
  const auto weights = checkpoint::load_weights(arguments.model);
  cli::tell_warnings(weights->config.warnings);
  backend::BackendOptions options;
  options.cpu.threads = threads;
  options.cpu.isa = arguments.load.isa;
  options.cpu.activation_bits = arguments.load.activation_bits;
  options.cpu.kv_bits = arguments.load.kv_bits;
  options.reference.threads = threads;
  const auto backend = backend::make_backend(arguments.load.backend, weights, options);
  report.sizes = step_sizes(*weights, arguments.load.kv_bits);
  report.weight_bytes = weights->byte_size();
  report.backend = backend->description().name;
  report.isa = backend->description().kernels;
  report.activations = activations_of(backend->description().details);
  report.activation_bits = fewest_bits(report.activations);
  report.kv_bits = arguments.load.kv_bits;

  BenchSet set;
  set.threads = backend->description().threads;
  cli::tell(fmt::format("measuring this machine with {} threads", set.threads));
  ReadMeter meter(set.threads);
  std::chrono::steady_clock::duration reading{};
  const auto read = [&] {
    const auto start = std::chrono::steady_clock::now();
    if (reading < kReading) meter.pass();
    reading += std::chrono::steady_clock::now() - start;
  };
  set.ceilings.int8[0] = measure_int8_gmacs(report.isa, set.threads);
  for (int i = 0; i < 2; ++i) read();
  const std::vector<BenchCase> cases = cases_of(arguments);
  Runner runner(*backend, report.sizes, cases, arguments.profile);
  for (const BenchCase& what : cases) {
    BenchRun& run = set.runs.emplace_back();
    run.what = what;
    runner.count_work(run);
  }
  for (int round = 0; round <= arguments.repeat; ++round) {  // the first is not counted
    for (BenchRun& run : set.runs) {
      cli::tell(fmt::format("{}, {} of {}", case_name(run.what), round, arguments.repeat));
      const double seconds = runner.repeat(run.what, round > 0 ? &run.stages : nullptr);
      if (round > 0) run.seconds.push_back(seconds);
      if (round > 0) read();
    }
  }
  if (set.first_decode() != nullptr) set.sampling = runner.sampling();
  set.ceilings.read = meter.gbps();
  set.ceilings.int8[1] = measure_int8_gmacs(report.isa, set.threads);
  return set;
}

}  // namespace prosa::tools
