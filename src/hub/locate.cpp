// Finding a folder. Environment and file system only.
#include "hub/locate.h"

#include <cstdlib>
#include <optional>
#include <system_error>
#include <vector>

#include "prosa/error.h"

#ifdef PROSA_SHARED
#include <dlfcn.h>
#endif

namespace prosa {
namespace {

namespace fs = std::filesystem;

constexpr const char* embedded_name = "prosa-mini";

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::optional<fs::path> environment_path(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

/// Where the embedded model may be, nearest first.
std::vector<fs::path> model_folders() {
  std::vector<fs::path> folders;
  if (const auto path = environment_path("PROSA_MODELS")) folders.push_back(*path);
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    // bin/prosa of an installation; and the build folder, where programs lie in it or one below.
    folders.push_back(program.parent_path().parent_path() / "share/prosa/models");
    folders.push_back(program.parent_path() / "share/prosa/models");
  }
#ifdef PROSA_SHARED  // beside the library, which another program may have loaded from anywhere: lib or
                     // lib/x86_64-linux-gnu
  Dl_info library = {};
  if (dladdr(reinterpret_cast<const void*>(&locate_model), &library) != 0 && library.dli_fname != nullptr) {
    const fs::path folder = fs::path(library.dli_fname).parent_path();
    folders.push_back(folder.parent_path() / "share/prosa/models");
    folders.push_back(folder.parent_path().parent_path() / "share/prosa/models");
  }
#endif
#ifdef PROSA_INSTALLED_MODELS  // unset as a part of another project, which installs what it likes
  folders.emplace_back(PROSA_INSTALLED_MODELS);
#endif
  return folders;
}

fs::path locate_embedded() {
  std::string places;
  for (const fs::path& folder : model_folders()) {
    if (is_folder(folder / embedded_name)) return folder / embedded_name;
    places += (places.empty() ? "" : ", ") + folder.string();
  }
  throw Error(ErrorCode::not_found, "the embedded model is in none of " + places, embedded_name,
              "name a model, or set PROSA_MODELS to the folder that holds it");
}

}  // namespace

std::filesystem::path locate_model(const std::string& name) {
  if (name.empty()) return locate_embedded();
  if (name.find('\0') != std::string::npos) throw Error(ErrorCode::invalid_argument, "not a model name");
  if (is_folder(name)) return name;
  std::error_code ignored;
  if (fs::exists(name, ignored)) {
    throw Error(ErrorCode::not_found, "is not a folder", name, "name the folder that holds config.json");
  }
  throw Error(ErrorCode::not_found, "no such folder", name,
              "name a folder with a checkpoint, or owner/name of a hub model");
}

}  // namespace prosa
