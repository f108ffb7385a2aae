// The one error type of prosa.
//
// Everything that can be wrong with files, the network or what a caller passes in ends in an Error: a code for
// programs, and for people what happened, where, and what to do about it. A broken invariant inside prosa is not an
// Error: it aborts with file and line (src/base/check.h).
//
// No function of prosa throws anything else, memory that runs out included. The one exception is what a caller's own
// function (a callback) throws: it ends the call and comes back to the caller as it is. After either the object is
// usable: the next call finds what it would have found without the one that failed.
//
// Thread safety: an Error is immutable after construction.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace prosa {

enum class ErrorCode {
  invalid_argument,  // the caller passed something that can't be meant
  not_found,         // a file, folder, tensor or model name that does not exist
  io,                // the operating system refused to read, write or map
  bad_checkpoint,    // safetensors or config.json are damaged or contradict each other
  shape_mismatch,    // a tensor has another shape than config.json asks for
  unsupported,       // well-formed, but prosa does not know it (quantization, architecture, ISA, backend)
  bad_tokenizer,     // tokenizer.json is damaged or of another kind
  bad_session,       // a session file is damaged, or of another model, backend, version or byte order
  bad_template,      // the message list can't be rendered (the official template raises the same)
  context_exceeded,  // prompt or reply does not fit the context length
  cancelled,         // somebody called cancel()
  not_loaded,        // the model was unloaded
  busy,              // a second thread used an object that serves one at a time, or another process holds the file
  network,           // the hub can't be reached, breaks off, or answers what can't be
  access_denied,     // the hub wants a token, or refuses the one it got
  out_of_memory,     // memory or threads ran out; the message names the size where it is known
};

/// The code's name as it stands above, for logs and JSON.
std::string_view to_string(ErrorCode code) noexcept;

/// code(): for programs. message(): what happened. where(): the file, tensor, argument or message concerned (may be
/// empty). remedy(): one sentence of advice (may be empty). These three hold what they concern as it is, names from
/// files and servers among it; what() is all of it in one line of at most 500 characters that is safe to print
/// (printable_line() of prosa/text.h).
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message, std::string where = {}, std::string remedy = {});

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  [[nodiscard]] const std::string& remedy() const noexcept { return remedy_; }

 private:
  ErrorCode code_;
  std::string message_;
  std::string where_;
  std::string remedy_;
};

}  // namespace prosa
