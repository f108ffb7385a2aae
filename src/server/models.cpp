// Loading, unloading, and who waits for it (models.h).
#include "server/models.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"
#include "server/dialects.h"

namespace prosa::server {
namespace {

constexpr std::chrono::milliseconds kTick{200};  // how often the keeper looks whether something is unused
constexpr std::chrono::milliseconds kPoll{20};   // the same while a request waits for room

/// "owner/name@revision" and "folder/name/" without what stands around the name.
std::string short_name(const ServedModel& model) {
  if (!model.name.empty()) return model.name;
  std::string text = model.model;
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  text.erase(0, text.find_last_of('/') + 1);
  return text.substr(0, text.find('@'));
}

/// Of its weights on disk; 0 where they are not there yet.
int64_t bytes_on_disk(const std::string& folder) {
  std::error_code error;
  int64_t sum = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    if (file.path().extension() != ".safetensors") continue;
    const auto size = file.file_size(error);
    if (!error) sum += static_cast<int64_t>(size);
  }
  return sum;
}

ServerOptions named(ServerOptions options, const std::string& name) {
  options.model_name = name;
  return options;
}

}  // namespace

Resident::Resident(const Model& model, const ServerOptions& options, Metrics& metrics)
    : service(model, options, metrics) {
  add_plain(router, service);
  add_slots(router, service);
  add_openai(router, service);
  add_openai_completions(router, service);
  add_responses(router, service);
  add_score(router, service);
  add_ollama(router, service);
  add_anthropic(router, service);
}

struct Models::Entry {
  std::string name;
  ServedModel served = {};
  bool pinned = false;  // its owner has it loaded anyway
  Hold resident = {};
  bool loading = false;
  bool leaving = false;  // is unloaded when its last reply has ended: new requests wait
  std::atomic<double> progress = 0;
  ModelInfo info = {};
  int64_t context = 0;
  int64_t bytes = 0;  // of its weights, as far as it is known
  Clock::time_point used = Clock::now();
  Clock::time_point wanted = {};  // since when somebody waits
  std::vector<Later> waiting = {};

  /// Nobody has it, and nothing is computed. Under the lock, where alone holds are handed out.
  [[nodiscard]] bool idle() const { return resident.use_count() == 1 && resident->service.desk().idle(); }
};

Models::Models(const Model& model, const ServerOptions& options, Metrics& metrics)
    : options_(options), metrics_(metrics), event_() {
  auto entry = std::make_unique<Entry>();
  entry->pinned = true;
  Hold hold = std::make_shared<Resident>(model, options, metrics);
  entry->name = hold->service.name();
  accept(*entry, std::move(hold));
  entries_.push_back(std::move(entry));
}

Models::Models(const std::vector<ServedModel>& models, const ServerOptions& options, Metrics& metrics, Event event)
    : options_(options), metrics_(metrics), event_(std::move(event)) {
  if (models.empty()) throw Error(ErrorCode::invalid_argument, "there is none", "models", "Name at least one model.");
  std::set<std::string> names;
  for (size_t i = 0; i < models.size(); ++i) {
    auto entry = std::make_unique<Entry>();
    entry->name = short_name(models[i]);
    entry->served = models[i];
    const std::string where = fmt::format("models[{}].name", i);
    if (entry->name.empty()) throw Error(ErrorCode::invalid_argument, "is empty", where, "Give the model a name.");
    if (!names.insert(entry->name).second) {
      throw Error(ErrorCode::invalid_argument, fmt::format("two models are named \"{}\"", entry->name), where,
                  "Give one of them another name.");
    }
    entry->bytes = bytes_on_disk(models[i].model);
    entries_.push_back(std::move(entry));
  }
  Entry& first = *entries_.front();
  accept(first, load_now(first));
  keeper_ = std::thread([this] { keep(); });
}

Models::~Models() { stop(); }

const std::string& Models::first_name() const noexcept { return entries_.front()->name; }

Models::Entry& Models::find(std::string_view name) const {
  constexpr std::string_view kLatest = ":latest";  // what Ollama's clients add
  if (name.empty() || !several()) return *entries_.front();
  const auto found = [&](std::string_view wanted) {
    return std::ranges::find_if(entries_, [wanted](const auto& entry) { return entry->name == wanted; });
  };
  auto entry = found(name);
  if (entry == entries_.end() && name.ends_with(kLatest)) entry = found(name.substr(0, name.size() - kLatest.size()));
  if (entry != entries_.end()) return **entry;
  throw Refusal(404, "model_not_found", fmt::format("There is no model \"{}\" here.", name.substr(0, 200)), "model");
}

Models::Hold Models::get(std::string_view name, Later later) {
  const std::lock_guard lock(mutex_);
  Entry& entry = find(name);
  entry.used = Clock::now();
  if (closed_) throw Refusal(503, "shutting_down", "The server is ending.", "", 1);
  if (entry.resident && !entry.leaving) return entry.resident;
  if (waiting_ >= std::max<size_t>(1, static_cast<size_t>(options_.waiting))) {
    throw Refusal(503, "overloaded", "There are as many requests waiting for a model as the server takes.", "", 5);
  }
  if (entry.waiting.empty()) entry.wanted = entry.used;
  entry.waiting.push_back(std::move(later));
  ++waiting_;
  wake_.notify_all();
  return nullptr;
}

std::vector<ListedModel> Models::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<ListedModel> list;
  for (const auto& entry : entries_) {
    ListedModel listed{entry->name,   entry->resident != nullptr, entry->loading, entry->progress, entry->info,
                       entry->context};
    if (entry->resident) listed.memory = entry->resident->service.memory();
    if (listed.info.weight_bytes == 0) listed.info.weight_bytes = entry->bytes;
    list.push_back(std::move(listed));
  }
  return list;
}

