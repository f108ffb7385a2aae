// Finding a model's folder. Environment and file system only.
#include "hub/locate.h"

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "prosa/error.h"

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
  if (!error) folders.push_back(program.parent_path().parent_path() / "share/prosa/models");
  folders.emplace_back(PROSA_SOURCE_MODELS);
  folders.emplace_back(PROSA_INSTALLED_MODELS);
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

struct HubName {
  std::string owner, name, subfolder;
};

/// One part of a hub name or one folder below it: no way out of the cache.
bool is_plain_part(std::string_view part) {
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !part.empty() && part.front() != '.' && part.find_first_not_of(allowed) == std::string_view::npos;
}

std::optional<HubName> parse_hub_name(const std::string& text) {
  HubName hub;
  const size_t colon = text.find(':');
  const std::string repository = text.substr(0, colon);
  if (colon != std::string::npos) hub.subfolder = text.substr(colon + 1);
  const size_t slash = repository.find('/');
  if (slash == std::string::npos) return std::nullopt;
  hub.owner = repository.substr(0, slash);
  hub.name = repository.substr(slash + 1);
  if (!is_plain_part(hub.owner) || !is_plain_part(hub.name)) return std::nullopt;
  if (colon != std::string::npos) {
    for (const fs::path& part : fs::path(hub.subfolder)) {
      if (!is_plain_part(part.string())) return std::nullopt;
    }
    if (hub.subfolder.empty() || hub.subfolder.front() == '/') return std::nullopt;
  }
  return hub;
}

fs::path hub_cache() {
  if (const auto path = environment_path("HF_HUB_CACHE")) return *path;
  if (const auto path = environment_path("HF_HOME")) return *path / "hub";
  return environment_path("HOME").value_or("/") / ".cache/huggingface/hub";
}

fs::path locate_in_cache(const HubName& hub, const std::string& name) {
  const fs::path repository = hub_cache() / ("models--" + hub.owner + "--" + hub.name);
  std::ifstream reference(repository / "refs/main");
  std::string revision;
  if (reference >> revision && is_plain_part(revision)) {
    const fs::path folder = repository / "snapshots" / revision / hub.subfolder;
    if (is_folder(folder)) return folder;
  }
  throw Error(ErrorCode::not_found, "no such folder, and the hub cache has no " + repository.string(), name,
              "download the model into the cache, or give the path of a folder");
}

}  // namespace

std::filesystem::path locate_model(const std::string& name) {
  if (name.empty()) return locate_embedded();
  if (name.find('\0') != std::string::npos) throw Error(ErrorCode::invalid_argument, "not a model name");
  if (is_folder(name)) return name;
  if (const auto hub = parse_hub_name(name); hub && name.find("./") != 0) return locate_in_cache(*hub, name);
  std::error_code ignored;
  if (fs::exists(name, ignored)) {
    throw Error(ErrorCode::not_found, "is not a folder", name, "name the folder that holds config.json");
  }
  throw Error(ErrorCode::not_found, "no such folder", name,
              "name a folder with a checkpoint, or owner/name of a hub model");
}

}  // namespace prosa
