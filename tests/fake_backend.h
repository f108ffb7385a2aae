// A backend for tests of what stands above backends: its state is the list of tokens fed, its logits show a hash of it,
// or, with a script, the token that the test wants next.
//
// No model. Whoever feeds other tokens than he believes gets other logits; calls and cuts are recorded.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/segments.h"
#include "prosa/error.h"
#include "runtime/core.h"
#include "runtime/session.h"

namespace prosa::test {

class FakeBackend final : public backend::Backend {
 public:
  explicit FakeBackend(int64_t vocab, int64_t snapshot_bytes = 1000) : snapshot_bytes_(snapshot_bytes) {
    config_.vocab_size = vocab;
  }

  static uint64_t step(uint64_t hash, int32_t token) {
    return (hash ^ static_cast<uint64_t>(token + 1)) * 0x100000001B3ULL + 0x9E3779B9ULL;
  }
  /// The logits after `tokens`.
  [[nodiscard]] std::vector<float> expected(std::span<const int32_t> tokens) const {
    std::vector<float> logits(static_cast<size_t>(config_.vocab_size));
    write(tokens, logits);
    return logits;
  }

  /// The token the logits point to after those fed so far; unset: hashed logits.
  std::function<int32_t(std::span<const int32_t> fed)> script;
  std::function<void(int64_t decodes)> on_decode;  // called at the begin of every decode

  std::vector<int64_t> prefills;  // sizes of the segments that are no decodes, in order
  int64_t decodes = 0;            // segments of one token that want its row
  int64_t fail_after = -1;        // a prefill is cancelled after this many more tokens, the state half-way
  bool out_of_memory = false;     // of snapshot()
  std::function<void(std::span<const backend::Segment>)> on_run;  // called at the begin of every run
  std::function<void()> on_read_snapshot;

  [[nodiscard]] const backend::Description& description() const noexcept override { return description_; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return config_; }
  [[nodiscard]] int64_t slice_unit() const noexcept override { return unit; }
  [[nodiscard]] int64_t step_rows() const noexcept override { return rows; }
  int64_t unit = 1;
  int64_t rows = int64_t{1} << 20;

  std::unique_ptr<backend::State> new_state(int64_t capacity) override { return std::make_unique<FakeState>(capacity); }
  void reset(backend::State& state) override { as_fake(state).set({}); }

  void run(std::span<backend::Segment> segments) override {
    backend::check_segments(segments, config_);
    if (on_run) on_run(segments);
    for (backend::Segment& segment : segments) run_segment(segment);
  }

  void candidates(std::span<const backend::RowPick> asks, std::span<backend::Candidates> answers) override {
    for (const backend::RowPick& ask : asks) backend::check_pick(ask, config_);
    for (size_t i = 0; i < asks.size(); ++i)
      backend::pick_candidates(as_fake(*asks[i].state).row(asks[i].row), asks[i].pick, answers[i]);
  }
  void logits(const backend::State& state, int64_t row, std::span<float> out) override {
    backend::check_row(state, row);
    std::ranges::copy(as_fake(state).row(row), out.begin());
  }
  void set_row(backend::State& state, std::span<const float> logits) override {
    as_fake(state).set_rows({std::vector<float>(logits.begin(), logits.end())});
  }
  void commit(backend::State& state, int64_t n) override {
    backend::check_commit(state, n);
    as_fake(state).settle(n);
  }

