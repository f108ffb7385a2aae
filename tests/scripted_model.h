// A public Model whose replies a test writes: the fake backend with the tokenizer of the tiny chat.
//
// For tests of what stands on Chat and has threads of its own: every token fed is counted, nothing takes time. A
// message of the user is found over by the model exactly where `ends` says so.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fake_backend.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::test {

// Model has no public constructor from a backend. An explicit instantiation may name a private member (C++20,
// [temp.spec]/6): this one lets tests put their own core into a Model.
template <std::shared_ptr<ModelCore> Model::*Member>
struct ModelCoreAccess {
  friend void put_core(Model& model, std::shared_ptr<ModelCore> core) { model.*Member = std::move(core); }
};
void put_core(Model& model, std::shared_ptr<ModelCore> core);
template struct ModelCoreAccess<&Model::core_>;

class ScriptedModel {
 public:
  /// The reply to a prompt, as text; may hold tool calls as the template writes them. On the thread that computes.
  using Brain = std::function<std::string(std::string_view prompt)>;

  explicit ScriptedModel(Brain brain, int64_t context = 4000) : brain_(std::move(brain)) {
    backend->script = [this](std::span<const int32_t> fed) { return next(fed); };
    LoadedModel loaded;
    loaded.folder = PROSA_TEST_DATA "/tiny-chat";
    loaded.backend = backend;
    loaded.context = context;
    loaded.state_store_bytes = 400'000;
    put_core(model, std::make_shared<ModelCore>(std::move(loaded)));
  }
  ScriptedModel(const ScriptedModel&) = delete;
  ScriptedModel& operator=(const ScriptedModel&) = delete;

  [[nodiscard]] int64_t tokens_of(const std::string& text) const { return std::ssize(tokenizer.encode(text)); }
  /// The header and think block after the user's turn.
  [[nodiscard]] int64_t generation_prompt() const { return tokens_of(kHeader); }

  const Tokenizer tokenizer = Tokenizer::load(PROSA_TEST_DATA "/tiny-chat");
  std::shared_ptr<FakeBackend> backend = std::make_shared<FakeBackend>(512);
  std::function<bool(std::string_view words)> ends = [](std::string_view words) { return words.ends_with("."); };
  Model model = Model::from_pretrained(PROSA_TINY_CHAT);  // its core is replaced

 private:
  static constexpr const char* kHeader = "<|im_start|>assistant\n<think>\n\n</think>\n\n";

  int32_t next(std::span<const int32_t> fed) {
    const int32_t start = *tokenizer.token_id("<|im_start|>");
    const int32_t end = *tokenizer.token_id("<|im_end|>");
    const auto last = std::find(fed.rbegin(), fed.rend(), start).base();  // after it
    if (last == fed.begin()) return end;
    const auto message = static_cast<size_t>(last - fed.begin()) - 1;
    const std::string text = tokenizer.decode({fed.begin() + static_cast<std::ptrdiff_t>(message), fed.end()});
    if (!text.starts_with(kHeader)) {  // the user speaks
      return ends(std::string_view(text).substr(std::min(text.size(), text.find('\n') + 1))) ? end : other_;
    }
    const size_t header = tokenizer.encode(kHeader).size();
    const std::vector<int32_t> reply =
        tokenizer.encode(brain_(tokenizer.decode({fed.begin(), fed.begin() + static_cast<std::ptrdiff_t>(message)})));
    const size_t at = fed.size() - message - header;
    return at < reply.size() ? reply[at] : end;
  }

  const Brain brain_;
  const int32_t other_ = tokenizer.encode(" and").front();
};

}  // namespace prosa::test
