// An engine of chats over a scripted backend, with the tiny tokenizer: no weights, and every token is what a test says.
#pragma once

#include <memory>
#include <utility>

#include "chat/engine.h"
#include "fake_backend.h"

namespace prosa::test {

/// Loaded; conversations hold `context` tokens.
inline std::shared_ptr<chat::Engine> scripted_engine(std::shared_ptr<FakeBackend> backend, int64_t context) {
  auto engine =
      std::make_shared<chat::Engine>("scripted", [backend = std::move(backend), context](const chat::KeptStates& kept) {
        LoadedModel model;
        model.backend = backend;
        model.context = context;
        return chat::assemble(std::move(model), Tokenizer::load(PROSA_TEST_DATA "/tiny-chat"),
                              chat::ThinkingDefault::off, kept);
      });
  engine->load();
  return engine;
}

}  // namespace prosa::test