  std::unique_ptr<backend::Snapshot> snapshot(const backend::State& state, backend::Place /*place*/) override {
    if (out_of_memory) throw Error(ErrorCode::out_of_memory, "no room for a snapshot");
    return std::make_unique<FakeSnapshot>(static_cast<const FakeState&>(state).tokens, snapshot_bytes_);
  }
  void restore(backend::State& state, const backend::Snapshot& snapshot) override {
    as_fake(state).set(static_cast<const FakeSnapshot&>(snapshot).tokens);
  }
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return "fake 1"; }
  std::unique_ptr<backend::Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                   const backend::Snapshot* /*longer*/) override {
    if (on_read_snapshot) on_read_snapshot();
    const std::span<const std::byte> bytes = find("fed");
    std::vector<int32_t> fed(bytes.size() / sizeof(int32_t));
    if (static_cast<int64_t>(fed.size()) != position) throw Error(ErrorCode::bad_session, "another position", "fed");
    if (!fed.empty()) std::memcpy(fed.data(), bytes.data(), bytes.size());
    return std::make_unique<FakeSnapshot>(std::move(fed), snapshot_bytes_);
  }
  [[nodiscard]] backend::MemoryReport memory() const noexcept override { return {}; }

 private:
  struct FakeState final : backend::State {
    explicit FakeState(int64_t capacity) : State(capacity) {}
    [[nodiscard]] int64_t byte_size() const noexcept override { return 4000; }
    [[nodiscard]] int64_t row_bytes() const noexcept override { return 0; }
    void set(std::vector<int32_t> fed) {
      tokens = std::move(fed);
      position_ = static_cast<int64_t>(tokens.size());
      pending_ = 0;
      valid_ = true;
      set_rows({});
    }
    void feed(int32_t token) {
      tokens.push_back(token);
      ++position_;
    }
    void await(int64_t count) {
      pending_ = count;
      position_ -= count;
    }
    void settle(int64_t n) {
      tokens.resize(static_cast<size_t>(position_ + n));
      position_ += n;
      pending_ = 0;
    }
    void invalidate() {
      valid_ = false;
      set_rows({});
    }
    void set_rows(std::vector<std::vector<float>> values) {
      rows_ = static_cast<int64_t>(values.size());
      kept = std::move(values);
    }
    [[nodiscard]] std::span<const float> row(int64_t index) const { return kept[static_cast<size_t>(index)]; }
    std::vector<int32_t> tokens;
    std::vector<std::vector<float>> kept;
  };
  struct FakeSnapshot final : backend::Snapshot {
    FakeSnapshot(std::vector<int32_t> fed, int64_t bytes)
        : Snapshot(static_cast<int64_t>(fed.size())), tokens(std::move(fed)), size(bytes) {}
    [[nodiscard]] backend::Place place() const noexcept override { return backend::Place::host; }
    [[nodiscard]] int64_t byte_size() const noexcept override { return size; }
    [[nodiscard]] std::vector<backend::SnapshotPart> parts() const override {
      return {{"fed", backend::PartType::f32, std::as_bytes(std::span(tokens))}};
    }
    std::vector<int32_t> tokens;
    int64_t size;
  };
  static FakeState& as_fake(backend::State& state) { return static_cast<FakeState&>(state); }
  static const FakeState& as_fake(const backend::State& state) { return static_cast<const FakeState&>(state); }

  void run_segment(backend::Segment& segment) {
    FakeState& fake = as_fake(*segment.state);
    const auto count = static_cast<int64_t>(segment.tokens.size());
    const bool decode = count == 1 && fake.position() > 0 && segment.rows == backend::Rows::last;
    if (decode) {
      ++decodes;
      if (on_decode) on_decode(decodes);
    } else {
      prefills.push_back(count);
    }
    std::vector<std::vector<float>> rows_wanted;
    fake.set_rows({});
    for (int64_t i = 0; i < count; ++i) {
      if (segment.cancel.requested() || (!decode && fail_after == 0)) {
        if (!decode) fail_after = -1;
        segment.cancelled = true;
        return fake.invalidate();
      }
      if (!decode && fail_after > 0) --fail_after;
      fake.feed(segment.tokens[static_cast<size_t>(i)]);
      if (i >= count - backend::wanted_rows(segment)) rows_wanted.push_back(expected(fake.tokens));
    }
    if (segment.tentative) fake.await(count);
    fake.set_rows(std::move(rows_wanted));
  }
  void write(std::span<const int32_t> tokens, std::span<float> logits) const {
    if (script) {
      std::fill(logits.begin(), logits.end(), 0.0F);
      logits[static_cast<size_t>(script(tokens))] = 100.0F;
      return;
    }
    uint64_t hash = 0;
    for (const int32_t token : tokens) hash = step(hash, token);
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = static_cast<float>((hash >> (i % 48)) & 0xffff) / 4096.0F;
    }
  }

  ModelConfig config_;
  backend::Description description_{"fake", "none", 1, ""};
  int64_t snapshot_bytes_;
};

/// What sessions stand on.
inline std::shared_ptr<ModelCore> core_of(std::shared_ptr<backend::Backend> backend, int64_t store_bytes,
                                          int64_t context = 4096, uint64_t fingerprint = 0) {
  LoadedModel model;
  model.backend = std::move(backend);
  model.context = context;
  model.state_store_bytes = store_bytes;
  model.fingerprint = fingerprint;
  return std::make_shared<ModelCore>(std::move(model));
}

/// The last row of a session; empty where there is none.
inline std::vector<float> row_of(const runtime::Session& session) {
  if (!session.has_logits()) return {};
  std::vector<float> row(static_cast<size_t>(session.backend().config().vocab_size));
  session.copy_logits(row);
  return row;
}

}  // namespace prosa::test
