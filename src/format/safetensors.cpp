// Reading safetensors headers from files nobody vouches for. Not the writer (safetensors_writer.cpp).
//
// The header is read with a SAX handler that knows the only legal form, so nesting, memory and duplicate keys are
// bounded by construction: no document tree is ever built.
#include "format/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/git_lfs.h"
#include "prosa/error.h"

namespace prosa::format {

static_assert(std::endian::native == std::endian::little, "checkpoint data is read in place as little-endian");

namespace {

constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxRank = 16;

struct TypeRow {
  std::string_view name;
  uint64_t bits;
};
constexpr std::array<TypeRow, 22> kTypes{
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}};

/// One tensor as the header states it, before any check of the numbers.
struct RawEntry {
  TensorEntry entry;
  uint64_t begin = 0;
  uint64_t end = 0;
};

/// Accepts {name: {"dtype": s, "shape": [n…], "data_offsets": [a, b]}, "__metadata__": {k: s}}. As the official reader
/// does, it takes null for no metadata, and skips plain values of fields that it does not know.
class HeaderHandler {
 public:
  explicit HeaderHandler(std::string file) : file_(std::move(file)) {}

  std::vector<RawEntry> tensors;
  KeyedMap<size_t> index;
  std::map<std::string, std::string> metadata;

  bool null() {
    if (depth_ == 1 && name_ == "__metadata__") return true;
    return skips() || unexpected("null");
  }
  bool boolean(bool /*value*/) { return skips() || unexpected("a boolean"); }
  bool number_integer(int64_t /*value*/) { return skips() || unexpected("a negative number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) {
    return skips() || unexpected("a number with a fraction");
  }
  bool binary(std::vector<uint8_t>& /*value*/) { return unexpected("binary data"); }

  bool number_unsigned(uint64_t value) {
    if (skips()) return true;
    if (!in_array_) return unexpected("a number");
    if (numbers_.size() >= kMaxRank) fail("more than " + std::to_string(kMaxRank) + " numbers in " + field_);
    numbers_.push_back(value);
    return true;
  }

  bool string(std::string& value) {
    if (depth_ == 2 && in_metadata_) {
      metadata[field_] = value;
      return true;
    }
    if (skips()) return true;
    if (depth_ != 2 || in_array_ || field_ != "dtype") return unexpected("a string");
    const auto type = parse_tensor_type(value);
    if (!type) {
      throw Error(ErrorCode::unsupported, "tensor '" + name_ + "' has the unknown dtype '" + value.substr(0, 40) + "'",
                  file_);
    }
    tensors.back().entry.type = *type;
    return true;
  }

  bool start_object(size_t /*elements*/) {
    if (depth_ >= 2 || in_array_) return unexpected("an object");
    if (++depth_ == 2) {
      fields_.clear();
      in_metadata_ = name_ == "__metadata__";
      if (!in_metadata_) tensors.emplace_back().entry.name = name_;
    }
    return true;
  }

  bool key(std::string& value) {
    if (depth_ == 1) {
      if (value.empty() || value.size() > kMaxNameBytes) fail("a tensor name is empty or longer than 1024 bytes");
      name_ = value;
      const bool is_metadata = value == "__metadata__";
      const bool fresh =
          is_metadata ? !std::exchange(metadata_seen_, true) : index.emplace(value, tensors.size()).second;
      if (!fresh) fail("the key '" + value + "' stands twice in the header");
      return true;
    }
    field_ = value;
    if (in_metadata_ || !is_known(value)) return true;
    if (std::ranges::find(fields_, value) != fields_.end()) fail("'" + value + "' stands twice in '" + name_ + "'");
    fields_.push_back(value);
    return true;
  }

  bool end_object() {
    if (depth_-- == 2 && !in_metadata_ && fields_.size() != 3) {
      fail("tensor '" + name_ + "' needs dtype, shape and data_offsets");
    }
    return true;
  }

  bool start_array(size_t /*elements*/) {
    if (depth_ != 2 || in_array_ || in_metadata_ || field_ == "dtype") return unexpected("an array");
    in_array_ = true;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    in_array_ = false;
    if (skips()) return true;
    RawEntry& raw = tensors.back();
    if (field_ == "shape") {
      for (const uint64_t dim : numbers_) {
        if (dim > uint64_t{1} << 62) fail("tensor '" + name_ + "' has a dimension beyond 2^62");
        raw.entry.shape.push_back(static_cast<int64_t>(dim));
      }
      return true;
    }
    if (numbers_.size() != 2) fail("data_offsets of '" + name_ + "' must be [begin, end]");
    raw.begin = numbers_[0];
    raw.end = numbers_[1];
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/, const nlohmann::json::exception& /*error*/) {
    fail("the header is not valid JSON at byte " + std::to_string(position));
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::bad_checkpoint, message, file_, "the file is damaged or not safetensors: fetch it again");
  }
  bool unexpected(const char* what) const {
    fail(std::string(what) + " stands where the header can't have one" +
         (name_.empty() ? "" : ", near '" + name_ + "'"));
  }

  static bool is_known(std::string_view field) {
    return field == "dtype" || field == "shape" || field == "data_offsets";
  }
  /// The value at hand is that of a field of a tensor which means nothing here.
  [[nodiscard]] bool skips() const { return depth_ == 2 && !in_metadata_ && !is_known(field_); }

