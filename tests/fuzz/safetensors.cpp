// Input: a safetensors file. What is accepted lies inside the file and survives being written and read again.
#include "format/safetensors.h"

#include <algorithm>

#include "format/safetensors_writer.h"
#include "fuzz.h"
#include "tensor_mutator.h"

using namespace prosa;
using namespace prosa::fuzz;

#ifdef PROSA_FUZZING
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return mutate_tensors(data, size, max_size, seed);
}
#endif

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto path = folder() / "in.safetensors";
  const auto copy_path = folder() / "out.safetensors";
  write(path, text_of(data, size));
  error_of([&] {
    const auto file = format::SafetensorsFile::open(path);
    std::vector<format::TensorBytes> tensors;
    uint64_t bytes = 0;
    for (const format::TensorEntry& entry : file.entries()) {
      const auto content = file.data(entry);
      require(content.size() == entry.bytes, "a tensor has the bytes its entry says", entry.name);
      require(format::tensor_bytes(entry.shape, entry.type) == entry.bytes, "bytes are shape times type", entry.name);
      require(file.find(entry.name) == &entry, "a tensor is found by its name", entry.name);
      bytes += content.size();
      tensors.push_back({{entry.name, entry.type, entry.shape}, content});
    }
    require(bytes < size, "tensors lie inside the file");
    // Names and shapes that were accepted are accepted by the writer: no Error can come from here.
    const auto refused = error_of([&] { format::write_safetensors(copy_path, tensors, file.metadata()); });
    require(!refused, "what was read can be written", refused ? refused->what() : "");
    const auto copy = format::SafetensorsFile::open(copy_path);
    require(copy.metadata() == file.metadata(), "metadata survives");
    require(copy.entries().size() == file.entries().size(), "tensors survive");
    for (const format::TensorEntry& entry : file.entries()) {
      const format::TensorEntry* same = copy.find(entry.name);
      require(same != nullptr && same->type == entry.type && same->shape == entry.shape, "an entry survives",
              entry.name);
      require(std::ranges::equal(copy.data(*same), file.data(entry)), "data survive", entry.name);
    }
  });
  return 0;
}
