// A config.json as its two objects: the text model's and the top level around it, which may be one and the same.
//
// Looks things up and notes what deserves a warning; what a key means is config.cpp's business. Invariant: text() and
// root() live as long as the document that they were made of.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/json_object.h"
#include "model/config.h"

namespace prosa::checkpoint {

class ConfigReader {
 public:
  ConfigReader(JsonObject text, JsonObject root) : text_(std::move(text)), root_(std::move(root)) {}

  /// The object to ask for a key that may stand in either: the text object first.
  [[nodiscard]] const JsonObject& having(std::string_view key) const {
    return text_.find(key) != nullptr || root_.find(key) == nullptr ? text_ : root_;
  }
  [[nodiscard]] int64_t required(std::string_view key, int64_t max) const {
    const auto value = having(key).integer(key, 1, max);
    if (!value) text_.missing(key);
    return *value;
  }
  [[nodiscard]] int64_t integer_or(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
    return having(key).integer(key, min, max).value_or(fallback);
  }
  [[nodiscard]] const JsonObject& text() const noexcept { return text_; }
  [[nodiscard]] const JsonObject& root() const noexcept { return root_; }
  /// The text model has an object of its own: `text_config`.
  [[nodiscard]] bool wrapped() const noexcept { return &text_.value() != &root_.value(); }

  /// A sentence for ModelConfig::warnings.
  void warn(std::string sentence) const { warnings_.push_back(root_.where() + ": " + std::move(sentence)); }
  [[nodiscard]] std::vector<std::string> take_warnings() const { return std::move(warnings_); }

 private:
  JsonObject text_;
  JsonObject root_;
  mutable std::vector<std::string> warnings_;
};

/// The keys quantization, quantization_config, quantization_bits and quantization_group_size (config_quantization.cpp).
void read_quantization(const ConfigReader& reader, ModelConfig& config);

}  // namespace prosa::checkpoint
