// The page at / and the files it is made of, what Ollama's clients are told there, and /openapi.json.
//
// The files lie in the program (embedded.h) and change only with it: browsers keep them and ask with their ETag whether
// they are still the same. The page talks to this server alone, and its policy makes browsers hold it to that: no
// request to another host, no script but its own files, no markup made from text.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "server/dialects.h"
#include "server/embedded.h"

namespace prosa::server {
namespace {

constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

std::string type_of(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  PROSA_CHECK(name.ends_with(".json"));
  return "application/json";
}

/// Whether an Accept header asks for this type by its name: "*/*" is what programs send that take anything.
bool accepts(std::string_view accept, std::string_view type) {
  while (!accept.empty()) {
    const size_t comma = accept.find(',');
    std::string_view item = accept.substr(0, comma);
    accept.remove_prefix(comma == std::string_view::npos ? accept.size() : comma + 1);
    const size_t semicolon = item.find(';');
    if (!same_name(trimmed(item.substr(0, semicolon)), type)) continue;
    if (semicolon == std::string_view::npos) return true;
    const std::string_view weight = trimmed(item.substr(semicolon + 1));
    // "q=0", "q=0.0": not that one.
    return !weight.starts_with("q=0") || weight.find_first_of("123456789") != std::string_view::npos;
  }
  return false;
}

/// Whether the client has this very text already.
bool knows(const Request& request, const std::string& tag) {
  const std::string_view given = request.header("If-None-Match");
  return trimmed(given) == "*" || lists(given, tag) || lists(given, "W/" + tag);
}

/// `headers`: beside those of every file.
Router::Handler serve(const EmbeddedFile& file, Headers headers) {
  // Of the text alone: replicas give the same one.
  const std::string tag = fmt::format("\"{:016x}\"", XXH3_64bits(file.text.data(), file.text.size()));
  headers.emplace_back("ETag", tag);
  headers.emplace_back("Cache-Control", "no-cache");  // keep it, and ask whether it is still the same
  headers.emplace_back("Content-Security-Policy", kPolicy);
  headers.emplace_back("Referrer-Policy", "no-referrer");
  return [file, headers, tag](const Request& request, const auto& exchange) {
    if (knows(request, tag)) return exchange->respond({.status = 304, .type = "", .headers = headers});
    exchange->respond({.type = type_of(file.name), .body = std::string(file.text), .headers = headers});
  };
}

}  // namespace

void add_page(Router& router) {
  Router::Handler page;
  for (const EmbeddedFile& file : embedded_files()) {
    if (file.name == "index.html") {
      page = serve(file, {{"Vary", "Accept"}});
    } else if (file.name == "openapi.json") {
      router.get("/openapi.json", serve(file, {}));
    } else {
      router.get("/page/" + std::string(file.name), serve(file, {}));
    }
  }
  PROSA_CHECK(page != nullptr);
  router.get("/", [page](const Request& request, const auto& exchange) {
    if (accepts(request.header("Accept"), "text/html")) return page(request, exchange);
    exchange->respond(
        {.type = "text/plain; charset=utf-8", .body = "Ollama is running", .headers = {{"Vary", "Accept"}}});
  });
}

}  // namespace prosa::server
