// Where windows begin, and what each of them scores.
#include "tools/eval/windows.h"

#include <algorithm>

#include <fmt/format.h>

#include "prosa/error.h"

namespace prosa::eval {
namespace {

constexpr int64_t kMaxWindow = int64_t{1} << 20;

void check(const WindowOptions& options) {
  const auto refuse = [](const char* name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return;
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be in [{}, {}]", value, low, high), name);
  };
  refuse("window", options.window, 2, kMaxWindow);
  refuse("stride", options.stride, 0, options.window);
  refuse("skip", options.skip, 0, options.window - 2);
  if (options.limit < 0) refuse("limit", options.limit, 0, INT64_MAX);
}

/// The windows of one document's first `length` tokens; returns how many of these are in one.
int64_t cut(int64_t document, int64_t length, const WindowOptions& options, WindowPlan& plan) {
  const int64_t stride = options.stride == 0 ? options.window : options.stride;
  int64_t covered = 0;
  for (int64_t begin = 0; begin + 1 < length && covered < length; begin += stride) {
    Window window;
    window.document = document;
    window.begin = begin;
    window.end = std::min(begin + options.window, length);
    if (options.tail == Tail::drop && window.end - begin < options.window) break;
    window.first_scored = std::max(begin + 1 + options.skip, covered);
    // With skipped predictions a short last window may have nothing to score.
    if (window.first_scored >= window.end) break;
    covered = window.end;
    plan.scored += window.scored();
    plan.windows.push_back(window);
  }
  return covered;
}

}  // namespace

WindowPlan plan_windows(std::span<const Document> documents, const WindowOptions& options) {
  check(options);
  WindowPlan plan;
  int64_t used = 0;
  for (size_t index = 0; index < documents.size(); ++index) {
    auto length = static_cast<int64_t>(documents[index].tokens.size());
    if (options.limit > 0) length = std::min(length, options.limit - used);
    if (length <= 0) continue;
    used += length;
    plan.tokens += cut(static_cast<int64_t>(index), length, options, plan);
  }
  plan.dropped = used - plan.tokens;
  if (!plan.windows.empty()) return plan;
  if (used == 0) throw Error(ErrorCode::invalid_argument, "holds no token", "text", "give a text that is not empty");
  throw Error(ErrorCode::invalid_argument,
              fmt::format("has only {} tokens, too few for a window of {}", used, options.window), "text",
              "give a longer text, or a smaller window");
}

}  // namespace prosa::eval
