// The parts of the hub that need no network: names, which files make a model, the journal, hashes, the cache on disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "checkpoint_fixture.h"
#include "hub/cache.h"
#include "hub/fetch.h"
#include "hub/file.h"
#include "hub/hash.h"
#include "hub/journal.h"
#include "hub/manifest.h"
#include "hub/name.h"
#include "hub/settings.h"
#include "prosa/hub_cache.h"

namespace prosa::hub {
namespace {

namespace fs = std::filesystem;
using checkpoint::expect_error;
using checkpoint::read_bytes;
using checkpoint::write_bytes;
using testing::ElementsAre;

/// A variable of the environment for as long as the object lives; nullptr: not set.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(HubName, TakesApart) {
  const auto full = parse_hub_name("some-One/Model_0.8B:int4/x@refs/pr/1");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->owner, "some-One");
  EXPECT_EQ(full->name, "Model_0.8B");
  EXPECT_EQ(full->subfolder, "int4/x");
  EXPECT_EQ(full->revision, "refs/pr/1");
  EXPECT_EQ(full->text(), "some-One/Model_0.8B:int4/x@refs/pr/1");
  EXPECT_EQ(parse_hub_name("a/b")->text(), "a/b");
}

TEST(HubName, RefusesWhatLeadsElsewhere) {
  for (const std::string text :
       {"",       "a",      "/a",      "a/",       "a/b/c",      "../b",  "a/..",   "a/.b",
        "a/b:",   "a/b:/x", "a/b:x/",  "a/b:../x", "a/b:x//y",   "a/b@",  "a/b@..", "a/b@x/../y",
        "a/b@/x", "a/b c",  "a/b:c:d", "a\\b/c",   "http://a/b", "a/b?x", "a/b%2e"}) {
    EXPECT_FALSE(parse_hub_name(text)) << text;
  }
  EXPECT_FALSE(parse_hub_name(std::string("a/b\0c", 5)));
}

TEST(HubAlias, StandsForAModelOfTheHub) {
  EXPECT_EQ(expand_alias("qwen3.5-0.8b"), "Qwen/Qwen3.5-0.8B");
  EXPECT_EQ(expand_alias("Qwen3.5-0.8B"), "Qwen/Qwen3.5-0.8B");
  EXPECT_EQ(expand_alias("qwen3.5-4b@v1"), "Qwen/Qwen3.5-4B@v1");
  EXPECT_EQ(expand_alias("qwen3.5-0.8b-mlx:int4"), "aufklarer/Qwen3.5-0.8B-Chat-MLX:int4");
  for (const char* name : {"", "qwen3.5", "qwen3.5-0.8bx", "Qwen/Qwen3.5-0.8B", ":", "@"}) {
    EXPECT_EQ(expand_alias(name), std::nullopt) << name;
  }
  for (const ModelAlias& alias : model_aliases()) EXPECT_TRUE(parse_hub_name(std::string(alias.name))) << alias.name;
}

TEST(HubManifest, TakesOnlyPlainNamesOfTheFolder) {
  const std::vector<std::string> paths = {
      "config.json", "int4/config.json", "../config.json", "/etc/passwd",  "int4/../x",
      "a\\b",        ".gitattributes",   "tokenizer.json", "int4/a/b.txt", "",
      "new\nline"};
  EXPECT_THAT(names_in(paths, ""), ElementsAre("config.json", "tokenizer.json"));
  EXPECT_THAT(names_in(paths, "int4"), ElementsAre("config.json"));
  EXPECT_TRUE(names_in({std::string("a\0b", 3)}, "").empty());
  const std::vector<std::string> templates = {
      "additional_chat_templates/tool_use.jinja", "chat_template.jinja",
      "additional_chat_templates/.hidden.jinja",  "additional_chat_templates/more/deep.jinja",
      "additional_chat_templates/notes.md",       "int4/additional_chat_templates/a.jinja"};
  EXPECT_THAT(text_files(names_in(templates, "")),
              ElementsAre("chat_template.jinja", "additional_chat_templates/tool_use.jinja"));
  EXPECT_THAT(text_files(names_in(templates, "int4")), ElementsAre("additional_chat_templates/a.jinja"));
}

