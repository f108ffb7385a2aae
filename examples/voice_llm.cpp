// prosa as the language model of any voice pipeline: a list of messages in, tokens out, one end for each reply. The
// pipeline here is three lines that forget their oldest message every turn, as many do.
//
// Usage: voice_llm [MODEL]
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <prosa/pipeline_llm.h>

int main(int argc, char** argv) try {
  prosa::PipelineLlm llm(prosa::Chat::from_pretrained(argc > 1 ? argv[1] : ""), {.max_tokens = 24, .seed = 1});
  const std::string system = "You are a friendly assistant. Keep it short.";
  llm.read_ahead(system);  // before anybody speaks
  std::vector<prosa::Message> history;
  for (const std::string words : {"Hello, my name is Anna.", "What is a violin?", "And a lamp?", "Thank you."}) {
    history.push_back({prosa::Role::user, words});
    while (history.size() > 4) history.erase(history.begin());
    std::vector<prosa::Message> messages = {{prosa::Role::system, system}};
    messages.insert(messages.end(), history.begin(), history.end());
    std::cout << "> " << words << "\n";
    const prosa::PipelineReply reply = llm.chat(messages, [](const std::string& token, bool is_final) {
      std::cout << (is_final ? "\n" : token) << std::flush;  // to the synthesizer
    });
    if (!reply.error.empty()) std::cerr << reply.error << "\n";
    history.push_back({prosa::Role::assistant, reply.text});
  }
  return EXIT_SUCCESS;
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
