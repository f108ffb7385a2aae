// A stand-in for SpeechCore's header of this name (see interfaces.h): what a pipeline tells a model of a tool.
#pragma once

#include <string>

namespace speech_core {

struct ToolDefinition {
  std::string name;
  std::string description;
};

}  // namespace speech_core
