// The answers of /v1/responses that clients may come back to: by id, what was said up to there and the object itself.
//
// Knows no dialect's fields: messages, and JSON as text. Invariants: what one API key has stored is not there for
// another; all of it together has at most `bytes` bytes, and what was unused for longest goes first. Thread safety:
// any thread.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "prosa/chat.h"

namespace prosa::server {

struct StoredResponse {
  std::vector<Message> messages;      // the whole conversation, the answer included; no instructions
  std::vector<std::string> call_ids;  // of the last message's calls, in their order
  std::string json;                   // the response object
};

class ResponseStore {
 public:
  explicit ResponseStore(size_t bytes) : bytes_(bytes) {}

  /// Kept at least until the next one, if it fits at all.
  void keep(size_t domain, const std::string& id, StoredResponse response);
  /// Null: there is none of this domain.
  std::shared_ptr<const StoredResponse> find(size_t domain, const std::string& id);
  /// False: there was none.
  bool erase(size_t domain, const std::string& id);
  [[nodiscard]] size_t count() const;
  [[nodiscard]] size_t bytes() const;

 private:
  using Key = std::pair<size_t, std::string>;
  struct Entry {
    Key key;
    std::shared_ptr<const StoredResponse> response;
    size_t bytes;
  };
  void drop(std::list<Entry>::iterator entry);  // under the lock

  const size_t bytes_;
  mutable std::mutex mutex_;  // guards what follows
  std::list<Entry> entries_;  // the one that was used last in front
  std::map<Key, std::list<Entry>::iterator> by_key_;
  size_t held_ = 0;
};

}  // namespace prosa::server
