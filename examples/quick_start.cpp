// A first conversation: load, ask, print the answer; then the same as a stream.
//
// Usage: quick_start [MODEL]. Without MODEL the embedded model speaks.
#include <cstdlib>
#include <iostream>

#include <prosa/chat.h>

int main(int argc, char** argv) try {
  using prosa::Role;
  auto chat = prosa::Chat::from_pretrained(argc > 1 ? argv[1] : "");

  const prosa::Reply reply = chat.generate(
      {{Role::system, "Answer in one short sentence."}, {Role::user, "Hello, who are you?"}}, {.max_tokens = 48});
  std::cout << reply.text << "\n\n";

  for (const auto& piece : chat.generate_stream({{Role::system, "Be funny."}, {Role::user, "Tell me a joke"}},
                                                {.temperature = 0.7F, .top_k = 40, .top_p = 0.9F, .max_tokens = 64})) {
    std::cout << piece.text << std::flush;
  }
  std::cout << "\n";
  return EXIT_SUCCESS;
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
