// A conversation over several turns: the caller keeps the messages, prosa keeps the state, and each turn computes only
// what is new.
//
// Usage: multi_turn [MODEL]
#include <cstdlib>
#include <iostream>
#include <vector>

#include <prosa/chat.h>

int main(int argc, char** argv) try {
  using prosa::Role;
  auto chat = prosa::Chat::from_pretrained(argc > 1 ? argv[1] : "");

  std::vector<prosa::Message> messages = {{Role::system, "You are a friendly assistant. Keep it short."}};
  int64_t cached = 0;
  for (const char* question : {"Hello, my name is Anna.", "What can you do?", "What is my name?"}) {
    messages.push_back({Role::user, question});
    const prosa::Reply reply = chat.generate(messages, {.max_tokens = 40, .seed = 1});
    std::cout << "> " << question << "\n" << reply.text << "\n";
    std::cout << "  [" << reply.stats.prompt_tokens << " prompt tokens, " << reply.stats.cached_tokens << " reused, "
              << reply.stats.generated_tokens << " generated]\n";
    messages.push_back({Role::assistant, reply.text});
    cached = reply.stats.cached_tokens;
  }
  return cached > 0 ? EXIT_SUCCESS : EXIT_FAILURE;  // the last turn must have found the earlier ones
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
