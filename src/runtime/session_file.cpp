// The layout: metadata {format, version, byte_order, model, layout, checksum}, tensors "tokens" I32 [n], "logits" F32
// [vocab] (may be missing), "note.<name>" U8, the parts of the snapshot under their own names with "part." before,
// "marks" I32 [m] (may be missing), the positions of earlier states, and "mark.<index>." before the names of their
// parts that are not the same memory as the snapshot's.
#include "runtime/session_file.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"
#include "prosa/error.h"

namespace prosa::runtime {
namespace {

using format::SafetensorsFile;
using format::TensorBytes;
using format::TensorEntry;
using format::TensorType;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kFormat = "prosa session";
constexpr const char* kVersion = "2";
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
    add(format::shape_string(shape));
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
  const auto count = static_cast<int64_t>(data.size() / format::tensor_type_size(type));
  return {{std::move(name), type, {count}}, data};
}

[[noreturn]] void refuse(const std::filesystem::path& path, std::string what, std::string remedy) {
  throw Error(ErrorCode::bad_session, std::move(what), path.string(), std::move(remedy));
}

/// More than the snapshot of any backend takes at this position: everything in float32, and as much again. Some write
/// the last block of keys and values whole.
uint64_t most_state_bytes(const ModelConfig& config, int64_t tokens) {
  constexpr int64_t kMaxBlockTokens = 1024;
  int64_t numbers = 0;
  for (const LayerType type : config.layer_types) {
    numbers += type == LayerType::full_attention
                   ? 2 * config.kv_dim() * (tokens + kMaxBlockTokens)
                   : config.linear_conv_kernel_dim * config.conv_dim() +
                         config.linear_num_value_heads * config.linear_key_head_dim * config.linear_value_head_dim;
  }
  constexpr uint64_t kBesides = uint64_t{1} << 20;
  return 2 * sizeof(float) * static_cast<uint64_t>(numbers) + kBesides;
}

/// The sizes of everything the file holds, before any of it is read.
void require_bounded(const SafetensorsFile& file, const ModelConfig& config, int64_t capacity) {
  const TensorEntry* const tokens = file.find("tokens");
  const auto count = static_cast<int64_t>(tokens == nullptr ? 0 : tokens->bytes / sizeof(int32_t));
  if (count > capacity) {
    throw Error(ErrorCode::context_exceeded,
                fmt::format("the session has {} tokens, the context holds {}", count, capacity), file.path().string(),
                "load with a larger LoadOptions::context");
  }
  uint64_t left = (1 + kMaxMarks) * most_state_bytes(config, count);  // of the parts of all snapshots
  size_t notes = 0;
  for (const TensorEntry& entry : file.entries()) {
    uint64_t most = 0;
    if (entry.name == "tokens") {
      most = entry.bytes;  // counted above
    } else if (entry.name == "logits") {
      most = static_cast<uint64_t>(config.vocab_size) * sizeof(float);
    } else if (entry.name == "marks") {
      most = kMaxMarks * sizeof(int32_t);
    } else if (entry.name.starts_with("note.")) {
      most = ++notes > kMaxNotes ? 0 : kMaxNoteBytes;
    } else if (entry.name.starts_with("part.") || entry.name.starts_with("mark.")) {
      most = left;
      left -= std::min(left, entry.bytes);
    }
    if (entry.bytes <= most) continue;
    refuse(file.path(), fmt::format("holds {} with {} bytes, which no session has", entry.name, entry.bytes),
           "start a new session");
  }
}

/// Opens and checks everything that can be checked without looking into the parts.
SafetensorsFile open_checked(const std::filesystem::path& path, const FileIdentity& identity, const ModelConfig& config,
                             int64_t capacity) {
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
           "load it with the model, the program and the options that saved it, or start a new session");
  }
  require_bounded(file, config, capacity);
  if (session_checksum(file) != value_of("checksum")) {
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

TensorType tensor_type(backend::PartType type) {
  switch (type) {
    case backend::PartType::f32: return TensorType::f32;
    case backend::PartType::f16: return TensorType::f16;
    case backend::PartType::bf16: return TensorType::bf16;
    case backend::PartType::i16: return TensorType::i16;
    case backend::PartType::i8: return TensorType::i8;
    case backend::PartType::u8: return TensorType::u8;
  }
  PROSA_CHECK(false);
  return TensorType::u8;
}

void add_part(const std::string& prefix, const backend::SnapshotPart& part, std::vector<TensorBytes>& tensors) {
  tensors.push_back(tensor(prefix + part.name, tensor_type(part.type), part.bytes));
}

std::string mark_prefix(size_t index) { return fmt::format("mark.{}.", index); }

/// The positions of a file's earlier states: rising, within the tokens.
std::vector<int32_t> mark_positions(const SafetensorsFile& file, size_t tokens) {
  std::vector<int32_t> positions = numbers<int32_t>(file, "marks", TensorType::i32);
  int64_t before = 0;
  for (const int32_t position : positions) {
    if (position <= before || position >= static_cast<int64_t>(tokens)) {
      refuse(file.path(), fmt::format("has a state at {} of {} tokens", position, tokens), {});
    }
    before = position;
  }
  if (positions.size() > kMaxMarks) refuse(file.path(), fmt::format("has {} earlier states", positions.size()), {});
  return positions;
}

}  // namespace

