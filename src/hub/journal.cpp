// The journal's layout: "prosa-p1", size, piece length, then the done bytes of each piece; 64-bit, the machine's order.
#include "hub/journal.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/check.h"

namespace prosa::hub {
namespace {

constexpr uint64_t kMaxPieces = uint64_t{1} << 20;

struct Head {
  std::array<char, 8> magic = {'p', 'r', 'o', 's', 'a', '-', 'p', '1'};
  uint64_t size = 0;
  uint64_t piece_bytes = 0;
};
static_assert(sizeof(Head) == 24);

uint64_t count_pieces(uint64_t size, uint64_t piece_bytes) { return size / piece_bytes + (size % piece_bytes != 0); }

}  // namespace

Journal::Journal(const std::filesystem::path& path, uint64_t size, uint64_t piece_bytes, uint64_t held)
    : file_(File::open_write(path)), size_(size) {
  if (!read(held)) start(piece_bytes);
}

bool Journal::read(uint64_t held) {
  Head head;
  const Head expected;
  if (file_.read_at(0, std::as_writable_bytes(std::span(&head, 1))) != sizeof head) return false;
  if (head.magic != expected.magic || head.size != size_ || head.piece_bytes == 0) return false;
  const uint64_t pieces = count_pieces(size_, head.piece_bytes);
  if (pieces > kMaxPieces || file_.size() != sizeof head + 8 * pieces) return false;
  std::vector<uint64_t> done(pieces);
  if (file_.read_at(sizeof head, std::as_writable_bytes(std::span(done))) != 8 * pieces) return false;
  piece_bytes_ = head.piece_bytes;
  done_ = std::vector<std::atomic<uint64_t>>(pieces);
  for (uint64_t i = 0; i < pieces; ++i) {
    if (done[i] > length(i) || (done[i] > 0 && begin(i) + done[i] > held)) return false;
    done_[i] = done[i];
  }
  return true;
}

void Journal::start(uint64_t piece_bytes) {
  piece_bytes_ = std::max(piece_bytes, size_ / kMaxPieces + 1);
  done_ = std::vector<std::atomic<uint64_t>>(count_pieces(size_, piece_bytes_));
  Head head;
  head.size = size_;
  head.piece_bytes = piece_bytes_;
  std::vector<std::byte> bytes(sizeof head + 8 * done_.size());
  std::memcpy(bytes.data(), &head, sizeof head);
  file_.resize(0);  // one killed here is too short to be read
  file_.write_at(0, bytes);
}

uint64_t Journal::length(uint64_t piece) const noexcept { return std::min(piece_bytes_, size_ - begin(piece)); }

uint64_t Journal::total_done() const noexcept {
  uint64_t total = 0;
  for (uint64_t i = 0; i < pieces(); ++i) total += done(i);
  return total;
}

uint64_t Journal::prefix() const noexcept {
  for (uint64_t i = 0; i < pieces(); ++i) {
    if (const uint64_t have = done(i); have < length(i)) return begin(i) + have;
  }
  return size_;
}

void Journal::record(uint64_t piece, uint64_t done) {
  PROSA_CHECK(piece < pieces() && done <= length(piece));
  file_.write_at(sizeof(Head) + 8 * piece, std::as_bytes(std::span(&done, 1)));
  done_[piece].store(done, std::memory_order_release);
}

void Journal::adopt_prefix(uint64_t bytes) {
  for (uint64_t i = 0; i < pieces() && begin(i) < bytes; ++i) {
    record(i, std::max(done(i), std::min(length(i), bytes - begin(i))));
  }
}

void Journal::clear() { start(piece_bytes_); }

}  // namespace prosa::hub
