// The seam between the project and a device: coarse functions over tensors and positions. A backend runs all layers
// itself with its own fused kernels; there is no graph and no virtual call per operation. It knows no text.
//
// Everything is computed by one ragged call, run(segments). Inside, a segment of many tokens is matrix-matrix with the
// chunked delta rule, a single token is bound by memory bandwidth; products see the rows of all segments at once,
// attention and the delta rule work on each segment. Numbers: a segment of n tokens agrees with n segments of one
// within the bounds of docs/reference/numerics.md. Neither thread count, nor the other segments of a call, nor cutting
// a segment at multiples of slice_unit() from its beginning changes a single bit.
//
// Thread safety: one run() at a time on a Backend. Everything else may be called from any thread, also while run()
// works on other states; no two calls may have the same State at a time. A Snapshot never changes and may be used by
// several threads at once. Flags and deadlines may pass at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/candidates.h"
#include "base/cancel.h"
#include "model/weights.h"

namespace prosa::backend {

/// Memory that several states and snapshots may hold together.
struct SharedBlock {
  const void* id = nullptr;  // equal ids are the same memory
  int64_t bytes = 0;
};

/// Where a sequence stands: KV cache, conv windows and recurrent matrices, valid at exactly `position` tokens. The KV
/// cache may grow as tokens are fed, up to `capacity`. A state also keeps the rows of logits that its last segment
/// asked for, until the next call that moves it. It may outlive its backend, which then only frees it.
class State {
 public:
  virtual ~State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] int64_t position() const noexcept { return position_; }
  [[nodiscard]] int64_t capacity() const noexcept { return capacity_; }
  /// False after a segment that was cancelled or failed: only reset() and restore() make the state usable again.
  [[nodiscard]] bool valid() const noexcept { return valid_; }
  /// Tokens of a tentative segment that await commit() or discard(); position() does not count them.
  [[nodiscard]] int64_t pending() const noexcept { return pending_; }
  /// Rows of logits that can be asked for: row 0 is that of the first token wanted.
  [[nodiscard]] int64_t rows() const noexcept { return rows_; }
  /// Host or device bytes held for KV, windows and matrices, shared ones included. From any thread.
  [[nodiscard]] virtual int64_t byte_size() const noexcept = 0;
  /// Bytes of the rows. From any thread.
  [[nodiscard]] virtual int64_t row_bytes() const noexcept = 0;
  /// Of byte_size(): what snapshots and other states may hold too.
  [[nodiscard]] virtual std::vector<SharedBlock> shared() const { return {}; }

 protected:
  explicit State(int64_t capacity) noexcept : capacity_(capacity) {}
  int64_t position_ = 0;
  int64_t capacity_ = 0;
  int64_t pending_ = 0;
  int64_t rows_ = 0;
  bool valid_ = true;
};

/// The type of a snapshot part's numbers, as a file names it.
enum class PartType { f32, f16, bf16, i16, i8, u8 };

/// A part of a snapshot, as it goes into a file: numbers of `type`, little-endian. The name is unique in the snapshot;
/// the bytes live as long as the part.
struct SnapshotPart {
  std::string name;
  PartType type = PartType::f32;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner = {};  // of bytes that the snapshot does not hold itself
};

/// Where a snapshot's numbers lie. A CPU knows one place and takes every wish for it.
enum class Place { device, host, pinned_host };

/// A State at one position: KV up to it, conv windows, recurrent matrices; no rows. Never changes. Memory may be shared
/// with the state and with other snapshots of it, so a snapshot costs the same at any position. It may outlive its
/// backend: parts() still answers, and a backend of the same snapshot_layout() and model restores it.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  [[nodiscard]] int64_t position() const noexcept { return position_; }
  [[nodiscard]] virtual Place place() const noexcept = 0;
  [[nodiscard]] virtual int64_t byte_size() const noexcept = 0;  // bytes held, shared ones included
  [[nodiscard]] virtual std::vector<SharedBlock> shared() const { return {}; }
  /// Everything in it, in host memory; nothing behind its position.
  [[nodiscard]] virtual std::vector<SnapshotPart> parts() const = 0;

 protected:
  explicit Snapshot(int64_t position) noexcept : position_(position) {}
  int64_t position_ = 0;
};

enum class Rows { none, last, all };

/// The most tokens of a tentative segment.
inline constexpr int64_t kMaxTentative = 32;

/// Tokens to feed to one state in a run().
struct Segment {
  State* state = nullptr;
  std::span<const int32_t> tokens;  // [n >= 1], each in [0, vocab)
  Rows rows = Rows::last;           // whose logits the state keeps: [0 | 1 | n, vocab]
  /// The state runs ahead: its position stays, n of the tokens are kept by commit(state, n), none by discard(state).
  /// Every row has the bits that decoding the tokens one by one would give. At most kMaxTentative tokens.
  bool tentative = false;
  Cancel cancel = {};
  /// Out: the tokens are not all fed, and the state is no longer valid().
  bool cancelled = false;
};

