// Packing and unpacking, plain C++: runs once at load, memory-bound enough.
#include "backend/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/bf16.h"
#include "base/check.h"
#include "model/dequantize.h"
#include "model/small_floats.h"

namespace prosa::backend::cpu {
namespace {

using Codes = std::array<uint8_t, kHalfRows * 32>;  // [16 rows][32 columns]

float read_value(const std::byte* base, DType dtype, int64_t index) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, base + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, base + index * 2, 2);
  return dtype == DType::bf16 ? bf16_to_float(half) : f16_to_float(half);
}

// 32 codes of `Bits` bits from 4 * Bits bytes of a little-endian bit stream.
template <int Bits>
void unpack_codes(const std::byte* stream, uint8_t* codes) {
  uint8_t bytes[4 * Bits + 8] = {};  // a window of 8 bytes may reach behind the last code
  std::memcpy(bytes, stream, 4 * Bits);
  for (int i = 0; i < 32; ++i) {
    uint64_t window;
    std::memcpy(&window, bytes + i * Bits / 8, 8);
    codes[i] = static_cast<uint8_t>((window >> (i * Bits % 8)) & ((1U << Bits) - 1));
  }
}

uint32_t chunk(const Codes& codes, int64_t row, int index) {
  uint32_t four;
  std::memcpy(&four, codes.data() + row * 32 + 4 * index, 4);
  return four;
}

// One vector of a plane: the chunks first, first + 1, … of every row, `field` bits each, from bit `low` of the codes
// on.
void put_plane(const Codes& codes, int low, int field, int first, uint8_t* out) {
  const uint32_t keep = ((1U << field) - 1) * 0x01010101U;
  for (int64_t row = 0; row < kHalfRows; ++row) {
    uint32_t lanes = 0;
    for (int j = 0; j < 8 / field; ++j) lanes |= ((chunk(codes, row, first + j) >> low) & keep) << (j * field);
    std::memcpy(out + row * 4, &lanes, 4);
  }
}

// The planes of 32 columns: see packed.h. Returns behind the last vector.
template <int Bits>
uint8_t* put_planes(const Codes& codes, uint8_t* out) {
  const auto plane = [&](int low, int field) {
    for (int first = 0; first < 8; first += 8 / field, out += kVector) put_plane(codes, low, field, first, out);
  };
  if constexpr (Bits == 8) {
    plane(0, 8);
  } else if constexpr (Bits >= 4) {
    plane(0, 4);
    if constexpr (Bits > 4) plane(4, Bits - 4);
  } else {
    plane(0, 2);
    if constexpr (Bits == 3) plane(2, 1);
  }
  return out;
}

// Four codes of 4 bits, in four bytes.
uint32_t spread_nibbles(uint32_t codes) {
  codes = (codes | codes << 8) & 0x00ff00ffU;
  return (codes | codes << 4) & 0x0f0f0f0fU;
}

// 32 columns of a half straight from the rows of the file, for the widths that most models have: no detour over single
// codes, since loading time is mostly this. `lanes` rows are there; the rest of `out` stays zero.
template <int Bits>
uint8_t* copy_planes(const std::byte* row, int64_t row_bytes, int64_t lanes, uint8_t* out) {
  static_assert(Bits == 4 || Bits == 8);
  for (int64_t lane = 0; lane < lanes; ++lane, row += row_bytes) {
    for (int64_t vector = 0; vector < Bits; ++vector) {
      uint32_t word;
      std::memcpy(&word, row + vector * 4, 4);
      if constexpr (Bits == 4) word = spread_nibbles(word & 0xffffU) | spread_nibbles(word >> 16) << 4;
      std::memcpy(out + vector * kVector + lane * 4, &word, 4);
    }
  }
  return out + Bits * kVector;
}

void put_scale(uint8_t* out, DType dtype, int64_t lane, float value) {
  if (dtype == DType::f32) {
    std::memcpy(out + lane * 4, &value, 4);
  } else {
    const uint16_t half = float_to_bf16(value);
    std::memcpy(out + lane * 2, &half, 2);
  }
}

