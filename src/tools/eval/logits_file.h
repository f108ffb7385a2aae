// The logits of a reference in a file, so that a large model runs once and many are held against it.
//
// A safetensors file of this layout (docs/reference/eval.md): every scored row as 16-bit steps below its largest logit,
// which leaves KL within 1e-7 nats of the exact one, and a checksum for each row. Read row by row: nothing of the size
// of the file is held. A file belongs to its tokens, windows and vocabulary; with others it is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "tools/eval/logit_source.h"

namespace prosa::eval {

/// Appears under its name when all rows are written. Errors: io.
std::unique_ptr<LogitSink> make_logits_writer(std::filesystem::path path, std::string model_name);

/// Bytes of such a file, but for its header.
int64_t logits_file_bytes(int64_t scored, int64_t vocab);

/// Errors: not_found, io, bad_checkpoint (damaged, cut off, or another kind of file). begin() throws invalid_argument
/// for another text or other windows.
std::unique_ptr<LogitSource> open_logits_file(const std::filesystem::path& path);

}  // namespace prosa::eval
