// The conversion of a folder: files of at most a given size, blocks of rows on all cores, everything beside its place
// until it is complete.
#include "checkpoint/convert.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <mutex>

#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/config_json.h"
#include "checkpoint/convert_files.h"
#include "checkpoint/convert_rows.h"
#include "checkpoint/convert_tensors.h"
#include "checkpoint/staging_folder.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;

/// Tensors [begin, end) of the list, one file.
struct Shard {
  size_t begin = 0;
  size_t end = 0;
  int64_t bytes = 0;
};

/// A matrix stays with its scales and biases, so that no loader has to look for them elsewhere.
std::vector<Shard> cut_shards(const std::vector<ConvertTensor>& tensors, int64_t limit) {
  std::vector<Shard> shards;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t bytes = tensors[i].bytes();
    if (shards.empty() || shards.back().bytes + bytes > limit) shards.push_back({i, i, 0});
    shards.back().end = i + 1;
    shards.back().bytes += bytes;
  }
  return shards;
}

std::string shard_name(size_t shard, size_t count) {
  if (count == 1) return "model.safetensors";
  std::array<char, 64> name;
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", shard + 1, count);
  return name.data();
}

/// Rows [begin, end) of one tensor.
struct ConvertBlock {
  size_t tensor = 0;      // in the list
  size_t first_slot = 0;  // in the writer's
  int64_t begin = 0;
  int64_t end = 0;
};

class Conversion {
 public:
  Conversion(const Weights& weights, std::vector<ConvertTensor> tensors, const ConvertPlan& plan,
             const ConvertOptions& options, std::string source)
      : weights_(weights), tensors_(std::move(tensors)), options_(options), errors_(tensors_.size()) {
    workers_.assign(worker_count(SIZE_MAX, options.threads), RowConverter(plan, std::move(source)));
    for (const ConvertTensor& tensor : tensors_) bytes_total_ += tensor.bytes();
  }

  [[nodiscard]] const std::vector<ConvertTensor>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] int64_t bytes_total() const noexcept { return bytes_total_; }

  /// The weights and, for more than one file, their index.
  void write(const fs::path& folder) {
    const std::vector<Shard> shards = cut_shards(tensors_, options_.shard_bytes);
    std::map<std::string, std::string> places;
    for (size_t i = 0; i < shards.size(); ++i) write_shard(shards[i], folder, shard_name(i, shards.size()), places);
    if (shards.size() == 1) return;
    int64_t parameters = 0;
    for (const ConvertTensor& tensor : tensors_) parameters += tensor.rows * tensor.cols;
    write_index(folder, places, bytes_total_, parameters);
  }

  [[nodiscard]] QuantizationReport report() const {
    QuantizationReport report;
    report.method = options_.method;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      report.tensors.push_back(tensors_[i].report());
      if (errors_[i].empty()) continue;
      SquareSums sum;
      for (const SquareSums& block : errors_[i]) sum += block;
      report.tensors.back().relative_error = sum.relative_error();
      report.tensors.back().squared_norm = sum.values;
    }
    return report;
  }

 private:
  void write_shard(const Shard& shard, const fs::path& folder, const std::string& name,
                   std::map<std::string, std::string>& places) {
    std::vector<format::TensorSpec> specs;
    std::vector<ConvertBlock> blocks;
    for (size_t i = shard.begin; i < shard.end; ++i) {
      const int64_t rows = block_rows(tensors_[i]);
      for (int64_t begin = 0; begin < tensors_[i].rows; begin += rows) {
        blocks.push_back({i, specs.size(), begin, std::min(tensors_[i].rows, begin + rows)});
      }
      errors_[i].resize(static_cast<size_t>((tensors_[i].rows + rows - 1) / rows));
      for (format::TensorSpec& spec : tensors_[i].written(options_.layout)) {
        places.emplace(spec.name, name);
        specs.push_back(std::move(spec));
      }
    }
    format::SafetensorsWriter writer(folder / name, specs, {{"format", "mlx"}});
    for_each_item(blocks.size(), options_.threads, [&](size_t worker, size_t item) {
      if (options_.cancelled && options_.cancelled())
        throw Error(ErrorCode::cancelled, "the conversion was interrupted");
      const ConvertBlock& block = blocks[item];
      const ConvertTensor& tensor = tensors_[block.tensor];
      errors_[block.tensor][static_cast<size_t>(block.begin / block_rows(tensor))] =
          workers_[worker].convert(tensor, block.begin, block.end, writer, block.first_slot);
      weights_.require_intact();
      tell(tensor, block);
    });
    writer.commit();
  }

  void tell(const ConvertTensor& tensor, const ConvertBlock& block) {
    if (!options_.progress) return;
    const std::scoped_lock lock(mutex_);
    bytes_done_ += tensor.bytes() / tensor.rows * (block.end - block.begin);
    options_.progress({bytes_done_, bytes_total_, tensor.name});
  }

  const Weights& weights_;  // that tensors_ are of
  std::vector<ConvertTensor> tensors_;
  const ConvertOptions& options_;
  std::vector<RowConverter> workers_;
  std::vector<std::vector<SquareSums>> errors_;  // by tensor and block, so that sums have one order
  int64_t bytes_total_ = 0;
  std::mutex mutex_;
  int64_t bytes_done_ = 0;  // guarded by mutex_
};

