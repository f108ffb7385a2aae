// MLX's quantization of rows, affine and mxfp4: the bit streams and the quantizers. The way back is model/dequantize.h.
//
// Pure functions over the caller's memory, no files, no threads. A row is `cols` values in groups of `group_size`; a
// group shares a scale and a bias: value = scale * q + bias. The packed row is one little-endian bit stream of cols *
// bits / 32 words. Same input gives the same bits on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/weight_format.h"

namespace prosa::checkpoint {

/// q [cols], each below 2^bits -> words [cols * bits / 32]. cols is a multiple of 32.
void pack_row(std::span<const uint8_t> q, int bits, std::span<uint32_t> words);

/// How (max - min) becomes a step: MLX's CPU code divides by the number of levels; the golden folders follow from the
/// product with the rounded reciprocal, which fast arithmetic makes of a division by a constant. Only groups with
/// max = -min tell the two apart, by landing on either side of a tie.
enum class ScaleRule { reciprocal, divided };

/// Quantizes row [cols] by MLX's rule (docs/reference/checkpoints.md). `format`: affine, with bfloat16 scales. words
/// [cols * bits / 32]; scales, biases [cols / group_size] as bfloat16. The row's values must be finite.
void quantize_row(std::span<const float> row, const WeightFormat& format, std::span<uint32_t> words,
                  std::span<uint16_t> scales, std::span<uint16_t> biases, ScaleRule rule = ScaleRule::reciprocal);

/// The same for MLX's mode mxfp4: groups of 32 share a power of two, the smallest with which the largest value is at
/// most 6; codes are the nearest E2M1, of two the smaller. words [cols / 8], scales [cols / 32].
void quantize_row_mxfp4(std::span<const float> row, std::span<uint32_t> words, std::span<uint8_t> scales);

}  // namespace prosa::checkpoint
