// hub_server NAME=FILE…: a model hub on 127.0.0.1 that serves these files as the repository some/model, for measuring
// `prosa pull` (pull.sh) and for comparing with Python's huggingface_hub (tools/check_hub_cache.py).
//
// Prints its address, and that of each large file in its storage; then a line "requests N bytes N" for each line on
// standard input, until that ends.
#include <filesystem>
#include <iostream>
#include <vector>

#include <fmt/core.h>

#include "base/mmap.h"
#include "hub_server.h"

int main(int argc, char** argv) try {
  constexpr size_t lfs_from = 1'000'000;
  std::vector<prosa::MappedFile> files;
  prosa::test::HubServer server;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    if (equals == std::string::npos) throw std::runtime_error("write NAME=FILE, not " + argument);
    const auto bytes = files.emplace_back(prosa::MappedFile::open(argument.substr(equals + 1))).bytes();
    const std::string name = argument.substr(0, equals);
    server.add_view(name, {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                    bytes.size() >= lfs_from || name.ends_with(".safetensors"));
  }
  fmt::print("hub {}\n", server.endpoint());
  for (int i = 1; i < argc; ++i) {
    const std::string name = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    if (server.file(name).lfs) fmt::print("{} {}/blob/{}\n", name, server.storage(), server.file(name).sha256);
  }
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    fmt::print("requests {} bytes {}\n", server.requests().size(), server.body_bytes());
    std::fflush(stdout);
  }
} catch (const std::exception& error) {
  fmt::print(stderr, "hub_server: {}\n", error.what());
  return 1;
}
