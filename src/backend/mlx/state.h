// States and snapshots of the mlx backend: lists of arrays.
//
// A snapshot holds the arrays that the state has at that moment, so taking one copies nothing. The state's next step
// then finds keys and values that somebody else holds, and MLX copies them once before it writes; conv windows and
// recurrent matrices are new arrays after every step anyway.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/mlx/forward.h"

namespace prosa::backend::mlx {

/// Bytes of all arrays, those behind the position included.
[[nodiscard]] int64_t bytes_of(const std::vector<MlxLayerState>& layers) noexcept;

/// The memory of keys and values, which snapshots and states may hold together; and of the rest.
[[nodiscard]] std::vector<SharedBlock> blocks_of(const std::vector<MlxLayerState>& layers);

class MlxState final : public State {
 public:
  MlxState(std::shared_ptr<const void> made_by, std::vector<MlxLayerState> empty, int64_t capacity)
      : State(capacity), owner(std::move(made_by)), layers(std::move(empty)) {
    count();
  }
  [[nodiscard]] int64_t byte_size() const noexcept override { return bytes_; }
  [[nodiscard]] int64_t row_bytes() const noexcept override { return row_bytes_; }
  [[nodiscard]] std::vector<SharedBlock> shared() const override { return blocks_of(layers); }

  void invalidate() noexcept {
    valid_ = false;
    pending_ = 0;
    set_rows({});
  }
  void settle(int64_t position) noexcept {
    position_ = position;
    pending_ = 0;
    valid_ = true;
    count();
  }
  void await(int64_t tokens) noexcept { pending_ = tokens; }
  /// Each [m, vocab], computed.
  void set_rows(std::vector<mx::array> parts) noexcept;
  /// Row `row` in host memory, [vocab]. Where a device has memory of its own, MLX brings it.
  [[nodiscard]] const float* row(int64_t row) const;
  /// The same as an array [vocab].
  [[nodiscard]] mx::array row_array(int64_t row) const;

  const std::shared_ptr<const void> owner;  // the backend's identity
  std::vector<MlxLayerState> layers;        // [num_layers]
  /// Of a tentative segment: conv and recurrent as they were before it and after each of its tokens. Keys and values
  /// are those of `layers`: what lies behind the position is never read.
  std::vector<std::vector<MlxLayerState>> after;  // [pending() + 1]

 private:
  [[nodiscard]] std::pair<size_t, int> place(int64_t row) const;  // part, and row of the part
  void count() noexcept { bytes_ = bytes_of(layers); }

  std::vector<mx::array> rows_of_;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<int64_t> row_bytes_ = 0;
};

class MlxSnapshot final : public Snapshot {
 public:
  MlxSnapshot(int64_t position, std::vector<MlxLayerState> saved, uint64_t of_model)
      : Snapshot(position), model(of_model), layers(std::move(saved)) {}
  [[nodiscard]] Place place() const noexcept override { return Place::host; }
  [[nodiscard]] int64_t byte_size() const noexcept override { return bytes_of(layers); }
  [[nodiscard]] std::vector<SharedBlock> shared() const override { return blocks_of(layers); }
  /// "keys.<layer>", "values.<layer>": [position, heads, head_dim]; "conv.<layer>", "recurrent.<layer>" as the state
  /// has them; each where the layer has it.
  [[nodiscard]] std::vector<SnapshotPart> parts() const override;

  const uint64_t model;                     // its fingerprint
  const std::vector<MlxLayerState> layers;  // [num_layers], computed
};

/// Snapshot::parts() turned round. Error(bad_session).
[[nodiscard]] std::vector<MlxLayerState> layers_of_parts(const ModelConfig& config, int64_t position,
                                                         const Backend::FindPart& find, const MlxSnapshot* longer);

}  // namespace prosa::backend::mlx
