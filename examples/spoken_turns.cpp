// A spoken conversation without the speech: turns are read ahead while they are "heard", a reply is interrupted, and
// the conversation goes on after a restart. Each line shows how many prompt tokens were computed after the last word.
//
// Usage: spoken_turns [MODEL]
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <prosa/chat.h>

namespace {

using prosa::Role;

/// One turn: the transcript grows word by word, then the reply is taken. Returns what was said.
std::string take_turn(prosa::Chat& chat, std::vector<prosa::Message>& messages, const std::string& words) {
  const prosa::SamplingConfig sampling{.max_tokens = 24, .seed = 1, .disable_thinking = true};
  prosa::Turn turn = chat.begin_turn(messages, sampling);
  for (size_t at = words.find(' '); at != std::string::npos; at = words.find(' ', at + 1))
    turn.hear(words.substr(0, at));
  prosa::ReplyStream stream = turn.commit(words);
  std::string said;
  for (const prosa::Piece& piece : stream) {
    if (piece.channel == prosa::Channel::speech) said += piece.text;
  }
  const prosa::ReplyStats& stats = stream.stats();
  std::cout << "> " << words << "\n"
            << said << "\n  [reused " << stats.cached_tokens << ", computed "
            << stats.prompt_tokens - stats.cached_tokens << ": " << stats.reuse.reason() << "]\n";
  messages.push_back({Role::user, words});
  messages.push_back({Role::assistant, said});
  return said;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string model = argc > 1 ? argv[1] : "";
  const std::string file = (std::filesystem::temp_directory_path() / "prosa-spoken-turns.session").string();
  std::vector<prosa::Message> messages = {{Role::system, "You are a friendly assistant. Keep it short."}};
  {
    auto chat = prosa::Chat::from_pretrained(model);
    take_turn(chat, messages, "Hello, my name is Anna and I would like to talk a little.");
    const std::string said = take_turn(chat, messages, "Tell me about the sea, please, as long as you like.");
    // The user interrupts: history holds what was heard.
    if (!said.empty()) messages.back().content = chat.heard(1);
    take_turn(chat, messages, "Stop there. What is a violin?");
    chat.save_session(file, messages, {.disable_thinking = true});
  }
  auto chat = prosa::Chat::from_pretrained(model);
  messages = chat.load_session(file);
  std::filesystem::remove(file);
  take_turn(chat, messages, "What is my name?");
  return chat.stats().cached_tokens > 0 ? EXIT_SUCCESS : EXIT_FAILURE;  // the restart must not have cost the history
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
