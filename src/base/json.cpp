// A SAX handler for nlohmann's parser that builds the document itself: the library's own builder goes through a wide
// array again for every object in it, and its ordered objects through all keys for every key.
#include "base/json.h"

#include <map>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/files.h"

namespace prosa {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxShownKey = 60;     // bytes of a key in a message
constexpr size_t kMaxSearchedKeys = 8;  // of an ordered object, one after the other; more get an index

template <typename Json>
class Builder {
 public:
  Builder(const JsonSource& source, const JsonLimits& limits) : source_(source), limits_(limits) {}

  bool null() { return value(nullptr); }
  bool boolean(bool truth) { return value(truth); }
  bool number_integer(int64_t number) { return value(number); }
  bool number_unsigned(uint64_t number) { return value(number); }
  bool number_float(double number, const std::string& /*text*/) { return value(number); }
  bool string(std::string& text) { return value(std::move(text)); }
  bool binary(json::binary_t& /*bytes*/) { return false; }  // JSON text has none

  bool start_object(size_t /*elements*/) { return open(Json::object()); }
  bool start_array(size_t /*elements*/) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& text) {
    Level& level = levels_.back();
    auto& members = level.container->template get_ref<typename Json::object_t&>();
    if constexpr (std::is_same_v<Json, json>) {
      const auto [place, fresh] = members.try_emplace(std::move(text));
      if (!fresh) repeated(place->first);
      level.next = &place->second;
    } else {
      level.next = find(level, members, text);
      if (level.next != nullptr) {
        repeated(text);
        return true;
      }
      // Appended without the search of ordered_map's own functions.
      members.emplace_back(std::move(text), Json());
      level.next = &members.back().second;
      if (!level.index.empty()) level.index.emplace(members.back().first, members.size() - 1);
    }
    return true;
  }

  [[noreturn]] bool parse_error(size_t position, const std::string& /*token*/, const json::exception& error) {
    std::string_view reason = error.what();  // "[json.exception.parse_error.101] parse error at …: syntax error …"
    for (const std::string_view mark : {"] ", ": "}) {
      if (const size_t at = reason.find(mark); at != std::string_view::npos) reason.remove_prefix(at + mark.size());
    }
    fail("is not valid JSON at byte " + std::to_string(position) + ": " + std::string(reason));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(source_.code, what, source_.where, source_.remedy);
  }

  Json take() { return std::move(document_); }

 private:
  struct Level {
    Json* container = nullptr;
    Json* next = nullptr;                 // of an object: where the value of the key just read goes
    std::map<std::string, size_t> index;  // of a wide ordered object: key -> place
  };

  /// The value of a key that an ordered object has already.
  static Json* find(Level& level, typename Json::object_t& members, const std::string& text) {
    if (members.size() < kMaxSearchedKeys) {
      for (auto& [key, member] : members) {
        if (key == text) return &member;
      }
      return nullptr;
    }
    if (level.index.empty()) {
      for (const auto& member : members) level.index.emplace(member.first, level.index.size());
    }
    const auto found = level.index.find(text);
    return found == level.index.end() ? nullptr : &members.begin()[found->second].second;
  }

  void repeated(const std::string& key) const {
    if (!limits_.unique_keys) return;
    fail("the key '" + key.substr(0, kMaxShownKey) + "' stands twice");
  }

  /// Puts a value where it belongs. The place stays put while the value is open: nothing is added to its parent.
  Json* put(Json&& what) {
    if (++entries_ > limits_.max_entries) {
      fail("has more than " + std::to_string(limits_.max_entries) + " values, more than can be meant");
    }
    if (levels_.empty()) return &(document_ = std::move(what));
    Level& level = levels_.back();
    if (level.container->is_object()) return &(*level.next = std::move(what));
    auto& elements = level.container->template get_ref<typename Json::array_t&>();
    elements.push_back(std::move(what));
    return &elements.back();
  }
  template <typename T>
  bool value(T&& what) {
    put(Json(std::forward<T>(what)));
    return true;
  }
  bool open(Json&& container) {
    if (levels_.size() == static_cast<size_t>(limits_.max_depth)) {
      fail("is nested deeper than " + std::to_string(limits_.max_depth) + " levels");
    }
    Json* const place = put(std::move(container));
    levels_.push_back({place, nullptr, {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
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

}  // namespace

json parse_json(std::string_view text, const JsonSource& source, const JsonLimits& limits) {
  return parse<json>(text, source, limits);
}

ordered_json parse_ordered_json(std::string_view text, const JsonSource& source, const JsonLimits& limits) {
  return parse<ordered_json>(text, source, limits);
}

json read_json_file(const std::filesystem::path& file, ErrorCode code, const JsonLimits& limits,
                    const std::string& remedy) {
  return parse_json(read_file(file, limits.max_bytes, code), {file.string(), code, remedy}, limits);
}

}  // namespace prosa
