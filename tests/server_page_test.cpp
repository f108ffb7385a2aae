// The page over HTTP, without a browser: who gets it, with which headers, and that it is whole. What it does is tested
// in a browser (page_test.py).
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

using testing::HasSubstr;
using testing::StartsWith;

/// With a key, which the page must not need.
uint16_t page_port() {
  static const Model model = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 512});
  static Server server(model, {.port = 0, .api_keys = {"secret"}, .replies = 1});
  return server.port();
}

constexpr const char* kBrowser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

Answer get(const std::string& path, const std::string& headers = {}) {
  return ask(page_port(), "GET", path, "", headers);
}

TEST(ServerPage, ABrowserGetsItAndOthersAreToldWhatProbesWant) {
  const Answer page = get("/", kBrowser);
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_THAT(page.body, StartsWith("<!doctype html>"));
  EXPECT_EQ(page.header("Vary"), "Accept");
  for (const char* accept : {"", "Accept: */*\r\n", "Accept: application/json\r\n", "Accept: text/html;q=0\r\n",
                             "Accept: text/htmlx\r\n", "Accept: text/html;q=0.0, */*\r\n"}) {
    const Answer other = get("/", accept);
    EXPECT_EQ(other.body, "Ollama is running") << accept;
    EXPECT_EQ(other.header("Vary"), "Accept");
  }
  EXPECT_EQ(get("/", "Accept: TEXT/HTML; q=0.1\r\n").body, page.body);
}

TEST(ServerPage, HeadIsGetWithoutItsBody) {
  Client client(page_port());
  const Answer head = client.ask("HEAD", "/", "", kBrowser);
  const Answer body = client.ask("GET", "/", "", kBrowser);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("Content-Length"), std::to_string(body.body.size()));
  EXPECT_EQ(head.header("ETag"), body.header("ETag"));
}

TEST(ServerPage, WhatABrowserHasIsNotSentAgain) {
  Client client(page_port());
  const std::string tag = client.ask("GET", "/page/app.js").header("ETag");
  EXPECT_THAT(tag, testing::MatchesRegex("\"[0-9a-f]+\""));
  for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
    client.send("GET /page/app.js HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: " + known + "\r\n\r\n");
    const Answer same = client.answer(true);
    EXPECT_EQ(same.status, 304) << known;
    EXPECT_EQ(same.header("ETag"), tag);
    EXPECT_EQ(same.head.find("Content-Length"), std::string::npos) << "it would be the page's own";
  }
  EXPECT_EQ(client.ask("GET", "/page/app.js", "", "If-None-Match: \"other\"\r\n").status, 200)
      << "the connection goes on behind answers without a body";
  EXPECT_NE(client.ask("GET", "/page/style.css").header("ETag"), tag);
}

TEST(ServerPage, ItsPolicyLetsItAskNobodyElse) {
  const std::string policy = get("/", kBrowser).header("Content-Security-Policy");
  EXPECT_THAT(
      policy,
      StartsWith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, HasSubstr("require-trusted-types-for 'script'"));
}

/// Every file of the folder is served as it is, with a type that browsers take, and names no other host; what a file
/// names, there is.
TEST(ServerPage, ItIsWhole) {
  const std::filesystem::path folder = std::filesystem::path(PROSA_SOURCE_DIR) / "src/server/page";
  std::set<std::string> served;
  std::set<std::string> named;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    const std::string text = test::read_bytes(entry.path());
    const bool is_page = name == "index.html";
    const Answer answer = is_page ? get("/", kBrowser) : get("/page/" + name);
    EXPECT_EQ(answer.status, 200) << name;
    EXPECT_EQ(answer.body, text) << name;
    served.insert("page/" + name);
    EXPECT_LE(std::ranges::count(text, '\n'), 500) << name;
    const std::string type = answer.header("Content-Type");
    for (const auto& [end, kind] : {std::pair(".js", "text/javascript; charset=utf-8"),
                                    std::pair(".css", "text/css; charset=utf-8"), std::pair(".svg", "image/svg+xml")}) {
      if (name.ends_with(end)) {
        EXPECT_EQ(type, kind) << name;
      }
    }
    const std::regex names(R"re((?:src|href)="(page/[^"]+)"|from '\./([^']+)')re");
    for (std::sregex_iterator at(text.begin(), text.end(), names), end; at != end; ++at) {
      named.insert((*at)[1].matched ? (*at)[1].str() : "page/" + (*at)[2].str());
    }
    for (const char* markup : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("}) {
      EXPECT_EQ(text.find(markup), std::string::npos) << name << " makes markup of text: " << markup;
    }
  }
  EXPECT_GE(named.size(), 10U);
  for (const std::string& name : named) EXPECT_TRUE(served.contains(name)) << name;
  EXPECT_EQ(get("/page/index.html").status, 404) << "it has one address";
  EXPECT_EQ(get("/page/../server.cpp").status, 404);
  EXPECT_EQ(get("/page/none.js").status, 404);
}

TEST(ServerPage, OnlyThePageIsOpenToThoseWithoutAKey) {
  EXPECT_EQ(get("/v1/models").status, 401);
  EXPECT_EQ(get("/metrics").status, 401);
  EXPECT_EQ(ask(page_port(), "POST", "/page/app.js", "{}").status, 401);
  EXPECT_EQ(get("/page/app.js", "Origin: https://evil.example\r\n").status, 403);
}

}  // namespace
}  // namespace prosa
