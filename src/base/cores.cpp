// The kernel's lists of siblings, and the files of control groups.
#include "base/cores.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <thread>

namespace prosa {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int> cpus_of(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // -1: none
  const int64_t cpus = *quota / *period + (*quota % *period != 0 ? 1 : 0);
  return static_cast<int>(std::clamp<int64_t>(cpus, 1, 1 << 20));
}

/// What a folder of a hierarchy grants.
std::optional<int> quota_of(const fs::path& folder, bool v2) {
  if (v2) return cpus_of_quota(first_line(folder / "cpu.max"));
  return cpus_of(number(first_line(folder / "cpu.cfs_quota_us")), number(first_line(folder / "cpu.cfs_period_us")));
}

/// The smallest quota of a group and those it lies in. `group` as in proc/self/cgroup: it may lie outside of what this
/// process sees, as in a container with a view of its own; the root that is seen counts all the same.
std::optional<int> smallest_quota(const fs::path& hierarchy, const fs::path& group, bool v2) {
  std::optional<int> least = quota_of(hierarchy, v2);
  fs::path folder = hierarchy;
  for (const fs::path& part : group.relative_path()) {
    if (part == "..") break;
    folder /= part;
    const std::optional<int> here = quota_of(folder, v2);
    if (here && (!least || *here < *least)) least = here;
  }
  return least;
}

/// Whether `controllers`, "cpu,cpuacct", names the one that has quotas.
bool has_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::optional<int> cpus_of_quota(std::string_view cpu_max) {
  const size_t space = cpu_max.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  return cpus_of(number(cpu_max.substr(0, space)), number(cpu_max.substr(space + 1)));
}

// Lines of proc/self/cgroup are "hierarchy:controllers:group"; that of cgroup v2 has number 0 and no controllers.
std::optional<int> cgroup_cpus(const fs::path& root) {
  constexpr int kMaxLines = 64;
  std::optional<int> least;
  std::ifstream file(root / "proc/self/cgroup");
  std::string line;
  for (int i = 0; i < kMaxLines && std::getline(file, line); ++i) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    const bool v2 = controllers.empty();
    if (!v2 && !has_cpu(controllers)) continue;
    const fs::path mounted = root / "sys/fs/cgroup";
    const std::optional<int> here = smallest_quota(v2 ? mounted : mounted / "cpu", group, v2);
    if (here && (!least || *here < *least)) least = here;
  }
  return least;
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return usable_cpus();
  std::set<std::string> found;  // siblings of one core share the list that the kernel prints for them
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string name = std::to_string(cpu);
    const std::string siblings = first_line("/sys/devices/system/cpu/cpu" + name + "/topology/thread_siblings_list");
    found.insert(siblings.empty() ? name : siblings);
  }
  const int cores = std::max(1, static_cast<int>(found.size()));
  return std::min(cores, cgroup_cpus().value_or(cores));
}

int usable_cpus() {
  const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::min(cpus, cgroup_cpus().value_or(cpus));
}

}  // namespace prosa
