// A model packed for the kernels: what the CPU backend keeps after loading. Nothing points into the checkpoint any
// more.
//
// Float vectors are padded with zeros to multiples of 16. Invariant: a layer has exactly one of `delta`, `attention`.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "backend/cpu/packed.h"
#include "model/config.h"

namespace prosa::backend::cpu {

constexpr int64_t padded(int64_t n, int64_t multiple = 16) { return (n + multiple - 1) / multiple * multiple; }

struct PackedDeltaNet {
  PackedMatrix qkv;               // [conv_dim, hidden]
  PackedMatrix z;                 // [value_dim, hidden]
  PackedMatrix b;                 // [num_value_heads, hidden]
  PackedMatrix a;                 // [num_value_heads, hidden]
  PackedMatrix out;               // [hidden, value_dim]
  AlignedBuffer<float> conv;      // [kernel, conv_dim]: tap by tap
  std::vector<float> decay_rate;  // [num_value_heads]: exp(A_log)
  std::vector<float> dt_bias;     // [num_value_heads]
  AlignedBuffer<float> norm;      // [value_head_dim]
};

struct PackedAttention {
  PackedMatrix q;               // [num_heads * 2 * head_dim, hidden]: per head [q | gate]
  PackedMatrix k;               // [kv_dim, hidden]
  PackedMatrix v;               // [kv_dim, hidden]
  PackedMatrix out;             // [hidden, query_dim]
  AlignedBuffer<float> q_norm;  // [head_dim]
  AlignedBuffer<float> k_norm;  // [head_dim]
};

struct PackedLayer {
  size_t of_kind = 0;               // its place among the layers of its kind: the index of its state
  AlignedBuffer<float> input_norm;  // [hidden]
  std::optional<PackedDeltaNet> delta;
  std::optional<PackedAttention> attention;
  AlignedBuffer<float> post_attention_norm;  // [hidden]
  PackedMatrix gate;                         // [intermediate, hidden]
  PackedMatrix up;                           // [intermediate, hidden]
  PackedMatrix down;                         // [hidden, intermediate]
};

struct PackedModel {
  ModelConfig config;
  AlignedBuffer<uint8_t> matrices;      // all of them, in the order of a pass: no page is left half empty
  PackedMatrix embed;                   // [vocab, hidden]
  std::vector<PackedLayer> layers;      // [num_layers]
  AlignedBuffer<float> norm;            // [hidden]
  std::optional<PackedMatrix> lm_head;  // [vocab, hidden]; unset when tied to embed
  std::array<bool, 3> planes{};         // [n]: some matrix asks for normalised rows in n planes (InputForm)

  [[nodiscard]] const PackedMatrix& head() const { return lm_head ? *lm_head : embed; }
  [[nodiscard]] int64_t byte_size() const { return matrices.byte_size(); }
};

/// Packs every matrix; progress 0..1 by bytes. `activation_bits`: CpuOptions. Error(unsupported) for dimensions the
/// kernels don't cover (head sizes that are no multiple of 16).
PackedModel pack_model(const Weights& weights, ThreadPool& pool, int activation_bits,
                       const std::function<void(double)>& progress);

}  // namespace prosa::backend::cpu
