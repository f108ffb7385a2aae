// Files: reading with a limit, and replacing a file so that nobody ever sees a part of the new one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/signal_removal.h"
#include "base/temporary.h"
#include "prosa/files.h"
#include "test_files.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::read_bytes;
using test::write_bytes;

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 0777;
}

/// Names in a folder, hidden ones too.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) names.push_back(item.path().filename().string());
  std::ranges::sort(names);
  return names;
}

using Names = std::vector<std::string>;

TEST(ReadFile, GivesAllOfItUpToTheLimit) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  const std::string text = std::string("a\0b", 3) + std::string(100'000, 'x');
  write_bytes(path, text);
  EXPECT_EQ(read_file(path, text.size()), text);
  expect_error(ErrorCode::bad_template, {path.string(), "100002"},
               [&] { read_file(path, text.size() - 1, ErrorCode::bad_template); });
  write_bytes(path, "");
  EXPECT_EQ(read_file(path, 0), "");
}

TEST(ReadFile, SaysWhatIsWrong) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found, {"nothing"}, [&] { read_file(folder.path() / "nothing", 10); });
  EXPECT_EQ(read_optional_file(folder.path() / "nothing", 10), std::nullopt);
  write_bytes(folder.path() / "f", "x");
  EXPECT_EQ(read_optional_file(folder.path() / "f" / "below", 10), std::nullopt);
  expect_error(ErrorCode::io, {"regular"}, [&] { read_file(folder.path(), 10); });
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::io, {"regular"}, [&] { read_file(folder.path() / "pipe", 10); });  // and does not hang
}

TEST(ReadFile, ReadsFilesThatSayTheyAreEmpty) {
  EXPECT_GT(read_file("/proc/self/status", 1 << 20).size(), 100U);
  expect_error(ErrorCode::invalid_argument, {"/proc/self/status"}, [] { read_file("/proc/self/status", 10); });
}

TEST(AtomicFile, ReplacesOnCommitAndNotBefore) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  write_bytes(path, "old");
  {
    AtomicFile file(path);
    file.write("new ");
    file.write("text");
    EXPECT_EQ(read_bytes(path), "old");
    file.commit();
    EXPECT_EQ(read_bytes(path), "new text");
  }
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

TEST(AtomicFile, TakesPiecesInAnyOrder) {
  const TempFolder folder;
  AtomicFile file(folder.path() / "f");
  file.reserve(1000);
  const std::string_view text = "hello";
  file.write_at(3, std::as_bytes(std::span(text)).subspan(3));
  file.write_at(0, std::as_bytes(std::span(text)).first(3));
  file.commit();
  EXPECT_EQ(read_bytes(folder.path() / "f"), "hello");
}

TEST(AtomicFile, LeavesNothingBehindWithoutCommit) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  write_bytes(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(names_in(folder.path()).size(), 2U);
  }
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

TEST(AtomicFile, PermissionsAreTheCallersThenTheFiles) {
  const TempFolder folder;
  const mode_t before = ::umask(022);
  replace_file(folder.path() / "shared", "x");
  replace_file(folder.path() / "private", "x", FileMode::owner_only);
  EXPECT_EQ(mode_of(folder.path() / "shared"), 0644U);
  EXPECT_EQ(mode_of(folder.path() / "private"), 0600U);
  ::chmod((folder.path() / "shared").c_str(), 0640);
  replace_file(folder.path() / "shared", "y");
  EXPECT_EQ(mode_of(folder.path() / "shared"), 0640U) << "a file keeps its own";
  ::chmod((folder.path() / "private").c_str(), 0666);
  replace_file(folder.path() / "private", "y", FileMode::owner_only);
  EXPECT_EQ(mode_of(folder.path() / "private"), 0600U) << "a conversation is never left open to others";
  ::umask(before);
}

TEST(AtomicFile, ALinkStaysALink) {
  const TempFolder folder;
  fs::create_directory(folder.path() / "there");
  write_bytes(folder.path() / "there/real", "old");
  fs::create_symlink("there/real", folder.path() / "link");
  fs::create_symlink("link", folder.path() / "second");
  replace_file(folder.path() / "second", "new");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "second"));
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_FALSE(fs::is_symlink(folder.path() / "there/real"));
  EXPECT_EQ(read_bytes(folder.path() / "there/real"), "new");
  EXPECT_EQ(names_in(folder.path() / "there"), Names{"real"});
  fs::create_symlink("there/later", folder.path() / "dangling");
  replace_file(folder.path() / "dangling", "made");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "dangling"));
  EXPECT_EQ(read_bytes(folder.path() / "there/later"), "made");
  fs::create_symlink("loop", folder.path() / "loop");
  expect_error(ErrorCode::io, {"loop"}, [&] { replace_file(folder.path() / "loop", "x"); });
}

