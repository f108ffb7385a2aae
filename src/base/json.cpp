// A SAX handler for nlohmann's parser that builds the document itself: the library's own builder goes through a wide
// array again for every object in it, and its ordered objects through all keys for every key.
//
// What is open lies in lists of the builder's own, and becomes a value of the library when it is closed, in one move: a
// member that is put into an object of the library too early is copied, with all that is in it, whenever that object
// grows, and the same again in every object around.
#include "base/json.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/git_lfs.h"
#include "base/keyed_hash.h"
#include "base/utf8.h"

namespace prosa {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxShownKey = 60;      // bytes of a key in a message
constexpr size_t kMaxShownReason = 200;  // and of what the library says, which quotes the text
constexpr size_t kMaxSearchedKeys = 8;   // of an object, one after the other; more get an index

/// The keys of one object, found by hash.
class KeyIndex {
 public:
  /// The place of `key` in `members`, or members.size() if it is new: then it must be added there.
  template <typename Members>
  size_t place_of(const Members& members, std::string_view key) {
    if (members.size() < kMaxSearchedKeys) {
      const auto found =
          std::ranges::find(members, key, [](const auto& member) { return std::string_view(member.first); });
      return static_cast<size_t>(found - members.begin());
    }
    if (slots_.size() < 2 * (members.size() + 1)) {
      slots_.assign(std::bit_ceil(4 * (members.size() + 1)), Slot());
      for (size_t i = 0; i < members.size(); ++i) (void)find_or_take(members, members[i].first, i);
    }
    return find_or_take(members, key, members.size());
  }

 private:
  struct Slot {
    uint32_t hash = 0;       // the upper half; the lower one says where the slot is
    uint32_t place_end = 0;  // the place + 1; 0: free
  };

  template <typename Members>
  size_t find_or_take(const Members& members, std::string_view key, size_t fresh) {
    const uint64_t hash = keyed_hash(key, HashKey::of_process());
    const auto upper = static_cast<uint32_t>(hash >> 32);
    for (size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[at];
      if (slot.place_end == 0) {
        slot = {upper, static_cast<uint32_t>(fresh + 1)};
        return fresh;
      }
      if (slot.hash == upper && members[slot.place_end - 1].first == key) return slot.place_end - 1;
    }
  }

  std::vector<Slot> slots_;
};

template <typename Json>
class Builder {
 public:
  Builder(const JsonSource& source, const JsonLimits& limits) : source_(source), limits_(limits) {}
  ~Builder() { dismantle(document_); }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  bool null() { return value(nullptr); }
  bool boolean(bool truth) { return value(truth); }
  bool number_integer(int64_t number) { return value(number); }
  bool number_unsigned(uint64_t number) { return value(number); }
  bool number_float(double number, const std::string& /*text*/) { return value(number); }
  bool string(std::string& text) { return value(std::move(text)); }
  bool binary(json::binary_t& /*bytes*/) { return false; }  // JSON text has none

  bool start_object(size_t /*elements*/) { return open(true); }
  bool start_array(size_t /*elements*/) { return open(false); }

  bool key(std::string& text) {
    Level& level = levels_.back();
    bool fresh = false;
    if constexpr (std::is_same_v<Json, json>) {
      const auto [member, is_new] = level.members.try_emplace(std::move(text));
      level.next = &member->second;
      fresh = is_new;
      if (!fresh) repeated(member->first);
    } else {
      const size_t place = level.index.place_of(level.members, text);
      fresh = place == level.members.size();
      if (fresh) level.members.emplace_back(std::move(text), Json());
      level.next = &level.members[place].second;  // nothing is added before its value is there
      if (!fresh) repeated(level.members[place].first);
    }
    return true;
  }

  bool end_object() {
    Level level = close();
    if constexpr (std::is_same_v<Json, json>) {
      return place(Json(std::move(level.members)));
    } else {
      Json object = Json::object();
      auto& members = object.template get_ref<typename Json::object_t&>();
      members.reserve(level.members.size());
      // Appends without a search for the key.
      auto& list = static_cast<std::vector<typename Json::object_t::value_type>&>(members);
      for (auto& [key, member] : level.members) list.emplace_back(std::move(key), std::move(member));
      return place(std::move(object));
    }
  }

  bool end_array() {
    Level level = close();
    return place(Json(std::move(level.elements)));
  }

