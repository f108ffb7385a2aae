// Keeping answers by id (response_store.h).
#include "server/response_store.h"

namespace prosa::server {
namespace {

size_t bytes_of(const StoredResponse& response) {
  size_t bytes = sizeof(StoredResponse) + response.json.size();
  for (const std::string& id : response.call_ids) bytes += sizeof(std::string) + id.size();
  for (const Message& message : response.messages) {
    bytes += sizeof(Message) + message.content.size() + message.reasoning_content.size();
    for (const ToolCall& call : message.tool_calls)
      bytes += sizeof(ToolCall) + call.name.size() + call.arguments.size();
  }
  return bytes;
}

}  // namespace

void ResponseStore::drop(std::list<Entry>::iterator entry) {
  held_ -= entry->bytes;
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

void ResponseStore::keep(size_t domain, const std::string& id, StoredResponse response) {
  const size_t bytes = bytes_of(response);
  const Key key(domain, id);
  auto kept = std::make_shared<const StoredResponse>(std::move(response));
  const std::lock_guard lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) drop(found->second);
  if (bytes > bytes_) return;
  while (held_ + bytes > bytes_) drop(std::prev(entries_.end()));
  entries_.push_front({key, std::move(kept), bytes});
  by_key_[key] = entries_.begin();
  held_ += bytes;
}

std::shared_ptr<const StoredResponse> ResponseStore::find(size_t domain, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find({domain, id});
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->response;
}

bool ResponseStore::erase(size_t domain, const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find({domain, id});
  if (found == by_key_.end()) return false;
  drop(found->second);
  return true;
}

size_t ResponseStore::count() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

size_t ResponseStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

}  // namespace prosa::server
