// What a conversation remembers of a reply's last words: those that were handed out only after the reply had been
// computed to its end, because a stop string held them back or stood in the same token. On the tiny golden model, whose
// text is noise: the stop strings are cut from what it says without any.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "prosa/chat.h"
#include "temp_folder.h"

namespace prosa {
namespace {

using Messages = std::vector<Message>;

SamplingConfig greedy(std::vector<std::string> stop = {}) {
  SamplingConfig config;
  config.temperature = 0;
  config.repetition_penalty = 1.3F;  // or it says the same thing again and again
  config.max_tokens = 24;
  config.stop = std::move(stop);
  return config;
}

class Heard : public testing::Test {
 protected:
  Chat chat = Chat::from_pretrained(PROSA_TINY_CHAT, LoadOptions{.context = 600});
  const Messages messages = {{Role::system, "Be kind."}, {Role::user, "Hello"}};

  static size_t characters(const std::string& text) {
    size_t count = 0;
    for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
    return count;
  }

  /// Stop strings that end the reply in different ways, with what is said before them.
  std::vector<std::pair<std::string, std::string>> stops() {
    std::string all;
    std::vector<std::pair<std::string, std::string>> found;
    for (const Piece& piece : chat.generate_stream(messages, greedy())) {
      const std::string& text = piece.text;  // of a piece "abc": "c", so that "ab" goes before it in the same token
      const char last = text.empty() ? ' ' : text.back();
      if (text.size() >= 3 && static_cast<unsigned char>(last) < 0x80 && all.find(last) == std::string::npos &&
          text.find(last) == text.size() - 1) {
        found.emplace_back(std::string(1, last), all + text.substr(0, text.size() - 1));
      }
      all += text;
    }
    if (characters(all) < 4) return {};
    size_t end = all.size() - 1;  // begun by the reply's last character and never complete
    while ((static_cast<unsigned char>(all[end]) & 0xC0U) == 0x80U) --end;
    found.emplace_back(all.substr(end) + "\xE2\x82\xAC never", all);
    return found;
  }
};

TEST_F(Heard, TheWholeReplyCanBeHeard) {
  const auto cases = stops();
  ASSERT_GE(cases.size(), 2U);
  for (const auto& [stop, said] : cases) {
    std::string text;
    for (const Piece& piece : chat.generate_stream(messages, greedy({stop}))) text += piece.text;
    ASSERT_EQ(text, said);
    EXPECT_EQ(chat.heard(characters(text)), text) << "stop string \"" << stop << '"';
  }
}

TEST_F(Heard, AParkedReplyIsReadToItsLastWord) {
  const TempFolder folder;
  const std::string path = (folder.path() / "parked").string();
  for (const auto& [stop, said] : stops()) {
    const std::string text = chat.generate(messages, greedy({stop})).text;
    chat.unload(Unload::park, path);
    chat.load();
    Messages next = messages;
    next.push_back({Role::assistant, text});
    const std::string with_reply = chat.render_prompt(next, greedy());
    next.push_back({Role::user, "Go on"});
    const size_t begin = chat.render_prompt(next, greedy()).find("<|im_start|>user\nGo on");
    ASSERT_NE(begin, std::string::npos);
    const auto read = static_cast<int64_t>(chat.tokenize(chat.render_prompt(next, greedy()).substr(0, begin)).size());
    EXPECT_EQ(chat.generate(next, greedy()).stats.cached_tokens, read) << "stop string \"" << stop << '"';
  }
}

}  // namespace
}  // namespace prosa
