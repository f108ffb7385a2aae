// The layout: metadata {format, version, byte_order, model, layout, checksum}, tensors "tokens" I32 [n], "logits" F32
// [vocab] (may be missing), "note.<name>" U8, and the parts of the snapshot under their own names with "part." before.
#include "session/session_file.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_writer.h"
#include "prosa/error.h"

namespace prosa::session {
namespace {

using checkpoint::SafetensorsFile;
using checkpoint::TensorBytes;
using checkpoint::TensorEntry;
using checkpoint::TensorType;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kFormat = "prosa session";
constexpr const char* kVersion = "1";
constexpr const char* kByteOrder = "little";  // the only one prosa runs on (checkpoint/safetensors.cpp)

/// Over everything a file says: what describes the data, then the tensors by name.
class Checksum {
 public:
  Checksum() { XXH3_64bits_reset(&state_); }
  void add(std::string_view text) {
    const uint64_t size = text.size();  // so that no two lists of texts read the same
    XXH3_64bits_update(&state_, &size, sizeof size);
    XXH3_64bits_update(&state_, text.data(), text.size());
  }
  void add(const Metadata& metadata) {
    for (const auto& [key, value] : metadata) {
      if (key == "checksum") continue;
      add(key);
      add(value);
    }
  }
  void add(std::string_view name, TensorType type, std::span<const int64_t> shape, std::span<const std::byte> data) {
    add(name);
    add(to_string(type));
    add(checkpoint::shape_string(shape));
    add(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
  }
  [[nodiscard]] std::string text() const { return fmt::format("{:016x}", XXH3_64bits_digest(&state_)); }

 private:
  XXH3_state_t state_;
};

Metadata describe(const FileIdentity& identity) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"byte_order", kByteOrder},
          {"model", fmt::format("{:016x}", identity.model)},
          {"layout", identity.layout}};
}

TensorBytes tensor(std::string name, TensorType type, std::span<const std::byte> data) {
  const auto count = static_cast<int64_t>(data.size() / checkpoint::tensor_type_size(type));
  return {{std::move(name), type, {count}}, data};
}

[[noreturn]] void refuse(const std::filesystem::path& path, std::string what, std::string remedy) {
  throw Error(ErrorCode::bad_session, std::move(what), path.string(), std::move(remedy));
}

/// Opens and checks everything that can be checked without looking into the parts.
SafetensorsFile open_checked(const std::filesystem::path& path, const FileIdentity& identity) {
  const auto open = [&] {
    try {
      return SafetensorsFile::open(path);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_checkpoint && error.code() != ErrorCode::unsupported) throw;
      refuse(path, "is damaged, cut off, or no session file: " + error.message(), "start a new session");
    }
  };
  SafetensorsFile file = open();
  const Metadata expected = describe(identity);
  const auto value_of = [&](const std::string& key) {
    const auto entry = file.metadata().find(key);
    return entry == file.metadata().end() ? std::string() : entry->second;
  };
  if (value_of("format") != kFormat) refuse(path, "is no session file", "give a file that prosa has saved");
  for (const auto& [key, what] : {std::pair{"version", "version"}, std::pair{"byte_order", "byte order"},
                                  std::pair{"layout", "backend"}, std::pair{"model", "model"}}) {
    if (value_of(key) == expected.at(key)) continue;
    refuse(path, fmt::format("was saved with another {}: '{}' instead of '{}'", what, value_of(key), expected.at(key)),
           "load it with the model and program that saved it, or start a new session");
  }
  Checksum checksum;
  checksum.add(file.metadata());
  std::vector<TensorEntry> entries = file.entries();
  std::ranges::sort(entries, {}, &TensorEntry::name);
  for (const TensorEntry& entry : entries) checksum.add(entry.name, entry.type, entry.shape, file.data(entry));
  if (checksum.text() != value_of("checksum")) {
    refuse(path, "is damaged: its checksum does not match", "start a new session");
  }
  return file;
}

/// A vector of plain numbers; empty when there is no such tensor.
template <typename T>
std::vector<T> numbers(const SafetensorsFile& file, const std::string& name, TensorType type) {
  const TensorEntry* entry = file.find(name);
  if (entry == nullptr) return {};
  if (entry->type != type || entry->bytes % sizeof(T) != 0) refuse(file.path(), name + " has another type", {});
  const std::span<const std::byte> data = file.data(*entry);
  std::vector<T> values(data.size() / sizeof(T));
  if (!data.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

}  // namespace

void write_session_file(const std::filesystem::path& path, const FileIdentity& identity,
                        std::span<const int32_t> tokens, const backend::Snapshot& snapshot,
                        std::span<const float> logits, const std::map<std::string, std::string>& notes) {
  const std::vector<backend::SnapshotPart> parts = snapshot.parts();
  std::vector<TensorBytes> tensors;
  tensors.push_back(tensor("tokens", TensorType::i32, std::as_bytes(tokens)));
  if (!logits.empty()) tensors.push_back(tensor("logits", TensorType::f32, std::as_bytes(logits)));
  for (const auto& [name, text] : notes) {
    tensors.push_back(tensor("note." + name, TensorType::u8, std::as_bytes(std::span(text))));
  }
  for (const backend::SnapshotPart& part : parts) {
    const TensorType type = part.element_bytes == 2 ? TensorType::f16 : TensorType::f32;
    tensors.push_back(tensor("part." + part.name, type, part.bytes));
  }
  Metadata metadata = describe(identity);
  std::ranges::sort(tensors, {}, [](const TensorBytes& each) -> const std::string& { return each.spec.name; });
  Checksum checksum;
  checksum.add(metadata);
  for (const TensorBytes& each : tensors) checksum.add(each.spec.name, each.spec.type, each.spec.shape, each.data);
  metadata["checksum"] = checksum.text();
  checkpoint::write_safetensors(path, tensors, metadata, checkpoint::FileMode::owner_only);
}

SessionFile read_session_file(const std::filesystem::path& path, const FileIdentity& identity,
                              backend::Backend& backend) {
  const SafetensorsFile file = open_checked(path, identity);
  SessionFile session;
  session.tokens = numbers<int32_t>(file, "tokens", TensorType::i32);
  session.logits = numbers<float>(file, "logits", TensorType::f32);
  const int64_t vocab = backend.config().vocab_size;
  if (session.tokens.empty()) refuse(path, "holds no tokens", {});
  for (const int32_t token : session.tokens) {
    if (token < 0 || token >= vocab) refuse(path, fmt::format("token id {} is outside [0, {})", token, vocab), {});
  }
  if (!session.logits.empty() && static_cast<int64_t>(session.logits.size()) != vocab) {
    refuse(path, fmt::format("{} logits for a vocabulary of {}", session.logits.size(), vocab), {});
  }
  for (const TensorEntry& entry : file.entries()) {
    if (!entry.name.starts_with("note.")) continue;
    const std::span<const std::byte> text = file.data(entry);
    session.notes[entry.name.substr(5)].assign(reinterpret_cast<const char*>(text.data()), text.size());
  }
  session.snapshot = backend.read_snapshot(static_cast<int64_t>(session.tokens.size()), [&](const std::string& name) {
    const TensorEntry* entry = file.find("part." + name);
    return entry == nullptr ? std::span<const std::byte>() : file.data(*entry);
  });
  return session;
}

}  // namespace prosa::session
