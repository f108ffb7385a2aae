// Packing questions, reading answers.
#include "backend/cuda/picker.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace prosa::backend::cuda {
namespace {
constexpr int64_t kBestBytes = kMaxCandidates * static_cast<int64_t>(sizeof(float2));
int64_t aligned(int64_t bytes) { return (bytes + 15) / 16 * 16; }
}  // namespace

Picker::Picker(std::shared_ptr<Device> device, const Queue& queue, int64_t vocab)
    : device_(std::move(device)), queue_(queue), vocab_(vocab) {
  queue_.overlap = false;
}

void Picker::reserve(int64_t asks, int64_t bytes) {
  if (!host_asks_ || host_asks_->bytes() < bytes) {
    const int64_t room = std::max<int64_t>(2 * bytes, 1 << 16);
    host_asks_ = device_->allocate_pinned(room, "questions");
    card_asks_ = device_->allocate(room, "questions");
  }
  if (asks <= asks_room_) return;
  const int64_t room = std::max<int64_t>(2 * asks, 8);
  scratch_ = device_->allocate(room * (vocab_ / 256 + 1) * 8, "questions");
  card_answers_ = device_->allocate(room * (static_cast<int64_t>(sizeof(PickHead)) + kBestBytes), "answers");
  host_answers_ = device_->allocate_pinned(room * (static_cast<int64_t>(sizeof(PickHead)) + kBestBytes), "answers");
  asks_room_ = room;
}

void Picker::pick(std::span<const RowPick> asks, std::span<const float* const> rows, std::span<Candidates> answers) {
  if (asks.empty()) return;
  const std::lock_guard lock(mutex_);
  device_->use();
  const auto count = static_cast<int64_t>(asks.size());
  int64_t bytes = aligned(count * static_cast<int64_t>(sizeof(PickArgs)));
  for (const RowPick& ask : asks) {
    bytes += aligned(static_cast<int64_t>(ask.pick.changes.size()) * 4) +
             aligned(static_cast<int64_t>(ask.pick.changes.size()) * 8) +
             aligned(static_cast<int64_t>(ask.pick.allowed.size_bytes()));
  }
  reserve(count, bytes);
  auto* const host = host_asks_->as<std::byte>();
  const auto* const card = card_asks_->as<std::byte>();
  int64_t at = aligned(count * static_cast<int64_t>(sizeof(PickArgs)));
  int64_t most = 1;
  for (int64_t i = 0; i < count; ++i) {
    const Pick& pick = asks[static_cast<size_t>(i)].pick;
    PickArgs args;
    args.logits = rows[static_cast<size_t>(i)];
    args.k = static_cast<int32_t>(std::clamp<int64_t>(pick.k, 1, kMaxCandidates));
    args.log_sum = pick.log_sum ? 1 : 0;
    args.change_count = static_cast<int32_t>(pick.changes.size());
    most = std::max<int64_t>(most, args.k);
    args.change_ids = reinterpret_cast<const int32_t*>(card + at);
    auto* const ids = reinterpret_cast<int32_t*>(host + at);
    at += aligned(args.change_count * 4);
    args.changes = reinterpret_cast<const float2*>(card + at);
    auto* const changes = reinterpret_cast<float2*>(host + at);
    at += aligned(args.change_count * 8);
    for (size_t c = 0; c < pick.changes.size(); ++c) {
      ids[c] = pick.changes[c].id;
      changes[c] = {pick.changes[c].penalty, pick.changes[c].add};
    }
    if (!pick.allowed.empty()) {
      args.allowed = reinterpret_cast<const uint32_t*>(card + at);
      std::memcpy(host + at, pick.allowed.data(), pick.allowed.size_bytes());
      at += aligned(static_cast<int64_t>(pick.allowed.size_bytes()));
    }
    std::memcpy(host + i * static_cast<int64_t>(sizeof(PickArgs)), &args, sizeof args);
  }
  device_->copy(card_asks_->as(), host, at);
  auto* const heads = card_answers_->as<PickHead>();
  auto* const best = reinterpret_cast<float2*>(heads + asks_room_);
  launch_pick(queue_, card_asks_->as<PickArgs>(), static_cast<int>(count), static_cast<int>(vocab_), scratch_->as(),
              heads, best);
  // A lone question comes back in one copy: its head stands right before its best.
  const auto* const host_heads = host_answers_->as<PickHead>();
  const auto* const host_best = reinterpret_cast<const float2*>(host_heads + asks_room_);
  const int64_t head_bytes = asks_room_ * static_cast<int64_t>(sizeof(PickHead));
  device_->copy(host_answers_->as(), heads,
                head_bytes + (count == 1 ? most * static_cast<int64_t>(sizeof(float2)) : count * kBestBytes));
  device_->finish();
  for (size_t i = 0; i < asks.size(); ++i) {
    Candidates& answer = answers[i];
    if (host_heads[i].count < 0) {
      from_host(rows[i], asks[i].pick, answer);
      continue;
    }
    answer.best.clear();
    for (int32_t c = 0; c < host_heads[i].count; ++c) {
      const float2 entry = host_best[i * kMaxCandidates + static_cast<size_t>(c)];
      answer.best.push_back({entry.x, static_cast<int32_t>(std::bit_cast<uint32_t>(entry.y))});
    }
    answer.log_sum = asks[i].pick.log_sum ? host_heads[i].log_sum : 0;
  }
}

void Picker::from_host(const float* row, const Pick& pick, Candidates& answer) {
  std::vector<float> logits(static_cast<size_t>(vocab_));
  device_->copy(logits.data(), row, vocab_ * static_cast<int64_t>(sizeof(float)));
  device_->finish();
  pick_candidates(logits, pick, answer);
}

}  // namespace prosa::backend::cuda
