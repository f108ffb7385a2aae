// prosa in the LLM slot of a SpeechCore pipeline: its C++ interface and its C table of functions, both over
// PipelineLlm.
//
// Header only, and the one header of prosa that needs another project's: SpeechCore's include folder has to be on the
// path. What holds for both forms, and for the Swift package's on top of the C one: exactly one final marker
// (`"", true`) ends every reply, no exception escapes, cancel() may come at any time. Calls bring their arguments;
// SpeechCore runs a tool without them.
#pragma once

#include <speech_core/interfaces.h>
#include <speech_core/speech_core_c.h>
#include <speech_core/tools/tool_types.h>

#include <utility>
#include <vector>

#include "prosa/pipeline_llm.h"

namespace prosa {

class SpeechCoreLlm final : public speech_core::LLMInterface {
 public:
  explicit SpeechCoreLlm(Chat chat, SamplingConfig sampling = {}) : llm_(std::move(chat), std::move(sampling)) {}

  speech_core::LLMResponse chat(const std::vector<speech_core::Message>& messages,
                                speech_core::LLMTokenCallback on_token) override {
    speech_core::LLMResponse response;
    bool begun = false;  // from then on the end is told by PipelineLlm
    try {
      std::vector<Message> list;
      for (const speech_core::Message& message : messages) list.push_back({role_of(message.role), message.content});
      begun = true;
      const PipelineReply reply = llm_.chat(list, on_token);
      response.text = reply.text;
      for (const ToolCall& call : reply.tool_calls) response.tool_calls.push_back({call.name, call.arguments});
    } catch (...) {  // no memory
      if (!begun && on_token) on_token("", true);
    }
    return response;
  }

  void set_tools(const std::vector<speech_core::ToolDefinition>& tools) override {
    std::vector<PipelineLlm::ToolSketch> sketches;
    for (const speech_core::ToolDefinition& tool : tools) sketches.push_back({tool.name, tool.description});
    llm_.set_tools(sketches);
  }

  void cancel() override { llm_.cancel(); }
  /// What stands behind it, to read ahead or to count tokens.
  [[nodiscard]] PipelineLlm& llm() noexcept { return llm_; }

 private:
  static Role role_of(speech_core::MessageRole role) {
    switch (role) {
      case speech_core::MessageRole::System: return Role::system;
      case speech_core::MessageRole::User: return Role::user;
      case speech_core::MessageRole::Assistant: return Role::assistant;
      case speech_core::MessageRole::Tool: return Role::tool;
    }
    return Role::user;
  }

  PipelineLlm llm_;
};

/// The C form, which has no tools. `llm` outlives the pipeline that gets it.
inline sc_llm_vtable_t speech_core_vtable(PipelineLlm& llm) {
  sc_llm_vtable_t table = {};
  table.context = &llm;
  table.chat = [](void* context, const sc_message_t* messages, size_t count, sc_llm_token_fn on_token,
                  void* token_context) {
    bool begun = false;
    try {
      std::vector<Message> list;
      for (size_t i = 0; i < count; ++i) {
        const sc_role_t role = messages[i].role;
        list.push_back({role == SC_ROLE_SYSTEM      ? Role::system
                        : role == SC_ROLE_ASSISTANT ? Role::assistant
                        : role == SC_ROLE_TOOL      ? Role::tool
                                                    : Role::user,
                        messages[i].content == nullptr ? "" : messages[i].content});
      }
      begun = true;
      static_cast<PipelineLlm*>(context)->chat(list, [&](const std::string& token, bool is_final) {
        if (on_token != nullptr) on_token(token.c_str(), is_final, token_context);
      });
    } catch (...) {  // no memory for the list: nothing was said
      if (!begun && on_token != nullptr) on_token("", true, token_context);
    }
  };
  table.cancel = [](void* context) { static_cast<PipelineLlm*>(context)->cancel(); };
  table.count_tokens = [](void* context, const char* text) {
    return text == nullptr ? 0 : static_cast<PipelineLlm*>(context)->count_tokens(text);
  };
  return table;
}

}  // namespace prosa
