// The fuzzers without their fuzzing: replay NAME PATH… gives files, and the files of folders, to the fuzzer NAME, one
// after the other. It lets every compiler and every sanitizer run a corpus as an ordinary test.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

// The build names each fuzzer's function after the fuzzer and lists them here.
#define FUZZER(name) extern "C" int fuzz_##name(const uint8_t* data, size_t size);
PROSA_FUZZERS
#undef FUZZER

namespace {

using Fuzzer = int (*)(const uint8_t*, size_t);

Fuzzer fuzzer_of(std::string_view name) {
#define FUZZER(each) \
  if (name == #each) return fuzz_##each;
  PROSA_FUZZERS
#undef FUZZER
  return nullptr;
}

}  // namespace

int main(int count, char** arguments) {
  namespace fs = std::filesystem;
  const Fuzzer fuzzer = count > 1 ? fuzzer_of(arguments[1]) : nullptr;
  if (fuzzer == nullptr) return std::fprintf(stderr, "usage: replay FUZZER FILE-OR-FOLDER…\n"), 2;
  std::vector<fs::path> files;
  for (int i = 2; i < count; ++i) {
    if (!fs::is_directory(arguments[i])) {
      files.emplace_back(arguments[i]);
      continue;
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(arguments[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) {
    std::printf("%s\n", path.filename().c_str());  // the last line names the input that ends the run
    std::fflush(stdout);
    std::ifstream file(path, std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(file), {}};
    fuzzer(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  return files.empty() ? 1 : 0;  // a corpus that is not there is no test
}
