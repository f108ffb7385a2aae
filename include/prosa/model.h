// A loaded checkpoint with tensor input and output: token ids in, logits and state out. No text, no sampling.
//
// Chat (chat.h) is the conversation on top. MODEL names are folders or hub names; "" is the embedded model. One Model
// serves any number of Chats, Sessions and States, whose steps are computed together.
// A Model that was moved from gives Error(invalid_argument); a State that was is empty, as a new one.
// Thread safety: Model is a handle that may be copied and used from any threads; one call at a time on a State (a
// second thread gets Error(busy)).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "prosa/hub.h"
#include "prosa/sampling.h"

namespace prosa {

/// What a Chat does with messages that no longer fit its context.
enum class ContextPolicy {
  error,        // Error(context_exceeded)
  drop_oldest,  // leaves out the oldest turns, never the system prompt, the tools or the newest turn; says how many
};

/// Options of every way to load a model.
struct LoadOptions {
  std::string backend = "cpu";  // "cpu", "reference"
  int threads = 0;              // 0: physical cores
  std::string isa = {};         // "": the best of this machine; "amx", "avx512vnni", "avx2", "i8mm", "neon",
                                // "portable"
  /// CPU backend, what quantized weights are multiplied with: integers of 8 bits (8), but for what has passed a gate,
  /// or of 15 everywhere (15), which read prompts slower and are as good as float32. 0: 8 for weights of up to 6 bits,
  /// whose own rounding costs far more, else 15. docs/reference/numerics.md has what each costs.
  int activation_bits = 0;
  /// CPU backend, keys and values of attention: integers of 8 bits, with a scale for each vector, or of 16: twice the
  /// memory of a token of context, and slower in long conversations. Both stay within the bounds of
  /// docs/reference/numerics.md.
  int kv_bits = 8;
  int64_t context = 4096;                               // tokens a conversation may hold; KV memory grows with them
  int64_t state_store_bytes = int64_t{512} << 20;       // memory for states that later prompts may come back to
  ContextPolicy context_policy = ContextPolicy::error;  // Chat only
  std::string cache_dir = {};                 // Chat only: a folder that keeps system prompts across restarts; "": none
  int64_t cache_bytes = int64_t{1} << 30;     // of that folder; what was unused for longest goes first
  double idle_unload_seconds = 0;             // Chat only: unloads (keeping states) when unused for so long; 0: never
  const std::atomic<bool>* cancel = nullptr;  // set by any thread while a model loads: Error(cancelled)
  /// 0..1 while a large model loads, on the loading thread. What it throws ends the loading and reaches the caller.
  std::function<void(double fraction, std::string_view what)> progress = {};
  /// A hub name that the cache does not have is downloaded (hub.h), unless offline or HF_HUB_OFFLINE say not to.
  bool offline = false;
  std::string revision = {};  // of a hub name: a branch, tag or commit; "": as the name says, else "main"
  std::function<void(const DownloadProgress&)> download = {};  // while that goes on; as PullOptions::progress
};

/// What a checkpoint holds, for people and programs.
struct ModelInfo {
  std::string path;          // the folder it came from
  int64_t parameters = 0;    // of the main model (a tied head once, MTP and vision not counted)
  int64_t weight_bytes = 0;  // the same in the file
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;  // of these num_attention_layers gated attention, the others Gated DeltaNet
  int64_t num_attention_layers = 0;
  int bits = 0;  // default bits of quantized matrices; 0: not quantized
  int group_size = 0;
  bool has_mtp = false;
  std::string backend;  // "cpu"
  std::string isa;      // "amx", "avx512vnni", …
  int threads = 0;
  /// What the model's authors say in its generation_config.json about sampling: the defaults of every reply. What they
  /// leave open is not set.
  SamplingConfig sampling = {};
  /// What in the model's files is odd or contradicts itself, and what prosa made of it: whole sentences that name the
  /// file, worth showing once to whoever chose the model. Usually there are none.
  std::vector<std::string> warnings = {};
};

/// Bytes held in memory, by what they are for. Weights read through a mapped file count as weights.
struct MemoryFootprint {
  int64_t weights = 0;
  int64_t kv = 0;             // key/value caches of all live states
  int64_t state = 0;          // recurrent and conv states of all live states
  int64_t stored_states = 0;  // snapshots kept for reuse
  int64_t scratch = 0;        // activations, logits
  [[nodiscard]] int64_t total() const { return weights + kv + state + stored_states + scratch; }
};

/// Where a sequence stands. Movable; a copy costs and has a name. Empty until Model::new_state().
class State {
 public:
  State();
  ~State();
  State(State&&) noexcept;
  State& operator=(State&&) noexcept;

  [[nodiscard]] int64_t position() const;  // tokens fed
  [[nodiscard]] int64_t byte_size() const;
  [[nodiscard]] State copy() const;  // an independent state that continues with the same bits

 private:
  friend class Model;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Session;    // session.h
class ModelCore;  // internal

/// Row-major float32 logits [rows, vocab].
struct Logits {
  int64_t rows = 0;
  int64_t vocab = 0;
  std::vector<float> values;
  [[nodiscard]] std::span<const float> row(int64_t index) const {
    return std::span<const float>(values).subspan(static_cast<size_t>(index * vocab), static_cast<size_t>(vocab));
  }
};

/// A loaded model. Copies are handles of the same one; the weights are freed with the last handle, Chat, Session and
/// State of it.
class Model {
 public:
  /// `name`: a folder, a hub name (owner/name[:subfolder][@revision]), or "" for the embedded model. Errors: not_found,
  /// bad_checkpoint, shape_mismatch, unsupported, io, out_of_memory; those of pull() when it has to be downloaded.
  static Model from_pretrained(const std::string& name = {}, const LoadOptions& options = {});

  [[nodiscard]] ModelInfo info() const;
  [[nodiscard]] MemoryFootprint memory_footprint() const;

  /// An empty state for at most LoadOptions::context tokens.
  [[nodiscard]] State new_state() const;

  /// Feeds input_ids [T] to `state` (which moves on) and returns logits: of every fed position, or of the last only.
  /// attention_mask [T] or empty: 0 marks padding, which is skipped: it never enters the state. With all rows, a
  /// masked position's row is zero. A single id on a used state is one decode step; more are a prefill.
  Logits forward(std::span<const int32_t> input_ids, State& state, std::span<const uint8_t> attention_mask = {},
                 bool last_only = false) const;

 private:
  friend class Session;
  friend class Chat;
  explicit Model(std::shared_ptr<ModelCore> core);
  [[nodiscard]] ModelCore& core() const;  // Error(invalid_argument) after a move
  Logits feed_rows(std::span<const int32_t> input_ids, State& state, std::span<const uint8_t> attention_mask,
                   bool last_only) const;
  std::shared_ptr<ModelCore> core_;
};

}  // namespace prosa
