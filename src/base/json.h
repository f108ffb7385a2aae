// JSON from outside: files, servers, lines of input. One reader, bounded in every direction, linear in time (but for
// the sorted keys of nlohmann::json).
//
// Knows no key and no meaning. Not for safetensors headers and tokenizer.json, whose readers build no document
// (format/safetensors.cpp, tokenizer/json_reader.cpp). What comes out is no deeper than it was allowed to be, so that
// everything after it may recurse.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "prosa/error.h"

namespace prosa {

struct JsonLimits {
  size_t max_bytes = size_t{16} << 20;
  size_t max_entries = size_t{1} << 20;  // values, in all depths together: each takes memory whatever its text is
  int max_depth = 64;                    // of objects and arrays
  bool unique_keys = false;  // true: a key that stands twice in an object is an error; false: the last counts
};

/// For the Error: where the text comes from, the code for anything that is wrong with it, and what to do.
struct JsonSource {
  std::string where;
  ErrorCode code = ErrorCode::invalid_argument;
  std::string remedy = {};
};

/// Takes a document apart without memory. Its own destructor makes a list of what it still has to destroy, and where
/// there is no memory for that list the process ends.
void dismantle(nlohmann::json& document) noexcept;
void dismantle(nlohmann::ordered_json& document) noexcept;

/// Dismantles a document at the end of its own life. Declared behind the document.
template <typename Json>
class JsonGuard {
 public:
  explicit JsonGuard(Json& document) noexcept : document_(document) {}
  ~JsonGuard() { dismantle(document_); }
  JsonGuard(const JsonGuard&) = delete;
  JsonGuard& operator=(const JsonGuard&) = delete;

 private:
  Json& document_;
};

/// Whether a value is that string. The library's own == makes a value of the text first, and ends the process where
/// there is no memory for it.
template <typename Json>
bool is_text(const Json& value, std::string_view text) noexcept {
  return value.is_string() && *value.template get_ptr<const std::string*>() == text;
}

/// Error(source.code) names the place: not valid JSON (with the byte), too deep, too large, too many values, a key
/// twice. Text behind the value, a zero byte among it, and damaged UTF-8 are not valid JSON.
nlohmann::json parse_json(std::string_view text, const JsonSource& source, const JsonLimits& limits = {});
/// The same with keys in the order of the text: for what is written or shown again.
nlohmann::ordered_json parse_ordered_json(std::string_view text, const JsonSource& source,
                                          const JsonLimits& limits = {});

/// The JSON of a file. Errors: not_found, io, and `code` for the text's own.
nlohmann::json read_json_file(const std::filesystem::path& file, ErrorCode code, const JsonLimits& limits = {},
                              const std::string& remedy = {});

}  // namespace prosa
