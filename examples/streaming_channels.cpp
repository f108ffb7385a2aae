// The typed stream: thoughts, speech and tool calls arrive as pieces that say what they are. A voice program would
// speak `speech`, show `thought`, and run the calls.
//
// Usage: streaming_channels [MODEL]
#include <cstdlib>
#include <iostream>
#include <vector>

#include <prosa/chat.h>

int main(int argc, char** argv) try {
  using prosa::Role;
  auto chat = prosa::Chat::from_pretrained(argc > 1 ? argv[1] : "");

  const prosa::Tool weather = {R"({
    "type": "function",
    "function": {
      "name": "get_weather",
      "description": "The weather in a city",
      "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    }
  })"};
  std::vector<prosa::Message> messages = {{Role::user, "What is the weather in Oslo?"}};

  prosa::SamplingConfig sampling;
  sampling.enable_thinking = true;
  sampling.max_thinking_tokens = 40;
  sampling.max_tokens = 80;

  auto stream = chat.generate_stream(messages, sampling, {weather});
  prosa::Message answer = {Role::assistant, ""};
  for (const prosa::Piece& piece : stream) {
    switch (piece.channel) {
      case prosa::Channel::thought:
        answer.reasoning_content += piece.text;
        std::cout << "[thought] " << piece.text << "\n";
        break;
      case prosa::Channel::speech:
        answer.content += piece.text;
        std::cout << "[speech] " << piece.text << "\n";
        break;
      case prosa::Channel::tool_call:
        answer.tool_calls.push_back(*piece.call);
        std::cout << "[call] " << piece.call->name << " " << piece.call->arguments << "\n";
        break;
    }
  }
  std::cout << "ended: " << prosa::to_string(stream.stats().finish) << "\n";

  if (stream.stats().finish == prosa::FinishReason::tool_calls) {  // run the tool, give its result back
    messages.push_back(answer);
    messages.push_back({Role::tool, R"({"sky": "clear", "celsius": -3})"});
    std::cout << chat.generate(messages, sampling, {weather}).text << "\n";
  }
  return EXIT_SUCCESS;
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
