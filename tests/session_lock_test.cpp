// Who may use a session file: the lock beside it, in this process and against others, and what the public API makes
// of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/lock_beside.h"
#include "prosa/chat.h"
#include "test_files.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::write_bytes;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& item : fs::directory_iterator(folder)) names.push_back(item.path().filename().string());
  std::ranges::sort(names);
  return names;
}

using Names = std::vector<std::string>;

TEST(SessionLock, KeepsOthersOutAndGoesWithoutATrace) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  {
    SessionLock lock(path);
    EXPECT_EQ(lock.path(), path);
    expect_error(ErrorCode::busy, {path, "process " + std::to_string(::getpid()), "read_only"},
                 [&] { SessionLock second(path); });
    const SessionLock moved(std::move(lock));
    expect_error(ErrorCode::busy, {path}, [&] { SessionLock second(path); });
    expect_error(ErrorCode::invalid_argument, {"moved"}, [&] { static_cast<void>(lock.path()); });
    const SessionLock other(path + "2");
  }
  EXPECT_EQ(names_in(folder.path()), Names{});
  const SessionLock again(path);
}

TEST(SessionLock, LinksToOneFileShareOneLock) {
  const TempFolder folder;
  fs::create_symlink("talk", folder.path() / "link");
  const SessionLock lock((folder.path() / "talk").string());
  expect_error(ErrorCode::busy, {"link"}, [&] { SessionLock second((folder.path() / "link").string()); });
}

TEST(SessionLock, LongNamesHaveLocksOfTheirOwn) {
  const TempFolder folder;
  const std::string name = (folder.path() / std::string(254, 'x')).string();
  const SessionLock first(name + "a");
  const SessionLock second(name + "b");
  expect_error(ErrorCode::busy, {}, [&] { SessionLock third(name + "a"); });
}

TEST(SessionLock, GoesWithAProcessThatIsKilled) {
  const TempFolder folder;
  const fs::path path = folder.path() / "talk";
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const LockBeside lock(path, LockFor::keeping);
    static_cast<void>(!::write(ready[1], "!", 1));
    ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  expect_error(ErrorCode::busy, {"process " + std::to_string(child)}, [&] { SessionLock lock(path.string()); });
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  { const SessionLock lock(path.string()); }  // over what it has left
  EXPECT_EQ(names_in(folder.path()), Names{});
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(SessionLock, CallsWaitForEachOther) {
  const TempFolder folder;
  const fs::path path = folder.path() / "talk";
  std::atomic<int> inside = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 8; ++i) {
        const LockBeside lock(path, i % 2 == 0 ? LockFor::writing : LockFor::reading);
        EXPECT_EQ(++inside, 1);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(names_in(folder.path()), Names{});
}

TEST(SessionLock, NothingPlantedUnderItsNameIsWrittenTo) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  const fs::path planted = folder.path() / ".talk.lock";
  write_bytes(folder.path() / "precious", "precious");
  fs::create_symlink("precious", planted);
  expect_error(ErrorCode::io, {path}, [&] { SessionLock lock(path); });
  fs::remove(planted);
  fs::create_hard_link(folder.path() / "precious", planted);
  expect_error(ErrorCode::io, {planted.string(), "remove it"}, [&] { SessionLock lock(path); });
  EXPECT_EQ(test::read_bytes(folder.path() / "precious"), "precious");
  fs::remove(planted);
  ASSERT_EQ(::mkfifo(planted.c_str(), 0600), 0);
  expect_error(ErrorCode::io, {planted.string()}, [&] { SessionLock lock(path); });
  fs::remove(planted);
  fs::create_directory(planted);
  expect_error(ErrorCode::io, {path}, [&] { SessionLock lock(path); });
  const LockBeside reading(path, LockFor::reading);  // goes without
}

TEST(SessionLock, AFileOfTheUsersOwnUnderItsNameIsKept) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  const fs::path own = folder.path() / ".talk.lock";
  for (const std::string text : {"mine", "12", "kept\n", " kept\n", "12 kept", "12 kept\nmore", "x12 call\n"}) {
    write_bytes(own, text);
    expect_error(ErrorCode::io, {own.string(), "remove it"}, [&] { SessionLock lock(path); });
    { const LockBeside reading(path, LockFor::reading); }  // goes without
    EXPECT_EQ(test::read_bytes(own), text);
  }
  for (const std::string text : {"", "12 kept\n", "3456789 call\n"}) {  // what a process that was killed leaves
    write_bytes(own, text);
    { const SessionLock lock(path); }
    EXPECT_FALSE(fs::exists(own)) << text;
  }
}

TEST(SessionLock, OneThatHasLostItsNameBindsNobody) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  const fs::path lock_file = folder.path() / ".talk.lock";
  {
    const SessionLock first(path);
    first.require_held();
    fs::remove(lock_file);
    expect_error(ErrorCode::busy, {path, "no longer", "another file"}, [&] { first.require_held(); });
    const SessionLock second(path);
    second.require_held();
    expect_error(ErrorCode::busy, {path}, [&] { first.require_held(); });
  }  // the second goes first
  auto first = std::make_unique<SessionLock>(path);
  fs::remove(lock_file);
  const SessionLock second(path);
  first.reset();
  EXPECT_TRUE(fs::exists(lock_file)) << "one that was lost has removed another's";
  second.require_held();
}

