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
#include "prosa/error.h"

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

  std::vector<int64_t> prefills;  // sizes, in order
  int64_t decodes = 0;
  int64_t fail_after = -1;     // prefill throws Error(cancelled) after this many more tokens, the state half-way
  bool out_of_memory = false;  // of snapshot()

  [[nodiscard]] std::string_view name() const noexcept override { return "fake"; }
  [[nodiscard]] std::string_view isa() const noexcept override { return "none"; }
  [[nodiscard]] int threads() const noexcept override { return 1; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return config_; }

  std::unique_ptr<backend::State> new_state(int64_t capacity) override { return std::make_unique<FakeState>(capacity); }
  void reset(backend::State& state) override { as_fake(state).set({}); }

  void prefill(backend::State& state, const backend::PrefillRequest& request) override {
    FakeState& fake = as_fake(state);
    if (!fake.valid()) throw Error(ErrorCode::invalid_argument, "prefill of an invalid state");
    prefills.push_back(static_cast<int64_t>(request.tokens.size()));
    for (const int32_t token : request.tokens) {
      if ((request.cancel != nullptr && *request.cancel) || fail_after == 0) {
        fail_after = -1;
        fake.invalidate();
        throw Error(ErrorCode::cancelled, "cancelled");
      }
      if (fail_after > 0) --fail_after;
      fake.feed(token);
    }
    if (request.rows == backend::LogitRows::last) write(fake.tokens, request.logits);
  }

  void decode(backend::State& state, int32_t token, std::span<float> logits) override {
    FakeState& fake = as_fake(state);
    if (!fake.valid()) throw Error(ErrorCode::invalid_argument, "decode of an invalid state");
    ++decodes;
    if (on_decode) on_decode(decodes);
    fake.feed(token);
    write(fake.tokens, logits);
  }
  void decode_batch(std::span<backend::State* const> states, std::span<const int32_t> tokens,
                    std::span<float> logits) override {
    const auto vocab = static_cast<size_t>(config_.vocab_size);
    for (size_t i = 0; i < states.size(); ++i) decode(*states[i], tokens[i], logits.subspan(i * vocab, vocab));
  }

  std::unique_ptr<backend::Snapshot> snapshot(const backend::State& state) override {
    if (out_of_memory) throw Error(ErrorCode::out_of_memory, "no room for a snapshot");
    return std::make_unique<FakeSnapshot>(static_cast<const FakeState&>(state).tokens, snapshot_bytes_);
  }
  void restore(backend::State& state, const backend::Snapshot& snapshot) override {
    as_fake(state).set(static_cast<const FakeSnapshot&>(snapshot).tokens);
  }
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return "fake 1"; }
  std::unique_ptr<backend::Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                   const backend::Snapshot* /*longer*/) override {
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
    void set(std::vector<int32_t> fed) {
      tokens = std::move(fed);
      position_ = static_cast<int64_t>(tokens.size());
      valid_ = true;
    }
    void feed(int32_t token) {
      tokens.push_back(token);
      ++position_;
    }
    void invalidate() { valid_ = false; }
    std::vector<int32_t> tokens;
  };
  struct FakeSnapshot final : backend::Snapshot {
    FakeSnapshot(std::vector<int32_t> fed, int64_t bytes)
        : Snapshot(static_cast<int64_t>(fed.size())), tokens(std::move(fed)), size(bytes) {}
    [[nodiscard]] int64_t byte_size() const noexcept override { return size; }
    [[nodiscard]] std::vector<backend::SnapshotPart> parts() const override {
      return {{"fed", sizeof(int32_t), std::as_bytes(std::span(tokens))}};
    }
    std::vector<int32_t> tokens;
    int64_t size;
  };
  static FakeState& as_fake(backend::State& state) { return static_cast<FakeState&>(state); }
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
  int64_t snapshot_bytes_;
};

}  // namespace prosa::test
