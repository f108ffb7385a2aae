// The report as one JSON object. The keys of the first level and of a run that docs/reference/cli.md calls fixed never
// change; others may be added.
#include "tools/bench.h"

#include <nlohmann/json.hpp>

namespace prosa::tools {
namespace {

using nlohmann::ordered_json;

/// Part of the whole; nothing where the whole is not known.
ordered_json fraction(double part, double whole) { return whole > 0 ? ordered_json(part / whole) : ordered_json(); }

ordered_json run_json(const BenchRun& run, const BenchSet& set) {
  ordered_json object = {{"kind", kind_name(run.what.kind)},
                         {"tokens", run.what.tokens},
                         {"depth", run.what.depth},
                         {"batch", run.what.batch},
                         {"tok_s", run.tok_s()},
                         {"tok_s_min", run.tok_s_min()},
                         {"tok_s_max", run.tok_s_max()},
                         {"gbps", run.gbps()},
                         {"bandwidth_fraction", fraction(run.gbps(), set.ceilings.read_gbps())},
                         {"peak_fraction", fraction(run.gmacs(), set.ceilings.int8_gmacs())},
                         {"threads", set.threads},
                         {"gmacs", run.gmacs()}};
  if (run.what.kind == BenchKind::decode) {
    object["step_ms"] = 1e3 * run.step_seconds();
  } else {
    object["ttft_ms"] = 1e3 * run.step_seconds();
    const BenchRun* step = set.decode_at(run.what.depth);
    if (step != nullptr) object["ttft_steps"] = run.step_seconds() / step->step_seconds();
  }
  if (!run.stages.empty()) {
    double total = 0;
    for (const BenchStage& stage : run.stages) total += stage.seconds;
    ordered_json stages = ordered_json::array();
    for (const BenchStage& stage : run.stages) {
      stages.push_back({{"stage", stage.name},
                        {"ms", 1e3 * stage.seconds / static_cast<double>(run.seconds.size())},
                        {"fraction", fraction(stage.seconds, total)}});
    }
    object["stages"] = std::move(stages);
  }
  return object;
}

ordered_json memory_json(const BenchMemory& memory) {
  return {{"resident", memory.resident}, {"peak", memory.peak}, {"anonymous", memory.anonymous}, {"file", memory.file}};
}

}  // namespace

ordered_json bench_json(const BenchReport& report) {
  const BenchSet& main = report.main_set();
  ordered_json runs = ordered_json::array();
  ordered_json ceilings = ordered_json::array();
  for (const BenchSet& set : report.sets) {
    for (const BenchRun& run : set.runs) runs.push_back(run_json(run, set));
    ceilings.push_back({{"threads", set.threads},
                        {"read_gbps", set.ceilings.read.median},
                        {"read_gbps_min", set.ceilings.read.slowest},
                        {"read_gbps_max", set.ceilings.read.fastest},
                        {"int8_gmacs_before", set.ceilings.int8[0]},
                        {"int8_gmacs_after", set.ceilings.int8[1]}});
  }
  ordered_json object = {{"read_gbps", main.ceilings.read_gbps()},
                         {"int8_gmacs", main.ceilings.int8_gmacs()},
                         {"threads", main.threads},
                         {"isa", report.isa},
                         {"activation_bits", report.activation_bits},
                         {"kv_bits", report.kv_bits},
                         {"model", {{"bits", report.sizes.bits}, {"weight_bytes", report.weight_bytes}}},
                         {"runs", std::move(runs)},
                         {"backend", report.backend},
                         {"processor", report.processor},
                         {"activations", report.activations},
                         {"ceilings", std::move(ceilings)}};
  if (main.sampling) {
    object["sampling"] = {{"ms", 1e3 * main.sampling->seconds},
                          {"step_fraction", fraction(main.sampling->seconds, main.first_decode()->step_seconds())}};
  }
  if (report.start) {
    const BenchStart& start = *report.start;
    object["start"] = {{"seconds", median(start.seconds)},
                       {"each", start.seconds},
                       {"load_seconds", start.load_seconds},
                       {"token_seconds", start.token_seconds},
                       {"tokenizer", start.tokenizer}};
    object["memory"] = {{"file_bytes", report.file_bytes},
                        {"after_load", memory_json(start.after_load)},
                        {"after_token", memory_json(start.after_token)},
                        {"context", start.context},
                        {"after_context", memory_json(start.after_context)}};
  }
  return object;
}

}  // namespace prosa::tools
