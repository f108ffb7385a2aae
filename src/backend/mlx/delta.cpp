// One piece: what each token changes is a triangular system over the changes of those before it.
#include "backend/mlx/delta.h"

#include <algorithm>
#include <vector>

#include <mlx/linalg.h>
#include <mlx/ops.h>

namespace prosa::backend::mlx {
namespace {

namespace mx = ::mlx::core;

mx::array turned(const mx::array& x) { return mx::swapaxes(x, 1, 2); }
mx::array column(const mx::array& x) { return mx::expand_dims(x, 2); }

std::pair<mx::array, mx::array> delta_piece(const mx::array& q, const mx::array& k, const mx::array& v,
                                            const mx::array& log_decay, const mx::array& beta, const mx::array& state) {
  const int heads = q.shape(0);
  const int n = q.shape(1);
  const mx::array sums = mx::cumsum(log_decay, 1);                              // [heads, n]
  const mx::array gaps = mx::subtract(column(sums), mx::expand_dims(sums, 1));  // [heads, n, n]
  const mx::array fading = mx::tril(mx::exp(mx::minimum(gaps, mx::array(0.0F))));
  const mx::array pairs = mx::multiply(mx::multiply(mx::matmul(k, turned(k)), fading), column(beta));
  // Of unit diagonal, so the inverse exists. MLX inverts on the host's stream only.
  const mx::array inverse = mx::linalg::tri_inv(mx::add(mx::eye(n), mx::tril(pairs, -1)), false, mx::Device::cpu);
  const mx::array since = column(mx::exp(sums));
  const mx::array recalled = mx::multiply(since, mx::matmul(k, turned(state)));
  const mx::array changes = mx::matmul(inverse, mx::multiply(column(beta), mx::subtract(v, recalled)));
  const mx::array within = mx::matmul(mx::multiply(mx::matmul(q, turned(k)), fading), changes);
  const mx::array out = mx::add(mx::multiply(since, mx::matmul(q, turned(state))), within);
  const mx::array last = mx::slice(sums, {0, n - 1}, {heads, n});
  const mx::array left = column(mx::exp(mx::subtract(last, sums)));
  const mx::array next =
      mx::add(mx::multiply(column(mx::exp(last)), state), mx::matmul(turned(changes), mx::multiply(left, k)));
  return {out, next};
}

}  // namespace

std::pair<mx::array, mx::array> delta_rule(const mx::array& q, const mx::array& k, const mx::array& v,
                                           const mx::array& log_decay, const mx::array& beta, const mx::array& state) {
  const int heads = q.shape(0);
  const int n = q.shape(1);
  std::vector<mx::array> outputs;
  mx::array now = state;
  for (int begin = 0; begin < n; begin += kDeltaPiece) {
    const int end = std::min(n, begin + kDeltaPiece);
    const auto rows = [&](const mx::array& x) { return mx::slice(x, {0, begin, 0}, {heads, end, x.shape(2)}); };
    const auto numbers = [&](const mx::array& x) { return mx::slice(x, {0, begin}, {heads, end}); };
    auto [out, next] = delta_piece(rows(q), rows(k), rows(v), numbers(log_decay), numbers(beta), now);
    outputs.push_back(out);
    now = next;
  }
  return {mx::concatenate(outputs, 1), now};
}

}  // namespace prosa::backend::mlx
