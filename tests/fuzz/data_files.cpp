// Input: a line that says what the file is (text, lines, logits, journal), and the file. The data files of `eval` and
// the journal of a download: what is accepted is what it says it is.
#include <memory>

#include "base/thread_pool.h"
#include "fuzz.h"
#include "hub/journal.h"
#include "tools/eval/corpus.h"
#include "tools/eval/logits_file.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

void check_corpus(const std::filesystem::path& path) {
  static eval::TextEncoder encoder(PROSA_TEST_DATA "/tiny-chat");
  error_of([&] {
    const eval::Corpus corpus = eval::read_corpus(path, encoder);
    require(!corpus.documents.empty(), "a corpus holds something");
    for (const eval::Document& document : corpus.documents) {
      for (const int32_t id : document.tokens) require(id >= 0, "a token id is one");
    }
    const eval::WindowPlan plan = eval::plan_windows(corpus.documents, {.window = 8, .tail = eval::Tail::keep});
    int64_t scored = 0;
    for (const eval::Window& window : plan.windows) scored += window.scored();
    require(scored == plan.scored, "a plan counts its windows");
  });
}

void check_logits(const std::filesystem::path& path) {
  error_of([&] {
    const auto source = eval::open_logits_file(path);
    const std::vector<eval::Document> documents = {{{1, 2, 3, 4, 5}}};
    const eval::WindowOptions options{.window = 5};
    const eval::WindowPlan plan = eval::plan_windows(documents, options);
    source->begin(documents, plan, options);
    ThreadPool pool(1);
    std::vector<float> row(static_cast<size_t>(source->vocab()));
    const int32_t token = 0;
    for (int64_t i = 0; i < plan.scored; ++i) source->score(std::span(&token, 1), row, pool, nullptr);
  });
}

void check_journal(const std::filesystem::path& path) {
  error_of([&] {
    constexpr uint64_t kSize = 1000;
    hub::Journal journal(path, kSize, 64, 500);
    uint64_t total = 0;
    for (uint64_t i = 0; i < journal.pieces(); ++i) {
      require(journal.begin(i) + journal.length(i) <= kSize, "a piece lies in its file");
      require(journal.done(i) <= journal.length(i), "no piece has more than it holds");
      require(journal.done(i) == 0 || journal.begin(i) + journal.done(i) <= 500, "what is done is there");
      total += journal.length(i);
    }
    require(total == kSize, "pieces cover the file");
    require(journal.prefix() <= kSize && journal.total_done() <= kSize, "no more is done than there is");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = text_of(data, size);
  const size_t end = input.find('\n');
  if (end == std::string_view::npos) return 0;
  const std::string_view kind = input.substr(0, end);
  const auto path = folder() / (kind == "lines" ? "data.jsonl" : "data");
  write(path, input.substr(end + 1));
  if (kind == "text" || kind == "lines") check_corpus(path);
  if (kind == "logits") check_logits(path);
  if (kind == "journal") check_journal(path);
  return 0;
}
