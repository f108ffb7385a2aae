// The warm Chats: which of them goes on with a list of messages that comes in whole.
//
// A request carries its whole history. The Chat that stands nearest to its end is the one whose own history is the
// longest beginning of it; what that Chat has read is not read again. Computes nothing itself. Invariants: a Chat
// serves one request at a time; one that has served a domain (an API key) never serves another, and neither do the
// states that it leaves behind; at most `most` Chats, and of idle ones at most `bytes` of states. Thread safety: any
// thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "prosa/chat.h"

namespace prosa::server {

/// A list of messages as a hash of each of its beginnings: equal lists have equal trails.
class Trail {
 public:
  /// `tools`: they stand in front of everything.
  explicit Trail(const std::vector<Tool>& tools = {});
  void add(const Message& message);
  [[nodiscard]] size_t size() const noexcept { return hashes_.size(); }
  /// How many messages the two begin with in common.
  [[nodiscard]] size_t common(const Trail& other) const noexcept;

 private:
  uint64_t tools_;
  std::vector<uint64_t> hashes_;  // [i]: of the first i + 1 messages
};

class Conversations {
 public:
  Conversations(Model model, size_t most, int64_t bytes);
  ~Conversations();
  Conversations(const Conversations&) = delete;
  Conversations& operator=(const Conversations&) = delete;

 private:
  struct Entry;

 public:
  /// A Chat for one request, given back at the end of its life.
  class Lent {
   public:
    Lent(Conversations& owner, std::list<Entry>::iterator entry) : owner_(&owner), entry_(entry) {}
    ~Lent() { owner_->give_back(entry_, keeps_); }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    [[nodiscard]] Chat& chat() const;
    /// What the Chat stands at now. Without it the Chat is forgotten.
    void stands_at(Trail trail);

   private:
    Conversations* owner_;
    std::list<Entry>::iterator entry_;
    bool keeps_ = false;
  };

  /// Errors: those of Chat's constructor. At most `most` are lent at a time: the caller sees to it.
  std::unique_ptr<Lent> lend(size_t domain, const Trail& trail);
  /// Drops the idle ones of a domain.
  void forget(size_t domain);

  /// How many of a request's messages the warm ones of its domain have read already, at most.
  [[nodiscard]] size_t common(size_t domain, const Trail& trail) const;
  /// What an idle one holds.
  struct Idle {
    size_t messages = 0;
    int64_t bytes = 0;  // of its state
  };
  /// Of one domain, the one that was used last in front.
  [[nodiscard]] std::vector<Idle> idle_of(size_t domain) const;
  [[nodiscard]] size_t count() const;
  [[nodiscard]] int64_t idle_bytes() const;

 private:
  void give_back(std::list<Entry>::iterator entry, bool keep) noexcept;
  void make_room(std::list<Entry>& dropped);  // under the lock

  const Model model_;
  const size_t most_;
  const int64_t bytes_;
  mutable std::mutex mutex_;  // guards what follows; what is in an entry that is lent belongs to its borrower
  std::list<Entry> entries_;  // the one that was used last in front
};

}  // namespace prosa::server
