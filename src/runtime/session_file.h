// A session on disk: tokens, model state, logits, a few earlier states and the caller's notes in one safetensors file.
//
// The file says which model, backend and version wrote it and carries a checksum over all of that and every byte of
// data; it is written beside its name and renamed, so that a file under the name is whole or the old one. Hostile files
// end in Error(bad_session) before anything of the size they claim is allocated or read. Not a cache (disk_cache.h).
// Pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "format/safetensors.h"

namespace prosa::runtime {

/// What a file must have been written for.
struct FileIdentity {
  uint64_t model = 0;  // LoadedModel::fingerprint
  std::string layout;  // Backend::snapshot_layout()
};

struct SessionFile {
  std::vector<int32_t> tokens;
  std::unique_ptr<backend::Snapshot> snapshot;            // at tokens.size()
  std::vector<float> logits;                              // [vocab] of the last token, or empty
  std::vector<std::unique_ptr<backend::Snapshot>> marks;  // at earlier positions, rising; KV shared with `snapshot`
  std::map<std::string, std::string> notes;
};

/// What goes into a file; nothing of it is held.
struct SessionView {
  std::span<const int32_t> tokens;  // [snapshot.position()]
  const backend::Snapshot& snapshot;
  std::span<const float> logits = {};                    // [vocab] or empty
  std::span<const backend::Snapshot* const> marks = {};  // at most kMaxMarks, rising, of prefixes of `tokens`
  std::map<std::string, std::string> notes = {};
};
inline constexpr size_t kMaxMarks = 8;
inline constexpr size_t kMaxNotes = 16;
inline constexpr size_t kMaxNoteBytes = size_t{64} << 20;  // of each

/// Errors: io.
void write_session_file(const std::filesystem::path& path, const FileIdentity& identity, const SessionView& session);

/// `capacity`: the most tokens that the caller has room for. A file may claim any size at no cost (it can be sparse),
/// so the sizes are judged before a byte of data is read. Errors: not_found, io, bad_session, context_exceeded,
/// out_of_memory.
SessionFile read_session_file(const std::filesystem::path& path, const FileIdentity& identity,
                              backend::Backend& backend, int64_t capacity);

/// The value of "checksum" that fits the rest of the file as it stands. Only a damaged file holds another.
std::string session_checksum(const format::SafetensorsFile& file);

}  // namespace prosa::runtime