  [[noreturn]] bool parse_error(size_t position, const std::string& /*token*/, const json::exception& error) {
    std::string_view reason = error.what();  // "[json.exception.parse_error.101] parse error at …: syntax error …"
    for (const std::string_view mark : {"] ", ": "}) {
      if (const size_t at = reason.find(mark); at != std::string_view::npos) reason.remove_prefix(at + mark.size());
    }
    std::string shown;
    utf8::append_complete(shown, reason.substr(0, kMaxShownReason));
    fail("is not valid JSON at byte " + std::to_string(position) + ": " + shown +
         (reason.size() > kMaxShownReason ? "…" : ""));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(source_.code, what, source_.where, source_.remedy);
  }

  Json take() { return std::move(document_); }

 private:
  using Members =
      std::conditional_t<std::is_same_v<Json, json>, json::object_t, std::vector<std::pair<std::string, Json>>>;
  struct Level {
    Level() = default;
    Level(Level&&) noexcept = default;
    ~Level() {  // what a failure leaves behind
      for (Json& element : elements) dismantle(element);
      for (auto& member : members) dismantle(member.second);
    }

    bool is_object = false;
    std::vector<Json> elements;  // of an array
    Members members;             // of an object
    KeyIndex index;              // of its members, where they stand in the order of the text
    Json* next = nullptr;        // where the value of the key just read goes
  };
  static_assert(std::is_nothrow_move_constructible_v<Level>, "a level must keep its members' places when it moves");

  void repeated(std::string_view key) const {
    if (!limits_.unique_keys) return;
    std::string shown;
    utf8::append_complete(shown, key.substr(0, kMaxShownKey));
    fail("the key '" + shown + "' stands twice");
  }

  void count() {
    if (++entries_ <= limits_.max_entries) return;
    fail("has more than " + std::to_string(limits_.max_entries) + " values, more than can be meant");
  }

  bool place(Json&& what) {
    if (levels_.empty()) {
      document_ = std::move(what);
      return true;
    }
    Level& level = levels_.back();
    if (level.is_object) {
      dismantle(*level.next);  // of a key that stands twice
      *level.next = std::move(what);
      return true;
    }
    try {
      level.elements.push_back(std::move(what));
    } catch (...) {
      dismantle(what);
      throw;
    }
    return true;
  }
  template <typename T>
  bool value(T&& what) {
    count();
    return place(Json(std::forward<T>(what)));
  }
  bool open(bool is_object) {
    if (levels_.size() == static_cast<size_t>(limits_.max_depth)) {
      fail("is nested deeper than " + std::to_string(limits_.max_depth) + " levels");
    }
    count();
    levels_.emplace_back().is_object = is_object;
    return true;
  }
  Level close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    return level;
  }

  const JsonSource& source_;
  const JsonLimits& limits_;
  Json document_;
  std::vector<Level> levels_;  // the containers that are open
  size_t entries_ = 0;
};

template <typename Json>
Json parse(std::string_view text, const JsonSource& source, const JsonLimits& limits) {
  Builder<Json> builder(source, limits);
  if (text.size() > limits.max_bytes) {
    builder.fail("has more than " + std::to_string(limits.max_bytes) + " bytes, more than can be meant");
  }
  // The library takes a zero byte for the end of its input and would not look at what follows.
  if (const size_t at = text.find('\0'); at != std::string_view::npos) {
    builder.fail("is not valid JSON at byte " + std::to_string(at) + ": a zero byte");
  }
  Json::sax_parse(text.begin(), text.end(), &builder);  // what is wrong is thrown by the builder
  return builder.take();
}

/// Children first: what is empty is destroyed without a list. As deep as the document, which is bounded.
template <typename Json>
void take_apart(Json& value) noexcept {
  if (!value.is_structured()) return;
  for (Json& child : value) take_apart(child);
  value.clear();
}

}  // namespace

void dismantle(json& document) noexcept { take_apart(document); }
void dismantle(ordered_json& document) noexcept { take_apart(document); }

json parse_json(std::string_view text, const JsonSource& source, const JsonLimits& limits) {
  return parse<json>(text, source, limits);
}

ordered_json parse_ordered_json(std::string_view text, const JsonSource& source, const JsonLimits& limits) {
  return parse<ordered_json>(text, source, limits);
}

json read_json_file(const std::filesystem::path& file, ErrorCode code, const JsonLimits& limits,
                    const std::string& remedy) {
  const std::string text = read_file(file, limits.max_bytes, code);
  refuse_git_lfs_pointer(text, file.string());
  return parse_json(text, {file.string(), code, remedy}, limits);
}

}  // namespace prosa