TEST(SessionLock, AFolderOrALinkThatIsExchangedTakesItAway) {
  const TempFolder folder;
  fs::create_directory(folder.path() / "d");
  const SessionLock in_folder((folder.path() / "d/talk").string());
  fs::rename(folder.path() / "d", folder.path() / "d.bak");
  fs::create_directory(folder.path() / "d");
  expect_error(ErrorCode::busy, {"d/talk"}, [&] { in_folder.require_held(); });
  fs::create_symlink("one", folder.path() / "link");
  const SessionLock by_link((folder.path() / "link").string());
  by_link.require_held();
  fs::remove(folder.path() / "link");
  fs::create_symlink("two", folder.path() / "link");
  expect_error(ErrorCode::busy, {"link"}, [&] { by_link.require_held(); });
}

/// In a process of its own, as a user who is not root.
int exit_code_as_nobody(const std::function<bool()>& works) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(77);
    ::_exit(works() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(SessionLock, WhatCannotBeSavedToIsSaidAtOnce) {
  const TempFolder folder;
  ::chmod(folder.path().c_str(), 0777);
  const std::string path = (folder.path() / "talk").string();
  write_bytes(path, "a session");
  ::chmod(path.c_str(), 0444);
  const auto refuses = [&] {
    try {
      const SessionLock lock(path);
    } catch (const Error& error) {
      return error.code() == ErrorCode::io && error.where() == path;
    }
    return false;
  };
  const int code = exit_code_as_nobody(refuses);
  if (code == 77) GTEST_SKIP() << "no other user to be";
  EXPECT_EQ(code, 0);
}

/// As containers are given a single file.
TEST(SessionLock, AFileThatIsAMountOfItsOwnIsRefusedAtOnce) {
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  write_bytes(path, "a session");
  write_bytes(folder.path() / "real", "a session");
  if (::mount((folder.path() / "real").c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "may not mount";
  }
  expect_error(ErrorCode::io, {path, "mount"}, [&] { SessionLock lock(path); });
  ::umount(path.c_str());
}

TEST(SessionLock, WhatIsNoFileNeedsNone) {
  const LockBeside null("/dev/null", LockFor::keeping);
  const LockBeside output("/dev/stdout", LockFor::keeping);
  EXPECT_FALSE(fs::exists("/dev/.null.lock"));
}

/// A chat on the tiny model with something said, and a second one.
class LockedChat : public testing::Test {
 protected:
  static Chat load() {
    LoadOptions options;
    options.threads = 1;
    return Chat::from_pretrained(PROSA_TINY_CHAT, options);
  }
  const TempFolder folder;
  const std::string path = (folder.path() / "talk").string();
  const std::vector<Message> talk{{Role::user, "hello"}, {Role::assistant, "hi"}};
  Chat first = load();
  Chat second{first.model()};
};

TEST_F(LockedChat, SavesAndLoadsThroughItsLockAndKeepsOthersOut) {
  first.save_session(path, talk);
  EXPECT_EQ(second.load_session(path).size(), 2U);
  const SessionLock lock(path);
  expect_error(ErrorCode::busy, {path, "process"}, [&] { second.save_session(path, talk); });
  expect_error(ErrorCode::busy, {path}, [&] { second.load_session(path); });
  expect_error(ErrorCode::busy, {path}, [&] { second.unload(Unload::park, path); });
  EXPECT_TRUE(second.is_loaded());
  EXPECT_EQ(second.load_session(path, SessionAccess::read_only).size(), 2U);
  std::vector<Message> longer = first.load_session(lock);
  longer.push_back({Role::user, "more"});
  first.save_session(lock, longer);
  EXPECT_EQ(second.load_session(path, SessionAccess::read_only).size(), 3U);
  EXPECT_EQ(names_in(folder.path()), (Names{".talk.lock", "talk"}));
}

TEST_F(LockedChat, SavesNothingUnderALockThatWasLost) {
  first.save_session(path, talk);
  const SessionLock lock(path);
  fs::remove(folder.path() / ".talk.lock");
  std::vector<Message> longer = talk;
  longer.push_back({Role::user, "of another process"});
  second.save_session(path, longer);
  expect_error(ErrorCode::busy, {path, "no longer"}, [&] { first.save_session(lock, talk); });
  EXPECT_EQ(second.load_session(path).size(), 3U);
  Session tokens(first.model());
  tokens.sync(std::vector<int32_t>{1, 2, 3});
  expect_error(ErrorCode::busy, {path}, [&] { tokens.save(lock); });
}

TEST_F(LockedChat, ASessionOfTokensDoesTheSame) {
  Session one(first.model());
  Session two(first.model());
  one.sync(std::vector<int32_t>{1, 2, 3});
  const SessionLock lock(path);
  expect_error(ErrorCode::busy, {path}, [&] { one.save(path); });
  one.save(lock);
  expect_error(ErrorCode::busy, {path}, [&] { two.load(path); });
  two.load(path, SessionAccess::read_only);
  EXPECT_EQ(two.position(), 3);
  two.reset();
  two.load(lock);
  EXPECT_EQ(two.position(), 3);
}

TEST_F(LockedChat, ReadsFromAFolderThatIsNotItsOwn) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  first.save_session(path, talk);
  ::chmod(folder.path().c_str(), 0555);
  EXPECT_EQ(second.load_session(path).size(), 2U);
  expect_error(ErrorCode::io, {path}, [&] { second.save_session(path, talk); });
  ::chmod(folder.path().c_str(), 0755);
}

}  // namespace
}  // namespace prosa
