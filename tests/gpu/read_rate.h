// The ceiling of everything that is bound by memory, measured.
#pragma once

namespace prosa::test {

/// Bytes a second of a kernel that only reads 4 GiB; the median of nine.
double read_bytes_per_second();

}  // namespace prosa::test
