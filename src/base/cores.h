// How many threads of work this process may run at once: its cores, and what a container grants it of them.
//
// Not a thread pool. Linux: affinity, the siblings of a core, and the CPU quota of the control groups (cgroup v1 and
// v2) that the process is in, whose smallest counts. Pure but for reading those files.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

namespace prosa {

/// Cores, not hyper-threads, that this process may use, and no more than its CPU quota (at least 1).
int physical_cores();
/// The same with hyper-threads.
int usable_cpus();

/// The CPUs that a quota grants, rounded up: the smallest on the way from the process's control group to the root of
/// each hierarchy. `root` stands for "/", where proc/self/cgroup and sys/fs/cgroup are looked for. Empty: no quota.
std::optional<int> cgroup_cpus(const std::filesystem::path& root = "/");

/// CPUs of a line of cpu.max ("150000 100000" -> 2; "max 100000" -> empty), or of a quota and a period.
std::optional<int> cpus_of_quota(std::string_view cpu_max);

}  // namespace prosa