std::string session_checksum(const SafetensorsFile& file) {
  Checksum checksum;
  checksum.add(file.metadata());
  std::vector<TensorEntry> entries = file.entries();
  std::ranges::sort(entries, {}, &TensorEntry::name);
  for (const TensorEntry& entry : entries) checksum.add(entry.name, entry.type, entry.shape, file.data(entry));
  return checksum.text();
}

void write_session_file(const std::filesystem::path& path, const FileIdentity& identity, const SessionView& session) {
  PROSA_CHECK(session.marks.size() <= kMaxMarks && session.notes.size() <= kMaxNotes);
  std::vector<TensorBytes> tensors;
  tensors.push_back(tensor("tokens", TensorType::i32, std::as_bytes(session.tokens)));
  if (!session.logits.empty()) tensors.push_back(tensor("logits", TensorType::f32, std::as_bytes(session.logits)));
  for (const auto& [name, text] : session.notes) {
    PROSA_CHECK(text.size() <= kMaxNoteBytes);
    tensors.push_back(tensor("note." + name, TensorType::u8, std::as_bytes(std::span(text))));
  }
  // Parts stay alive until all is written: some hold their bytes themselves.
  const std::vector<backend::SnapshotPart> parts = session.snapshot.parts();
  std::map<std::string_view, std::span<const std::byte>> known;
  for (const backend::SnapshotPart& part : parts) {
    add_part("part.", part, tensors);
    known[part.name] = part.bytes;
  }
  std::vector<int32_t> positions;
  std::vector<std::vector<backend::SnapshotPart>> earlier;
  for (size_t i = 0; i < session.marks.size(); ++i) {
    positions.push_back(static_cast<int32_t>(session.marks[i]->position()));
    earlier.push_back(session.marks[i]->parts());
    for (const backend::SnapshotPart& part : earlier.back()) {
      const auto same = known.find(part.name);
      if (same != known.end() && same->second.data() == part.bytes.data() && same->second.size() == part.bytes.size())
        continue;
      add_part(mark_prefix(i), part, tensors);
    }
  }
  if (!positions.empty()) tensors.push_back(tensor("marks", TensorType::i32, std::as_bytes(std::span(positions))));
  Metadata metadata = describe(identity);
  std::ranges::sort(tensors, {}, [](const TensorBytes& each) -> const std::string& { return each.spec.name; });
  Checksum checksum;
  checksum.add(metadata);
  for (const TensorBytes& each : tensors) checksum.add(each.spec.name, each.spec.type, each.spec.shape, each.data);
  metadata["checksum"] = checksum.text();
  format::write_safetensors(path, tensors, metadata, FileMode::owner_only);
}

SessionFile read_session_file(const std::filesystem::path& path, const FileIdentity& identity,
                              backend::Backend& backend, int64_t capacity) {
  const SafetensorsFile file = open_checked(path, identity, backend.config(), capacity);
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
  const auto read_state = [&](int64_t position, const std::string& prefix, const backend::Snapshot* longer) {
    return backend.read_snapshot(
        position,
        [&](const std::string& name) {
          const TensorEntry* entry = file.find(prefix + name);
          return entry == nullptr ? std::span<const std::byte>() : file.data(*entry);
        },
        longer);
  };
  session.snapshot = read_state(static_cast<int64_t>(session.tokens.size()), "part.", nullptr);
  const std::vector<int32_t> positions = mark_positions(file, session.tokens.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    session.marks.push_back(read_state(positions[i], mark_prefix(i), session.snapshot.get()));
  }
  file.require_intact();  // the checksum was true, but the file may have been cut off since
  return session;
}

}  // namespace prosa::runtime
