// What the tests of eval share: small texts of token ids, golden models, logits as a test wants them.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "golden.h"
#include "prosa/error.h"
#include "tools/eval/evaluate.h"

namespace prosa::eval {

template <typename Call>
ErrorCode code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  throw std::runtime_error("no error");
}

inline std::vector<Document> documents_of(const std::vector<int64_t>& lengths) {
  std::vector<Document> documents;
  for (const int64_t length : lengths) {
    documents.emplace_back().tokens.resize(static_cast<size_t>(length));
    std::iota(documents.back().tokens.begin(), documents.back().tokens.end(), 0);
  }
  return documents;
}

inline std::unique_ptr<backend::Backend> tiny(const char* name, const char* backend, int threads) {
  backend::BackendOptions options;
  options.cpu.threads = threads;
  options.reference.threads = threads;
  return backend::make_backend(backend, checkpoint::load_weights(test::golden_folder(name)), options);
}

inline std::vector<Document> some_text(int64_t length, int32_t vocab) {
  std::vector<Document> documents(1);
  std::mt19937 random(3);
  for (int64_t i = 0; i < length; ++i) {
    documents[0].tokens.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(vocab)));
  }
  return documents;
}

/// Logits that are what a test wants.
class ScriptedSource final : public LogitSource {
 public:
  explicit ScriptedSource(float value) : value_(value) {}
  [[nodiscard]] int64_t vocab() const noexcept override { return 20; }
  [[nodiscard]] int threads() const noexcept override { return 2; }
  void begin(std::span<const Document>, const WindowPlan&, const WindowOptions&) override {}
  void begin_window(const Window&) override { at_ = 0; }
  void feed(std::span<const int32_t> tokens, const std::atomic<bool>*) override { at_ += tokens.size(); }
  void score(std::span<const int32_t> tokens, std::span<float> logits, ThreadPool&, const std::atomic<bool>*) override {
    std::ranges::fill(logits, 0.0F);
    logits[logits.size() / 2] = value_;
    at_ += tokens.size();
  }

 private:
  float value_;
  size_t at_ = 0;
};

}  // namespace prosa::eval
