// The report as text for people.
#include "tools/bench.h"

#include <algorithm>

#include <fmt/format.h>

#include "cli/terminal.h"

namespace prosa::tools {
namespace {

std::string percent(double part, double whole) {
  return whole > 0 ? fmt::format("{:.0f} %", 100 * part / whole) : std::string("-");
}

std::string set_table(const BenchReport& report, const BenchSet& set) {
  const BenchCeilings& limit = set.ceilings;
  std::string text = fmt::format(
      "{} bit, {} of weights; {} {}, {} threads, {}{}\n"
      "memory reads {:.1f} GB/s ({:.1f}..{:.1f}), int8 {:.0f} G multiply-adds/s ({:.0f}, {:.0f})\n\n",
      report.sizes.bits, cli::human_bytes(static_cast<double>(report.weight_bytes)), report.backend, report.isa,
      set.threads, report.activations, report.kv_bits == 16 ? ", 16-bit KV" : "", limit.read_gbps(), limit.read.slowest,
      limit.read.fastest, limit.int8_gmacs(), limit.int8[0], limit.int8[1]);
  text += fmt::format("{:<8}{:>7}{:>7}{:>6}{:>10}  {:<17}{:>7}{:>11}{:>10}{:>11}\n", "", "tokens", "depth", "batch",
                      "tok/s", "slowest..fastest", "GB/s", "bandwidth", "int8 peak", "first, ms");
  for (const BenchRun& run : set.runs) {
    const bool prefill = run.what.kind == BenchKind::prefill;
    text += fmt::format("{:<8}{:>7}{:>7}{:>6}{:>10.1f}  {:<17}{:>7.1f}{:>11}{:>10}{:>11}\n", kind_name(run.what.kind),
                        run.what.tokens, run.what.depth, run.what.batch, run.tok_s(),
                        fmt::format("{:.1f}..{:.1f}", run.tok_s_min(), run.tok_s_max()), run.gbps(),
                        percent(run.gbps(), limit.read_gbps()), percent(run.gmacs(), limit.int8_gmacs()),
                        prefill ? fmt::format("{:.1f}", 1e3 * run.step_seconds()) : std::string());
  }
  if (set.sampling) {
    text += fmt::format("\nsampling with the default parameters: {:.3f} ms a token, {:.1f} % of a decode step\n",
                        1e3 * set.sampling->seconds, 100 * set.sampling->seconds / set.first_decode()->step_seconds());
  }
  return text;
}

std::string stage_table(const BenchSet& set) {
  std::string text;
  for (const BenchRun& run : set.runs) {
    double total = 0;
    for (const BenchStage& stage : run.stages) total += stage.seconds;
    if (total == 0) continue;
    text += fmt::format("\n{}\n", case_name(run.what));
    for (const BenchStage& stage : run.stages) {
      text += fmt::format("  {:<24}{:>6.1f} %\n", stage.name, 100 * stage.seconds / total);
    }
  }
  return text;
}

std::string start_table(const BenchReport& report, const BenchStart& start) {
  const auto bytes = [](int64_t count) { return cli::human_bytes(static_cast<double>(count)); };
  std::string text = fmt::format(
      "\nstart to first token: {:.3f} s ({:.3f}..{:.3f}), of which loading {:.3f} s{}\n"
      "memory: {} on disk, resident {} loaded, {} after a token, {} after {} tokens (peak {})\n",
      median(start.seconds), *std::ranges::min_element(start.seconds), *std::ranges::max_element(start.seconds),
      start.load_seconds, start.tokenizer ? "" : " (no tokenizer there)", bytes(report.file_bytes),
      bytes(start.after_load.resident), bytes(start.after_token.resident), bytes(start.after_context.resident),
      start.context, bytes(start.after_context.peak));
  return text;
}

}  // namespace

std::string bench_table(const BenchReport& report) {
  std::string text;
  for (const BenchSet& set : report.sets) {
    if (!text.empty()) text += "\n";
    text += set_table(report, set) + stage_table(set);
  }
  if (report.start) text += start_table(report, *report.start);
  return text;
}

}  // namespace prosa::tools
