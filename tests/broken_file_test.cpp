// Files that another program cuts off while they are mapped: whoever reads them ends in an Error that names the file,
// and a bus error that is none of ours goes where it always went.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "base/mmap.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/compare.h"
#include "checkpoint/convert.h"
#include "checkpoint/convert_rules.h"
#include "fake_backend.h"
#include "prosa/model.h"
#include "prosa/session.h"
#include "runtime/session_file.h"
#include "test_files.h"

namespace prosa {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::write_bytes;

constexpr size_t kPage = 4096;

/// Reads every byte, also where nobody looks at the sum.
uint64_t sum_of(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte& byte : bytes) sum += static_cast<uint64_t>(*static_cast<const volatile std::byte*>(&byte));
  return sum;
}

TEST(BrokenFile, ReadsAsZerosFromTheCutOnAndSaysSo) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  write_bytes(path, std::string(100 * kPage, '\1'));
  const MappedFile file = MappedFile::open(path);
  EXPECT_EQ(sum_of(file.bytes()), 100 * kPage);  // all of it was in memory
  EXPECT_NO_THROW(file.require_intact());
  fs::resize_file(path, 10 * kPage);
  EXPECT_EQ(sum_of(file.bytes()), 10 * kPage);
  expect_error(ErrorCode::io, {path.string(), "cut off"}, [&] { file.require_intact(); });
  write_bytes(path, std::string(100 * kPage, '\1'));  // what was missed stays missed
  expect_error(ErrorCode::io, {path.string()}, [&] { file.require_intact(); });
}

TEST(BrokenFile, ACutWithinTheLastPageIsSeen) {
  const TempFolder folder;
  write_bytes(folder.path() / "f", std::string(1000, '\1'));
  const MappedFile file = MappedFile::open(folder.path() / "f");
  fs::resize_file(folder.path() / "f", 999);
  EXPECT_EQ(sum_of(file.bytes()), 999U);  // without any signal
  expect_error(ErrorCode::io, {"cut off"}, [&] { file.require_intact(); });
}

TEST(BrokenFile, AFileThatIsReplacedOrRemovedIsStillWhole) {
  const TempFolder folder;
  const fs::path path = folder.path() / "f";
  write_bytes(path, std::string(3 * kPage, '\1'));
  const MappedFile file = MappedFile::open(path);
  write_bytes(folder.path() / "new", "short");
  fs::rename(folder.path() / "new", path);
  fs::remove(path);
  EXPECT_EQ(sum_of(file.bytes()), 3 * kPage);
  EXPECT_NO_THROW(file.require_intact());
}

TEST(BrokenFile, MapsThatComeAndGoOnOtherThreadsDisturbNothing) {
  const TempFolder folder;
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, path = folder.path() / std::to_string(t)] {
      write_bytes(path, std::string(20 * kPage, '\1'));
      while (!over) MappedFile(MappedFile::open(path)).require_intact();
    });
  }
  for (int i = 0; i < 100; ++i) {
    const fs::path path = folder.path() / "cut";
    write_bytes(path, std::string(20 * kPage, '\1'));
    const MappedFile file = MappedFile::open(path);
    fs::resize_file(path, kPage);
    EXPECT_EQ(sum_of(file.bytes()), kPage);
    expect_error(ErrorCode::io, {"cut off"}, [&] { file.require_intact(); });
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
}

/// What becomes of a process that has a map of ours and runs `action`: its exit code, or 128 + a signal.
int outcome_of(const std::function<void(const fs::path& folder)>& action) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    action(folder.path());
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// A map that prosa does not know, cut off.
const std::byte* foreign_map(const fs::path& path) {
  write_bytes(path, std::string(2 * kPage, '\1'));
  const int file = ::open(path.c_str(), O_RDONLY);
  const void* map = ::mmap(nullptr, 2 * kPage, PROT_READ, MAP_PRIVATE, file, 0);
  fs::resize_file(path, 0);
  return static_cast<const std::byte*>(map);
}

MappedFile our_map(const fs::path& path) {
  write_bytes(path, "x");
  return MappedFile::open(path);
}

constexpr int kSeenByTheApplication = 42;

