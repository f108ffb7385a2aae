// Sums by kind.
#include "tools/kinds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "checkpoint/names.h"

namespace prosa::tools {
namespace {

constexpr std::array<std::string_view, 9> kOrder{"embedding", "head", "attention", "deltanet", "mlp",
                                                 "norms",     "mtp",  "vision",    "other"};

KindSum& at(KindSums& sums, std::string_view kind) {
  if (std::ranges::find(kOrder, kind) == kOrder.end()) kind = "other";  // a report may say anything
  const auto found = std::ranges::find(sums, kind, &KindSums::value_type::first);
  if (found != sums.end()) return found->second;
  return sums.emplace_back(kind, KindSum{}).second;
}

KindSums sorted(KindSums sums) {
  std::ranges::sort(sums, {}, [](const auto& entry) { return std::ranges::find(kOrder, entry.first); });
  return sums;
}

}  // namespace

double KindSum::bits_per_weight() const {
  return weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
}

std::optional<double> KindSum::relative_error() const {
  if (squares <= 0) return std::nullopt;
  return std::sqrt(differences / squares);
}

KindSum& KindSum::operator+=(const KindSum& other) {
  tensors += other.tensors;
  weights += other.weights;
  bytes += other.bytes;
  source_bytes += other.source_bytes;
  squares += other.squares;
  differences += other.differences;
  return *this;
}

int64_t weights_of(const checkpoint::TensorListing& listing) {
  const std::string_view name = listing.name;
  if (name.ends_with(".scales") || name.ends_with(".biases")) return 0;
  int64_t count = 1;
  for (const int64_t dim : listing.shape) count *= dim;
  return listing.format ? count * 32 / listing.format->bits : count;
}

KindSums sum_kinds(const checkpoint::QuantizationReport& report) {
  KindSums sums;
  for (const checkpoint::TensorReport& tensor : report.tensors) {
    KindSum& sum = at(sums, tensor.kind);
    double weights = 1;
    for (const int64_t dim : tensor.shape) weights *= static_cast<double>(dim);
    ++sum.tensors;
    sum.weights += static_cast<int64_t>(std::min(weights, 1e18));
    sum.bytes += tensor.bytes;
    sum.source_bytes += tensor.source_bytes;
    if (!tensor.relative_error) continue;
    sum.squares += tensor.squared_norm;
    sum.differences += tensor.squared_norm * *tensor.relative_error * *tensor.relative_error;
  }
  return sorted(std::move(sums));
}

KindSums sum_kinds(const std::vector<checkpoint::TensorListing>& listings) {
  KindSums sums;
  for (const checkpoint::TensorListing& listing : listings) {
    KindSum& sum = at(sums, listing.role == "ignored" ? "other" : kind_of(checkpoint::canonical_name(listing.name)));
    ++sum.tensors;
    sum.weights += weights_of(listing);
    sum.bytes += listing.bytes;
  }
  return sorted(std::move(sums));
}

KindSums sum_kinds(const std::vector<checkpoint::TensorDifference>& differences) {
  KindSums sums;
  for (const checkpoint::TensorDifference& difference : differences) {
    KindSum& sum = at(sums, difference.kind);
    ++sum.tensors;
    sum.weights += difference.weights;
    sum.squares += difference.squares;
    sum.differences += difference.differences;
  }
  return sorted(std::move(sums));
}

KindSum sum_all(const KindSums& sums) {
  KindSum all;
  for (const auto& [kind, sum] : sums) all += sum;
  return all;
}

}  // namespace prosa::tools