  std::string file_;
  int depth_ = 0;
  bool in_array_ = false;
  bool in_metadata_ = false;
  bool metadata_seen_ = false;
  std::string name_;                 // of the tensor being read
  std::string field_;                // key inside it
  std::vector<std::string> fields_;  // known keys seen in it
  std::vector<uint64_t> numbers_;    // of the array being read
};

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& message) {
  throw Error(ErrorCode::bad_checkpoint, message, path.string(), "the file is damaged or incomplete: fetch it again");
}

/// Every tensor in range, of the right size, and all of them together exactly the data section.
void check_layout(const std::filesystem::path& path, std::vector<RawEntry>& tensors, uint64_t data_bytes) {
  for (RawEntry& raw : tensors) {
    TensorEntry& entry = raw.entry;
    if (raw.begin > raw.end) damaged(path, "data_offsets of '" + entry.name + "' run backwards");
    if (raw.end > data_bytes) {
      damaged(path, "tensor '" + entry.name + "' ends at byte " + std::to_string(raw.end) + " of the data, which has " +
                        std::to_string(data_bytes));
    }
    const auto bytes = tensor_bytes(entry.shape, entry.type);
    if (!bytes || *bytes != raw.end - raw.begin) {
      damaged(path, "tensor '" + entry.name + "' of shape " + shape_string(entry.shape) + " and dtype " +
                        std::string(to_string(entry.type)) + " does not have the " +
                        std::to_string(raw.end - raw.begin) + " bytes of its data_offsets");
    }
    entry.offset = raw.begin;
    entry.bytes = *bytes;
  }
  std::ranges::sort(tensors, [](const RawEntry& a, const RawEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const RawEntry& raw : tensors) {
    if (raw.begin < covered) damaged(path, "tensor '" + raw.entry.name + "' overlaps the one before it");
    if (raw.begin > covered) damaged(path, "there is a hole in the data before tensor '" + raw.entry.name + "'");
    covered = raw.end;
  }
  if (covered != data_bytes) {
    damaged(path, "the tensors end at byte " + std::to_string(covered) + " of the data, which has " +
                      std::to_string(data_bytes));
  }
}

}  // namespace

std::string_view to_string(TensorType type) noexcept { return kTypes[static_cast<size_t>(type)].name; }

uint64_t tensor_type_bits(TensorType type) noexcept { return kTypes[static_cast<size_t>(type)].bits; }

uint64_t tensor_type_size(TensorType type) noexcept { return tensor_type_bits(type) / 8; }

std::optional<TensorType> parse_tensor_type(std::string_view name) noexcept {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

std::string shape_string(std::span<const int64_t> shape) {
  std::string text = "[";
  for (const int64_t dim : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

std::optional<uint64_t> tensor_bytes(std::span<const int64_t> shape, TensorType type) noexcept {
  constexpr uint64_t kLimit = uint64_t{1} << 62;
  uint64_t bits = tensor_type_bits(type);
  for (const int64_t dim : shape) {
    if (dim < 0) return std::nullopt;
    if (dim != 0 && bits > kLimit / static_cast<uint64_t>(dim)) return std::nullopt;
    bits *= static_cast<uint64_t>(dim);
  }
  return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.path_ = path;
  result.file_ = MappedFile::open(path);
  const auto bytes = result.file_.bytes();
  constexpr size_t kBeginning = 64;
  refuse_git_lfs_pointer({reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kBeginning)},
                         path.string());
  if (bytes.size() < 8) damaged(path, "the file has " + std::to_string(bytes.size()) + " bytes, too few for a header");
  uint64_t header_bytes = 0;
  std::copy_n(bytes.begin(), 8, reinterpret_cast<std::byte*>(&header_bytes));
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes.size() - 8) {
    damaged(path, "the header claims " + std::to_string(header_bytes) + " bytes in a file of " +
                      std::to_string(bytes.size()));
  }
  result.data_start_ = 8 + header_bytes;

  HeaderHandler handler(path.string());
  const auto* text = reinterpret_cast<const char*>(bytes.data() + 8);
  if (header_bytes == 0 || text[0] != '{') damaged(path, "the header does not begin with '{'");
  // The JSON library takes a NUL for the end of its input and would not look at what follows.
  if (std::find(text, text + header_bytes, '\0') != text + header_bytes)
    damaged(path, "the header is not JSON: it has a zero byte");
  nlohmann::json::sax_parse(text, text + header_bytes, &handler);
  check_layout(path, handler.tensors, bytes.size() - result.data_start_);

  result.metadata_ = std::move(handler.metadata);
  result.index_ = std::move(handler.index);  // of the header's order, not yet the file's
  result.entries_.reserve(handler.tensors.size());
  for (RawEntry& raw : handler.tensors) {
    result.index_.at(raw.entry.name) = result.entries_.size();
    result.entries_.push_back(std::move(raw.entry));
  }
  result.require_intact();
  return result;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> SafetensorsFile::data(const TensorEntry& entry) const {
  PROSA_CHECK(data_start_ + entry.offset + entry.bytes <= file_.bytes().size());
  return file_.bytes().subspan(data_start_ + entry.offset, entry.bytes);
}

}  // namespace prosa::format
