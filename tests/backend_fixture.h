// What the tests of the backend seam share: the backends under test, calls in the form a test wants them, and a state
// as bytes that can be compared.
//
// Knows backend.h only, no backend's inside. Invariant: a helper that feeds tokens fails the test when a segment does
// not end as it should.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "metrics.h"
#include "test_models.h"

namespace prosa::test {

using backend::Backend;
using backend::BackendOptions;
using backend::Rows;
using backend::Segment;
using backend::Snapshot;
using backend::State;
using Ids = std::vector<int32_t>;
using Logits = std::vector<float>;  // [rows, vocab]

/// A backend under test.
struct Subject {
  std::string backend;
  std::string isa;  // "" for the reference
  int activation_bits = 15;
  int kv_bits = 8;
  [[nodiscard]] std::string name() const {
    return backend + "_" + isa + (activation_bits == 8 ? "_int8" : "") + (kv_bits == 16 ? "_kv16" : "");
  }
  friend std::ostream& operator<<(std::ostream& out, const Subject& s) { return out << s.name(); }
};

inline std::vector<Subject> subjects() {
#ifdef PROSA_TEST_CUDA
  return {{"cuda", ""}};
#elif defined(PROSA_TEST_MLX)
  return {{"mlx", ""}};
#else
  std::vector<Subject> all = {{"reference", ""}};
  for (const std::string& isa : backend::available_isas()) all.push_back({"cpu", isa});
  // With the kernels of one ISA; the others': kernels_test.
  all.push_back({"cpu", backend::available_isas().front(), 8});
  all.push_back({"cpu", backend::available_isas().front(), 15, 16});
  return all;
#endif
}

inline std::vector<std::string> golden_models() {
  return {"tiny-hf", "tiny-mlx-4bit", "tiny-mlx-mixed", "tiny-flat-5bit", "tiny-flat-8bit", "grouped-mlx-4bit"};
}

inline std::vector<std::string> all_models() {
  std::vector<std::string> all = golden_models();
  std::ranges::copy(made_models(), std::back_inserter(all));
  return all;
}

// ---- tokens ---------------------------------------------------------------------------------------------------------

inline Ids random_ids(const ModelConfig& config, size_t count, unsigned seed) {
  std::mt19937 generator(seed);  // its output is fixed by the standard; distributions are not
  Ids ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(generator() % static_cast<uint32_t>(config.vocab_size));
  return ids;
}

inline Ids part(const Ids& ids, size_t begin, size_t count) {
  const auto from = ids.begin() + static_cast<std::ptrdiff_t>(begin);
  return {from, from + static_cast<std::ptrdiff_t>(count)};
}
inline Ids first(const Ids& ids, size_t count) { return part(ids, 0, count); }

// ---- rows -----------------------------------------------------------------------------------------------------------

inline void append(Logits& to, const Logits& more) { to.insert(to.end(), more.begin(), more.end()); }

inline Logits last_row(const Backend& backend, const Logits& logits) {
  return {logits.end() - static_cast<std::ptrdiff_t>(backend.config().vocab_size), logits.end()};
}

inline Logits first_rows(const Backend& backend, const Logits& logits, size_t count) {
  return {logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(count) * backend.config().vocab_size};
}

/// All rows that the state keeps.
inline Logits rows_of(Backend& backend, const State& state) {
  const auto vocab = static_cast<size_t>(backend.config().vocab_size);
  Logits logits(static_cast<size_t>(state.rows()) * vocab);
  for (int64_t row = 0; row < state.rows(); ++row)
    backend.logits(state, row, std::span(logits).subspan(static_cast<size_t>(row) * vocab, vocab));
  return logits;
}

// ---- calls ----------------------------------------------------------------------------------------------------------

/// The ids must outlive it.
inline Segment segment(State& state, std::span<const int32_t> ids, Rows rows = Rows::all, bool tentative = false) {
  Segment made;
  made.state = &state;
  made.tokens = ids;
  made.rows = rows;
  made.tentative = tentative;
  return made;
}

inline void run_one(Backend& backend, State& state, std::span<const int32_t> ids, Rows rows = Rows::all,
                    bool tentative = false) {
  std::vector<Segment> one = {segment(state, ids, rows, tentative)};
  backend.run(one);
  EXPECT_FALSE(one.front().cancelled);
}

/// One segment, alone: the rows asked for.
inline Logits prefill(Backend& backend, State& state, std::span<const int32_t> ids, Rows rows = Rows::all) {
  const int64_t before = state.position();
  run_one(backend, state, ids, rows);
  EXPECT_EQ(state.position(), before + static_cast<int64_t>(ids.size()));
  EXPECT_EQ(state.rows(), rows == Rows::none ? 0 : rows == Rows::last ? 1 : static_cast<int64_t>(ids.size()));
  return rows_of(backend, state);
}

/// Tokens one by one.
inline Logits decode(Backend& backend, State& state, std::span<const int32_t> ids) {
  Logits logits;
  for (size_t i = 0; i < ids.size(); ++i) append(logits, prefill(backend, state, ids.subspan(i, 1), Rows::last));
  return logits;
}

// ---- states as bytes ------------------------------------------------------------------------------------------------

using StateBytes = std::map<std::string, std::vector<std::byte>>;

inline StateBytes bytes_of(const Snapshot& snapshot) {
  StateBytes bytes;
  for (const backend::SnapshotPart& part : snapshot.parts())
    bytes[part.name].assign(part.bytes.begin(), part.bytes.end());
  return bytes;
}
inline StateBytes bytes_of(Backend& backend, const State& state) { return bytes_of(*backend.snapshot(state)); }

/// What a call that is refused must not change. The state's bytes where a snapshot of it may be taken.
struct Standing {
  int64_t position = 0, pending = 0, rows = 0;
  bool valid = true;
  Logits logits;
  StateBytes bytes;
  friend bool operator==(const Standing&, const Standing&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Standing& s) {
    return out << "position " << s.position << ", pending " << s.pending << ", rows " << s.rows
               << (s.valid ? "" : ", invalid");
  }
};

inline Standing standing(Backend& backend, const State& state) {
  Standing now{state.position(), state.pending(), state.rows(), state.valid(), rows_of(backend, state), {}};
  if (state.valid() && state.pending() == 0) now.bytes = bytes_of(backend, state);
  return now;
}

// ---- every backend --------------------------------------------------------------------------------------------------

class BackendTest : public testing::TestWithParam<Subject> {
 protected:
  static std::unique_ptr<Backend> make(const std::string& model, int threads = 2, int64_t pass_rows = 256) {
    BackendOptions options;
    options.cpu = {.threads = threads,
                   .isa = GetParam().isa,
                   .activation_bits = GetParam().activation_bits,
                   .kv_bits = GetParam().kv_bits,
                   .pass_rows = pass_rows};
    options.reference.threads = threads;
    options.cuda.pass_rows = pass_rows;
    return backend::make_backend(GetParam().backend, load_model(model), options);
  }
  /// Teacher-forced logits of the reference from an empty state.
  static Logits reference_logits(const std::string& model, const Ids& ids) {
    const auto reference = backend::make_reference_backend(load_model(model), {});
    const auto state = reference->new_state(static_cast<int64_t>(ids.size()));
    return prefill(*reference, *state, ids);
  }
  /// What a backend says that was asked for so many.
  static int host_threads(int threads) {
    return GetParam().backend == "cuda" || GetParam().backend == "mlx" ? 0 : threads;
  }
  static bool is_reference() { return GetParam().backend == "reference"; }
  /// Dense, even and odd bit widths, value heads = 2 x key heads: enough for properties that are not about numbers. The
  /// reference dequantizes first and is the same for all of them.
  static std::vector<std::string> few_models() {
    if (is_reference()) return {"tiny-hf", "tiny-mlx-4bit"};
    return {"tiny-hf", "tiny-mlx-4bit", "tiny-flat-5bit", "grouped-mlx-4bit"};
  }

  /// Within the bounds; the reference: the same bits.
  static void expect_agreement(const Backend& backend, const Logits& expected, const Logits& actual) {
    if (is_reference()) {
      EXPECT_EQ(max_abs_diff(expected, actual), 0);
      return;
    }
    Agreement agreement;
    agreement.add(expected, actual, static_cast<size_t>(backend.config().vocab_size));
    EXPECT_TRUE(within_bounds(agreement)) << agreement;
  }
  /// 8-bit activations have bounds of their own.
  static bool within_bounds(const Agreement& agreement) {
    if (GetParam().activation_bits == 8) return within_int8_bounds(agreement);
    return within_synthetic_bounds(agreement);
  }
};

#define PROSA_TEST_EVERY_BACKEND(Suite)                                 \
  INSTANTIATE_TEST_SUITE_P(Every, Suite, testing::ValuesIn(subjects()), \
                           [](const auto& param) { return test_name(param.param.name()); })

}  // namespace prosa::test
