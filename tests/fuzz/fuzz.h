// What the fuzzers share: cutting an input into parts, a folder for the files it becomes, and properties that end the
// run when they do not hold.
//
// Not a test framework: a fuzzer is one function that takes bytes. What may go wrong with bytes from outside ends in
// prosa::Error, so nothing else is caught here: any other exception ends the run too. Deterministic: the same bytes do
// the same thing, so that an input is a test.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/error.h"
#include "temp_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace prosa::fuzz {

/// A property that does not hold is a finding: the run ends, and what found it keeps the input.
inline void require(bool holds, const char* property, std::string_view detail = "") {
  if (holds) return;
  std::fprintf(stderr, "property broken: %s\n", property);
  std::fwrite(detail.data(), 1, detail.size(), stderr);
  std::abort();
}

/// The Error that `call` ends in; nothing when it returns. Every other exception is a finding. With FUZZ_SHOW in the
/// environment the errors are printed: whether an input gets as far as it was meant to.
template <typename Call>
std::optional<Error> error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    require(!error.message().empty(), "an error says what happened");
    static const bool show = std::getenv("FUZZ_SHOW") != nullptr;
    if (show) std::fprintf(stderr, "%s\n", error.what());
    return error;
  }
  return std::nullopt;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// An input's parts lie behind each other with a line "%%" between them, so that people can write and read one. Always
/// `count` parts: those that are missing are empty, and the last holds the rest.
inline std::vector<std::string_view> parts_of(std::string_view input, size_t count) {
  constexpr std::string_view kBetween = "\n%%\n";
  std::vector<std::string_view> parts;
  while (parts.size() + 1 < count) {
    const size_t end = input.find(kBetween);
    parts.push_back(input.substr(0, end));
    input = end == std::string_view::npos ? std::string_view() : input.substr(end + kBetween.size());
  }
  parts.push_back(input);
  return parts;
}

/// The folder of this run's files. One input's file is overwritten by the next one's.
inline const std::filesystem::path& folder() {
  static const TempFolder temporary;
  return temporary.path();
}

inline void write(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  require(file.good(), "the folder for temporary files takes a file", path.string());
}

/// Writes the file, or removes what an earlier input has left when there is nothing to write.
inline void write_or_remove(const std::filesystem::path& path, std::string_view bytes) {
  if (!bytes.empty()) return write(path, bytes);
  std::filesystem::remove(path);
}

/// Choices that follow from the input: splits, orders. Not random from one run to the next.
class Choices {
 public:
  explicit Choices(std::string_view seed) {
    for (const char c : seed) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  /// In [0, limit).
  size_t below(size_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<size_t>(state_ % limit);
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325U;
};

}  // namespace prosa::fuzz