// A name that can be guessed is a name that somebody else can make a link of.
TEST(AtomicFile, NoGuessedNameIsEverOpened) {
  const TempFolder folder;
  write_bytes(folder.path() / "victim", "precious");
  fs::create_symlink("victim", folder.path() / "f.tmp");
  ASSERT_EQ(::mkfifo((folder.path() / ".f.tmp").c_str(), 0600), 0);
  replace_file(folder.path() / "f", "new", FileMode::owner_only);
  EXPECT_EQ(read_bytes(folder.path() / "victim"), "precious");
  EXPECT_EQ(read_bytes(folder.path() / "f"), "new");
  EXPECT_NE(temporary_beside("a/f"), temporary_beside("a/f"));
  EXPECT_EQ(temporary_beside("a/f").parent_path(), "a");
  EXPECT_LT(temporary_beside("a/" + std::string(250, 'x')).filename().string().size(), 255U);
}

TEST(AtomicFile, WritesToAPipeAndLeavesItThere) {
  const TempFolder folder;
  const fs::path pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::string seen;
  std::thread reader([&] { seen = read_bytes(pipe); });
  replace_file(pipe, std::string(200'000, 'x') + "end");
  reader.join();
  EXPECT_EQ(seen, std::string(200'000, 'x') + "end");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST(AtomicFile, WritesToADeviceAndLeavesItThere) {
  replace_file("/dev/null", "gone");
  struct stat status {};
  ASSERT_EQ(::stat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  expect_error(ErrorCode::io, {"/dev/full", "space"}, [] { replace_file("/dev/full", "x"); });
}

// What /dev/stdout leads to may be a regular file that a shell still writes to: it must not be renamed over.
TEST(AtomicFile, WritesBehindWhatADescriptorHas) {
  const TempFolder folder;
  const int descriptor = ::open((folder.path() / "out").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_GE(descriptor, 0);
  ASSERT_EQ(::write(descriptor, "before ", 7), 7);
  fs::create_symlink("/proc/self/fd/" + std::to_string(descriptor), folder.path() / "stdout");
  replace_file(folder.path() / "stdout", "middle");
  replace_file("/dev/fd/" + std::to_string(descriptor), " more");
  ASSERT_EQ(::write(descriptor, " after", 6), 6);
  ::close(descriptor);
  EXPECT_EQ(read_bytes(folder.path() / "out"), "before middle more after");
  EXPECT_TRUE(fs::is_symlink(folder.path() / "stdout"));
}

TEST(AtomicFile, KnowsADescriptorHoweverItIsSpelled) {
  const TempFolder folder;
  const fs::path out = folder.path() / "out";
  const int descriptor = ::open(out.c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_GE(descriptor, 0);
  const std::string number = std::to_string(descriptor);
  const std::string process = std::to_string(::getpid());
  std::string expected;
  for (const std::string& name :
       {std::string("/proc/thread-self/fd/"), std::string("//dev/fd/"), std::string("/dev//fd/"),
        std::string("/proc//self/fd/"), std::string("/proc/self/../self/fd/"), "/proc/" + process + "/fd/",
        "/proc/self/task/" + process + "/fd/", std::string("/dev/fd/./")}) {
    ASSERT_EQ(::write(descriptor, "<", 1), 1);
    replace_file(name + number, name);
    expected += "<" + name;
    EXPECT_EQ(read_bytes(out), expected);
  }
  ::close(descriptor);
}

TEST(AtomicFile, TheOpenFileOfAnotherProcessIsNotReplaced) {
  const TempFolder folder;
  const fs::path out = folder.path() / "out";
  const int descriptor = ::open(out.c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::write(descriptor, "log", 3), 3);
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      replace_file("/proc/" + std::to_string(::getppid()) + "/fd/" + std::to_string(descriptor), "x");
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::io ? 0 : 1);
    }
    ::_exit(2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_bytes(out), "log");
  ::close(descriptor);
}

TEST(AtomicFile, SaysThatItNeedsAFolderForTemporaries) {
  const char* const before = ::getenv("TMPDIR");
  const std::string saved = before != nullptr ? before : "";
  ::setenv("TMPDIR", "/nonexistent", 1);
  expect_error(ErrorCode::io, {"temporary", "TMPDIR"}, [] { replace_file("/dev/null", "x"); });
  ::unsetenv("TMPDIR");
  if (before != nullptr) ::setenv("TMPDIR", saved.c_str(), 1);
}

/// What a signal handler would do, in a process of its own.
TEST(SignalRemoval, TakesWhatIsRegisteredAndNothingElse) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    write_bytes(folder.path() / "old", "old");
    AtomicFile half(folder.path() / "half");
    half.write("half");
    AtomicFile whole(folder.path() / "whole");
    whole.write("whole");
    whole.commit();
    { const AtomicFile given_up(folder.path() / "given up"); }
    const fs::path staging = folder.path() / "staging";
    fs::create_directory(staging);
    for (int i = 0; i < 300; ++i) write_bytes(staging / ("part" + std::to_string(i)), "x");
    SignalRemoval removal;
    removal.folder(staging, [](std::string_view name) noexcept { return name.starts_with("part"); });
    const fs::path kept = folder.path() / "kept";
    fs::create_directory(kept);
    write_bytes(kept / "part", "x");
    write_bytes(kept / "mine", "x");
    SignalRemoval second;
    second.folder(kept, [](std::string_view name) noexcept { return name == "part"; });
    SignalRemoval released;
    released.file(folder.path() / "old");
    released.release();
    remove_registered_names();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(names_in(folder.path()), (Names{"kept", "old", "whole"}));
  EXPECT_EQ(names_in(folder.path() / "kept"), Names{"mine"});
}

TEST(RequireNoInput, KnowsAFileByAllItsNames) {
  const TempFolder folder;
  const fs::path in = folder.path() / "in";
  const fs::path model = folder.path() / "model";
  fs::create_directory(model);
  write_bytes(in, "text");
  write_bytes(model / "config.json", "{}");
  fs::create_symlink("in", folder.path() / "link");
  fs::create_hard_link(in, folder.path() / "hard");
  fs::create_symlink("../in", model / "linked.json");
  const std::vector<std::string> inputs = {in.string(), model.string(), (folder.path() / "absent").string(), ""};
  for (const char* name : {"in", "link", "hard", "./in", "model/config.json", "model/linked.json"}) {
    expect_error(ErrorCode::invalid_argument, {name, "overwrite"},
                 [&] { require_no_input((folder.path() / name).string(), inputs); });
  }
  require_no_input((folder.path() / "out").string(), inputs);
  require_no_input((model / "picture.svg").string(), inputs);
  require_no_input("/dev/stdout", inputs);
  require_no_input("/dev/null", {"/dev/null"});
}

TEST(AtomicFile, NamesPathAndReason) {
  const TempFolder folder;
  expect_error(ErrorCode::io, {"none/f", "No such file"}, [&] { replace_file(folder.path() / "none/f", "x"); });
  expect_error(ErrorCode::io, {folder.path().string(), "directory"}, [&] { replace_file(folder.path(), "x"); });
  if (::geteuid() == 0) return;  // root may write anywhere
  write_bytes(folder.path() / "kept", "x");
  ::chmod((folder.path() / "kept").c_str(), 0444);
  expect_error(ErrorCode::io, {"kept", "denied"}, [&] { replace_file(folder.path() / "kept", "y"); });
}

TEST(AtomicFile, AFullDiskLeavesTheOldFile) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  write_bytes(path, "old");
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_DFL);  // would end the process
  const rlimit small{4096, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::optional<std::string> what;
  try {
    replace_file(path, std::string(10'000, 'x'));
  } catch (const Error& error) {
    what = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  ASSERT_TRUE(what);
  EXPECT_NE(what->find(path.string()), std::string::npos) << *what;
  EXPECT_NE(what->find("ulimit -f"), std::string::npos) << *what;
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

TEST(AtomicFile, WritersAtTheSameTimeLeaveOneWholeFile) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    writers.emplace_back([&path, letter] {
      for (int i = 0; i < 25; ++i) replace_file(path, std::string(10'000, letter));
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string text = read_bytes(path);
  ASSERT_EQ(text.size(), 10'000U);
  EXPECT_EQ(text, std::string(10'000, text[0]));
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

TEST(AtomicFile, RemovesWhatADeadWriterHasLeft) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AtomicFile file(path);
    file.write("half");
    ::raise(SIGKILL);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_EQ(names_in(folder.path()).size(), 1U);  // the temporary
  replace_file(path, "whole");
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

TEST(AtomicFile, LeavesTheTemporariesOfTheLivingAndOfOthers) {
  const TempFolder folder;
  const auto in = [&](const char* name) { return folder.path() / name; };
  AtomicFile alive(in("f"));
  for (const char* name : {".g.0123456789abcdef.tmp", ".f.0123456789abcde.tmp", ".f.0123456789abcdeX.tmp", ".f.tmp",
                           "f.0123456789abcdef.tmp", ".f.0123456789abcdef.tmp.old"}) {
    write_bytes(in(name), "x");
  }
  ASSERT_EQ(::mkfifo(in(".f.0000000000000001.tmp").c_str(), 0600), 0);
  fs::create_symlink("f", in(".f.0000000000000002.tmp"));  // just made
  const Names before = names_in(folder.path());
  replace_file(in("f"), "x");
  Names after = before;
  after.emplace_back("f");
  std::ranges::sort(after);
  EXPECT_EQ(names_in(folder.path()), after);
  alive.write("y");
  alive.commit();
  EXPECT_EQ(read_bytes(in("f")), "y");

  write_bytes(in(".a.lock.0123456789abcdef.tmp"), "x");  // any NAME
  remove_leftovers(folder.path(), [](std::string_view name) { return name.ends_with(".lock"); });
  EXPECT_FALSE(fs::exists(in(".a.lock.0123456789abcdef.tmp")));
  EXPECT_TRUE(fs::exists(in(".g.0123456789abcdef.tmp")));
}

TEST(AtomicFile, NoWriterLosesItsFileToWhoLooksForLeftovers) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  std::atomic<bool> over = false;
  std::thread cleaner([&] {
    while (!over) remove_leftovers_of(path);
  });
  for (int i = 0; i < 60; ++i) EXPECT_NO_THROW(replace_file(path, std::to_string(i)));
  over = true;
  cleaner.join();
  EXPECT_EQ(names_in(folder.path()), Names{"f"});
}

}  // namespace
}  // namespace prosa
