// AutoTokenizer's choice: by model_type first, then by the class that the files name.
#include "tokenizer/official_class.h"

#include <nlohmann/json.hpp>
#include <string>

#include "base/files.h"
#include "base/json.h"
#include "prosa/error.h"

namespace prosa {
namespace {

constexpr size_t kMaxBytes = size_t{16} << 20;

/// A text at the top of a JSON file; "": it has none, or the file cannot be read.
std::string text_of(const std::filesystem::path& file, const char* key) {
  try {
    const auto text = read_optional_file(file, kMaxBytes);
    if (!text) return {};
    nlohmann::json document =
        parse_json(*text, {file.string(), ErrorCode::bad_tokenizer, ""}, {.max_bytes = kMaxBytes});
    const JsonGuard guard(document);
    if (!document.is_object()) return {};
    const auto found = document.find(key);
    return found == document.end() || !found->is_string() ? std::string() : found->get<std::string>();
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

bool is_qwen35_class(const std::filesystem::path& folder) {
  const std::string type = text_of(folder / "config.json", "model_type");
  if (type == "qwen3_5") return true;  // a class that the files name is known to be wrong
  if (type != "qwen3_5_text") return false;
  std::string named = text_of(folder / "tokenizer_config.json", "tokenizer_class");
  if (named.empty()) named = text_of(folder / "config.json", "tokenizer_class");
  if (named.ends_with("Fast")) named.resize(named.size() - 4);
  return named.empty() || named == "Qwen3_5Tokenizer";
}

}  // namespace prosa
