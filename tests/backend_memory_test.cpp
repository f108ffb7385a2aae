// Memory that runs out in a call of the cpu backend: the call is refused before it computes, nothing is touched, and
// the same call succeeds when there is more.
//
// Each test limits the address space of a process of its own, which has no other threads when it begins.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>

#include "backend_fixture.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

/// Until it is destroyed, at most so many bytes more than now.
class MemoryLimit {
 public:
  explicit MemoryLimit(int64_t headroom) {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + headroom);
    setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_AS, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_ = {};
};

/// An emulator may not care.
bool limits_bind() {
  const MemoryLimit limit(int64_t{1} << 20);
  void* const much = mmap(nullptr, size_t{256} << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (much == MAP_FAILED) return true;
  munmap(much, size_t{256} << 20);
  return false;
}

/// Its exit status; what fails in it is printed there.
template <typename Body>
int in_child(const Body& body) {
  std::cout << std::flush;
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    try {
      body();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    std::cout << std::flush;
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

/// Gives the call of `segments` a little more memory each time, until it is enough: how often it was not.
int run_with_growing_memory(Backend& backend, std::vector<Segment>& segments) {
  constexpr int64_t kStep = 96 << 10;
  for (int refused = 0; refused < 500; ++refused) {
    std::vector<Standing> before;
    for (const Segment& each : segments) before.push_back(standing(backend, *each.state));
    std::optional<ErrorCode> code;
    {
      const MemoryLimit limit(refused * kStep);
      code = error_code([&] { backend.run(segments); });
    }
    if (!code) return refused;
    EXPECT_EQ(code, ErrorCode::out_of_memory);
    for (size_t i = 0; i < segments.size(); ++i)
      EXPECT_EQ(standing(backend, *segments[i].state), before[i]) << "segment " << i << ", try " << refused;
  }
  ADD_FAILURE() << "there is never enough";
  return 0;
}

TEST_P(BackendTest, MemoryThatRunsOutTouchesNothing) {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  if (is_reference()) GTEST_SKIP() << "takes what a state needs when it is made";
  (void)load_model("tiny-mlx-4bit");
  int status = in_child([] { _exit(limits_bind() ? 0 : 1); });
  if (status != 0) GTEST_SKIP() << "limits of memory do not bind here";
  status = in_child([&] {
    // Workers enough that attention's spans are pieces of work, whose results are kept; several passes.
    const auto backend = make("tiny-mlx-4bit", 7, 64);
    const Ids ids = random_ids(backend->config(), 1000, 81);
    const auto deep = backend->new_state(2000), guess = backend->new_state(2000), alone = backend->new_state(2000);
    (void)prefill(*backend, *deep, first(ids, 530), Rows::last);
    const auto snapshot = backend->snapshot(*deep);
    backend->restore(*alone, *snapshot);
    const Logits long_rows = prefill(*backend, *alone, first(ids, 600));
    const StateBytes long_bytes = bytes_of(*backend, *alone);
    backend->restore(*alone, *snapshot);
    run_one(*backend, *alone, std::span(ids).first(32), Rows::all, true);
    const Logits guess_rows = rows_of(*backend, *alone);
    backend->restore(*guess, *snapshot);
    backend->set_row(*guess, last_row(*backend, long_rows));

    std::vector<Segment> segments = {segment(*guess, std::span(ids).first(32), Rows::all, true),
                                     segment(*deep, std::span(ids).first(600))};
    const int refused = run_with_growing_memory(*backend, segments);
    EXPECT_GE(refused, 5) << "memory ran out in more places than one";
    std::cout << "  refused " << refused << " times\n";
    EXPECT_EQ(rows_of(*backend, *guess), guess_rows);
    EXPECT_EQ(guess->pending(), 32);
    EXPECT_EQ(rows_of(*backend, *deep), long_rows);
    EXPECT_TRUE(bytes_of(*backend, *deep) == long_bytes);
  });
  EXPECT_EQ(status, 0);
}

TEST_P(BackendTest, StatesThatDoNotFitAreRefused) {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  (void)load_model("tiny-mlx-4bit");
  int status = in_child([] { _exit(limits_bind() ? 0 : 1); });
  if (status != 0) GTEST_SKIP() << "limits of memory do not bind here";
  status = in_child([&] {
    const auto backend = make("tiny-mlx-4bit", 1, 64);
    std::vector<std::unique_ptr<State>> states;
    std::optional<ErrorCode> code;
    {
      const MemoryLimit limit(int64_t{4} << 20);
      for (int i = 0; i < 200 && !code; ++i) {
        code = error_code([&] { states.push_back(backend->new_state(20'000)); });
        if (!code) code = error_code([&] { run_one(*backend, *states.back(), Ids(40, 1), Rows::none); });
      }
    }
    EXPECT_EQ(code, ErrorCode::out_of_memory);
    states.clear();
    EXPECT_EQ(prefill(*backend, *backend->new_state(100), Ids(3, 1)).size(),
              static_cast<size_t>(3 * backend->config().vocab_size));
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace prosa::test