TEST(HubManifest, FindsWeights) {
  const auto files = [](const std::set<std::string>& names) {
    const WeightFiles found = weight_files(names, "", "r");
    EXPECT_EQ(found.warning, "");
    EXPECT_FALSE(found.by_index);
    return found.names;
  };
  EXPECT_THAT(files({"model.safetensors", "other.safetensors"}), ElementsAre("model.safetensors"));
  EXPECT_THAT(files({"only.safetensors", "mtp.safetensors"}), ElementsAre("only.safetensors", "mtp.safetensors"));
  EXPECT_THAT(files({"mtp.safetensors"}), ElementsAre());
  EXPECT_THAT(files({"model.gguf"}), ElementsAre());
  EXPECT_THAT(files({"model-a.safetensors", "model-b.safetensors", "x.safetensors"}),
              ElementsAre("model-a.safetensors", "model-b.safetensors"));
  EXPECT_THAT(files({"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors", "x.safetensors"}),
              ElementsAre("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"));
  // A shard without the others is no model.
  EXPECT_EQ(weight_files({"model-00001-of-00002.safetensors"}, "", "r").missing, "model-00002-of-00002.safetensors");
  expect_error(ErrorCode::bad_checkpoint, {"two sets of shards", "a-00001", "b-00001"}, [] {
    weight_files({"a-00001-of-00001.safetensors", "b-00001-of-00001.safetensors"}, "", "r");
  });
  expect_error(ErrorCode::bad_checkpoint, {"a.safetensors", "b.safetensors"}, [] {
    weight_files({"a.safetensors", "b.safetensors"}, "", "r");
  });
}

/// The index is a help; what is there decides.
TEST(HubManifest, ReadsAnIndexAgainstTheFiles) {
  const std::string two = R"({"weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-1.safetensors"}})";
  const auto files = [&](std::set<std::string> names) {
    names.insert(index_name);
    return weight_files(names, two, "r");
  };
  const WeightFiles named = files({"m-1.safetensors", "m-2.safetensors", "x.safetensors"});
  EXPECT_THAT(named.names, ElementsAre("m-1.safetensors", "m-2.safetensors"));
  EXPECT_TRUE(named.by_index);
  EXPECT_EQ(named.warning + named.missing, "");
  EXPECT_EQ(files({"m-1.safetensors"}).missing, "m-2.safetensors");  // a download that was cut off
  EXPECT_EQ(files({}).missing, "m-1.safetensors");
  for (const std::set<std::string>& there :
       {std::set<std::string>{"model.safetensors"}, {"model.safetensors", "m-1.safetensors", "m-2.safetensors"}}) {
    const WeightFiles whole = files(there);
    EXPECT_THAT(whole.names, ElementsAre("model.safetensors"));
    EXPECT_FALSE(whole.by_index);
    EXPECT_NE(whole.warning.find("so model.safetensors is read"), std::string::npos) << whole.warning;
  }
  const WeightFiles shards = files({"m-1.safetensors", "n-00001-of-00002.safetensors", "n-00002-of-00002.safetensors"});
  EXPECT_THAT(shards.names, ElementsAre("n-00001-of-00002.safetensors", "n-00002-of-00002.safetensors"));
  EXPECT_NE(shards.warning.find("m-2.safetensors"), std::string::npos) << shards.warning;
  EXPECT_THAT(files({"renamed.safetensors"}).names, ElementsAre("renamed.safetensors"));
  // An index that can't be read stops nobody who has the files.
  const WeightFiles broken = weight_files({index_name, "model.safetensors"}, "{", "r");
  EXPECT_THAT(broken.names, ElementsAre("model.safetensors"));
  EXPECT_NE(broken.warning, "");
}