TEST(BrokenFile, OtherBusErrorsEndTheProcessAsBefore) {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  GTEST_SKIP() << "a sanitizer's own handler exits with a report";
#endif
  EXPECT_EQ(outcome_of([](const fs::path& folder) {
              const MappedFile ours = our_map(folder / "ours");
              sum_of({foreign_map(folder / "theirs"), kPage});
            }),
            128 + SIGBUS);
  EXPECT_EQ(outcome_of([](const fs::path& folder) {
              const MappedFile ours = our_map(folder / "ours");
              ::raise(SIGBUS);  // an address is not its reason
            }),
            128 + SIGBUS);
}

/// These run in a process of their own that has no map yet: the first one installs the handler.
TEST(BrokenFile, OtherBusErrorsGoToTheHandlerThatWasThere) {
  const auto with_handler = [](bool with_info) {
    return outcome_of([with_info](const fs::path& folder) {
      struct sigaction action {};
      if (with_info) {
        action.sa_flags = SA_SIGINFO;
        action.sa_sigaction = [](int, siginfo_t* info, void*) {
          ::_exit(info->si_addr != nullptr ? kSeenByTheApplication : 1);
        };
      } else {
        action.sa_handler = [](int) { ::_exit(kSeenByTheApplication); };
      }
      ::sigaction(SIGBUS, &action, nullptr);
      const MappedFile ours = our_map(folder / "ours");
      fs::resize_file(folder / "ours", 0);
      if (sum_of(ours.bytes()) != 0) ::_exit(2);
      sum_of({foreign_map(folder / "theirs"), kPage});
    });
  };
  EXPECT_EQ(with_handler(true), kSeenByTheApplication);
  EXPECT_EQ(with_handler(false), kSeenByTheApplication);
}

TEST(BrokenFile, AHandlerThatIsInstalledLaterStays) {
  EXPECT_EQ(outcome_of([](const fs::path& folder) {
              const MappedFile first = our_map(folder / "first");
              ::signal(SIGBUS, [](int) { ::_exit(kSeenByTheApplication); });
              const MappedFile second = our_map(folder / "second");
              fs::resize_file(folder / "second", 0);
              sum_of(second.bytes());
            }),
            kSeenByTheApplication);
}

TEST(BrokenFile, ASessionFileThatIsCutOffBehindItsChecksumIsAnError) {
  const TempFolder folder;
  const fs::path path = folder.path() / "talk";
  test::FakeBackend backend(512);
  const auto state = backend.new_state(3000);
  const std::vector<int32_t> tokens(3000, 7);
  std::vector<backend::Segment> segments{{state.get(), tokens}};
  backend.run(segments);
  const auto snapshot = backend.snapshot(*state, backend::Place::host);
  const runtime::FileIdentity identity{1, "fake 1"};
  runtime::write_session_file(path, identity, {.tokens = tokens, .snapshot = *snapshot});
  EXPECT_EQ(runtime::read_session_file(path, identity, backend, 3000).tokens, tokens);
  backend.on_read_snapshot = [&] { fs::resize_file(path, kPage); };
  expect_error(ErrorCode::io, {path.string(), "cut off"},
               [&] { runtime::read_session_file(path, identity, backend, 3000); });
}

/// Files that claim much cost nothing to make: they are sparse. Nothing of them is read.
TEST(BrokenFile, ASessionFileOfAnySizeIsJudgedBeforeItIsRead) {
  const TempFolder folder;
  const fs::path path = folder.path() / "talk";
  test::FakeBackend backend(512);
  const auto state = backend.new_state(8);
  const std::vector<int32_t> tokens(8, 7);
  std::vector<backend::Segment> segments{{state.get(), tokens}};
  backend.run(segments);
  const auto snapshot = backend.snapshot(*state, backend::Place::host);
  const runtime::FileIdentity identity{1, "fake 1"};
  runtime::write_session_file(path, identity, {.tokens = tokens, .snapshot = *snapshot, .notes = {{"a", "b"}}});
  EXPECT_EQ(runtime::read_session_file(path, identity, backend, 8).notes.size(), 1U);
  expect_error(ErrorCode::context_exceeded, {"8 tokens", "holds 7"},
               [&] { runtime::read_session_file(path, identity, backend, 7); });

  const std::string whole = test::read_bytes(path);
  constexpr uint64_t kHuge = uint64_t{64} << 30;
  for (const std::string name : {"note.zz", "part.zz", "mark.0.zz", "logits", "marks", "zz"}) {
    uint64_t length = 0;
    std::memcpy(&length, whole.data(), sizeof length);
    auto header = nlohmann::json::parse(whole.substr(8, length));
    const uint64_t end = whole.size() - 8 - length;
    header[name] = {{"dtype", "U8"}, {"shape", {kHuge}}, {"data_offsets", {end, end + kHuge}}};
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    length = text.size();
    std::string file(8, '\0');
    std::memcpy(file.data(), &length, sizeof length);
    file += text + whole.substr(whole.size() - end);
    write_bytes(path, file);
    fs::resize_file(path, file.size() + kHuge);
    const auto start = std::chrono::steady_clock::now();
    expect_error(ErrorCode::bad_session, {path.string(), "holds " + name},
                 [&] { runtime::read_session_file(path, identity, backend, 8); });
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2)) << name;
  }
}

