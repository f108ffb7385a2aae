// Runs the tests that stand beside it, or returns 77 (skipped, for ctest) where no card can be used.
//
// usage: gpu_NAME_test [part of a test's name]
#include <gtest/gtest.h>

#include <cstdio>

#include "backend/cuda/device.h"
#include "prosa/error.h"

int main(int argc, char** argv) {
  try {
    (void)prosa::backend::cuda::Device::open(0);
  } catch (const prosa::Error& error) {
    std::fprintf(stderr, "skipped: %s\n", error.what());
    return 77;
  }
  return testing::mini::run_all(argc > 1 ? argv[1] : "");
}
