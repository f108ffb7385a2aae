// Input: a session file. It is made to be of this program and this model and gets the checksum that fits, so that what
// is fuzzed is everything behind them. A chat that refuses a file is as it was before; one that takes it goes on, saves
// it again, and is a new one after reset_state().
#include <cstring>

#include <nlohmann/json.hpp>

#include "format/safetensors.h"
#include "fuzz.h"
#include "prosa/chat.h"
#include "runtime/session_file.h"
#include "tensor_mutator.h"
#include "tiny_model.h"

using namespace prosa;
using namespace prosa::fuzz;

#ifdef PROSA_FUZZING
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return mutate_tensors(data, size, max_size, seed);
}
#endif

namespace {

const SamplingConfig kGreedy{.temperature = 0, .max_tokens = 2, .repetition_penalty = 1};
const std::vector<Message> kMessages = {{Role::system, "Be brief."}, {Role::user, "Hi!"}};

class TinyChat {
 public:
  TinyChat() {
    make_tiny_model(folder() / "model");
    LoadOptions options;
    options.threads = 1;
    options.context = 160;
    options.state_store_bytes = 1 << 20;
    chat_.emplace(Chat::from_pretrained((folder() / "model").string(), options));
    reply_ = chat_->generate(kMessages, kGreedy).text;
    chat_->save_session((folder() / "own").string(), kMessages, kGreedy);
    own_ = format::SafetensorsFile::open(folder() / "own").metadata();
    chat_->reset_state();
  }

  /// The file with the identity and the checksum that this chat asks for; as it is where it is no safetensors file.
  void mend(const std::filesystem::path& path, std::string_view bytes) const {
    write(path, bytes);
    if (error_of([&] { (void)format::SafetensorsFile::open(path); })) return;
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    auto header = nlohmann::ordered_json::parse(bytes.substr(8, length), nullptr, false);
    if (!header.is_object() || !header.contains("__metadata__")) return;
    auto& metadata = header["__metadata__"];
    if (!metadata.is_object() || metadata.contains("as_it_is")) return;
    for (const auto& [key, value] : own_) metadata[key] = value;
    const std::string_view tensors = bytes.substr(8 + length);
    const auto put = [&] {
      const std::string text = header.dump();
      length = text.size();
      std::string file(8, '\0');
      std::memcpy(file.data(), &length, sizeof length);
      write(path, file.append(text).append(tensors));
    };
    put();
    if (error_of([&] { metadata["checksum"] = runtime::session_checksum(format::SafetensorsFile::open(path)); })) {
      return;
    }
    put();
  }

  void check(const std::filesystem::path& path) {
    std::vector<Message> messages;
    if (error_of([&] { messages = chat_->load_session(path.string()); })) {
      require(chat_->generate(kMessages, kGreedy).text == reply_, "a chat that refused a file is as it was");
      return;
    }
    const auto saved = (folder() / "saved").string();
    const auto refused = error_of([&] { chat_->save_session(saved, messages, kGreedy); });
    if (!refused) {
      std::vector<Message> again;
      const auto lost = error_of([&] { again = chat_->load_session(saved); });
      require(!lost, "what was saved can be loaded", lost ? lost->what() : "");
      require(again.size() == messages.size(), "messages survive");
      for (size_t i = 0; i < again.size(); ++i) {
        require(again[i].role == messages[i].role && again[i].content == messages[i].content, "a message survives",
                messages[i].content);
      }
    }
    messages.push_back({Role::user, "And?"});
    error_of([&] { (void)chat_->generate(messages, kGreedy); });
    chat_->reset_state();
    require(chat_->generate(kMessages, kGreedy).text == reply_, "nothing of a file is left after reset_state()");
    chat_->reset_state();
  }

 private:
  std::optional<Chat> chat_;
  std::string reply_;
  std::map<std::string, std::string> own_;  // metadata of a file that this chat has saved
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static TinyChat chat;
  const auto path = folder() / "session";
  chat.mend(path, text_of(data, size));
  chat.check(path);
  return 0;
}
