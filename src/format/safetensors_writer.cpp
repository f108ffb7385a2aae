// Header layout and the write-sync-rename of new files. Reads nothing.
#include "format/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "prosa/error.h"

namespace prosa::format {

namespace {

namespace fs = std::filesystem;

int create_file(const fs::path& path, FileMode mode = FileMode::shared) {
  const bool shared = mode == FileMode::shared;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, shared ? 0644 : 0600);
  if (fd < 0) throw_io(path, "can't create", errno);
  return fd;
}

void write_fully(int fd, const fs::path& path, uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t count = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_io(path, "can't write", errno);
    data = data.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
}

/// A disk that is too small says so before the work. Where the file system can't reserve, writing will tell.
void reserve(int fd, const fs::path& path, uint64_t bytes) {
  if (::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 || (errno != ENOSPC && errno != EFBIG)) return;
  throw_io(path, "can't write", errno);
}

void publish(const fs::path& temporary, const fs::path& path) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw_io(path, "can't rename the finished file to", errno);
  sync_folder(path.parent_path());
}

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
    : path_(std::move(path)), temporary_(path_.string() + ".tmp"), slots_(tensors.size()) {
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
    std::string shape = nlohmann::json(spec.shape).dump();
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

  fd_ = create_file(temporary_, mode);
  try {
    reserve(fd_, temporary_, file_bytes_);
    write_at(0, std::as_bytes(std::span(&header_bytes, 1)));
    write_at(8, std::as_bytes(std::span(header)));
  } catch (...) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void SafetensorsWriter::write(size_t tensor, uint64_t offset, std::span<const std::byte> data) {
  PROSA_CHECK(fd_ >= 0 && tensor < slots_.size());
  const Slot& slot = slots_[tensor];
  PROSA_CHECK(offset <= slot.bytes && data.size() <= slot.bytes - offset);
  write_at(slot.offset + offset, data);
  written_ += data.size();
}

void SafetensorsWriter::commit() {
  PROSA_CHECK(fd_ >= 0 && written_ == data_bytes_);
  if (::fsync(fd_) != 0) throw_io(temporary_, "can't sync", errno);
  publish(temporary_, path_);
  ::close(std::exchange(fd_, -1));
}

void SafetensorsWriter::write_at(uint64_t offset, std::span<const std::byte> data) const {
  write_fully(fd_, temporary_, offset, data);
}

void write_safetensors(const fs::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata, FileMode mode) {
  std::vector<TensorSpec> specs;
  for (const TensorBytes& tensor : tensors) specs.push_back(tensor.spec);
  SafetensorsWriter writer(path, specs, metadata, mode);
  for (size_t i = 0; i < tensors.size(); ++i) writer.write(i, 0, tensors[i].data);
  writer.commit();
}

void write_text_file(const fs::path& path, std::string_view text) {
  const fs::path temporary = path.string() + ".tmp";
  const int fd = create_file(temporary);
  try {
    write_fully(fd, temporary, 0, std::as_bytes(std::span(text)));
    if (::fsync(fd) != 0) throw_io(temporary, "can't sync", errno);
    publish(temporary, path);
  } catch (...) {
    ::close(fd);
    ::unlink(temporary.c_str());
    throw;
  }
  ::close(fd);
}

}  // namespace prosa::format
