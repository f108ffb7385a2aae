// PROSA_CHECK: a broken invariant of prosa itself aborts with file, line and the condition, in every build.
//
// Not for what comes from users, files or the network: that is a prosa::Error.
#pragma once

#include <cstdio>
#include <cstdlib>

#define PROSA_CHECK(condition)                                                               \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
