// The selection scans and the answer to a Pick, for rows in host memory. A block's maximum costs a few vector
// instructions; the elements of a block are looked at one by one only when that maximum beats the threshold so far,
// which for a vocabulary is rare.
//
// The row itself is never written. A block that a change or the mask touches is copied and altered in the copy, so that
// every scan sees exactly the row that a caller would have made by altering it.
#include "backend/candidates.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace prosa::backend {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 128;  // floats looked at between two branches
constexpr size_t kWordBits = 32;
constexpr size_t kBlockWords = kBlock / kWordBits;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

using Block = std::array<float, kBlock>;

constexpr std::array<uint32_t, kWordBits> kBit = [] {
  std::array<uint32_t, kWordBits> bits{};
  for (size_t i = 0; i < kWordBits; ++i) bits[i] = uint32_t{1} << i;
  return bits;
}();

/// The row as a pick sees it, in blocks. Blocks must be asked for in rising order: the changes are walked along.
class PickedRow {
 public:
  explicit PickedRow(std::span<const float> row, const Pick& pick = {})
      : row_(row), changes_(pick.changes), allowed_(pick.allowed) {
    PROSA_CHECK(allowed_.empty() || allowed_.size() * kWordBits >= row_.size());
    PROSA_CHECK(changes_.empty() ||
                (changes_.front().id >= 0 && static_cast<size_t>(changes_.back().id) < row_.size()));
  }

  [[nodiscard]] size_t blocks() const noexcept { return (row_.size() + kBlock - 1) / kBlock; }

  /// The logits of ids [index * kBlock, index * kBlock + kBlock), -inf where an id is not allowed or beyond the row;
  /// null when that is all of them. Valid until the next call.
  const float* block(size_t index) noexcept {
    const size_t begin = index * kBlock;
    const size_t length = std::min(kBlock, row_.size() - begin);
    const std::array<uint32_t, kBlockWords> words = words_of(begin);
    uint32_t any = 0, all = ~uint32_t{0};
    for (const uint32_t word : words) any |= word, all &= word;
    const std::span<const LogitChange> changes = changes_before(begin + length);
    if (any == 0) return nullptr;
    if (changes.empty() && all == ~uint32_t{0} && length == kBlock) return row_.data() + begin;

    std::copy_n(row_.data() + begin, length, copy_.begin());
    std::fill(copy_.begin() + static_cast<std::ptrdiff_t>(length), copy_.end(), kLowest);
    for (const LogitChange& change : changes) {
      float& logit = copy_[static_cast<size_t>(change.id) - begin];
      logit = change.of(logit);
    }
    for (size_t i = 0; i < kBlockWords; ++i) {
      float* const values = copy_.data() + i * kWordBits;
      for (size_t j = 0; j < kWordBits; ++j) values[j] = (words[i] & kBit[j]) != 0 ? values[j] : kLowest;
    }
    return copy_.data();
  }

 private:
  [[nodiscard]] std::array<uint32_t, kBlockWords> words_of(size_t begin) const noexcept {
    std::array<uint32_t, kBlockWords> words;
    words.fill(allowed_.empty() ? ~uint32_t{0} : 0);
    const size_t first = begin / kWordBits;
    for (size_t i = 0; i < kBlockWords && first + i < allowed_.size(); ++i) words[i] = allowed_[first + i];
    return words;
  }

  std::span<const LogitChange> changes_before(size_t end) noexcept {
    const size_t first = next_change_;
    while (next_change_ < changes_.size() && static_cast<size_t>(changes_[next_change_].id) < end) ++next_change_;
    return changes_.subspan(first, next_change_ - first);
  }

  std::span<const float> row_;
  std::span<const LogitChange> changes_;
  std::span<const uint32_t> allowed_;
  size_t next_change_ = 0;
  Block copy_;
};

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

/// Calls visit(values, first id) for every block whose maximum passes.
template <typename Passes, typename Visit>
void scan_blocks(PickedRow row, Passes passes, Visit visit) {
  for (size_t index = 0; index < row.blocks(); ++index) {
    const float* values = row.block(index);
    if (values != nullptr && passes(block_maximum(values))) visit(values, static_cast<int32_t>(index * kBlock));
  }
}

Candidate best_of(const PickedRow& row) noexcept {
  Candidate best{kLowest, -1};
  scan_blocks(
      row, [&](float maximum) { return maximum > best.logit; },
      [&](const float* values, int32_t first) {
        for (size_t i = 0; i < kBlock; ++i) {
          if (values[i] > best.logit) best = {values[i], first + static_cast<int32_t>(i)};
        }
      });
  return best;
}

