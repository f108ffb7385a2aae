// compare_checkpoints: the same blocks of rows of both folders, on all cores.
#include "checkpoint/compare.h"

#include <mutex>

#include "base/parallel.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/convert_rows.h"
#include "checkpoint/convert_tensors.h"
#include "checkpoint/names.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

namespace fs = std::filesystem;

struct CompareBlock {
  size_t tensor = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

void require_same(const std::vector<ConvertTensor>& ours, const std::vector<ConvertTensor>& theirs,
                  const fs::path& folder, const fs::path& reference) {
  const auto differ = [&](const std::string& what) {
    throw Error(ErrorCode::invalid_argument, "not the same model as " + reference.string() + ": " + what,
                folder.string(), "compare a checkpoint with the one it was made from");
  };
  if (ours.size() != theirs.size()) differ("another number of tensors");
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i].name != theirs[i].name || ours[i].rows != theirs[i].rows || ours[i].cols != theirs[i].cols) {
      differ("'" + ours[i].name + "' against '" + theirs[i].name + "' " + format::shape_string(theirs[i].shape));
    }
  }
}

}  // namespace

std::vector<TensorDifference> compare_checkpoints(const fs::path& folder, const fs::path& reference, int threads,
                                                  const std::function<void(double fraction)>& progress) {
  const auto weights = load_weights(folder);
  const auto reference_weights = load_weights(reference);
  const bool mtp = weights->mtp && reference_weights->mtp;
  const auto ours = list_convert_tensors(*weights, folder, mtp);
  const auto theirs = list_convert_tensors(*reference_weights, reference, mtp);
  require_same(ours, theirs, folder, reference);

  std::vector<CompareBlock> blocks;
  for (size_t i = 0; i < ours.size(); ++i) {
    const int64_t rows = block_rows(ours[i]);
    for (int64_t begin = 0; begin < ours[i].rows; begin += rows) {
      blocks.push_back({i, begin, std::min(ours[i].rows, begin + rows)});
    }
  }
  struct Buffers {
    std::vector<float> ours;
    std::vector<float> theirs;
  };
  std::vector<Buffers> buffers(worker_count(blocks.size(), threads));
  std::vector<SquareSums> sums(blocks.size());
  std::mutex mutex;
  size_t done = 0;
  for_each_item(blocks.size(), threads, [&](size_t worker, size_t item) {
    const CompareBlock& block = blocks[item];
    Buffers& mine = buffers[worker];
    const auto count = static_cast<size_t>((block.end - block.begin) * ours[block.tensor].cols);
    mine.ours.resize(count);
    mine.theirs.resize(count);
    read_rows(ours[block.tensor], block.begin, block.end, mine.ours);
    read_rows(theirs[block.tensor], block.begin, block.end, mine.theirs);
    sums[item].add(mine.theirs, mine.ours);
    const std::scoped_lock lock(mutex);
    ++done;
    if (progress) progress(static_cast<double>(done) / static_cast<double>(blocks.size()));
  });

  weights->require_intact();
  reference_weights->require_intact();

  std::vector<TensorDifference> differences;
  for (const ConvertTensor& tensor : ours) {
    TensorDifference& difference = differences.emplace_back();
    difference.name = tensor.module();
    difference.kind = kind_of(canonical_name(tensor.name));
    difference.weights = tensor.rows * tensor.cols;
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    differences[blocks[i].tensor].squares += sums[i].values;
    differences[blocks[i].tensor].differences += sums[i].differences;
  }
  return differences;
}

}  // namespace prosa::checkpoint
