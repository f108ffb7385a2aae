// getrandom(), which a signal may interrupt.
#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/files.h"

namespace prosa {

uint64_t random_number() {
  uint64_t number = 0;
  while (::getrandom(&number, sizeof number, 0) != sizeof number) {
    if (errno != EINTR) throw_io("random numbers", "can't read", errno);
  }
  return number;
}

}  // namespace prosa
