// A logit and its id become one whole number of 64 bits, in the order of better(): the k largest of distinct numbers
// are the same on every device, whatever its sort does with equal ones.
#include "backend/mlx/picker.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include <mlx/ops.h>
#include <mlx/transforms.h>

namespace prosa::backend::mlx {
namespace {

namespace mx = ::mlx::core;

constexpr int kSumWidth = 512;  // terms that are summed in float32; sums of them are added up in float64
constexpr float kNever = -std::numeric_limits<float>::infinity();

mx::array changed(const mx::array& row, std::span<const LogitChange> changes) {
  const int count = static_cast<int>(changes.size());
  std::vector<int32_t> ids;
  std::vector<float> penalties, adds;
  for (const LogitChange& change : changes) {
    ids.push_back(change.id);
    penalties.push_back(change.penalty);
    adds.push_back(change.add);
  }
  const mx::array at(ids.data(), {count}, mx::int32);
  const mx::array penalty(penalties.data(), {count}, mx::float32);
  const mx::array old = mx::take(row, at, 0);
  const mx::array fined =
      mx::where(mx::greater(old, mx::array(0.0F)), mx::divide(old, penalty), mx::multiply(old, penalty));
  return mx::put_along_axis(row, at, mx::add(fined, mx::array(adds.data(), {count}, mx::float32)), 0);
}

mx::array masked(const mx::array& row, std::span<const uint32_t> allowed) {
  const mx::array words(allowed.data(), {static_cast<int>(allowed.size()), 1}, mx::uint32);
  const mx::array bits = mx::bitwise_and(mx::right_shift(words, mx::arange(0, 32, mx::uint32)), mx::array(1U));
  const mx::array of_ids = mx::slice(mx::reshape(bits, {-1}), {0}, {row.shape(0)});
  return mx::where(mx::astype(of_ids, mx::bool_), row, mx::array(kNever));
}

/// [k] int64: the upper half orders as the logits do, the lower half has the smaller ids first.
mx::array best_keys(const mx::array& row, int k) {
  const mx::array bits = mx::view(mx::add(row, mx::array(0.0F)), mx::int32);  // -0 becomes 0
  const mx::array ordered = mx::where(mx::less(bits, mx::array(0)), mx::bitwise_xor(bits, mx::array(0x7fffffff)), bits);
  const mx::array ids = mx::subtract(mx::array(int64_t{0xffffffff}), mx::arange(0, row.shape(0), mx::int64));
  const mx::array keys = mx::add(mx::multiply(mx::astype(ordered, mx::int64), mx::array(int64_t{1} << 32)), ids);
  return mx::contiguous(mx::topk(keys, k));
}

Candidate candidate_of(int64_t key) {
  auto bits = static_cast<int32_t>(key >> 32);
  if (bits < 0) bits ^= 0x7fffffff;
  return {std::bit_cast<float>(bits), static_cast<int32_t>(0xffffffff - (key & 0xffffffff))};
}

/// [ceil(vocab / kSumWidth)] sums of exp(logit - largest)
mx::array partial_sums(const mx::array& row, const mx::array& largest) {
  const int vocab = row.shape(0);
  const int lines = (vocab + kSumWidth - 1) / kSumWidth;
  const mx::array padded = mx::pad(mx::exp(mx::subtract(row, largest)), {{0, lines * kSumWidth - vocab}});
  return mx::sum(mx::reshape(padded, {lines, kSumWidth}), 1);
}

}  // namespace

void pick_on_device(const mx::array& given, const Pick& pick, Candidates& answer) {
  mx::array row = pick.changes.empty() ? given : changed(given, pick.changes);
  if (!pick.allowed.empty()) row = masked(row, pick.allowed);
  row = mx::where(mx::equal(row, row), row, mx::array(kNever));  // NaN is nobody's choice
  const int k = std::min(static_cast<int>(pick.k), row.shape(0));
  std::vector<mx::array> wanted;
  if (k == 1) {
    const mx::array id = mx::reshape(mx::argmax(row, 0), {1});
    wanted = {mx::take(row, id, 0), mx::astype(id, mx::int32)};
  } else {
    wanted = {best_keys(row, k)};
  }
  const mx::array largest = mx::max(row);
  if (pick.log_sum) {
    wanted.push_back(largest);
    wanted.push_back(partial_sums(row, largest));
  }
  mx::eval(wanted);

  answer.best.clear();
  answer.log_sum = 0;
  if (k == 1) {
    answer.best.push_back({wanted[0].data<float>()[0], wanted[1].data<int32_t>()[0]});
  } else {
    std::vector<int64_t> keys(wanted[0].data<int64_t>(), wanted[0].data<int64_t>() + k);
    std::ranges::sort(keys, std::greater<>());
    for (const int64_t key : keys) answer.best.push_back(candidate_of(key));
  }
  std::erase_if(answer.best, [](const Candidate& each) { return each.logit == kNever; });
  if (!pick.log_sum) return;
  const float top = wanted[wanted.size() - 2].data<float>()[0];
  if (std::isinf(top)) {
    answer.log_sum = top;
    return;
  }
  const mx::array& sums = wanted.back();
  double sum = 0;
  for (size_t i = 0; i < sums.size(); ++i) sum += static_cast<double>(sums.data<float>()[i]);
  answer.log_sum = static_cast<double>(top) + std::log(sum);
}

}  // namespace prosa::backend::mlx
