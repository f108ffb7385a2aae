// What a chat holds in memory, and how to give it back: while an app is in the background the model can be unloaded and
// loaded again later.
//
// Usage: memory [MODEL]
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <prosa/chat.h>

namespace {

void print(std::string_view when, const prosa::MemoryFootprint& memory) {
  const auto mib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  std::cout << when << ": weights " << mib(memory.weights) << ", kv " << mib(memory.kv) << ", state "
            << mib(memory.state) << ", checkpoints " << mib(memory.stored_states) << ", scratch " << mib(memory.scratch)
            << " = " << mib(memory.total()) << " MiB\n";
}

}  // namespace

int main(int argc, char** argv) try {
  prosa::LoadOptions options;
  options.progress = [](double fraction, std::string_view what) {
    std::cout << "\r" << static_cast<int>(100 * fraction) << " % " << what << "        " << std::flush;
  };
  auto chat = prosa::Chat::from_pretrained(argc > 1 ? argv[1] : "", options);
  std::cout << "\n";

  print("loaded", chat.memory_footprint());
  chat.generate({{prosa::Role::user, "Hello"}}, {.max_tokens = 8});
  print("after a reply", chat.memory_footprint());
  chat.reset_state();
  print("after reset_state", chat.memory_footprint());
  chat.unload();
  print("unloaded", chat.memory_footprint());
  const bool freed = !chat.is_loaded() && chat.memory_footprint().total() == 0;

  chat.load();
  std::cout << "\n";
  chat.generate({{prosa::Role::user, "Hello again"}}, {.max_tokens = 8});
  print("loaded again", chat.memory_footprint());
  return freed ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