template <int Bits>
void pack_quantized_tile(const Matrix& matrix, const PackedMatrix& packed, int64_t tile, uint8_t* out) {
  const int64_t row_bytes = matrix.cols * Bits / 8;
  const int64_t live = std::min(kTileRows, matrix.rows - tile * kTileRows);
  const int64_t lane_bytes = static_cast<int64_t>(dtype_size(packed.scale_dtype));
  for (int64_t group = 0; group < packed.groups(); ++group) {
    for (int64_t lane = 0; lane < live; ++lane) {
      const int64_t index = (tile * kTileRows + lane) * packed.groups() + group;
      put_scale(out, packed.scale_dtype, lane, read_value(matrix.scales, matrix.format.type, index));
      put_scale(out + kTileRows * lane_bytes, packed.scale_dtype, lane,
                read_value(matrix.biases, matrix.format.type, index));
    }
    out += packed.header_bytes();
    for (int64_t half = 0; half < kHalves; ++half) {
      const int64_t first = half * kHalfRows;
      const int64_t lanes = std::clamp(live - first, int64_t{0}, kHalfRows);
      Codes codes{};
      for (int64_t column = group * packed.group_size; column < (group + 1) * packed.group_size; column += 32) {
        if constexpr (Bits == 4 || Bits == 8) {
          const int64_t row = tile * kTileRows + first;
          out = copy_planes<Bits>(matrix.data + row * row_bytes + column * Bits / 8, row_bytes, lanes, out);
          continue;
        }
        for (int64_t lane = 0; lane < lanes; ++lane) {
          const std::byte* row = matrix.data + (tile * kTileRows + first + lane) * row_bytes;
          unpack_codes<Bits>(row + column * Bits / 8, codes.data() + lane * 32);
        }
        out = put_planes<Bits>(codes, out);
      }
    }
  }
}

void pack_dense_tile(const Matrix& matrix, int64_t tile, uint8_t* out) {
  const size_t size = dtype_size(matrix.format.type);
  const int64_t live = std::min(kTileRows, matrix.rows - tile * kTileRows);
  for (int64_t lane = 0; lane < live; ++lane) {
    const std::byte* row = matrix.data + static_cast<size_t>((tile * kTileRows + lane) * matrix.cols) * size;
    for (int64_t column = 0; column < matrix.cols; ++column) {
      std::memcpy(out + static_cast<size_t>(column * kTileRows + lane) * size, row + static_cast<size_t>(column) * size,
                  size);
    }
  }
}

// E2M1 as integers: halves from -6 to 6 are codes 0 to 24, so that number = scale / 2 * code - 6 * scale. All of these
// are exact: scales are powers of two.
constexpr int kE2m1Bits = 5;
constexpr uint8_t e2m1_code(unsigned nibble) { return static_cast<uint8_t>(2 * e2m1_to_float(nibble) + 2 * kMaxE2m1); }

void pack_mxfp4_tile(const Matrix& matrix, const PackedMatrix& packed, int64_t tile, uint8_t* out) {
  const int64_t row_bytes = matrix.format.row_bytes(matrix.cols);
  const int64_t live = std::min(kTileRows, matrix.rows - tile * kTileRows);
  for (int64_t group = 0; group < packed.groups(); ++group) {
    for (int64_t lane = 0; lane < live; ++lane) {
      const std::byte stored = matrix.scales[(tile * kTileRows + lane) * packed.groups() + group];
      const float scale = e8m0_to_float(std::to_integer<unsigned>(stored));
      put_scale(out, packed.scale_dtype, lane, scale / 2);
      put_scale(out + packed.header_bytes() / 2, packed.scale_dtype, lane, -kMaxE2m1 * scale);
    }
    out += packed.header_bytes();
    for (int64_t half = 0; half < kHalves; ++half) {
      const int64_t first = half * kHalfRows;
      const int64_t lanes = std::clamp(live - first, int64_t{0}, kHalfRows);
      Codes codes{};
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const std::byte* row = matrix.data + (tile * kTileRows + first + lane) * row_bytes + group * 16;
        for (int64_t pair = 0; pair < 16; ++pair) {
          const auto byte = std::to_integer<unsigned>(row[pair]);
          codes[static_cast<size_t>(lane * 32 + 2 * pair)] = e2m1_code(byte & 15U);
          codes[static_cast<size_t>(lane * 32 + 2 * pair + 1)] = e2m1_code(byte >> 4);
        }
      }
      out = put_planes<kE2m1Bits>(codes, out);
    }
  }
}

// What no integers with one scale for 32 columns can hold (mxfp8, nvfp4) is kept as bfloat16, which holds every product
// of a scale and a code exactly.
void pack_decoded_tile(const Matrix& matrix, int64_t tile, uint8_t* out) {
  const int64_t live = std::min(kTileRows, matrix.rows - tile * kTileRows);
  std::vector<float> row(static_cast<size_t>(matrix.cols));
  for (int64_t lane = 0; lane < live; ++lane) {
    dequantize_row(matrix, tile * kTileRows + lane, row.data());
    for (int64_t column = 0; column < matrix.cols; ++column) {
      const uint16_t half = float_to_bf16(row[static_cast<size_t>(column)]);
      std::memcpy(out + (column * kTileRows + lane) * 2, &half, 2);
    }
  }
}

