// A stand-in for SpeechCore's header of this name: as much of its shape as prosa/speech_core.h uses, so that the
// adapter is compiled and tested where there is no SpeechCore. With PROSA_SPEECH_CORE the real one takes its place.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace speech_core {

struct ToolDefinition;
enum class MessageRole { System, User, Assistant, Tool };
struct Message {
  MessageRole role;
  std::string content;
  double timestamp = 0.0;
};
struct ToolCall {
  std::string name;
  std::string arguments;
};
struct LLMResponse {
  std::string text;
  std::vector<ToolCall> tool_calls;
};
using LLMTokenCallback = std::function<void(const std::string& token, bool is_final)>;

class LLMInterface {
 public:
  virtual ~LLMInterface() = default;
  virtual LLMResponse chat(const std::vector<Message>& messages, LLMTokenCallback on_token) = 0;
  virtual void set_tools(const std::vector<ToolDefinition>& tools) = 0;
  virtual void cancel() = 0;
};

}  // namespace speech_core
