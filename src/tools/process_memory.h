// The memory that a process with a model takes, as the kernel counts it: what inspect announces before anything is
// loaded.
//
// The parts that follow from the files are computed; what the program and the tokenizer take is measured on the process
// that asks, with an allowance for what is touched only once a model runs. Of the cpu backend, with one conversation;
// states that are kept to come back to (LoadOptions:: state_store_bytes) come on top.
#pragma once

#include <cstdint>
#include <filesystem>

#include "model/weights.h"
#include "tools/sizes.h"

namespace prosa::tools {

struct ProcessMemory {
  int64_t program = 0;         // the program itself with the libraries that it is linked with
  int64_t tokenizer = 0;       // 0: the folder has none that can be read
  int64_t tokenizer_peak = 0;  // while it is read
  int64_t weights = 0;         // packed
  int64_t scratch = 0;         // activations of a pass

  /// Resident, with a conversation that holds so many tokens.
  [[nodiscard]] int64_t total(const StepSizes& sizes, int64_t tokens) const;
  /// The most that is resident while the model is loaded.
  [[nodiscard]] int64_t peak_loading() const;
};

/// To be called before anything large is done: what the process then has counts as the program's.
ProcessMemory measure_process(const std::filesystem::path& folder);
/// Fills in what follows from the weights.
void add_weights(const Weights& weights, ProcessMemory& memory);

}  // namespace prosa::tools
