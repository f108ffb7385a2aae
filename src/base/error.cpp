// Error: composing the one line that people read. Holds no policy about who catches it.
#include "prosa/error.h"

#include "base/boundary.h"
#include "prosa/text.h"

namespace prosa {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::io: return "io";
    case ErrorCode::bad_checkpoint: return "bad_checkpoint";
    case ErrorCode::shape_mismatch: return "shape_mismatch";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::bad_tokenizer: return "bad_tokenizer";
    case ErrorCode::bad_session: return "bad_session";
    case ErrorCode::bad_template: return "bad_template";
    case ErrorCode::context_exceeded: return "context_exceeded";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::not_loaded: return "not_loaded";
    case ErrorCode::busy: return "busy";
    case ErrorCode::network: return "network";
    case ErrorCode::access_denied: return "access_denied";
    case ErrorCode::out_of_memory: return "out_of_memory";
  }
  return "unknown";
}

namespace {
std::string compose(const std::string& message, const std::string& where, const std::string& remedy) {
  std::string line = where.empty() ? message : where + ": " + message;
  if (!remedy.empty()) line += " (" + remedy + ")";
  return printable_line(line);
}
// Made while there is memory. Copying it takes none: its strings are short enough to lie inside it.
const Error& out_of_memory() {
  static const Error error(ErrorCode::out_of_memory, "out of memory");
  return error;
}
[[maybe_unused]] const Error& made_early = out_of_memory();
}  // namespace

void throw_out_of_memory() { throw Error(out_of_memory()); }

Error::Error(ErrorCode code, std::string message, std::string where, std::string remedy)
    : std::runtime_error(compose(message, where, remedy)),
      code_(code),
      message_(std::move(message)),
      where_(std::move(where)),
      remedy_(std::move(remedy)) {}

}  // namespace prosa
