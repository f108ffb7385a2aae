// Threads and cores: what a container grants is found, and a thread that cannot be started is an error or done without.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <numeric>

#include "base/cores.h"
#include "base/parallel.h"
#include "base/thread_pool.h"
#include "prosa/error.h"
#include "temp_folder.h"

namespace prosa {
namespace {

class Cgroups : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((folder.path() / path).parent_path());
    std::ofstream(folder.path() / path) << text;
  }
  [[nodiscard]] std::optional<int> cpus() const { return cgroup_cpus(folder.path()); }
  const TempFolder folder;
};

TEST(Cores, AQuotaIsRoundedUpToWholeCpus) {
  EXPECT_EQ(cpus_of_quota("150000 100000"), 2);
  EXPECT_EQ(cpus_of_quota("200000 100000"), 2);
  EXPECT_EQ(cpus_of_quota("1 100000"), 1);
  EXPECT_EQ(cpus_of_quota("9223372036854775807 1"), 1 << 20);
  for (const char* none : {"max 100000", "", "max", "-1 100000", "100000 0", "100000", "1e5 100000", "5 5 5"})
    EXPECT_EQ(cpus_of_quota(none), std::nullopt) << none;
}

TEST(Cores, ThereIsAtLeastOne) {
  EXPECT_GE(physical_cores(), 1);
  EXPECT_GE(usable_cpus(), physical_cores());
}

TEST_F(Cgroups, NoneIsNoQuota) {
  EXPECT_EQ(cpus(), std::nullopt);
  write("proc/self/cgroup", "0::/user.slice\n");
  EXPECT_EQ(cpus(), std::nullopt);
}

TEST_F(Cgroups, OfVersionTwoTheSmallestOnTheWayCounts) {
  write("proc/self/cgroup", "0::/kube/pod/app\n");
  write("sys/fs/cgroup/kube/cpu.max", "800000 100000\n");
  EXPECT_EQ(cpus(), 8);
  write("sys/fs/cgroup/kube/pod/cpu.max", "250000 100000\n");
  EXPECT_EQ(cpus(), 3);
  write("sys/fs/cgroup/kube/pod/app/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus(), 3);
  write("sys/fs/cgroup/kube/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(cpus(), 3) << "another's";
}

TEST_F(Cgroups, AContainerWithAViewOfItsOwnSeesItsQuotaAtTheRoot) {
  write("proc/self/cgroup", "0::/../../outside\n");
  write("sys/fs/cgroup/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpus(), 4);
}

TEST_F(Cgroups, OfVersionOneTheCpuController) {
  write("proc/self/cgroup", "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:cpuset:/docker/abc\n0::/\n");
  write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus(), std::nullopt);
  write("sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "350000\n");
  EXPECT_EQ(cpus(), 4);
}

#if !defined(PROSA_ADDRESS_SANITIZER) && !defined(PROSA_THREAD_SANITIZER)

/// Leaves no room for the stack of another thread; for a process of its own.
void forbid_threads() {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  file >> pages;
  const rlimit limit{pages * 4096 + (2 << 20), RLIM_INFINITY};
  setrlimit(RLIMIT_AS, &limit);
}

/// Whether forbid_threads() has an effect: qemu's user mode takes the limit and ignores it.
bool threads_can_be_forbidden() {
  const pid_t child = fork();
  if (child == 0) {
    forbid_threads();
    void* stack = mmap(nullptr, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(stack == MAP_FAILED ? 42 : 0);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

TEST(Threads, APoolThatCannotStartSaysHowManyWereAskedFor) {
  if (!threads_can_be_forbidden()) GTEST_SKIP() << "a limit of the address space does not hold here";
  const auto start = [] {
    forbid_threads();
    try {
      const ThreadPool pool(64);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::out_of_memory && error.message().find("of 64 threads") != std::string::npos)
        std::exit(42);
    }
    std::exit(1);
  };
  EXPECT_EXIT(start(), testing::ExitedWithCode(42), "");
}

TEST(Threads, IndependentItemsGoOnWithThoseThatStarted) {
  if (!threads_can_be_forbidden()) GTEST_SKIP() << "a limit of the address space does not hold here";
  const auto work = [] {
    forbid_threads();
    std::atomic<int> done = 0;
    for_each_item(100, 64, [&](size_t, size_t) { ++done; });
    std::exit(done == 100 ? 42 : 1);
  };
  EXPECT_EXIT(work(), testing::ExitedWithCode(42), "");
}

#endif

}  // namespace
}  // namespace prosa
