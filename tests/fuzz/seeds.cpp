// Writes the seeds of a corpus that no editor can write, into CORPUS/load, safetensors, session and data_files. Run it
// when a format has changed: fuzz_seeds tests/fuzz/corpus.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

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

ModelConfig load_config() {
  ModelConfig config = tiny_config();
  config.vocab_size = 64;  // the data of a load are made, so that an input is text
  return config;
}

/// The parts of an input of the fuzzer `load`, of which a second file may be empty.
void write_load(const fs::path& path, const std::string& config, const std::string& index, const std::string& first,
                const std::string& second, const std::string& backend) {
  const std::string between = "\n%%\n";
  write(path, config + between + R"({"eos_token_id": [1, 2]})" + between + index + between + first + between + second +
                  between + backend);
}

void make_load(const fs::path& out, const std::string& name, int bits, const std::string& backend) {
  ModelConfig config = load_config();
  config.tie_word_embeddings = bits != 0;
  const auto model = folder() / name;
  synthesize(config, model, bits);
  write_load(out / name, read(model / "config.json"), "", header_of(model / "model.safetensors"), "", backend);
}

/// The MTP head in a shard of its own.
void make_shards(const fs::path& out) {
  ModelConfig config = load_config();
  const auto model = folder() / "shards";
  synthesize(config, model);
  auto json = nlohmann::json::parse(read(model / "config.json"));
  (json.contains("text_config") ? json["text_config"] : json)["mtp_num_hidden_layers"] = 1;
  const std::string layer = "mtp.layers.0.";
  const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {{"mtp.fc", {32, 64}},
                                                                            {"mtp.norm", {32}},
                                                                            {"mtp.pre_fc_norm_embedding", {32}},
                                                                            {"mtp.pre_fc_norm_hidden", {32}},
                                                                            {layer + "input_layernorm", {32}},
                                                                            {layer + "post_attention_layernorm", {32}},
                                                                            {layer + "mlp.down_proj", {32, 32}},
                                                                            {layer + "mlp.gate_proj", {32, 32}},
                                                                            {layer + "mlp.up_proj", {32, 32}},
                                                                            {layer + "self_attn.q_norm", {16}},
                                                                            {layer + "self_attn.k_norm", {16}},
                                                                            {layer + "self_attn.q_proj", {64, 32}},
                                                                            {layer + "self_attn.k_proj", {16, 32}},
                                                                            {layer + "self_attn.v_proj", {16, 32}},
                                                                            {layer + "self_attn.o_proj", {32, 32}}};
  const std::vector<std::byte> zeros(1 << 13);
  std::vector<format::TensorBytes> tensors;
  for (const auto& [name, shape] : shapes) {
    const uint64_t bytes = *format::tensor_bytes(shape, format::TensorType::bf16);
    tensors.push_back({{name + ".weight", format::TensorType::bf16, shape}, std::span(zeros).first(bytes)});
  }
  format::write_safetensors(folder() / "mtp", tensors);
  nlohmann::json map;
  for (const auto& [file, number] : {std::pair{model / "model.safetensors", 1}, std::pair{folder() / "mtp", 2}}) {
    const auto opened = format::SafetensorsFile::open(file);
    for (const format::TensorEntry& entry : opened.entries()) {
      map[entry.name] = "model-0000" + std::to_string(number) + "-of-00002.safetensors";
    }
  }
  write_load(out / "shards", json.dump(), nlohmann::json{{"weight_map", map}}.dump(),
             header_of(model / "model.safetensors"), header_of(folder() / "mtp"), "r");
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
  const SamplingConfig greedy{.temperature = 0, .max_tokens = 2, .seed = 1};  // kept in the file
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
  make_load(corpus / "load", "raw", 0, "c");
  make_load(corpus / "load", "four-bit", 4, "p");
  make_load(corpus / "load", "eight-bit", 8, "k");
  make_shards(corpus / "load");
  make_tensors(corpus / "safetensors");
  make_session(corpus / "session");
  make_logits(corpus / "data_files");
  return 0;
}
