// Which kernels this processor can run, and the choice among them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "prosa/error.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace prosa::backend {
namespace cpu {
namespace {

bool processor_has_avx2() {
#if defined(__x86_64__)
  // clang++ 14 knows no "f16c" to ask for. That the system keeps the registers goes with AVX2.
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool processor_has_avx512vnni() {
#if defined(__x86_64__)
  return processor_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

// The tile unit's registers are 8 KiB a thread: Linux wants to be asked before it makes room for them.
bool processor_has_amx() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool granted = [] {
    constexpr unsigned int kTile = 1U << 24U;
    constexpr unsigned int kInt8 = 1U << 25U;
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, Linux 5.16
    constexpr long kTileData = 18;               // XFEATURE_XTILE_DATA
    unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kTile) == 0 || (edx & kInt8) == 0) return false;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return granted && processor_has_avx512vnni() && __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

bool processor_has_dotprod() {
#if defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

bool processor_has_i8mm() {
#if defined(__aarch64__) && defined(__linux__)
  return processor_has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#else
  return false;
#endif
}

// Best first.
std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> tables;
  if (processor_has_amx()) tables.push_back(amx_kernels());
  if (processor_has_avx512vnni()) tables.push_back(avx512_kernels());
  if (processor_has_avx2()) tables.push_back(avx2_kernels());
  if (processor_has_i8mm()) tables.push_back(i8mm_kernels());
  if (processor_has_dotprod()) tables.push_back(neon_kernels());
  tables.push_back(portable_kernels());
  return tables;
}

}  // namespace

const Kernels& choose_kernels(std::string_view isa) {
  const std::vector<const Kernels*> tables = available_kernels();
  if (isa.empty()) return *tables.front();
  for (const Kernels* table : tables) {
    if (table->isa == isa) return *table;
  }
  throw Error(ErrorCode::unsupported, fmt::format("this machine can't run the ISA \"{}\"", isa), "isa",
              fmt::format("choose one of: {}", fmt::join(available_isas(), ", ")));
}

}  // namespace cpu

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const cpu::Kernels* table : cpu::available_kernels()) names.emplace_back(table->isa);
  return names;
}

}  // namespace prosa::backend
