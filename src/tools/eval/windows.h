// Which tokens are fed together and which of them are scored: documents cut into windows.
//
// Only numbers: no model, no text. Invariant: every token is scored at most once, and never the first of a window.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace prosa::eval {

/// Tokens that belong together; nothing is remembered from one document to the next.
struct Document {
  std::vector<int32_t> tokens;
};

/// What becomes of the end of a document that does not fill a window.
enum class Tail {
  drop,  // without stride, as the literature on quantization does it: a document shorter than a window is not scored
  keep,  // as a shorter window
};

/// A window holds the tokens [begin, begin + window) and starts from an empty state. With stride = window each token
/// but a window's first is scored. With a smaller stride windows overlap, and each scores what no window before it has.
struct WindowOptions {
  int64_t window = 2048;  // tokens, >= 2
  int64_t stride = 0;     // tokens from one begin to the next, in [1, window]; 0: window
  int64_t skip = 0;       // predictions at the front of a window that do not count, in [0, window - 2]
  int64_t limit = 0;      // use at most so many tokens of all documents together, from the front; 0: all
  Tail tail = Tail::drop;
};

struct Window {
  int64_t document = 0;
  int64_t begin = 0, end = 0;  // tokens of the document
  int64_t first_scored = 0;    // in (begin, end): tokens [first_scored, end) are scored
  [[nodiscard]] int64_t scored() const { return end - first_scored; }
};

struct WindowPlan {
  std::vector<Window> windows;
  int64_t scored = 0;
  int64_t tokens = 0;   // in any window, each once
  int64_t dropped = 0;  // in none
};

/// Errors: invalid_argument (options out of range, or nothing to score).
WindowPlan plan_windows(std::span<const Document> documents, const WindowOptions& options);

}  // namespace prosa::eval
