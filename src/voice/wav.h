// WAV files as bytes; as files they are in prosa/audio.h.
//
// What a header says is believed only as far as the bytes bear it out. No other coding (A-law, MP3 in WAV), no RF64.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "prosa/audio.h"

namespace prosa::voice {

/// As read_wav(), for the bytes of a file; `where` names it in errors.
Recording parse_wav(std::string_view bytes, const std::string& where);

/// The bytes of a mono file of 16 bit. `samples` [n]; rate: samples a second. Error(invalid_argument): more than a WAV
/// file can hold.
std::string encode_wav(std::span<const int16_t> samples, int rate);

}  // namespace prosa::voice
