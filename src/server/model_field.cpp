// A reader of JSON that stops at one field (model_field.h).
#include "server/model_field.h"

#include <nlohmann/json.hpp>

namespace prosa::server {
namespace {

using Sax = nlohmann::json_sax<nlohmann::json>;

/// Every function answers whether to go on. The parser keeps its place without recursion, whatever the depth.
class FieldFinder final : public Sax {
 public:
  std::string found;

  bool null() override { return value(); }
  bool boolean(bool /*unused*/) override { return value(); }
  bool number_integer(number_integer_t /*unused*/) override { return value(); }
  bool number_unsigned(number_unsigned_t /*unused*/) override { return value(); }
  bool number_float(number_float_t /*unused*/, const string_t& /*unused*/) override { return value(); }
  bool binary(binary_t& /*unused*/) override { return value(); }
  bool string(string_t& text) override {
    if (here_) found = std::move(text);
    return value();
  }
  bool start_object(size_t /*unused*/) override { return begin(); }
  bool start_array(size_t /*unused*/) override { return begin(); }
  bool end_object() override { return --depth_ > 0; }
  bool end_array() override { return --depth_ > 0; }
  bool key(string_t& name) override {
    here_ = depth_ == 1 && name == "model";
    return true;
  }
  bool parse_error(size_t /*unused*/, const std::string& /*unused*/,
                   const nlohmann::detail::exception& /*unused*/) override {
    return false;
  }

 private:
  [[nodiscard]] bool value() const { return !here_; }
  bool begin() {
    ++depth_;
    return !here_;
  }
  size_t depth_ = 0;
  bool here_ = false;  // what comes next is the field's value
};

}  // namespace

std::string model_field(std::string_view body) {
  FieldFinder finder;
  nlohmann::json::sax_parse(body.begin(), body.end(), &finder);
  return finder.found;
}

std::string model_of(const Request& request) {
  if (!request.body.empty()) return model_field(request.body);
  constexpr std::string_view kField = "model=";
  std::string_view rest = request.query;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find('&'));
    if (part.starts_with(kField)) return std::string(part.substr(kField.size()));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  }
  return {};
}

}  // namespace prosa::server
