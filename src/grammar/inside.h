// What one rule's states decide about the tokens of a vocabulary, whatever is open around it; and those of these
// answers that many languages ask for: the inside of a JSON string is the same in every schema.
//
// An answer is found again by the shape of what can be reached from its states (Network::shape_of), not by whose they
// are. Thread safety: SharedInsides from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace prosa::grammar {

/// [mask_words]: bit i % 32 of word i / 32: token i is allowed, as backend::Pick has it.
using Mask = std::vector<uint32_t>;

struct Inside {
  std::vector<int32_t> tokens;  // those that the rule takes whole, where they are few
  Mask mask;                    // else their mask
  std::vector<uint32_t> exits;  // trie nodes with others below them after which the rule may have ended
  [[nodiscard]] size_t bytes() const noexcept {
    return (tokens.size() + mask.size() + exits.size()) * sizeof(uint32_t);
  }
};

class SharedInsides {
 public:
  static constexpr size_t kMaxBytes = size_t{8} << 20;

  std::shared_ptr<const Inside> find(const std::string& shape) {
    const std::lock_guard lock(mutex_);
    const auto found = insides_.find(shape);
    return found == insides_.end() ? nullptr : found->second;
  }
  /// Kept until there are too many.
  void add(const std::string& shape, const std::shared_ptr<const Inside>& inside) {
    const std::lock_guard lock(mutex_);
    if (bytes_ + inside->bytes() > kMaxBytes) {
      insides_.clear();
      bytes_ = 0;
    }
    if (insides_.emplace(shape, inside).second) bytes_ += inside->bytes() + shape.size();
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::unordered_map<std::string, std::shared_ptr<const Inside>> insides_;
  size_t bytes_ = 0;
};

}  // namespace prosa::grammar
