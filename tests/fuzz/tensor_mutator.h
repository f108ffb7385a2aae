// Mutations of a safetensors file that keep it one: a mutated header gets the length that the file states, so that
// fuzzing does not stop at the first eight bytes. Only in the fuzzers, not where a corpus is replayed.
#pragma once

#ifdef PROSA_FUZZING

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace prosa::fuzz {

/// Changes the header or the data, as `seed` has it; once in sixteen anything.
inline size_t mutate_tensors(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  uint64_t length = 0;
  if (size >= 8) std::memcpy(&length, data, 8);
  if (size < 8 || length > size - 8 || random() % 16 == 0) return LLVMFuzzerMutate(data, size, max_size);
  std::string header(reinterpret_cast<const char*>(data) + 8, length);
  std::string body(reinterpret_cast<const char*>(data) + 8 + length, size - 8 - length);
  std::string& part = !body.empty() && random() % 2 == 0 ? body : header;
  const size_t before = part.size();
  const size_t room = max_size - (size - before);
  part.resize(std::min(room, before + 256));
  if (part.size() < before || part.empty()) return LLVMFuzzerMutate(data, size, max_size);
  part.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(part.data()), before, part.size()));
  length = header.size();
  std::memcpy(data, &length, 8);
  std::memcpy(data + 8, header.data(), header.size());
  std::memcpy(data + 8 + header.size(), body.data(), body.size());
  return 8 + header.size() + body.size();
}

}  // namespace prosa::fuzz

#endif
