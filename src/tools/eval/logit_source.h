// Where logits come from: a model that computes them, or a file that keeps them (logits_file.h).
//
// Logits here are rows of float32 up to a constant of the row: whoever reads them takes the softmax. One call at a
// time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/backend.h"
#include "tools/eval/windows.h"

namespace prosa {
class ThreadPool;
}

namespace prosa::eval {

class LogitSource {
 public:
  virtual ~LogitSource() = default;
  [[nodiscard]] virtual int64_t vocab() const noexcept = 0;
  [[nodiscard]] virtual int threads() const noexcept = 0;

  /// Before everything else: what will be asked for.
  virtual void begin(std::span<const Document> documents, const WindowPlan& plan, const WindowOptions& options) = 0;
  /// Back to the empty state.
  virtual void begin_window(const Window& window) = 0;
  /// Tokens whose predictions are not scored.
  virtual void feed(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) = 0;
  /// Tokens [n] whose predictions are: logits [n, vocab].
  virtual void score(std::span<const int32_t> tokens, std::span<float> logits, ThreadPool& pool,
                     const std::atomic<bool>* cancel) = 0;
};

/// Gets the scored rows in order.
class LogitSink {
 public:
  virtual ~LogitSink() = default;
  virtual void begin(int64_t vocab, std::span<const Document> documents, const WindowPlan& plan,
                     const WindowOptions& options) = 0;
  /// logits [n, vocab], finite.
  virtual void add(std::span<const float> logits, int64_t vocab, ThreadPool& pool) = 0;
  /// All rows were added.
  virtual void end() = 0;
};

/// `backend` must live as long.
std::unique_ptr<LogitSource> make_backend_source(backend::Backend& backend);

}  // namespace prosa::eval
