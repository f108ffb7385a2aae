// Resident memory of this process, and sizes of the cpu backend's buffers.
#include "tools/process_memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "backend/cpu/packed.h"
#include "model/for_each_matrix.h"
#include "prosa/error.h"
#include "tokenizer/tokenizer.h"

namespace prosa::tools {
namespace {

/// A field of /proc/self/status in bytes; 0 where there is none.
int64_t status_bytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return 1024 * std::stoll(line.substr(field.size()));
  }
  return 0;
}

/// What a process has beyond this one once a model runs in it: code and libraries' data that are touched only then,
/// stacks of threads, pieces of the heap between others. Measured (docs/guide/memory.md), 5 to 9 MiB.
constexpr int64_t kTouchedLater = int64_t{7} << 20;

/// From now on VmHWM counts the most that follows. Where the kernel does not let it, the peak is that of all so far.
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace

ProcessMemory measure_process(const std::filesystem::path& folder) {
  ProcessMemory memory;
  const int64_t now = status_bytes("VmRSS:");
  memory.program = now + kTouchedLater;
  forget_peak();
  try {
    const Tokenizer tokenizer = Tokenizer::load(folder);
    memory.tokenizer_peak = std::max<int64_t>(status_bytes("VmHWM:") - now, 0);
    memory.tokenizer = std::max<int64_t>(status_bytes("VmRSS:") - now, 0);
  } catch (const Error&) {  // whoever needs one says what is wrong with it
  }
  malloc_trim(0);
  return memory;
}

void add_weights(const Weights& weights, ProcessMemory& memory) {
  memory.weights = weights.vector_bytes;
  for_each_matrix(
      weights, [&](const MatrixPlace&, const Matrix& matrix) { memory.weights += backend::cpu::packed_bytes(matrix); });
  const ModelConfig& config = weights.config;
  const int64_t mixer =
      std::max(config.conv_dim() + 2 * config.linear_num_value_heads, 2 * config.query_dim() + 2 * config.kv_dim());
  const int64_t inner = std::max(mixer, 2 * config.intermediate_size);
  const int64_t inputs = config.hidden_size + config.intermediate_size;  // integers in two planes
  const int64_t floats = config.hidden_size + 2 * config.value_dim() + config.rotary_dim + inner;
  memory.scratch = backend::CpuOptions{}.pass_rows * (4 * floats + 2 * inputs);
}

int64_t ProcessMemory::total(const StepSizes& sizes, int64_t tokens) const {
  return program + tokenizer + weights + scratch + sizes.state_bytes + tokens * sizes.kv_bytes_per_token;
}

int64_t ProcessMemory::peak_loading() const {
  // The file's pages of one part stay until that part is packed.
  constexpr int64_t kPart = int64_t{16} << 20;
  return program + weights + scratch + std::max(std::min(kPart, weights / 8), tokenizer_peak);
}

}  // namespace prosa::tools
