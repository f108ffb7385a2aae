// What `prosa bench` measures, as data: the cases asked for, what each took, and the limits of the machine around them.
//
// Not how it is measured (bench_runs.cpp, bench_start.cpp) nor how it is shown (bench_json.cpp, bench_table.cpp,
// bench_svg.cpp). Invariant: nothing here is derived from another field, except by the functions that say so.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "prosa/model.h"
#include "tools/ceilings.h"
#include "tools/sizes.h"
#include "tools/timing.h"

namespace prosa::tools {

struct BenchArguments {
  std::string model;  // a folder once the measuring begins
  std::vector<int64_t> prompt = {128, 512};
  int64_t gen = 64;
  std::vector<int64_t> depth = {0};
  std::vector<int64_t> batch = {1};
  std::vector<int> threads = {};  // empty: physical cores
  int repeat = 5;
  bool json = false;
  bool profile = false;
  bool start = false;
  std::string svg;    // file of the picture; "": none
  std::string child;  // set in the process that --start runs: "token" or "context"
  LoadOptions load;   // its `threads` is not used
};

enum class BenchKind { prefill, decode };

struct BenchCase {
  BenchKind kind = BenchKind::prefill;
  int64_t tokens = 0, depth = 0, batch = 1;
};

struct BenchStage {
  std::string name;
  double seconds = 0;
};

/// One case with its repetitions; bytes and multiply-adds are those of one repetition.
struct BenchRun {
  BenchCase what;
  std::vector<double> seconds;  // of each repetition, in the order they ran
  double bytes = 0, macs = 0;
  std::vector<BenchStage> stages;  // with --profile: sums over the counted repetitions

  [[nodiscard]] double median_seconds() const { return median(seconds); }
  [[nodiscard]] double tok_s() const;
  [[nodiscard]] double tok_s_min() const;
  [[nodiscard]] double tok_s_max() const;
  [[nodiscard]] double gbps() const { return bytes / median_seconds() / 1e9; }
  [[nodiscard]] double gmacs() const { return macs / median_seconds() / 1e9; }
  /// Of one decode step, or of the whole prompt.
  [[nodiscard]] double step_seconds() const;
};

/// Both limits: reading between the repetitions of all runs, since a shared host's memory drifts; dot products before
/// and after them, the better figure being the limit.
struct BenchCeilings {
  BenchRange read;                  // GB/s
  std::array<double, 2> int8 = {};  // 10^9 multiply-adds a second
  [[nodiscard]] double read_gbps() const { return read.median; }
  [[nodiscard]] double int8_gmacs() const { return int8[0] > int8[1] ? int8[0] : int8[1]; }
};

struct BenchSampling {
  double seconds = 0;  // a token, default SamplingConfig, logits of this model
};

/// Everything measured with one number of threads.
struct BenchSet {
  int threads = 0;
  BenchCeilings ceilings;
  std::vector<BenchRun> runs;
  std::optional<BenchSampling> sampling;

  /// The decode step of one sequence at this depth.
  [[nodiscard]] const BenchRun* decode_at(int64_t depth) const;
  [[nodiscard]] const BenchRun* first_decode() const;
};

/// Bytes of a process as the system counts them.
struct BenchMemory {
  int64_t resident = 0, peak = 0;   // VmRSS, VmHWM
  int64_t anonymous = 0, file = 0;  // parts of resident: own pages, pages of mapped files
};

struct BenchStart {
  std::vector<double> seconds;  // process begin to first token, each a process of its own
  double load_seconds = 0;      // in the median process: weights mapped, packed, tokenizer read
  double token_seconds = 0;     // and the first token
  bool tokenizer = false;       // the model has one, and it was read
  BenchMemory after_load, after_token, after_context;
  int64_t context = 0;  // tokens fed before after_context
};

struct BenchReport {
  std::string name;  // of the model, as asked for
  StepSizes sizes;
  int64_t weight_bytes = 0;
  int64_t file_bytes = 0;  // of its safetensors files
  std::string backend, isa, processor;
  std::string activations;   // of quantized products, in the backend's words: "8-bit activations (15 behind gates)"
  int activation_bits = 32;  // the fewest of them
  int kv_bits = 8;
  std::vector<BenchSet> sets;  // by threads, as asked for
  std::optional<BenchStart> start;

  /// The set that stands at the top of the JSON: the one with the most threads.
  [[nodiscard]] const BenchSet& main_set() const;
};

const char* kind_name(BenchKind kind);
/// "prefill 512 at depth 8192", "decode × 4"
std::string case_name(const BenchCase& what);
/// Of the rate that the two limits allow at the run's ratio of multiply-adds to bytes. 0 where no limit is known.
double roof_fraction(const BenchRun& run, const BenchCeilings& ceilings);

BenchSet measure_set(const BenchArguments& arguments, int threads, BenchReport& report);
BenchStart measure_start(const BenchArguments& arguments);
/// The other end of measure_start(): loads, computes one token, says so, and reports its memory.
void run_start_child(const BenchArguments& arguments);

nlohmann::ordered_json bench_json(const BenchReport& report);
std::string bench_table(const BenchReport& report);
std::string bench_svg(const BenchReport& report);

}  // namespace prosa::tools
