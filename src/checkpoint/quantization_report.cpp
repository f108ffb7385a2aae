// quantization_report.json, written and read with bounds.
#include "checkpoint/quantization_report.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "checkpoint/json_object.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxTensors = 100'000;
constexpr int64_t kMaxBytes = int64_t{1} << 50;

TensorReport read_tensor(const JsonObject& object) {
  TensorReport report;
  report.name = object.text("name").value_or("");
  if (report.name.empty()) object.missing("name");
  report.kind = object.text("kind").value_or("other");
  const json* shape = object.find("shape");
  if (shape == nullptr || !shape->is_array() || shape->size() > 8) object.bad("shape", "at most 8 numbers");
  for (const json& dim : *shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(kMaxBytes)) {
      object.bad("shape", "at most 8 numbers");
    }
    report.shape.push_back(dim.get<int64_t>());
  }
  report.bits = static_cast<int>(object.integer("bits", 1, 64).value_or(16));
  report.group_size = static_cast<int>(object.integer("group_size", 0, 1 << 20).value_or(0));
  report.bytes = object.integer("bytes", 0, kMaxBytes).value_or(0);
  report.source_bytes = object.integer("source_bytes", 0, kMaxBytes).value_or(0);
  report.relative_error = object.number("relative_error", 0.0, 1e30);
  report.squared_norm = object.number("squared_norm", 0.0, 1e300).value_or(0.0);
  report.note = object.text("note").value_or("");
  return report;
}

}  // namespace

int64_t QuantizationReport::bytes() const {
  int64_t sum = 0;
  for (const TensorReport& tensor : tensors) sum += tensor.bytes;
  return sum;
}

double QuantizationReport::bits_per_weight() const {
  double bits = 0;
  double weights = 0;
  for (const TensorReport& tensor : tensors) {
    if (tensor.shape.size() != 2) continue;
    bits += 8.0 * static_cast<double>(tensor.bytes);
    weights += static_cast<double>(tensor.shape[0]) * static_cast<double>(tensor.shape[1]);
  }
  return weights > 0 ? bits / weights : 0;
}

void write_quantization_report(const fs::path& folder, const QuantizationReport& report) {
  ordered_json list = ordered_json::array();
  for (const TensorReport& tensor : report.tensors) {
    ordered_json entry{{"name", tensor.name}, {"kind", tensor.kind}, {"shape", tensor.shape}, {"bits", tensor.bits}};
    if (tensor.group_size != 0) entry["group_size"] = tensor.group_size;
    entry["bytes"] = tensor.bytes;
    entry["source_bytes"] = tensor.source_bytes;
    if (tensor.relative_error) {
      entry["relative_error"] = *tensor.relative_error;
      entry["squared_norm"] = tensor.squared_norm;
    }
    if (!tensor.note.empty()) entry["note"] = tensor.note;
    list.push_back(std::move(entry));
  }
  const ordered_json root{{"method", report.method},
                          {"bytes", report.bytes()},
                          {"bits_per_weight", report.bits_per_weight()},
                          {"tensors", std::move(list)}};
  const std::string text = root.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  replace_file(folder / kQuantizationReportName, text);
}

std::optional<QuantizationReport> read_quantization_report(const fs::path& folder) {
  const fs::path file = folder / kQuantizationReportName;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  const json document = read_json_object(file, size_t{64} << 20);
  const JsonObject root(document, file.string());
  QuantizationReport report;
  report.folder = folder;
  report.method = root.text("method").value_or("");
  const json* list = root.find("tensors");
  if (list == nullptr || !list->is_array() || list->size() > kMaxTensors) root.bad("tensors", "a list of tensors");
  for (size_t i = 0; i < list->size(); ++i) {
    if (!(*list)[i].is_object()) root.bad("tensors", "a list of objects");
    report.tensors.push_back(
        read_tensor(JsonObject((*list)[i], file.string() + ": tensors[" + std::to_string(i) + "]")));
  }
  return report;
}

}  // namespace prosa::checkpoint