TEST(HubManifest, RefusesHostileIndexes) {
  const std::set<std::string> names = {index_name};
  for (const std::string text :
       {"", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": []}", R"({"weight_map": {"a": "../x.safetensors"}})",
        R"({"weight_map": {"a": "/x.safetensors"}})", R"({"weight_map": {"a": "x\u0000.safetensors"}})",
        R"({"weight_map": {"a": ".x.safetensors"}})", R"({"weight_map": {"a": 1}})",
        R"({"weight_map": {"a": "x.bin"}})"}) {
    expect_error(ErrorCode::bad_checkpoint, {"the-index"}, [&] { weight_files(names, text, "the-index"); });
  }
  expect_error(ErrorCode::bad_checkpoint, {"nested"},
               [&] { weight_files(names, std::string(100'000, '['), "the-index"); });
}

TEST(HubHash, AgreesWithGitAndSha256sum) {
  const TempFolder folder;
  write_bytes(folder.path() / "f", "hello\n");
  EXPECT_EQ(hash_file(folder.path() / "f", HashKind::git_sha1), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(hash_file(folder.path() / "f", HashKind::sha256),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
  EXPECT_EQ(hash_file(folder.path() / "f", HashKind::none), "");
  EXPECT_EQ(hash_kind(std::string(40, 'a')), HashKind::git_sha1);
  EXPECT_EQ(hash_kind(std::string(64, '0')), HashKind::sha256);
  EXPECT_EQ(hash_kind(std::string(64, 'G')), HashKind::none);
  EXPECT_EQ(hash_kind("abc"), HashKind::none);
}

TEST(HubJournal, GoesOnWhereItStopped) {
  const TempFolder folder;
  const fs::path path = folder.path() / "j";
  {
    Journal journal(path, 1000, 300, 0);
    EXPECT_EQ(journal.pieces(), 4U);
    EXPECT_EQ(journal.length(3), 100U);
    EXPECT_EQ(journal.prefix(), 0U);
    journal.record(0, 300);
    journal.record(1, 20);
    journal.record(3, 100);
    EXPECT_EQ(journal.prefix(), 320U);
  }
  const Journal again(path, 1000, 77, 1000);  // the piece length of then goes on
  EXPECT_EQ(again.pieces(), 4U);
  EXPECT_EQ(again.total_done(), 420U);
  EXPECT_EQ(again.done(3), 100U);
}

TEST(HubJournal, BelievesNothingThatCannotBe) {
  const TempFolder folder;
  const fs::path path = folder.path() / "j";
  const auto fresh = [&] {
    Journal journal(path, 1000, 300, 0);
    journal.record(0, 300);
    journal.record(3, 100);
  };
  fresh();
  EXPECT_EQ(Journal(path, 999, 300, 1000).total_done(), 0U) << "of another size";
  fresh();
  EXPECT_EQ(Journal(path, 1000, 300, 950).total_done(), 0U) << "the file is shorter than what is done";
  fresh();
  std::string bytes = read_bytes(path);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{24}, bytes.size() - 1}) {
    write_bytes(path, bytes.substr(0, length));
    EXPECT_EQ(Journal(path, 1000, 300, 1000).total_done(), 0U) << length;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {  // no byte of it makes the reader crash or reach beyond the file
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x81);
    write_bytes(path, damaged);
    EXPECT_LE(Journal(path, 1000, 300, 1000).total_done(), 1000U) << i;
  }
}

TEST(HubJournal, AdoptsABeginning) {
  const TempFolder folder;
  Journal journal(folder.path() / "j", 1000, 300, 0);
  journal.record(2, 50);
  journal.adopt_prefix(430);
  EXPECT_EQ(journal.prefix(), 430U);
  EXPECT_EQ(journal.total_done(), 480U);
  journal.clear();
  EXPECT_EQ(journal.total_done(), 0U);
}

TEST(HubFile, WritesThroughNoLink) {
  const TempFolder folder;
  write_bytes(folder.path() / "precious", "precious");
  fs::create_symlink(folder.path() / "precious", folder.path() / "link");
  expect_error(ErrorCode::io, {"link"}, [&] { File::open_write(folder.path() / "link"); });
  write_small_file(folder.path() / "link", "new");
  EXPECT_EQ(read_bytes(folder.path() / "precious"), "precious");
  EXPECT_EQ(read_bytes(folder.path() / "link"), "new");
}

TEST(HubFile, LockWaitsAndTells) {
  const TempFolder folder;
  std::optional<FileLock> held = FileLock::acquire(folder.path() / "l", [] { FAIL(); });
  int waits = 0;
  const FileLock second = FileLock::acquire(folder.path() / "l", [&] {
    if (++waits == 2) held.reset();
  });
  EXPECT_EQ(waits, 2);
  EXPECT_THROW(FileLock::acquire(folder.path() / "l", [] { throw Error(ErrorCode::cancelled, "enough"); }), Error);
}

TEST(HubSettings, ReadsTheEnvironment) {
  const TempFolder folder;
  const std::string home = folder.path().string();
  const Variable home_variable("HOME", home.c_str());
  const Variable unset[] = {{"HF_HOME", nullptr},        {"HF_HUB_CACHE", nullptr},  {"HUGGINGFACE_HUB_CACHE", nullptr},
                            {"XDG_CACHE_HOME", nullptr}, {"HF_ENDPOINT", nullptr},   {"HF_TOKEN", nullptr},
                            {"HF_TOKEN_PATH", nullptr},  {"HF_HUB_OFFLINE", nullptr}};
  EXPECT_EQ(hub_cache_folder(), home + "/.cache/huggingface/hub");
  EXPECT_EQ(settings_from_environment().endpoint, "https://huggingface.co");
  EXPECT_FALSE(settings_from_environment().offline);
  {
    const Variable xdg("XDG_CACHE_HOME", "/x");
    EXPECT_EQ(hub_cache_folder(), "/x/huggingface/hub");
    const Variable hf_home("HF_HOME", "~/hf");
    EXPECT_EQ(hub_cache_folder(), home + "/hf/hub");
    fs::create_directories(folder.path() / "hf");
    write_bytes(folder.path() / "hf/token", "hf_file\n");
    EXPECT_EQ(settings_from_environment().token, "hf_file");
    const std::string long_file = (folder.path() / "long").string();
    write_bytes(long_file, std::string(5000, 'x'));
    {
      const Variable named("HF_TOKEN_PATH", long_file.c_str());
      EXPECT_EQ(settings_from_environment().token, "") << "no token, but public models are there all the same";
    }
    const Variable token("HF_TOKEN", " hf_variable\n");
    EXPECT_EQ(settings_from_environment().token, "hf_variable");
    const Variable cache("HF_HUB_CACHE", "/c");
    EXPECT_EQ(hub_cache_folder(), "/c");
  }
  {
    const Variable evil("HF_TOKEN", "a\r\nX-Evil: 1");
    expect_error(ErrorCode::invalid_argument, {"HF_TOKEN"}, [] { settings_from_environment(); });
  }
  for (const char* yes : {"1", "true", "ON", "Yes"}) {
    const Variable offline("HF_HUB_OFFLINE", yes);
    EXPECT_TRUE(settings_from_environment().offline) << yes;
  }
  const Variable endpoint("HF_ENDPOINT", "http://mirror.example/hub/");
  EXPECT_EQ(settings_from_environment().endpoint, "http://mirror.example/hub");
  const Variable file("HF_ENDPOINT", "file:///etc");
  expect_error(ErrorCode::invalid_argument, {"HF_ENDPOINT"}, [] { settings_from_environment(); });
}

TEST(HubUrls, JoinAndQuote) {
  EXPECT_EQ(url_origin("HTTPS://Host.Example/a?b"), "https://host.example:443");
  EXPECT_EQ(url_origin("http://host:8080"), "http://host:8080");
  EXPECT_EQ(url_origin("file:///etc/passwd"), "");
  EXPECT_EQ(url_join("http://a/b/c?d", "/e"), "http://a/e");
  EXPECT_EQ(url_join("http://a/b/c", "http://x/y?z=1"), "http://x/y?z=1");
  EXPECT_EQ(url_join("http://a/b", "file:///etc/passwd"), "");
  EXPECT_EQ(url_quote("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(url_quote("a b/ü", true), "a%20b/%C3%BC");
}

TEST(HubUrls, TheTokenStaysAtHome) {
  Settings settings;
  settings.token = "secret";
  EXPECT_EQ(token_for(settings, "https://huggingface.co/api"), "secret");
  EXPECT_EQ(token_for(settings, "https://hf.co/api"), "secret");
  for (const std::string url :
       {"http://huggingface.co/api", "https://huggingface.co:444/", "https://cdn.huggingface.co/",
        "https://huggingface.co.evil.example/", "https://huggingface.co@evil.example/"}) {
    EXPECT_EQ(token_for(settings, url), "") << url;
  }
  settings.endpoint = "http://127.0.0.1:80";
  EXPECT_EQ(token_for(settings, "http://127.0.0.1/x"), "secret");
  EXPECT_EQ(token_for(settings, "https://huggingface.co/api"), "");
}

class HubCache : public testing::Test {
 protected:
  static constexpr const char* commit = "0123456789abcdef0123456789abcdef01234567";
  void put(const std::string& path, const std::string& etag, const std::string& bytes) {
    cache.prepare();
    write_bytes(cache.blob(etag), bytes);
    cache.link(commit, path, etag);
  }
  TempFolder folder;
  RepositoryCache cache{folder.path() / "hub", *parse_hub_name("o/n")};
};

TEST_F(HubCache, IsLaidOutAsPythonDoes) {
  put("config.json", "abc", "{}");
  put("int4/config.json", "abc", "{}");
  cache.write_ref("refs/pr/1", commit);
  const fs::path root = folder.path() / "hub/models--o--n";
  EXPECT_EQ(fs::read_symlink(root / "snapshots" / commit / "config.json"), "../../blobs/abc");
  EXPECT_EQ(fs::read_symlink(root / "snapshots" / commit / "int4/config.json"), "../../../blobs/abc");
  EXPECT_EQ(read_bytes(root / "refs/refs/pr/1"), commit);
  EXPECT_EQ(cache.commit_of("refs/pr/1"), commit);
  EXPECT_EQ(cache.commit_of("main"), std::nullopt);
  EXPECT_EQ(cache.commit_of(commit), commit);
  EXPECT_EQ(cache.lock("abc"), folder.path() / "hub/.locks/models--o--n/abc.lock");
  EXPECT_TRUE(
      read_bytes(folder.path() / "hub/CACHEDIR.TAG").starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
}

TEST_F(HubCache, KnowsWhatIsMissing) {
  EXPECT_EQ(cache.missing(commit, "", Parts::all), "config.json");
  put("config.json", "c", "{}");
  EXPECT_EQ(cache.missing(commit, "", Parts::all), "model.safetensors");
  EXPECT_EQ(cache.missing(commit, "", Parts::text), "tokenizer.json");
  put(index_name, "i", R"({"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}})");
  put("m-00001-of-00002.safetensors", "1", "x");
  EXPECT_EQ(cache.missing(commit, "", Parts::all), "m-00002-of-00002.safetensors");
  put("m-00002-of-00002.safetensors", "2", "x");
  EXPECT_EQ(cache.missing(commit, "", Parts::all), std::nullopt);
  fs::remove(cache.blob("1"));  // a link to nothing is no file
  EXPECT_EQ(cache.missing(commit, "", Parts::all), "m-00001-of-00002.safetensors");
  EXPECT_EQ(cache.missing(commit, "int4", Parts::all), "config.json");
}

TEST_F(HubCache, RefusesALinkThatLeadsOut) {
  put("config.json", "c", "{}");
  write_bytes(folder.path() / "outside", "secret");
  fs::create_symlink(folder.path() / "outside", cache.snapshot(commit) / "model.safetensors");
  expect_error(ErrorCode::bad_checkpoint, {"model.safetensors", "out of the hub cache"},
               [&] { (void)cache.missing(commit, "", Parts::all); });
  // A repository that lies on another disk as a whole is no such thing.
  fs::remove(cache.snapshot(commit) / "model.safetensors");
  put("model.safetensors", "m", "x");
  fs::rename(cache.folder(), folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", cache.folder());
  EXPECT_EQ(cache.missing(commit, "", Parts::all), std::nullopt);
}

TEST_F(HubCache, IgnoresADamagedRef) {
  cache.prepare();
  for (const std::string text : {"", "../../../etc", "a b", ".."}) {
    write_bytes(cache.folder() / "refs/main", text);
    EXPECT_EQ(cache.commit_of("main"), std::nullopt) << text;
  }
  write_bytes(cache.folder() / "refs/main", std::string(commit) + "\n");
  EXPECT_EQ(cache.commit_of("main"), commit);
}

}  // namespace
}  // namespace prosa::hub