void top_k_of(const PickedRow& row, size_t keep, std::vector<Candidate>& out) {
  out.clear();
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
      row, [&](float maximum) { return maximum > threshold; },
      [&](const float* values, int32_t first) {
        for (size_t i = 0; i < kBlock; ++i) {
          if (values[i] > threshold) out.push_back({values[i], first + static_cast<int32_t>(i)});
        }
        if (out.size() >= limit) cut();
      });
  if (out.size() > keep) cut();
  std::sort(out.begin(), out.end(), better);
}

/// e^(logit - top) for each of a block's logits, none above top. Relative error about 1e-7: a logit is a float, whose
/// own rounding is worth more. 87 and more below top, and for NaN, as at 87, which is nothing beside the best
/// token's 1.
void exp_below(const float* logits, float top, Block& out) noexcept {
  constexpr float kDeepest = -87.0F, kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  for (size_t i = 0; i < kBlock; ++i) {                     // a loop of its own: compilers make a vector maximum of it
    const float x = logits[i] - top;
    out[i] = x > kDeepest ? x : kDeepest;
  }
  for (float& x : out) {
    const float shifted = x * 1.44269504F + kRound;
    const float whole = shifted - kRound;
    const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;  // ln 2 in two parts
    float poly = 1.9875691500e-4F;
    poly = poly * r + 1.3981999507e-3F;
    poly = poly * r + 8.3334519073e-3F;
    poly = poly * r + 4.1665795894e-2F;
    poly = poly * r + 1.6666665459e-1F;
    poly = poly * r + 5.0000001201e-1F;
    poly = poly * r * r + r + 1.0F;
    x = poly * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000U);
  }
}

/// Natural logarithm of x >= 1 in plain double arithmetic, within 1e-15 of itself: libraries differ in the last bit.
double log_of(double x) noexcept {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact
  if (m < 0.70710678118654752) m *= 2, --exponent;
  const double s = (m - 1) / (m + 1);
  const double square = s * s;
  double series = 0;  // log m = 2 (s + s^3/3 + s^5/5 + …); |s| < 0.172, so the terms left out are below 2^-60
  for (int power = 23; power >= 1; power -= 2) series = series * square + 1.0 / power;
  return exponent * 0.69314718055994531 + 2 * s * series;
}

/// log of the sum of e^logit; `top` is the largest logit, finite. Summed in double over the blocks, in an order that
/// only the places in the row decide.
double log_sum_of(PickedRow row, float top) noexcept {
  std::array<double, kLanes> lanes{};
  Block terms;
  for (size_t index = 0; index < row.blocks(); ++index) {
    const float* values = row.block(index);
    if (values == nullptr) continue;
    exp_below(values, top, terms);
    for (size_t half = kBlock / 2; half >= kLanes; half /= 2) {  // in float only eight terms each, as a tree
      for (size_t i = 0; i < half; ++i) terms[i] += terms[half + i];
    }
    for (size_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<double>(terms[j]);
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return static_cast<double>(top) + log_of(sum);
}

}  // namespace

void pick_candidates(std::span<const float> logits, const Pick& pick, Candidates& answer) {
  PROSA_CHECK(!logits.empty() && pick.k >= 1 && pick.k <= kMaxCandidates);
  const PickedRow row(logits, pick);
  if (pick.k == 1) {
    answer.best.clear();
    if (const Candidate best = best_of(row); best.id >= 0) answer.best.push_back(best);
  } else {
    top_k_of(row, std::min(static_cast<size_t>(pick.k), logits.size()), answer.best);
  }
  answer.log_sum = 0;
  if (!pick.log_sum) return;
  const float top = answer.best.empty() ? kLowest : answer.best.front().logit;
  answer.log_sum = std::isinf(top) ? static_cast<double>(top) : log_sum_of(row, top);
}

Candidate select_best(std::span<const float> logits) noexcept { return best_of(PickedRow(logits)); }

void select_top_k(std::span<const float> logits, int64_t k, std::vector<Candidate>& out) {
  top_k_of(PickedRow(logits), static_cast<size_t>(std::clamp<int64_t>(k, 1, static_cast<int64_t>(logits.size()))), out);
}

void select_above(std::span<const float> logits, float bound, std::vector<Candidate>& out) {
  out.clear();
  scan_blocks(
      PickedRow(logits), [&](float maximum) { return maximum >= bound; },
      [&](const float* values, int32_t first) {
        for (size_t i = 0; i < kBlock; ++i) {
          if (values[i] >= bound) out.push_back({values[i], first + static_cast<int32_t>(i)});
        }
      });
}

}  // namespace prosa::backend
