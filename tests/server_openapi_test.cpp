// The description of the API (src/server/openapi.json) is true: what it names is routed with the methods that it names,
// and what is routed is in it. What requests and answers look like is held to it by schemathesis (tools/fuzz_api.sh).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "prosa/server.h"
#include "server_client.h"
#include "test_files.h"

namespace prosa {
namespace {

using nlohmann::json;

Server& described() {
  static const Model model = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  static Server server(model, {.port = 0, .model_name = "nonsense", .sampling = {.max_tokens = 1}, .replies = 1});
  return server;
}

Answer ask_described(const std::string& method, const std::string& path) {
  return ask(described().port(), method, path, method == "POST" ? "{}" : "");
}

const json& description() {
  static const json parsed = ask_described("GET", "/openapi.json").json();
  return parsed;
}

/// A path of the description as it can be asked for.
std::string filled(std::string path) {
  constexpr std::string_view kStored = "{response_id}";
  if (const size_t at = path.find(kStored); at != std::string::npos) {
    const Answer stored = ask(described().port(), "POST", "/v1/responses", R"({"input": "Hello"})");
    path.replace(at, kStored.size(), stored.json()["id"].get<std::string>());
  }
  for (const auto& [name, value] : {std::pair("{model}", "nonsense"), std::pair("{file}", "app.js")}) {
    const size_t at = path.find(name);
    if (at != std::string::npos) path.replace(at, std::string_view(name).size(), value);
  }
  return path;
}

/// What stands below a path, wherever it is written.
const json& operations_of(const std::string& path) {
  const json& item = description()["paths"][path];
  return item.contains("$ref") ? description().at(json::json_pointer(item["$ref"].get<std::string>().substr(1))) : item;
}

TEST(ServerOpenApi, IsServedToEverybodyAsItIs) {
  const Answer answer = ask_described("GET", "/openapi.json");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Content-Type"), "application/json");
  EXPECT_NE(answer.header("ETag"), "");
  EXPECT_EQ(answer.body, test::read_bytes(std::filesystem::path(PROSA_SOURCE_DIR) / "src/server/openapi.json"));
  EXPECT_EQ(description()["openapi"], "3.1.0");
  const std::string build = ask_described("GET", "/props").json()["build_info"];
  EXPECT_EQ("prosa " + description()["info"]["version"].get<std::string>(), build);
}

TEST(ServerOpenApi, WhatItNamesIsRouted) {
  ASSERT_GE(description()["paths"].size(), 30U);
  for (const auto& [path, ignored] : description()["paths"].items()) {
    const json& operations = operations_of(path);
    for (const char* method : {"get", "post"}) {
      const std::string upper = method == std::string("get") ? "GET" : "POST";
      const int status = ask_described(upper, filled(path)).status;
      if (operations.contains(method)) {
        EXPECT_NE(status, 404) << upper << " " << path;
        EXPECT_NE(status, 405) << upper << " " << path;
      } else {
        EXPECT_EQ(status, 405) << upper << " " << path << " is answered, and not described";
      }
    }
  }
}

/// The server's sources spell every path that they route. Each text in them that begins like one is asked for: what
/// there is must be described.
TEST(ServerOpenApi, WhatIsRoutedIsInIt) {
  std::set<std::string> spelled;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(PROSA_SOURCE_DIR) / "src/server")) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = test::read_bytes(entry.path());
    const std::regex literal(R"re("(/[a-zA-Z0-9_./-]*)")re");
    for (std::sregex_iterator at(text.begin(), text.end(), literal), end; at != end; ++at) {
      spelled.insert((*at)[1].str());
      spelled.insert("/v1" + (*at)[1].str());  // where a prefix is put before it
    }
  }
  int routed = 0;
  for (const std::string& path : spelled) {
    // A last slash is one too many, but for the page's own.
    if (path.size() > 1 && path.ends_with('/')) continue;
    if (ask_described("GET", path).status == 404) continue;
    ++routed;
    EXPECT_TRUE(description()["paths"].contains(path)) << path << " is routed, and not described";
  }
  EXPECT_GE(routed, 25) << "the search finds paths";
}

TEST(ServerOpenApi, EveryReferenceLeadsSomewhere) {
  const std::string text = description().dump();
  const std::regex reference(R"re("\$ref":"#([^"]+)")re");
  int count = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), reference), end; at != end; ++at, ++count) {
    EXPECT_TRUE(description().contains(json::json_pointer((*at)[1].str()))) << (*at)[1].str();
  }
  EXPECT_GE(count, 50);
}

}  // namespace
}  // namespace prosa