void pack_tile(const Matrix& matrix, const PackedMatrix& packed, int64_t tile, uint8_t* out) {
  if (!matrix.quantized()) return pack_dense_tile(matrix, tile, out);
  if (matrix.format.coding == WeightCoding::mxfp4) return pack_mxfp4_tile(matrix, packed, tile, out);
  if (matrix.format.has_small_floats()) return pack_decoded_tile(matrix, tile, out);
  switch (matrix.format.bits) {
    case 2: return pack_quantized_tile<2>(matrix, packed, tile, out);
    case 3: return pack_quantized_tile<3>(matrix, packed, tile, out);
    case 4: return pack_quantized_tile<4>(matrix, packed, tile, out);
    case 5: return pack_quantized_tile<5>(matrix, packed, tile, out);
    case 6: return pack_quantized_tile<6>(matrix, packed, tile, out);
    case 8: return pack_quantized_tile<8>(matrix, packed, tile, out);
    default: PROSA_CHECK(!"the loader admits 2, 3, 4, 5, 6 and 8 bits only");
  }
}

// The code of one (row, column) of a packed group of a half; `planes` points to the half's planes.
int read_code(const uint8_t* planes, int bits, int64_t lane, int64_t column) {
  planes += column / 32 * bits * kVector;
  const auto index = static_cast<int>(column % 32 / 4);  // chunk
  const uint8_t* byte = planes + lane * 4 + column % 4;
  const auto field = [&](int first_vector, int width) {  // this chunk's bits of a plane
    const int per_vector = 8 / width;
    return (byte[(first_vector + index / per_vector) * kVector] >> (index % per_vector * width)) & ((1 << width) - 1);
  };
  switch (bits) {
    case 8: return byte[index * kVector];
    case 4: return field(0, 4);
    case 5: return field(0, 4) | field(4, 1) << 4;
    case 6: return field(0, 4) | field(4, 2) << 4;
    case 2: return field(0, 2);
    default: return field(0, 2) | field(2, 1) << 2;  // 3
  }
}

PackedMatrix shape_of(const Matrix& matrix) {
  PackedMatrix packed;
  packed.rows = matrix.rows;
  packed.cols = matrix.cols;
  WeightFormat format = matrix.format;  // as it is packed
  if (format.coding == WeightCoding::mxfp4) {
    format = WeightFormat::affine(kE2m1Bits, format.group_size);
  } else if (format.has_small_floats()) {
    format = WeightFormat::dense(DType::bf16);
  }
  packed.bits = format.quantized() ? format.bits : 0;
  packed.group_size = format.group_size;
  if (!format.quantized()) packed.dtype = format.type;
  if (format.quantized()) packed.scale_dtype = format.type == DType::bf16 ? DType::bf16 : DType::f32;
  packed.tile_bytes =
      format.quantized() ? packed.groups() * packed.group_bytes() : format.bytes(kTileRows, matrix.cols);
  packed.tile_bytes = (packed.tile_bytes + kVector - 1) / kVector * kVector;
  return packed;
}

}  // namespace

PackedMatrix PackedMatrix::part(Range of_tiles) const {
  PackedMatrix view;
  view.rows = std::min(of_tiles.end * kTileRows, rows) - of_tiles.begin * kTileRows;
  view.cols = cols;
  view.bits = bits;
  view.group_size = group_size;
  view.dtype = dtype;
  view.scale_dtype = scale_dtype;
  view.tile_bytes = tile_bytes;
  view.data = tile(of_tiles.begin);
  return view;
}

PackedMatrix pack(const Matrix& matrix, ThreadPool& pool, uint8_t* place) {
  PackedMatrix packed = shape_of(matrix);
  if (place == nullptr) {
    packed.own = AlignedBuffer<uint8_t>(packed.byte_size(), matrix.name);
    place = packed.own.data();
  }
  packed.data = place;
  pool.run([&](int worker) {
    const Range mine = share(packed.tiles(), worker, pool.size());
    for (int64_t tile = mine.begin; tile < mine.end; ++tile) {
      pack_tile(matrix, packed, tile, place + tile * packed.tile_bytes);
    }
  });
  return packed;
}

int64_t packed_bytes(const Matrix& matrix) { return shape_of(matrix).byte_size(); }

void unpack_row(const PackedMatrix& matrix, int64_t row, float* out) {
  const uint8_t* tile = matrix.tile(row / kTileRows);
  const int64_t lane = row % kTileRows;
  if (matrix.bits == 0) {
    const auto* base = reinterpret_cast<const std::byte*>(tile);
    for (int64_t column = 0; column < matrix.cols; ++column) {
      out[column] = read_value(base, matrix.dtype, column * kTileRows + lane);
    }
    return;
  }
  for (int64_t group = 0; group < matrix.groups(); ++group) {
    const auto* header = reinterpret_cast<const std::byte*>(tile + group * matrix.group_bytes());
    const float scale = read_value(header, matrix.scale_dtype, lane);
    const float bias = read_value(header, matrix.scale_dtype, kTileRows + lane);
    const uint8_t* planes =
        tile + group * matrix.group_bytes() + matrix.header_bytes() + lane / kHalfRows * matrix.half_bytes();
    for (int64_t column = 0; column < matrix.group_size; ++column) {
      out[group * matrix.group_size + column] =
          scale * static_cast<float>(read_code(planes, matrix.bits, lane % kHalfRows, column)) + bias;
    }
  }
}

}  // namespace prosa::backend::cpu
