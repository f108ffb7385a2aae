// Figures that follow from what was measured.
#include "tools/bench.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"

namespace prosa::tools {

double BenchRun::tok_s() const { return static_cast<double>(what.tokens * what.batch) / median_seconds(); }

double BenchRun::tok_s_min() const {
  return static_cast<double>(what.tokens * what.batch) / *std::ranges::max_element(seconds);
}

double BenchRun::tok_s_max() const {
  return static_cast<double>(what.tokens * what.batch) / *std::ranges::min_element(seconds);
}

double BenchRun::step_seconds() const {
  return what.kind == BenchKind::decode ? median_seconds() / static_cast<double>(what.tokens) : median_seconds();
}

const BenchRun* BenchSet::decode_at(int64_t depth) const {
  const auto found = std::ranges::find_if(runs, [&](const BenchRun& run) {
    return run.what.kind == BenchKind::decode && run.what.depth == depth && run.what.batch == 1;
  });
  return found == runs.end() ? nullptr : &*found;
}

const BenchRun* BenchSet::first_decode() const {
  const auto found = std::ranges::find_if(
      runs, [](const BenchRun& run) { return run.what.kind == BenchKind::decode && run.what.batch == 1; });
  return found == runs.end() ? nullptr : &*found;
}

const BenchSet& BenchReport::main_set() const {
  PROSA_CHECK(!sets.empty());
  return *std::ranges::max_element(sets, {}, &BenchSet::threads);
}

const char* kind_name(BenchKind kind) { return kind == BenchKind::prefill ? "prefill" : "decode"; }

std::string case_name(const BenchCase& what) {
  std::string name = kind_name(what.kind);
  if (what.kind == BenchKind::prefill) name += fmt::format(" {}", what.tokens);
  if (what.batch > 1) name += fmt::format(" × {}", what.batch);
  if (what.depth > 0) name += fmt::format(" at depth {}", what.depth);
  return name;
}

double roof_fraction(const BenchRun& run, const BenchCeilings& ceilings) {
  const double read = ceilings.read_gbps() > 0 ? run.gbps() / ceilings.read_gbps() : 0;
  const double int8 = ceilings.int8_gmacs() > 0 ? run.gmacs() / ceilings.int8_gmacs() : 0;
  return std::max(read, int8);
}

}  // namespace prosa::tools