void require_mtp(const Weights& weights, const fs::path& source, bool keep_mtp) {
  if (!keep_mtp || weights.mtp) return;
  throw Error(ErrorCode::not_found, "the source has no complete MTP head to keep", source.string(),
              "leave out --keep-mtp");
}

fs::path folder_of(const fs::path& destination, const std::vector<ConvertTensor>& tensors, Layout layout) {
  if (layout == Layout::mlx) return destination;
  const WeightFormat common = common_format(tensors);
  if (common.has_small_floats()) return destination / to_string(common.coding);
  return destination / (common.quantized() ? "int" + std::to_string(common.bits) : "bf16");
}

/// What the source was odd in, and what the result will be.
std::vector<std::string> warnings_of(const ModelConfig& config, Layout layout) {
  std::vector<std::string> warnings = config.warnings;
  if (layout == Layout::mlx && full_attention_interval(config) == 0) {
    warnings.emplace_back(
        "mlx-lm cannot load the result: it knows layers only where every n-th one is attention, which these are not; "
        "prosa can");
  }
  return warnings;
}

}  // namespace

std::vector<MatrixShape> list_matrices(const fs::path& source, bool keep_mtp) {
  const auto weights = load_weights(source);
  require_mtp(*weights, source, keep_mtp);
  std::vector<MatrixShape> shapes;
  for (const ConvertTensor& tensor : list_convert_tensors(*weights, source, keep_mtp)) {
    if (tensor.matrix != nullptr) shapes.push_back({tensor.name, tensor.rows, tensor.cols});
  }
  return shapes;
}

QuantizationReport convert(const fs::path& source, const fs::path& destination, const ConvertPlan& plan,
                           const ConvertOptions& options) {
  const auto weights = load_weights(source);
  require_mtp(*weights, source, options.keep_mtp);
  std::vector<ConvertTensor> tensors = list_convert_tensors(*weights, source, options.keep_mtp);
  apply_plan(tensors, plan);
  const fs::path folder = folder_of(destination, tensors, options.layout);

  Conversion conversion(*weights, std::move(tensors), plan, options, source.string());
  StagingFolder staging(folder, source, options.replace, conversion.bytes_total());
  conversion.write(staging.path());
  write_config(staging.path(), source, weights->config, conversion.tensors(), options.layout);
  copy_companions(source, staging.path());
  QuantizationReport report = conversion.report();
  write_quantization_report(staging.path(), report);
  staging.commit();
  report.folder = folder;
  report.warnings = warnings_of(weights->config, options.layout);
  return report;
}

QuantizationReport plan_conversion(const fs::path& source, const ConvertPlan& plan, const ConvertOptions& options) {
  const auto weights = load_weights(source);
  require_mtp(*weights, source, options.keep_mtp);
  std::vector<ConvertTensor> tensors = list_convert_tensors(*weights, source, options.keep_mtp);
  apply_plan(tensors, plan);
  QuantizationReport report;
  report.method = options.method;
  report.warnings = warnings_of(weights->config, options.layout);
  for (const ConvertTensor& tensor : tensors) report.tensors.push_back(tensor.report());
  return report;
}

}  // namespace prosa::checkpoint
