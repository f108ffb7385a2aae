// Why a request is not served: a status, words for people, a code for programs and the field concerned.
//
// Written in the form of each dialect (write_refusal); thrown by handlers, as prosa::Error is, which refusal_of()
// translates. Pure values.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "prosa/error.h"
#include "server/http.h"

namespace prosa::server {

struct Refusal : std::runtime_error {
  Refusal(int status_of, std::string code_of, const std::string& message, std::string field_of = {},
          int retry_after_of = 0)
      : std::runtime_error(message),
        status(status_of),
        code(std::move(code_of)),
        field(std::move(field_of)),
        retry_after(retry_after_of) {}

  int status;
  std::string code;   // "invalid_api_key", or the name of an ErrorCode
  std::string field;  // "messages[2].content"; "": of none
  int retry_after;    // seconds; 0: not said
};

Refusal refusal_of(const Error& error);
/// Inside a handler of exceptions: the one under way.
Refusal refusal_under_way() noexcept;

enum class Dialect { openai, ollama, anthropic };
/// By the path: what a client of it would understand.
Dialect dialect_of(std::string_view path) noexcept;

/// The whole answer, with Retry-After where it is said.
Response write_refusal(Dialect dialect, const Refusal& refusal, const std::string& request_id);
/// Its body alone: for a stream that has begun.
std::string refusal_text(Dialect dialect, const Refusal& refusal, const std::string& request_id);

}  // namespace prosa::server
