// What the host and the resident decode kernel agree on: shapes of the stages, a layer's pointers, where blocks hand
// numbers to each other. Plain data.
#pragma once

#include "backend/cuda/kernels/kernels.h"

namespace prosa::backend::cuda {

inline constexpr int kResidentWarps = 16;                     // that compute
inline constexpr int kResidentThreads = kResidentWarps * 32;  // that compute; one warp more fetches weights
inline constexpr int kMaxSlots = 32;                          // of the ring of weights
inline constexpr int kPieceTiles = 16;                        // tiles of a slot at most
inline constexpr int kPieceShares = 4;                        // arrivals that free a slot
inline constexpr int kMaxResidentTiles = 64;                  // of an input: 4,096 columns
inline constexpr int kMaxJobs = 64;                           // slices of a block's rows in a stage
inline constexpr int kMaxResidentSpans = kMaxSpans;

/// The product of a stage. A unit is a tile row, or a pair of them (gate and up); block b has the units b -
/// first_block,
/// + blocks, + 2 blocks ... A piece is what fills a slot: whole slices of a tile row.
struct ResidentStage {
  int units = 0;
  int rows_a_unit = 1;
  int k_tiles = 0;
  int groups = 0;  // scales of a row
  int wide = 0;    // 1: two tiles share a scale
  int slices = 0;
  int per_slice = 0;
  int piece_shift = 0;  // 1 << piece_shift slices a piece
  int pieces = 0;       // of a tile row
  int first_block = 0;
  int width = 0;  // columns of the input that exist
  int limit = 0;  // rows that exist

  // Words {number, mark}. A row's mark is that of its layer, or the one before (`back` 1).
  Input in = Input::plain;
  Output out = Output::store;
  const uint64_t* x = nullptr;
  const uint64_t* y = nullptr;  // Input::gated
  uint64_t* to = nullptr;
  const uint64_t* old = nullptr;  // Output::add
  int x_back = 0;
  int old_back = 0;
};

struct ResidentMatrix {
  const uint8_t* planes = nullptr;
  const uint32_t* scales = nullptr;
};

struct ResidentLayer {
  ResidentMatrix in, out, gate_up, down;
  const float* input_norm = nullptr;
  const float* post_norm = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  int delta = 0;
  int mixer = 0;  // its number among the layers of its kind
};

enum ResidentKind : int { kDeltaIn, kAttentionIn, kDeltaOut, kAttentionOut, kGateUp, kDown, kHead, kResidentKinds };

/// What a block's time went to, waiting included.
enum ResidentTime : int {
  kTimeBegin,
  kTimeIn,
  kTimeDelta,
  kTimeAttention,
  kTimeOut,
  kTimeGateUp,
  kTimeDown,
  kTimeHead,
  kResidentTimes
};

struct ResidentArgs {
  ResidentStage stages[kResidentKinds];
  ResidentMatrix head_matrix;
  const ResidentLayer* layers = nullptr;  // device
  int layer_count = 0;
  ScaleType scale_type = ScaleType::bf16;
  const float* norm = nullptr;
  float eps = 0;
  DeviceMatrix embedding;
  const double* frequency = nullptr;
  DeltaShape delta;
  const DeltaLayer* delta_layers = nullptr;
  AttentionShape attention;
  int slots = 0;

  // Words {number, mark}: each row has one writer an element.
  uint64_t* hidden = nullptr;   // [hidden] what a layer begins with
  uint64_t* middle = nullptr;   // [hidden] after its mixer
  uint64_t* rows = nullptr;     // [max_width] products of the mixer's inputs
  uint64_t* mixed = nullptr;    // [value_dim or query_dim]
  uint64_t* inner = nullptr;    // [intermediate]
  uint64_t* partial = nullptr;  // [heads][kMaxSpans][head_dim + 2]

  uint32_t* given_up = nullptr;  // device
  uint32_t* failure = nullptr;   // host

  int64_t* times = nullptr;  // device: [kResidentTimes] clocks of the first block, added up; null: not measured

  // Of a pass.
  uint32_t first_mark = 0;  // its marks: first_mark .. first_mark + layer_count; 0 is nobody's
  RowArgs row;
  ItemArgs item;
};

/// Whether the module has the kernel for this format.
bool resident_built(int bits, int group);
/// Where it has: slots of the ring that fit into a block's shared memory; 0: the kernel can't be resident there.
int resident_slots(int bits, int shared_bytes);
/// Error: the card refuses a launch in which all blocks are resident at once.
void launch_resident(cudaStream_t stream, const ResidentArgs& args, int bits, int blocks);

}  // namespace prosa::backend::cuda
