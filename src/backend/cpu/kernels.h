// The kernels as a table of functions, one table per ISA, chosen once at load.
//
// Each is written once in generic/*.inl over the small vocabulary of <isa>/simd.h. Lengths named `n` are padded by the
// caller to multiples of 16 where the comment says so; buffers have room for it. None allocates, throws or locks.
// Invariant: a row's result does not depend on the rows computed with it (batch neighbours change no bit).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backend/cpu/kv_layout.h"
#include "backend/cpu/packed.h"

namespace prosa::backend::cpu {

/// An activation that is much larger than the others of its group. It is no integer of the group (0 stands there),
/// whose scale would leave nothing of the others; its product is added in float32.
struct Outlier {
  float value;
  int32_t column;  // of the group
};
inline constexpr int64_t kMaxOutliers = 8;  // of a group of one token; where there are more, none is taken out

/// Inputs of a product for several tokens, in float32 and, for quantized weights, as 15-bit integers by groups of
/// columns in two int8 planes: x = scale * (128 * high + low), low in [-64, 63]. Without the low plane they are 8-bit
/// integers, x = scale * high. docs/reference/numerics.md has what that costs. sum = scale * (sum of the integers), the
/// factor of a weight group's bias.
struct Activations {
  const float* x = nullptr;  // [tokens, ldx]; quantized weights do without
  int64_t ldx = 0;
  const int8_t* high = nullptr;  // [tokens, ldq]
  const int8_t* low = nullptr;   // [tokens, ldq], or null
  int64_t ldq = 0;
  const float* scale = nullptr;  // [groups, ldg]: the tokens of a group lie side by side
  const float* sum = nullptr;    // [groups, ldg]
  int64_t ldg = 0;
  const uint8_t* outliers = nullptr;  // [groups, ldg]: how many, or null: none anywhere
  const Outlier* outlier = nullptr;   // [groups, ldg, kMaxOutliers], by column

  /// The rows from `token` on.
  [[nodiscard]] Activations from(int64_t token) const {
    Activations rest = *this;
    if (x != nullptr) rest.x += token * ldx;
    if (high == nullptr) return rest;  // dense weights need no integers
    rest.high += token * ldq;
    if (low != nullptr) rest.low += token * ldq;
    rest.scale += token;
    rest.sum += token;
    if (outliers != nullptr) {
      rest.outliers += token;
      rest.outlier += token * kMaxOutliers;
    }
    return rest;
  }
};

/// Where a row of a product's inputs goes as integers (Activations), from some group on.
struct QuantizedRow {
  int8_t* high = nullptr;       // [n]
  int8_t* low = nullptr;        // [n], or null
  float* scale = nullptr;       // [groups, step]
  float* sum = nullptr;         // [groups, step]
  uint8_t* outliers = nullptr;  // [groups, step], or null: none is taken out
  Outlier* outlier = nullptr;   // [groups, step, kMaxOutliers]
  int64_t step = 1;
};

/// Token rows of the chunked and the stepwise delta rule, one value head.
/// State layout: [value_dim / 16][key_dim][16], float32.
struct DeltaArgs {
  float* state = nullptr;    // the head's matrix
  const float* q = nullptr;  // [tokens, ld]: L2-normalised, scaled by 1 / sqrt(key_dim)
  const float* k = nullptr;  // [tokens, ld]: L2-normalised
  const float* v = nullptr;  // [tokens, ld]
  int64_t ld = 0;
  const float* log_decay = nullptr;  // [tokens, ld_gate]: g, at most 0
  const float* beta = nullptr;       // [tokens, ld_gate]
  int64_t ld_gate = 0;
  float* out = nullptr;  // [tokens, ld_out]
  int64_t ld_out = 0;
  int64_t key_dim = 0;    // multiple of 16
  int64_t value_dim = 0;  // multiple of 16
  int64_t tokens = 0;
  float* scratch = nullptr;  // delta_chunk: delta_scratch_floats(key_dim)
};

inline constexpr int64_t kDeltaChunk = 32;  // tokens per chunk of the chunked form
/// k, q and k transposed, two [chunk, chunk] matrices, gates, u and rhs of two value blocks.
constexpr int64_t delta_scratch_floats(int64_t key_dim) {
  return 3 * kDeltaChunk * key_dim + 2 * kDeltaChunk * kDeltaChunk + 4 * kDeltaChunk + 4 * kDeltaChunk * 16;
}

inline constexpr int64_t kAttendRows = 96;  // query rows that share what is read of the KV cache

/// Running sums and the queries as integers.
constexpr int64_t attend_scratch_floats(int64_t head_dim) { return kAttendRows * (head_dim + head_dim / 2); }

/// What a row's attention over some positions needs to join with that over others.
struct AttendPart {
  float top;    // the largest score
  float total;  // the sum of the weights against it; 0: the row sees none of the positions
};

/// Causal attention of query rows of one KV head. Position p lies in blocks[p / kKvSpan]; positions behind a row's
/// limit are never weighed.
struct AttendArgs {
  const float* const* q = nullptr;           // [rows]: pointers to [head_dim], scaled by 1 / sqrt(head_dim)
  float* const* out = nullptr;               // [rows]: [head_dim]
  const int64_t* limits = nullptr;           // [rows]: the row sees positions up to limit - 1; limit >= 1
  int64_t rows = 0;                          // 1 .. kAttendRows
  const std::byte* const* blocks = nullptr;  // [(largest limit + kKvSpan - 1) / kKvSpan]
  int64_t keys = 0;                          // where this head's keys begin in a block, in bytes
  int64_t values = 0;                        // and its values
  KvLayout kv;
  float* scratch = nullptr;     // attend_scratch_floats(head_dim)
  int64_t first = 0;            // where it begins; a multiple of kKvSpan
  int64_t end = INT64_MAX;      // and ends, the same; up to the limits what follows is asked for already
  AttendPart* parts = nullptr;  // [rows], or null: nothing is to join. A row that sees nothing leaves zeros
};

inline constexpr int64_t kLooseRows = 8;

struct Kernels {
  std::string_view isa;

