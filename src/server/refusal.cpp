// Refusals and the forms that clients know them in (refusal.h).
#include "server/refusal.h"

#include <new>

#include <fmt/format.h>

#include "server/json_text.h"

namespace prosa::server {
namespace {

int status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::unsupported:
    case ErrorCode::bad_template:
    case ErrorCode::context_exceeded: return 400;
    case ErrorCode::not_found: return 404;
    case ErrorCode::busy:
    case ErrorCode::cancelled:
    case ErrorCode::not_loaded:
    case ErrorCode::out_of_memory: return 503;
    default: return 500;
  }
}

/// What the error is about, as the client knows it: a field of its request, or a file of the server's. Where that file
/// lies is nobody's business.
std::string place_of(const Error& error) {
  constexpr std::string_view kConfig = "SamplingConfig.";
  std::string place = error.where();
  if (place.starts_with(kConfig)) place.erase(0, kConfig.size());
  if (place.starts_with('/')) place.erase(0, place.rfind('/') + 1);
  return place;
}

std::string_view openai_type(int status) noexcept {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
  }
}

std::string_view anthropic_type(int status) noexcept {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

}  // namespace

Refusal refusal_of(const Error& error) {
  std::string message = error.message();
  const std::string place = place_of(error);
  if (!place.empty()) message = place + ": " + message;
  const std::string field = error.where().starts_with('/') ? "" : place;
  if (!error.remedy().empty()) message += (message.ends_with('.') ? " " : ". ") + error.remedy();
  const bool too_long = error.code() == ErrorCode::context_exceeded;
  const int status = status_of(error.code());
  // The name that OpenAI's clients look for.
  return {status, std::string(too_long ? "context_length_exceeded" : to_string(error.code())), message, field,
          status == 503 ? 1 : 0};
}

Refusal refusal_under_way() noexcept {
  try {
    throw;
  } catch (const Refusal& refusal) {
    return refusal;
  } catch (const Error& error) {
    return refusal_of(error);
  } catch (const std::bad_alloc&) {
    return {503, "out_of_memory", "There is not enough memory for this request.", "", 1};
  } catch (const std::exception& error) {
    return {500, "internal_error", fmt::format("Unexpected: {}", error.what())};
  } catch (...) {
    return {500, "internal_error", "Unexpected."};
  }
}

Dialect dialect_of(std::string_view path) noexcept {
  if (path == "/" || path.starts_with("/api/")) return Dialect::ollama;
  if (path.starts_with("/v1/messages") || path.starts_with("/messages")) return Dialect::anthropic;
  return Dialect::openai;
}

std::string refusal_text(Dialect dialect, const Refusal& refusal, const std::string& request_id) {
  Json json = Json::object();
  switch (dialect) {
    case Dialect::ollama: json["error"] = refusal.what(); break;
    case Dialect::anthropic:
      json["type"] = "error";
      json["error"] = {{"type", anthropic_type(refusal.status)}, {"message", refusal.what()}};
      json["request_id"] = request_id;
      break;
    case Dialect::openai:
      json["error"] = {{"message", refusal.what()},
                       {"type", openai_type(refusal.status)},
                       {"param", refusal.field.empty() ? Json() : Json(refusal.field)},
                       {"code", refusal.code}};
      break;
  }
  return to_text(json);
}

Response write_refusal(Dialect dialect, const Refusal& refusal, const std::string& request_id) {
  Response response;
  response.status = refusal.status;
  response.body = refusal_text(dialect, refusal, request_id);
  if (refusal.retry_after > 0) response.headers.emplace_back("Retry-After", std::to_string(refusal.retry_after));
  if (refusal.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace prosa::server
