// A loaded model as a source of logits.
#include "tools/eval/logit_source.h"

#include <algorithm>

#include "prosa/error.h"

namespace prosa::eval {
namespace {

class BackendSource final : public LogitSource {
 public:
  explicit BackendSource(backend::Backend& backend) : backend_(backend) {}

  [[nodiscard]] int64_t vocab() const noexcept override { return backend_.config().vocab_size; }
  [[nodiscard]] int threads() const noexcept override { return backend_.description().threads; }

  void begin(std::span<const Document> /*documents*/, const WindowPlan& plan,
             const WindowOptions& /*options*/) override {
    int64_t longest = 1;
    for (const Window& window : plan.windows) longest = std::max(longest, window.end - window.begin);
    if (const int64_t most = backend_.config().max_position_embeddings; most > 0 && longest - 1 > most) {
      throw Error(ErrorCode::context_exceeded,
                  "a window of " + std::to_string(longest) + " tokens is longer than the model's context of " +
                      std::to_string(most),
                  "window", "choose a smaller window");
    }
    state_ = backend_.new_state(longest);
  }

  void begin_window(const Window& /*window*/) override { backend_.reset(*state_); }

  void feed(std::span<const int32_t> tokens, const std::atomic<bool>* cancel) override {
    const auto slice = static_cast<size_t>(backend_.step_rows());
    for (size_t at = 0; at < tokens.size(); at += slice)
      run(tokens.subspan(at, std::min(slice, tokens.size() - at)), backend::Rows::none, cancel);
  }

  // In slices, so that the state keeps no more rows than a step has; none of them changes a bit.
  void score(std::span<const int32_t> tokens, std::span<float> logits, ThreadPool& /*pool*/,
             const std::atomic<bool>* cancel) override {
    const auto slice = static_cast<size_t>(backend_.step_rows());
    const auto width = static_cast<size_t>(vocab());
    for (size_t at = 0; at < tokens.size(); at += slice) {
      run(tokens.subspan(at, std::min(slice, tokens.size() - at)), backend::Rows::all, cancel);
      for (int64_t row = 0; row < state_->rows(); ++row)
        backend_.logits(*state_, row, logits.subspan((at + static_cast<size_t>(row)) * width, width));
    }
  }

 private:
  void run(std::span<const int32_t> tokens, backend::Rows rows, const std::atomic<bool>* cancel) {
    backend::Segment segment;
    segment.state = state_.get();
    segment.tokens = tokens;
    segment.rows = rows;
    segment.cancel = Cancel(cancel);
    backend_.run({&segment, 1});
    if (segment.cancelled) throw Error(ErrorCode::cancelled, "the evaluation was cancelled", "eval");
  }

  backend::Backend& backend_;
  std::unique_ptr<backend::State> state_;
};

}  // namespace

std::unique_ptr<LogitSource> make_backend_source(backend::Backend& backend) {
  return std::make_unique<BackendSource>(backend);
}

}  // namespace prosa::eval
