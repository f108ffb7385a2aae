// Finds and loads the CUDA module. The only file of this folder that is part of the program itself; it knows no CUDA.
//
// The module is looked for beside the program, in lib/prosa of the place where the program is installed, and where the
// system looks for libraries. Once loaded it stays until the process ends, as everything that it made may.
#include <dlfcn.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cuda.h"
#include "prosa/error.h"

namespace prosa::backend {
namespace {

namespace fs = std::filesystem;
using VersionFunction = int();
using MakeFunction = void(const std::shared_ptr<const Weights>*, const BackendOptions*, std::unique_ptr<Backend>*);

std::vector<std::string> places() {
  std::vector<std::string> all;
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty()) {
    const fs::path folder = program.parent_path();
    all.push_back(folder / cuda::kModuleName);
    all.push_back(folder.parent_path() / "lib" / "prosa" / cuda::kModuleName);
    for (fs::path up = folder.parent_path(); all.size() < 5 && up != up.root_path(); up = up.parent_path())
      all.push_back(up / cuda::kModuleName);
  }
  all.emplace_back(cuda::kModuleName);
  return all;
}

[[noreturn]] void no_module(const std::string& what) {
  throw Error(ErrorCode::unsupported, what, "cuda",
              "build with PROSA_CUDA=ON and keep libprosa_cuda.so beside the program, or use --backend cpu");
}

MakeFunction* load() {
  std::string reason = "there is no CUDA module";
  for (const std::string& place : places()) {
    std::error_code ignored;
    if (place != cuda::kModuleName && !fs::exists(place, ignored)) continue;
    void* const module = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) {
      if (place != cuda::kModuleName) reason = "the CUDA module does not load: " + std::string(dlerror());
      continue;
    }
    auto* const version = reinterpret_cast<VersionFunction*>(dlsym(module, cuda::kVersionFunction));
    auto* const make = reinterpret_cast<MakeFunction*>(dlsym(module, cuda::kMakeFunction));
    if (version != nullptr && make != nullptr && version() == cuda::kModuleVersion) return make;
    reason = "the CUDA module " + place + " is of another version of prosa";
    dlclose(module);
  }
  no_module(reason);
}

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  static std::mutex mutex;
  static MakeFunction* make = nullptr;
  {
    const std::lock_guard lock(mutex);
    if (make == nullptr) make = load();
  }
  std::unique_ptr<Backend> made;
  make(&weights, &options, &made);
  return made;
}

}  // namespace prosa::backend
