// The two requests: GET /api/models/NAME/revision/REV, and HEAD /NAME/resolve/COMMIT/FILE.
#include "hub/api.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

using nlohmann::json;

constexpr size_t kMaxJsonBytes = size_t{32} << 20;
constexpr size_t kMaxFiles = 100'000;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 44;  // far beyond any model; all files together stay countable
constexpr const char* kNoHub = "check HF_ENDPOINT: this does not look like a model hub";

[[noreturn]] void fail_answer(const HubName& name, const std::string& what) {
  throw Error(ErrorCode::network, what, name.text(), kNoHub);
}

json parse_answer(const HubName& name, const std::string& text) {
  const JsonLimits limits{.max_bytes = kMaxJsonBytes};
  json document = parse_json(text, {name.text() + ": the hub's answer", ErrorCode::network, kNoHub}, limits);
  if (!document.is_object()) fail_answer(name, "the hub's answer is not a JSON object");
  return document;
}

std::optional<uint64_t> to_number(const std::string& text) {
  uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

/// A size as a header tells it; nothing without one. Error(network) for what no file can have.
std::optional<uint64_t> announced_size(const std::string& header, const std::string& where) {
  if (header.empty()) return std::nullopt;
  const std::optional<uint64_t> size = to_number(header);
  if (size && *size <= kMaxFileBytes) return size;
  throw Error(ErrorCode::network, fmt::format("the hub announces a size of '{}' bytes", header), where, kNoHub);
}

/// W/"abc" and "abc" are abc.
std::string plain_etag(std::string text) {
  if (text.starts_with("W/")) text.erase(0, 2);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  return text;
}

}  // namespace

void refuse(const Settings& settings, const HubName& name, const std::string& path, const HttpResponse& response) {
  const std::string page = settings.endpoint + "/" + name.repository();
  const std::string where = path.empty() ? name.text() : name.repository() + "/" + path;
  const std::string code = response.header("x-error-code");
  const bool with_token = !settings.token.empty();
  const std::string set_token = "set HF_TOKEN to a token from " + settings.endpoint + "/settings/tokens";
  if (code == "RevisionNotFound") {
    throw Error(ErrorCode::not_found, "the hub has no revision '" + name.revision + "' of it", name.repository(),
                "look at " + page + "/tree/main");
  }
  if (code == "EntryNotFound" || (response.status == 404 && !path.empty() && code.empty())) {
    throw Error(ErrorCode::not_found, "the hub has no such file", where);
  }
  if (code == "GatedRepo") {
    throw Error(
        ErrorCode::access_denied, "the repository is gated", where,
        "accept its terms at " + page + (with_token ? " with the account of your HF_TOKEN" : ", then " + set_token));
  }
  if (response.status == 404 || code == "RepoNotFound") {
    throw Error(ErrorCode::not_found, "the hub knows no such repository", where,
                "check the name" + (with_token ? std::string(", and that your HF_TOKEN may read it")
                                               : "; if it is private or gated, " + set_token));
  }
  if (response.status == 401) {
    if (with_token) {
      throw Error(ErrorCode::access_denied, "the hub does not accept the token, or the name is wrong", where,
                  "check the name; make a new token at " + settings.endpoint + "/settings/tokens and set HF_TOKEN");
    }
    throw Error(ErrorCode::access_denied,
                "the hub wants a token: the repository is gated or private, or does not exist", where,
                "check the name; accept its terms at " + page + ", then " + set_token);
  }
  if (response.status == 403) {
    throw Error(ErrorCode::access_denied, "the hub refuses access", where,
                with_token ? "your HF_TOKEN may not read it: look at " + page : set_token);
  }
  throw Error(ErrorCode::network, fmt::format("the server answers {}", response.status), where,
              "check HF_ENDPOINT, or try again later");
}

Repository HubApi::repository(const std::string& revision) const {
  HttpRequest request;
  request.url = settings_.endpoint + "/api/models/" + name_.repository() + "/revision/" + url_quote(revision, false);
  std::string body;
  Patience patience(settings_, observer_, name_.text());
  const Answer answer = patience.insist([&] {
    body.clear();
    return follow(client_, settings_, request, [&](const HttpResponse&, std::span<const std::byte> bytes) {
      body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (body.size() > kMaxJsonBytes) fail_answer(name_, "the hub's answer does not end");
      return true;
    });
  });
  if (answer.response.status != 200) refuse(settings_, name_, "", answer.response);
  const json document = parse_answer(name_, body);
  Repository repository;
  const auto commit = document.find("sha");
  if (commit != document.end() && commit->is_string()) repository.commit = commit->get<std::string>();
  if (!is_commit(repository.commit)) fail_answer(name_, "the hub names no commit");
  const auto files = document.find("siblings");
  if (files == document.end() || !files->is_array()) fail_answer(name_, "the hub lists no files");
  if (files->size() > kMaxFiles) fail_answer(name_, fmt::format("the hub lists {} files", files->size()));
  for (const json& file : *files) {
    const auto path = file.is_object() ? file.find("rfilename") : file.end();
    if (path != file.end() && path->is_string()) repository.files.push_back(path->get<std::string>());
  }
  return repository;
}

RemoteFile HubApi::file(const std::string& commit, const std::string& path) const {
  HttpRequest request;
  request.url = settings_.endpoint + "/" + name_.repository() + "/resolve/" + commit + "/" + url_quote(path, true);
  request.head = true;
  Patience patience(settings_, observer_, name_.repository() + "/" + path);
  const Answer answer = patience.insist([&] {
    return follow(client_, settings_, request, [](const HttpResponse&, std::span<const std::byte>) { return false; });
  });
  const HttpResponse& response = answer.response;
  const bool redirected = response.status / 100 == 3;
  if (response.status != 200 && !redirected) refuse(settings_, name_, path, response);
  RemoteFile file;
  file.path = path;
  file.url = answer.url;
  if (redirected) file.direct = url_join(answer.url, response.header("location"));
  const std::string linked = response.header("x-linked-etag");
  file.etag = plain_etag(linked.empty() ? response.header("etag") : linked);
  if (!is_plain_part(file.etag)) {
    throw Error(ErrorCode::network, "the hub gives no etag that can name a file", name_.repository() + "/" + path,
                kNoHub);
  }
  const std::string where = name_.repository() + "/" + path;
  file.size = announced_size(response.header("x-linked-size"), where);
  if (!file.size && !redirected) file.size = announced_size(response.header("content-length"), where);
  return file;
}

}  // namespace prosa::hub
