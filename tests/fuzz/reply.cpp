// Input: stop strings (one a line), options (digits) and token ids (two bytes each) of the tests' tiny tokenizer. The
// pieces of a reply depend on its tokens alone: not on when they are taken, nor on drafts that were tried on copies.
#include "chat/reply_text.h"

#include "base/utf8.h"
#include "fuzz.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

struct Outcome {
  std::vector<Piece> pieces;
  std::optional<FinishReason> finish;
  int64_t answer_tokens = 0;

  void take(chat::ReplyText& text) {
    while (auto piece = text.take_piece()) {
      require(utf8::is_valid(piece->text), "a piece is whole characters", piece->text);
      if (!piece->call && !pieces.empty() && pieces.back().channel == piece->channel) {
        pieces.back().text += piece->text;
      } else {
        pieces.push_back(std::move(*piece));
      }
    }
  }
};

Outcome play(chat::ReplyText text, std::span<const int32_t> ids, bool eager, Choices choices) {
  Outcome outcome;
  size_t next = 0;
  while (!text.finished()) {
    int32_t id = 0;
    if (!text.forced().empty()) {
      id = text.forced().front();
    } else if (next < ids.size()) {
      id = ids[next++];
    } else {
      text.finish(FinishReason::cancelled);
      break;
    }
    if (!eager && !ids.empty() && choices.below(3) == 0) {  // a draft that is not accepted
      chat::ReplyText draft = text;
      for (size_t i = 0; i < 4 && !draft.finished(); ++i) {
        draft.push(!draft.forced().empty() ? draft.forced().front() : ids[choices.below(ids.size())]);
      }
    }
    text.push(id);
    if (eager) outcome.take(text);
  }
  outcome.take(text);
  outcome.finish = text.finished();
  outcome.answer_tokens = text.answer_tokens();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer tokenizer = Tokenizer::load_file(PROSA_TEST_DATA "/tiny-chat/tokenizer.json");
  static const chat::ReplyTokens tokens = chat::ReplyTokens::of(tokenizer, {});
  const auto parts = parts_of(text_of(data, size), 3);
  SamplingConfig sampling;
  sampling.max_tokens = 40;
  sampling.max_thinking_tokens = 20;
  Channel first = Channel::speech;
  for (const char option : parts[1]) {
    if (option == '0') sampling.max_tokens = 3;
    if (option == '1') sampling.max_thinking_tokens = 0;
    if (option == '2') sampling.max_thinking_tokens = 3;
    if (option == '3') first = Channel::thought;
  }
  for (std::string_view rest = parts[0]; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    sampling.stop.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  std::vector<int32_t> ids;
  for (size_t i = 0; i + 1 < parts[2].size(); i += 2) {
    const unsigned id = static_cast<unsigned char>(parts[2][i]) | static_cast<unsigned char>(parts[2][i + 1]) << 8U;
    ids.push_back(static_cast<int32_t>(id % static_cast<unsigned>(tokenizer.vocab_size())));
  }
  const Choices choices(parts[2]);
  error_of([&] {
    const chat::ReplyText text(tokenizer, tokens, first, sampling, {});
    const Outcome eager = play(text, ids, true, choices);
    const Outcome late = play(text, ids, false, choices);
    require(eager.finish == late.finish && eager.answer_tokens == late.answer_tokens, "a reply ends the same");
    require(eager.answer_tokens <= sampling.max_tokens, "max_tokens holds");
    require(eager.pieces.size() == late.pieces.size(), "the same pieces");
    for (size_t i = 0; i < eager.pieces.size(); ++i) {
      require(eager.pieces[i].text == late.pieces[i].text, "the same text", eager.pieces[i].text);
      if (eager.pieces[i].channel != Channel::speech) continue;
      for (const std::string& stop : sampling.stop) {
        // The text is cut by calls and thoughts; within a stretch there is no stop string.
        require(eager.pieces[i].text.find(stop) == std::string::npos, "no stop string is said", stop);
      }
    }
  });
  return 0;
}
