// The ways of reading memory that ReadMeter tries: number of streams, prefetch distance, and the loop.
//
// Not a choice: which way is fastest depends on the machine's prefetchers, so all are measured. Invariant: every way
// reads each byte of its range exactly once.
#pragma once

#include <cstdint>
#include <span>

namespace prosa::tools {

struct ReadWay {
  int streams = 1;
  int ahead = 0;                                                   // bytes of software prefetch; 0: none
  uint64_t (*read)(const uint8_t* data, int64_t lines) = nullptr;  // `lines` of each stream: a multiple of 4
};

/// With the widest loads this machine has. data: 64-byte aligned, streams * lines * 64 bytes.
std::span<const ReadWay> read_ways();

}  // namespace prosa::tools