  /// y[t][32 * tile + row] (+)= W x for the tiles of the range and all tokens. More than kLooseRows tokens may be read
  /// in sixteens: the integers, scales and sums of x have rows up to there, whatever they hold.
  void (*linear)(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy,
                 bool add);
  /// y[t][32 * tile + row] += what the outliers of x give, which linear() leaves out. Group by group, column by column:
  /// the same sums for any number of tokens.
  void (*add_outliers)(const PackedMatrix& w, Range tiles, const Activations& x, int64_t tokens, float* y, int64_t ldy);
  /// Symmetric integers by groups (Activations), of 15 bits in two planes, or of 8 bits where there is no low one; n a
  /// multiple of the group.
  void (*quantize)(const float* x, int64_t n, int64_t group, const QuantizedRow& out);

  /// out = x / sqrt(mean(x^2) + eps) * w. x and w are zero behind n up to a multiple of 16.
  void (*rms_norm)(const float* x, const float* w, int64_t n, float eps, float* out);
  /// out = silu(gate) * up
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* out);
  /// x *= sigmoid(gate)
  void (*sigmoid_mul)(float* x, const float* gate, int64_t n);
  /// out = rms_norm(x) * w * silu(z), in place in x; n a multiple of 16
  void (*gated_norm)(float* x, const float* w, const float* z, int64_t n, float eps);
  /// x *= factor / sqrt(sum(x^2) + 1e-6); n a multiple of 16
  void (*l2_norm)(float* x, int64_t n, float factor);
  /// One step of the causal depthwise convolution with SiLU for n channels (a multiple of 16):
  /// out[c] = silu(sum over taps of w[tap * ld + c] * rows[tap][c]).
  void (*conv_silu)(const float* w, int64_t ld, const float* const* rows, int64_t taps, int64_t n, float* out);
  /// One token of the gated delta rule.
  void (*delta_step)(const DeltaArgs& args);
  /// Up to kDeltaChunk tokens at once (chunked form).
  void (*delta_chunk)(const DeltaArgs& args);
  void (*attend)(const AttendArgs& args);
  /// Puts a position's key (rotated) or value into a head's part of a KV block.
  void (*store_key)(const float* key, const KvLayout& kv, int64_t slot, std::byte* head);
  void (*store_value)(const float* value, const KvLayout& kv, int64_t slot, std::byte* head);
  /// Runs `rounds` (at most 2^16) of int8 dot products on data in cache; returns the multiply-adds done.
  int64_t (*dot_peak)(int64_t rounds, int32_t* checksum);
};

const Kernels* amx_kernels();  // null where not compiled in
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
const Kernels* i8mm_kernels();
const Kernels* neon_kernels();
const Kernels* portable_kernels();

/// The whole product: linear() and add_outliers().
inline void multiply_tiles(const Kernels& kernels, const PackedMatrix& w, Range tiles, const Activations& x,
                           int64_t tokens, float* y, int64_t ldy, bool add) {
  kernels.linear(w, tiles, x, tokens, y, ldy, add);
  if (w.bits != 0 && x.outliers != nullptr) kernels.add_outliers(w, tiles, x, tokens, y, ldy);
}

/// The table for a name of available_isas(), or the best one for "". Error(unsupported) lists what there is.
const Kernels& choose_kernels(std::string_view isa);

}  // namespace prosa::backend::cpu