std::vector<Models::Hold> Models::loaded() const {
  const std::lock_guard lock(mutex_);
  std::vector<Hold> holds;
  for (const auto& entry : entries_) {
    if (entry->resident) holds.push_back(entry->resident);
  }
  return holds;
}

void Models::stop() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    cancel_ = true;
    for (const auto& entry : entries_) entry->waiting.clear();
  }
  wake_.notify_all();
  if (keeper_.joinable()) keeper_.join();
  for (const Hold& hold : loaded()) hold->service.desk().stop();
}

void Models::accept(Entry& entry, Hold hold) {
  entry.info = hold->service.info();
  entry.context = hold->service.context();
  entry.bytes = hold->service.memory().weights;
  entry.used = Clock::now();
  entry.resident = std::move(hold);
}

/// The keeper's thread: one load at a time, those first that were asked for first.
void Models::keep() {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    if (Entry* const wanted = oldest_wanted()) {
      load(*wanted, lock);
      continue;
    }
    unload_unused(lock);
    wake_.wait_for(lock, kTick, [this] { return closed_ || oldest_wanted() != nullptr; });
  }
}

Models::Entry* Models::oldest_wanted() const {
  Entry* oldest = nullptr;
  for (const auto& entry : entries_) {
    if (!entry->waiting.empty() && (oldest == nullptr || entry->wanted < oldest->wanted)) oldest = entry.get();
  }
  return oldest;
}

/// Of those that are loaded and may go; one that is on its way out before all others.
Models::Entry* Models::least_used(const Entry& but) const {
  Entry* least = nullptr;
  for (const auto& entry : entries_) {
    if (!entry->resident || entry->pinned || entry.get() == &but) continue;
    if (entry->leaving) return entry.get();
    if (least == nullptr || entry->used < least->used) least = entry.get();
  }
  return least;
}

int64_t Models::loaded_bytes() const {
  int64_t sum = 0;
  for (const auto& entry : entries_) sum += entry->resident ? entry->bytes : 0;
  return sum;
}

Models::Hold Models::load_now(Entry& entry) {
  LoadOptions load = entry.served.load;
  load.cancel = &cancel_;
  load.progress = [&entry, own = entry.served.load.progress](double fraction, std::string_view what) {
    entry.progress = fraction;
    if (own) own(fraction, what);
  };
  const Clock::time_point begin = Clock::now();
  const Model model = Model::from_pretrained(entry.served.model, load);
  Hold hold = std::make_shared<Resident>(model, named(options_, entry.name), metrics_);
  if (event_) event_(entry.name, "loaded", std::chrono::duration<double>(Clock::now() - begin).count());
  return hold;
}

void Models::load(Entry& entry, std::unique_lock<std::mutex>& lock) {
  std::optional<Refusal> refusal;
  if (!entry.resident && !wait_for_room(entry, lock)) {
    refusal.emplace(503, "overloaded", "The models in memory have too much to do to make room for this one.", "", 10);
  }
  if (closed_) return;
  Hold hold = entry.resident;  // it may have come back from leaving
  if (!hold && !refusal) {
    entry.loading = true;
    entry.progress = 0;
    lock.unlock();
    try {
      hold = load_now(entry);
    } catch (...) {
      refusal = refusal_under_way();
      if (event_) event_(entry.name, "failed", 0);
    }
    lock.lock();
    entry.loading = false;
    if (hold) accept(entry, hold);
  }
  entry.leaving = false;
  const std::vector<Later> waiting = std::move(entry.waiting);
  entry.waiting.clear();
  waiting_ -= waiting.size();
  lock.unlock();
  for (const Later& later : waiting) later(hold, refusal ? &*refusal : nullptr);
  hold.reset();
  lock.lock();
}

/// Unloads others until this one fits, those first that were unused for longest. One that is busy takes no new request
/// meanwhile, so that its end comes. False: that took too long.
bool Models::wait_for_room(Entry& entry, std::unique_lock<std::mutex>& lock) {
  const Clock::time_point end = Clock::now() + options_.reply_time;
  while (!closed_ && options_.model_bytes > 0 && loaded_bytes() + entry.bytes > options_.model_bytes) {
    Entry* const victim = least_used(entry);
    if (victim == nullptr) return true;  // one model is always allowed
    victim->leaving = true;
    if (victim->idle()) {
      unload(*victim, lock);
    } else {
      if (Clock::now() > end) return victim->leaving = false;
      wake_.wait_for(lock, kPoll);
    }
  }
  return true;
}

void Models::unload(Entry& entry, std::unique_lock<std::mutex>& lock) {
  Hold last = std::move(entry.resident);
  entry.resident = nullptr;
  entry.leaving = false;
  lock.unlock();
  last.reset();  // waits for its workers
  if (event_) event_(entry.name, "unloaded", 0);
  lock.lock();
}

/// What nobody asked for a while, and what is above the budget because its size was not known before.
void Models::unload_unused(std::unique_lock<std::mutex>& lock) {
  for (const auto& entry : entries_) {
    if (!entry->resident || entry->pinned || options_.idle_unload_seconds <= 0) continue;
    const Clock::time_point now = Clock::now();
    if (!entry->idle()) {
      entry->used = now;
    } else if (std::chrono::duration<double>(now - entry->used).count() >= options_.idle_unload_seconds) {
      unload(*entry, lock);
    }
  }
  while (options_.model_bytes > 0 && loaded_bytes() > options_.model_bytes) {
    const auto newest = std::ranges::max_element(
        entries_, {}, [](const auto& entry) { return entry->resident ? entry->used : Clock::time_point::min(); });
    Entry* const victim = least_used(**newest);
    if (victim == nullptr || !victim->idle()) return;
    unload(*victim, lock);
  }
}

}  // namespace prosa::server
