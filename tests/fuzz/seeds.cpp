// Writes the seeds of a corpus that no editor can write, into CORPUS/load, safetensors, session and data_files. Run it
// when a format has changed: fuzz_seeds tests/fuzz/corpus.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/thread_pool.h"
#include "format/safetensors_writer.h"
#include "fuzz.h"
#include "model/config.h"
#include "prosa/chat.h"
#include "tiny_model.h"
#include "tools/eval/logits_file.h"

using namespace prosa;
using namespace prosa::fuzz;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string header_of(const fs::path& path) {
  const std::string file = read(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  return file.substr(8, length);
}

/// A vocabulary of a few tokens: the data of a load are made, so that an input is text.
void make_load(const fs::path& out, const std::string& name, int bits, bool mtp, const std::string& backend) {
  ModelConfig config = tiny_config();
  config.vocab_size = 64;
  config.mtp_num_layers = mtp ? 1 : 0;
  config.tie_word_embeddings = bits != 0;
  const auto model = folder() / name;
  checkpoint::synthesize(config, model, {.seed = 3, .bits = bits, .group_size = 32, .threads = 1});
  write(out / name, read(model / "config.json") + "\n%%\n{\"eos_token_id\": [1, 2]}\n%%\n\n%%\n" +
                        header_of(model / "model.safetensors") + "\n%%\n\n%%\n" + backend);
}

void make_tensors(const fs::path& out) {
  const std::string bytes("0123456789abcdef");
  const auto data = std::as_bytes(std::span(bytes));
  const std::vector<format::TensorBytes> tensors = {{{"a.weight", format::TensorType::bf16, {2, 2}}, data.first(8)},
                                                    {{"b", format::TensorType::f32, {}}, data.first(4)},
                                                    {{"none", format::TensorType::i64, {0, 3}}, {}},
                                                    {{"c", format::TensorType::u8, {4}}, data.first(4)}};
  format::write_safetensors(out / "small", tensors, {{"format", "pt"}, {"note", "\"quoted\" \u00e9"}});
  format::write_safetensors(out / "empty", {});
}

void make_session(const fs::path& out) {
  make_tiny_model(folder() / "model");
  LoadOptions options;
  options.threads = 1;
  options.context = 160;
  Chat chat = Chat::from_pretrained((folder() / "model").string(), options);
  const SamplingConfig greedy{.temperature = 0, .max_tokens = 2};
  std::vector<Message> messages = {{Role::user, "Hi"}};
  chat.save_session((out / "short").string(), messages, greedy);
  messages = {{Role::system, "Be brief."}, {Role::user, "Hi"}};
  messages.push_back({Role::assistant, chat.generate(messages, greedy).text});
  chat.save_session((out / "turn").string(), messages, greedy);
}

void make_logits(const fs::path& out) {
  const std::vector<eval::Document> documents = {{{1, 2, 3, 4, 5}}};
  const eval::WindowOptions options{.window = 5};
  const eval::WindowPlan plan = eval::plan_windows(documents, options);
  const auto path = folder() / "logits";
  const auto sink = eval::make_logits_writer(path, "tiny");
  ThreadPool pool(1);
  sink->begin(8, documents, plan, options);
  const std::vector<float> row = {0, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t i = 0; i < plan.scored; ++i) sink->add(row, 8, pool);
  sink->end();
  write(out / "logits", "logits\n" + read(path));
  const auto number = [](uint64_t value) { return std::string(reinterpret_cast<const char*>(&value), sizeof value); };
  std::string journal = "journal\nprosa-p1" + number(1000) + number(300);
  for (const uint64_t done : {300U, 100U, 0U, 0U}) journal += number(done);
  write(out / "journal", journal);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "usage: fuzz_seeds CORPUS\n"), 2;
  const fs::path corpus = arguments[1];
  for (const char* name : {"load", "safetensors", "session", "data_files"}) fs::create_directories(corpus / name);
  make_load(corpus / "load", "raw", 0, false, "c");
  make_load(corpus / "load", "mtp", 0, true, "r");
  make_load(corpus / "load", "four-bit", 4, false, "p");
  make_load(corpus / "load", "eight-bit", 8, false, "k");
  make_tensors(corpus / "safetensors");
  make_session(corpus / "session");
  make_logits(corpus / "data_files");
  return 0;
}
