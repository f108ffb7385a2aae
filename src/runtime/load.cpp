// Loading: locate, map, pack. Nearly all the time goes into packing the weights for the machine.
#include "runtime/load.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

#include "base/boundary.h"
#include "checkpoint/checkpoint.h"
#include "hub/resolve.h"
#include "model/fingerprint.h"
#include "model/finite.h"
#include "prosa/error.h"

namespace prosa {
namespace {

constexpr double kPackingFrom = 0.05;  // share of the progress that mapping and checking stand for
constexpr int64_t kLargestContext = int64_t{1} << 30;

void check(const LoadOptions& options) {
  if (options.threads < 0 || options.threads > 4096) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be in [0, 4096]", options.threads),
                "LoadOptions.threads", "0 takes one thread per physical core");
  }
  if (options.context < 1 || options.context > kLargestContext) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("is {}, but must be in [1, {}]", options.context, kLargestContext), "LoadOptions.context");
  }
  if (options.state_store_bytes < 0) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}, but must be 0 or more", options.state_store_bytes),
                "LoadOptions.state_store_bytes");
  }
}

ModelInfo describe(const std::filesystem::path& folder, const Weights& weights, const backend::Backend& backend) {
  const ModelConfig& config = weights.config;
  ModelInfo info;
  info.path = folder.string();
  info.parameters = weights.parameter_count();
  info.weight_bytes = weights.byte_size();
  info.vocab_size = config.vocab_size;
  info.hidden_size = config.hidden_size;
  info.num_layers = config.num_layers;
  info.num_attention_layers =
      std::count(config.layer_types.begin(), config.layer_types.end(), LayerType::full_attention);
  info.bits = config.quantized ? config.quantization.bits : 0;
  info.group_size = config.quantized ? config.quantization.group_size : 0;
  info.has_mtp = weights.mtp.has_value();
  info.backend = backend.description().name;
  info.isa = backend.description().kernels;
  info.threads = backend.description().threads;
  info.warnings = config.warnings;
  info.sampling = checkpoint::read_sampling(folder, info.warnings);
  return info;
}

}  // namespace

LoadedModel load_model(const std::string& name, const LoadOptions& options) {
  check(options);
  const auto report = [&](double fraction, std::string_view what) {
    if (options.cancel != nullptr && options.cancel->load()) {
      throw Error(ErrorCode::cancelled, "loading was cancelled", name);
    }
    if (options.progress) call_back(options.progress, fraction, what);
  };
  LoadedModel loaded;
  PullOptions fetch;
  fetch.revision = options.revision;
  fetch.offline = options.offline;
  fetch.cancel = options.cancel;
  fetch.progress = guarded(options.download);
  loaded.folder = resolve_model(name, fetch);
  try {
    report(0, "reading weights");
    const std::shared_ptr<const Weights> weights = checkpoint::load_weights(loaded.folder);
    require_finite(*weights, options.threads);
    loaded.fingerprint = fingerprint(*weights);
    report(kPackingFrom, "packing weights");
    backend::BackendOptions backend_options;
    backend_options.cpu.threads = options.threads;
    backend_options.cpu.isa = options.isa;
    backend_options.cpu.activation_bits = options.activation_bits;
    backend_options.cpu.kv_bits = options.kv_bits;
    backend_options.reference.threads = options.threads;
    backend_options.progress = [&](double fraction) {
      report(kPackingFrom + (1 - kPackingFrom) * std::clamp(fraction, 0.0, 1.0), "packing weights");
    };
    loaded.backend = backend::make_backend(options.backend, weights, backend_options);
    weights->require_intact();  // the fingerprint was read from the files, too
    loaded.info = describe(loaded.folder, *weights, *loaded.backend);
    loaded.state_store_bytes = options.state_store_bytes;
    loaded.context = std::min(options.context, weights->config.max_position_embeddings);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::out_of_memory, "not enough memory for the weights", loaded.folder.string(),
                "use a smaller or a quantized model");
  }
  report(1, "ready");
  return loaded;
}

}  // namespace prosa