/// A copy of the tiny model, whose weights a test may cut off.
class BrokenModel : public testing::TestWithParam<const char*> {
 protected:
  BrokenModel() { fs::copy(PROSA_TINY_CHAT, model()); }
  [[nodiscard]] fs::path model() const { return folder_.path() / "model"; }
  [[nodiscard]] fs::path weights() const { return model() / "model.safetensors"; }
  void cut() const { fs::resize_file(weights(), fs::file_size(weights()) / 2); }
  TempFolder folder_;
};

TEST_P(BrokenModel, CutOffBeforeItIsPackedIsAnError) {
  const auto loaded = checkpoint::load_weights(model());
  cut();
  expect_error(ErrorCode::io, {weights().string(), "cut off"}, [&] {
    const auto backend = backend::make_backend(GetParam(), loaded, {});
    const auto state = backend->new_state(8);
    const std::vector<int32_t> tokens{1, 2, 3};
    std::vector<backend::Segment> segments{{state.get(), tokens}};
    backend->run(segments);
  });
}

TEST_P(BrokenModel, CutOffWhileItIsLoadedIsAnError) {
  LoadOptions options;
  options.backend = GetParam();
  options.threads = 2;
  bool done = false;
  options.progress = [&](double, std::string_view what) {
    if (done || what != "packing weights") return;
    cut();
    done = true;
  };
  expect_error(ErrorCode::io, {weights().string(), "cut off"}, [&] {
    const Model loaded = Model::from_pretrained(model().string(), options);
    Session session(loaded);
    session.sync(std::vector<int32_t>{1, 2, 3});
  });
}

INSTANTIATE_TEST_SUITE_P(Backends, BrokenModel, testing::Values("cpu", "reference"),
                         [](const auto& backend) { return std::string(backend.param); });

TEST_F(BrokenModel, TheReferenceThatReadsTheMapWhileItRunsSaysSo) {
  const auto backend = backend::make_backend("reference", checkpoint::load_weights(model()), {});
  const auto state = backend->new_state(8);
  const auto other = backend->new_state(8);
  const std::vector<int32_t> tokens{1, 2, 3};
  std::vector<backend::Segment> segments{{state.get(), tokens}};
  backend->run(segments);
  EXPECT_TRUE(state->valid());
  cut();
  expect_error(ErrorCode::io, {weights().string(), "cut off"}, [&] { backend->run(segments); });
  EXPECT_FALSE(state->valid());
  EXPECT_TRUE(other->valid());
}

TEST_F(BrokenModel, AConversionLeavesNothing) {
  checkpoint::ConvertOptions options;
  options.threads = 1;
  options.progress = [&, first = true](const auto&) mutable {
    if (first) cut();
    first = false;
  };
  const checkpoint::RulePlan plan(4, 32);
  expect_error(ErrorCode::io, {weights().string(), "cut off"},
               [&] { checkpoint::convert(model(), folder_.path() / "out", plan, options); });
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(BrokenModel, AComparisonSaysSo) {
  bool first = true;
  const auto cut_once = [&](double) {
    if (first) cut();
    first = false;
  };
  expect_error(ErrorCode::io, {weights().string(), "cut off"},
               [&] { checkpoint::compare_checkpoints(model(), PROSA_TINY_CHAT, 1, cut_once); });
}

}  // namespace
}  // namespace prosa
