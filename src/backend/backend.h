// The seam between the project and a device: coarse functions over tensors and positions. A backend runs all layers
// itself with its own fused kernels; there is no graph and no virtual call per operation. It knows no text.
//
// Prefill and decode are two programs over one State: prefill is matrix-matrix with the chunked delta rule, decode is
// bandwidth-bound. Numbers: prefill(n) agrees with n decodes within the bounds of docs/numerics.md; thread count and
// batch neighbours change no bit.
//
// Thread safety: one call at a time per Backend; different Backends are independent. `cancel` may be set from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"

namespace prosa::backend {

/// Memory that several states and snapshots may hold together.
struct SharedBlock {
  const void* id = nullptr;  // equal ids are the same memory
  int64_t bytes = 0;
};

/// Where a sequence stands: KV cache, conv windows and recurrent matrices, valid at exactly `position` tokens. The KV
/// cache may grow as tokens are fed, up to `capacity`.
class State {
 public:
  virtual ~State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] int64_t position() const noexcept { return position_; }
  [[nodiscard]] int64_t capacity() const noexcept { return capacity_; }
  /// False after a cancelled or failed prefill: only reset() or Backend::restore() make it usable again.
  [[nodiscard]] bool valid() const noexcept { return valid_; }
  /// Host or device bytes held, shared ones included. From any thread.
  [[nodiscard]] virtual int64_t byte_size() const noexcept = 0;
  /// Of these: what snapshots and other states may hold too.
  [[nodiscard]] virtual std::vector<SharedBlock> shared() const { return {}; }

 protected:
  explicit State(int64_t capacity) noexcept : capacity_(capacity) {}
  int64_t position_ = 0;
  int64_t capacity_ = 0;
  bool valid_ = true;
};

/// A part of a snapshot, as it goes into a file. The name is unique in the snapshot; `bytes` are numbers of
/// `element_bytes` (2: integers, 4: float32), little-endian, and live as long as the part.
struct SnapshotPart {
  std::string name;
  int element_bytes = 4;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner = {};  // of bytes that the snapshot does not hold itself
};

/// A State at one position (KV up to it, conv windows, recurrent matrices), in host memory. Never changes; KV may be
/// shared with the state and with other snapshots of it, so a snapshot costs the same at any position.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  [[nodiscard]] int64_t position() const noexcept { return position_; }
  [[nodiscard]] virtual int64_t byte_size() const noexcept = 0;  // bytes held, shared ones included
  [[nodiscard]] virtual std::vector<SharedBlock> shared() const { return {}; }
  /// Everything in it; nothing behind its position.
  [[nodiscard]] virtual std::vector<SnapshotPart> parts() const = 0;

 protected:
  explicit Snapshot(int64_t position) noexcept : position_(position) {}
  int64_t position_ = 0;
};

enum class LogitRows { none, last, all };

struct PrefillRequest {
  std::span<const int32_t> tokens;  // [n], each in [0, vocab)
  LogitRows rows = LogitRows::last;
  std::span<float> logits = {};               // [0 | 1 | n, vocab], as `rows` says
  const std::atomic<bool>* cancel = nullptr;  // checked every millisecond or so; set: Error(cancelled), state invalid
  std::function<void(int64_t done, int64_t total)> progress = {};  // tokens finished; called between chunks
};

struct MemoryReport {
  int64_t weights = 0;  // bytes this backend holds for weights beyond the mapped file, or the mapped bytes it reads
  int64_t scratch = 0;  // buffers shared by all calls
};

/// One stage's share of the time since the last reset (for `bench --profile`).
struct StageTime {
  std::string_view stage;
  double seconds = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;  // "cpu", "reference"
  [[nodiscard]] virtual std::string_view isa() const noexcept = 0;   // one of available_isas()
  [[nodiscard]] virtual int threads() const noexcept = 0;
  [[nodiscard]] virtual const ModelConfig& config() const noexcept = 0;

  /// For at most `capacity` tokens. Error(out_of_memory) names the size.
  [[nodiscard]] virtual std::unique_ptr<State> new_state(int64_t capacity) = 0;
  /// Back to position 0, valid.
  virtual void reset(State& state) = 0;

  /// Feeds n >= 1 tokens. Error(context_exceeded) when they don't fit and Error(out_of_memory) come before anything is
  /// touched.
  virtual void prefill(State& state, const PrefillRequest& request) = 0;
  /// Feeds one token and writes its logits [vocab].
  virtual void decode(State& state, int32_t token, std::span<float> logits) = 0;
  /// One token for each of several states; logits [states.size(), vocab]. Row i has the bits of a lone decode().
  virtual void decode_batch(std::span<State* const> states, std::span<const int32_t> tokens,
                            std::span<float> logits) = 0;

  [[nodiscard]] virtual std::unique_ptr<Snapshot> snapshot(const State& state) = 0;
  /// `state` continues with the very bits it would have had. Its capacity must reach the snapshot's position.
  virtual void restore(State& state, const Snapshot& snapshot) = 0;

  /// Names the form of a snapshot's parts ("cpu 1"): what another backend or version writes is not read.
  [[nodiscard]] virtual std::string_view snapshot_layout() const noexcept = 0;
  /// The snapshot of these parts, found by name (no bytes: there is no such part). Error(bad_session) when one is
  /// missing or has another size than this model's; nothing is read beyond their bytes. `longer`: a snapshot of the
  /// same sequence at a later position, or null; KV that find() has no bytes for is shared with it.
  using FindPart = std::function<std::span<const std::byte>(const std::string& name)>;
  [[nodiscard]] virtual std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                                const Snapshot* longer) = 0;

  [[nodiscard]] virtual MemoryReport memory() const noexcept = 0;

  /// Time by stage; a backend that does not measure returns nothing. The first call switches the measuring on.
  virtual std::vector<StageTime> take_profile() { return {}; }
};

struct BackendOptions {
  int threads = 0;                                     // 0: physical cores
  std::string isa = {};                                // "": the best this machine has; else a name of available_isas()
  int activation_bits = 15;                            // 15 or 8, of what quantized weights are multiplied with (cpu)
  int kv_bits = 8;                                     // 8 or 16, of keys and values (cpu)
  int64_t max_prefill_chunk = 128;                     // tokens per pass of prefill: bounds the scratch memory
  std::function<void(double fraction)> progress = {};  // of packing the weights, 0..1
};

/// The official formulas in float32 over dequantized weights: slow, obvious, the oracle of every other backend.
std::unique_ptr<Backend> make_reference_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

/// Weights packed once for the ISA found at run time, integer activations in quantized products.
std::unique_ptr<Backend> make_cpu_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

/// By name ("cpu", "reference"); Error(unsupported) lists the known ones.
std::unique_ptr<Backend> make_backend(std::string_view name, std::shared_ptr<const Weights> weights,
                                      const BackendOptions& options);

/// What this machine can run, best first: a subset of "amx", "avx512vnni", "avx2", "i8mm", "neon", "portable".
std::vector<std::string> available_isas();

}  // namespace prosa::backend