/// A question to a row that a state keeps.
struct RowPick {
  const State* state = nullptr;
  int64_t row = 0;  // in [0, state->rows())
  Pick pick;
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

/// What a backend says about itself, for people and for reports.
struct Description {
  std::string name;     // "cpu", "reference"
  std::string kernels;  // which of its kernels run here: "amx", "avx512vnni"; "float32"
  int threads = 0;      // host threads that compute; 0: not the host
  std::string details;  // what else its results depend on: "8-bit KV, 15-bit activations"
};

class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual const Description& description() const noexcept = 0;
  [[nodiscard]] virtual const ModelConfig& config() const noexcept = 0;
  /// Tokens of a chunk: who feeds a prompt in pieces cuts it at multiples of this from where it begins.
  [[nodiscard]] virtual int64_t slice_unit() const noexcept = 0;
  /// Rows at which a run() is efficient and still short: what a scheduler fills a step up to. A multiple of
  /// slice_unit().
  [[nodiscard]] virtual int64_t step_rows() const noexcept = 0;

  /// For at most `capacity` tokens. Error(out_of_memory) names the size.
  [[nodiscard]] virtual std::unique_ptr<State> new_state(int64_t capacity) = 0;
  /// Back to position 0, valid, without rows or pending tokens.
  virtual void reset(State& state) = 0;

  /// Feeds every segment's tokens to its state. Errors come before anything is touched: invalid_argument (no tokens, a
  /// token outside the vocabulary, a state that is not valid(), has pending tokens, stands twice in the call, or is
  /// another backend's; too many tentative tokens), context_exceeded, out_of_memory. Only one comes later: io, when
  /// weights are read where a file is mapped and the file broke; the state is then no longer valid(). A segment whose
  /// cancel is requested ends early, or with the pass it is in; the others are computed as if it had not been there.
  virtual void run(std::span<Segment> segments) = 0;

  /// The best of each row asked for, into answers[asks.size()]. Error(invalid_argument): a row that is not there.
  virtual void candidates(std::span<const RowPick> asks, std::span<Candidates> answers) = 0;
  /// A whole row [vocab] as computed: the expensive copy, for whoever needs every logit.
  virtual void logits(const State& state, int64_t row, std::span<float> out) = 0;
  /// Gives a restored state its last row [vocab] back, as a session file kept it.
  virtual void set_row(State& state, std::span<const float> logits) = 0;

  /// Keeps the first n of the pending tokens, 0 <= n <= pending(): the state has then the bits of n decodes. Rows stay.
  virtual void commit(State& state, int64_t n) = 0;
  void discard(State& state) { commit(state, 0); }

  /// Of a valid state without pending tokens. Error(out_of_memory).
  [[nodiscard]] virtual std::unique_ptr<Snapshot> snapshot(const State& state, Place place = Place::device) = 0;
  /// `state` continues with the very bits it would have had; it has no rows. Errors: context_exceeded (the snapshot's
  /// position is beyond its capacity), invalid_argument (a snapshot of another layout or model).
  virtual void restore(State& state, const Snapshot& snapshot) = 0;

  /// Names the form of a snapshot's parts ("cpu 5"): what another backend or version writes is not read.
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

/// Options of the cpu backend.
struct CpuOptions {
  int threads = 0;          // 0: the cores that this process may use
  std::string isa = {};     // "": the best this machine has; else a name of available_isas()
  int activation_bits = 0;  // of inputs of quantized products: 15, or 8 but behind gates; 0: 8 for weights of up to 6
  int kv_bits = 8;          // 8 or 16, of keys and values
  int64_t pass_rows = 128;  // token rows of a pass: bounds the scratch memory
};

/// Options of the reference backend.
struct ReferenceOptions {
  int threads = 0;  // 0: the cores that this process may use
};

/// Options of the cuda backend.
struct CudaOptions {
  int device = 0;            // which card
  int64_t pass_rows = 2048;  // token rows of a pass over prompts: bounds the scratch memory
  bool graphs = true;        // a decode step as one graph
  bool overlap = true;       // kernels begin while the one before still runs, where the card can
};

struct BackendOptions {
  CpuOptions cpu = {};
  ReferenceOptions reference = {};
  CudaOptions cuda = {};
  std::function<void(double fraction)> progress = {};  // of packing the weights, 0..1
};

/// The official formulas in float32 over dequantized weights: slow, obvious, the oracle of every other backend.
std::unique_ptr<Backend> make_reference_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

/// Weights packed once for the ISA found at run time, integer activations in quantized products.
std::unique_ptr<Backend> make_cpu_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

/// Everything on one NVIDIA card, by a module that is loaded when this is first called. Error(unsupported): no module,
/// no driver, too old a driver, no card that its kernels run on.
std::unique_ptr<Backend> make_cuda_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options);

/// By name ("cpu", "cuda", "mlx", "reference"). Errors: unsupported (lists the known ones), io (a file of the weights
/// broke while it was packed).
std::unique_ptr<Backend> make_backend(std::string_view name, const std::shared_ptr<const Weights>& weights,
                                      const BackendOptions& options);

/// What this machine's CPU can run, best first: a subset of "amx", "avx512vnni", "avx2", "i8mm", "neon", "portable".
std::vector<std::string> available_isas();

}  // namespace prosa::backend
