// The selection scans and the answer to a Pick, for rows in host memory. A block's maximum costs a few vector
// instructions; the elements of a block are looked at one by one only when that maximum beats the threshold so far,
// which for a vocabulary is rare.
#include "backend/candidates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace prosa::backend {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 128;  // floats looked at between two branches
constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// NaN loses every comparison and so drops out.
float block_maximum(const float* values) noexcept {
  std::array<float, kLanes> lane;
  lane.fill(kLowest);
  for (size_t i = 0; i < kBlock; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lane[j] = values[i + j] > lane[j] ? values[i + j] : lane[j];
  }
  float best = lane[0];
  for (size_t j = 1; j < kLanes; ++j) best = lane[j] > best ? lane[j] : best;
  return best;
}

/// Calls visit(begin, end) for every block that may hold a logit that passes(maximum), and for the ragged end.
template <typename Passes, typename Visit>
void scan_blocks(std::span<const float> logits, Passes passes, Visit visit) {
  size_t i = 0;
  for (; i + kBlock <= logits.size(); i += kBlock) {
    if (passes(block_maximum(logits.data() + i))) visit(i, i + kBlock);
  }
  if (i < logits.size()) visit(i, logits.size());
}

}  // namespace

Candidate select_best(std::span<const float> logits) noexcept {
  Candidate best{kLowest, -1};
  scan_blocks(
      logits, [&](float maximum) { return maximum > best.logit; },
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (logits[i] > best.logit) best = {logits[i], static_cast<int32_t>(i)};
        }
      });
  return best;
}

void select_top_k(std::span<const float> logits, int64_t k, std::vector<Candidate>& out) {
  out.clear();
  const size_t keep = static_cast<size_t>(std::clamp<int64_t>(k, 1, static_cast<int64_t>(logits.size())));
  // The buffer runs to twice k before it is cut back: every cut is linear, so the whole is, whatever the order of the
  // logits. An id comes after all before it, so an equal logit loses against a full buffer: strictly greater is enough.
  const size_t limit = 2 * keep + kBlock;
  float threshold = kLowest;
  const auto cut = [&] {
    std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(keep - 1), out.end(), better);
    out.resize(keep);
    threshold = out.back().logit;
  };
  scan_blocks(
      logits, [&](float maximum) { return maximum > threshold; },
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (logits[i] > threshold) out.push_back({logits[i], static_cast<int32_t>(i)});
        }
        if (out.size() >= limit) cut();
      });
  if (out.size() > keep) cut();
  std::sort(out.begin(), out.end(), better);
}

void select_above(std::span<const float> logits, float bound, std::vector<Candidate>& out) {
  out.clear();
  scan_blocks(
      logits, [&](float maximum) { return maximum >= bound; },
      [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          if (logits[i] >= bound) out.push_back({logits[i], static_cast<int32_t>(i)});
        }
      });
}

}  // namespace prosa::backend
