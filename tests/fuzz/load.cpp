// Input: config.json, generation_config.json, the index, the headers of one or two safetensors files, and a letter for
// the backend. The data are made: small numbers wherever the headers put them. A config that is read can be written and
// read again; a folder that loads computes logits.
#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_json.h"
#include "fuzz.h"
#include "prosa/model.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

constexpr uint64_t kMaxData = uint64_t{1} << 18;

/// How far the header's tensors reach.
uint64_t data_bytes(std::string_view header) {
  const auto json = nlohmann::json::parse(header, nullptr, false);
  uint64_t end = 0;
  if (!json.is_object()) return 0;
  for (const auto& [name, tensor] : json.items()) {
    const auto offsets = tensor.is_object() ? tensor.find("data_offsets") : tensor.end();
    if (!tensor.is_object() || offsets == tensor.end() || !offsets->is_array() || offsets->size() != 2) continue;
    if ((*offsets)[1].is_number_unsigned()) end = std::max(end, (*offsets)[1].get<uint64_t>());
  }
  return std::min(end, kMaxData);
}

/// Each pair of bytes is a bfloat16 of about 0.01, of either sign: of use as weight, scale, bias and code alike.
std::string made_data(uint64_t bytes) {
  std::string data(bytes, '\0');
  uint32_t state = 1;
  for (uint64_t i = 0; i < bytes; ++i) {
    state = state * 1664525U + 1013904223U;
    data[i] = static_cast<char>(i % 2 == 0 ? state >> 24U : (state >> 31U) != 0 ? 0x3cU : 0xbcU);
  }
  return data;
}

void write_tensors(const std::filesystem::path& path, std::string_view header) {
  if (header.empty()) {
    std::filesystem::remove(path);
    return;
  }
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += header;
  bytes += made_data(data_bytes(header));
  write(path, bytes);
}

void check_config(const ModelConfig& config) {
  const std::string written = checkpoint::text_config_json(config).dump();
  const auto path = folder() / "again.json";
  write(path, written);
  const auto refused = error_of([&] {
    const ModelConfig again = checkpoint::read_config_file(path);
    require(checkpoint::text_config_json(again).dump() == written, "a config survives", written);
  });
  require(!refused, "a config that was read can be read again", refused ? refused->what() : "");
}

void check_model(char backend) {
  LoadOptions options;
  options.threads = 1;
  options.context = 16;
  options.state_store_bytes = 1 << 20;
  options.offline = true;
  options.backend = backend == 'r' ? "reference" : "cpu";
  options.isa = backend == 'p' ? "portable" : "";
  options.kv_bits = backend == 'k' ? 16 : 8;
  options.activation_bits = backend == '8' ? 8 : 15;
  const Model model = Model::from_pretrained((folder() / "model").string(), options);
  State state = model.new_state();
  const auto last = static_cast<int32_t>(model.info().vocab_size - 1);
  const std::vector<int32_t> ids = {0, last, 0};
  const auto vocab = static_cast<size_t>(model.info().vocab_size);
  require(model.forward(ids, state, {}, true).values.size() == vocab, "a prefill gives logits");
  require(model.forward(std::span(ids).first(1), state).values.size() == vocab, "a step gives logits");
  require(state.position() == 4, "a state counts what it was fed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 6);
  const auto model = folder() / "model";
  std::filesystem::create_directories(model);
  write_or_remove(model / "config.json", parts[0]);
  write_or_remove(model / "generation_config.json", parts[1]);
  write_or_remove(model / "model.safetensors.index.json", parts[2]);
  const bool sharded = !parts[4].empty();
  write_tensors(model / "model.safetensors", sharded ? "" : parts[3]);
  write_tensors(model / "model-00001-of-00002.safetensors", sharded ? parts[3] : "");
  write_tensors(model / "model-00002-of-00002.safetensors", parts[4]);
  error_of([&] { check_config(checkpoint::read_config(model)); });
  error_of([&] { (void)checkpoint::list_tensors(model); });
  error_of([&] { check_model(parts[5].empty() ? 'c' : parts[5][0]); });
  return 0;
}
