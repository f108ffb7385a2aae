// Header layout. Reads nothing.
#include "format/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::format {

namespace {

namespace fs = std::filesystem;

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The official writer's order: wide types first, then by name, so that every tensor is aligned for its type.
std::vector<size_t> file_order(const std::vector<TensorSpec>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    if (tensors[a].type != tensors[b].type) return tensors[a].type > tensors[b].type;
    return tensors[a].name < tensors[b].name;
  });
  return order;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(fs::path path, const std::vector<TensorSpec>& tensors,
                                     const std::map<std::string, std::string>& metadata, FileMode mode)
    : path_(std::move(path)), slots_(tensors.size()) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) header += quoted(key) + ":" + quoted(value) + ",";
    header.back() = '}';
    header += ',';
  }
  std::set<std::string_view> names;
  for (const size_t number : file_order(tensors)) {
    const TensorSpec& spec = tensors[number];
    const auto bytes = tensor_bytes(spec.shape, spec.type);
    if (!names.insert(spec.name).second || spec.name.empty() || spec.name == "__metadata__") {
      throw Error(ErrorCode::invalid_argument, "the tensor name '" + spec.name + "' stands twice or is reserved",
                  path_.string());
    }
    if (!bytes || *bytes > (uint64_t{1} << 62) - data_bytes_) {
      throw Error(ErrorCode::invalid_argument, "'" + spec.name + "' can't have the shape " + shape_string(spec.shape),
                  path_.string());
    }
    std::string shape = "[";
    for (const int64_t dim : spec.shape) shape += (shape.size() > 1 ? "," : "") + std::to_string(dim);
    shape += ']';
    header += quoted(spec.name) + ":{\"dtype\":\"" + std::string(to_string(spec.type)) + "\",\"shape\":" + shape +
              ",\"data_offsets\":[" + std::to_string(data_bytes_) + "," + std::to_string(data_bytes_ + *bytes) + "]},";
    slots_[number] = {data_bytes_, *bytes};
    data_bytes_ += *bytes;
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kMaxHeaderBytes) {
    throw Error(ErrorCode::invalid_argument, "too many tensors for one safetensors file", path_.string());
  }
  const uint64_t header_bytes = header.size();
  for (Slot& slot : slots_) slot.offset += 8 + header_bytes;
  file_bytes_ = 8 + header_bytes + data_bytes_;

  file_.emplace(path_, mode);
  file_->reserve(file_bytes_);
  file_->write_at(0, std::as_bytes(std::span(&header_bytes, 1)));
  file_->write_at(8, std::as_bytes(std::span(header)));
}

void SafetensorsWriter::write(size_t tensor, uint64_t offset, std::span<const std::byte> data) {
  PROSA_CHECK(!committed_ && tensor < slots_.size());
  const Slot& slot = slots_[tensor];
  PROSA_CHECK(offset <= slot.bytes && data.size() <= slot.bytes - offset);
  file_->write_at(slot.offset + offset, data);
  written_ += data.size();
}

void SafetensorsWriter::commit() {
  PROSA_CHECK(!committed_ && written_ == data_bytes_);
  file_->commit();
  committed_ = true;
}

void write_safetensors(const fs::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata, FileMode mode) {
  std::vector<TensorSpec> specs;
  for (const TensorBytes& tensor : tensors) specs.push_back(tensor.spec);
  SafetensorsWriter writer(path, specs, metadata, mode);
  for (size_t i = 0; i < tensors.size(); ++i) writer.write(i, 0, tensors[i].data);
  writer.commit();
}

}  // namespace prosa::format
