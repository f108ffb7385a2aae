// Writes a synthetic checkpoint for the bench, on a machine that has nothing but this folder's programs.
//
// usage: gpu_synth PRESET FOLDER [BITS GROUP]
#include <cstdio>
#include <string>

#include "checkpoint/synth.h"
#include "prosa/error.h"

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) {
    std::fprintf(stderr, "usage: gpu_synth PRESET FOLDER [BITS GROUP]\n");
    return 2;
  }
  try {
    prosa::checkpoint::SynthOptions options;
    if (argc == 5) options.bits = std::stoi(argv[3]), options.group_size = std::stoi(argv[4]);
    prosa::checkpoint::synthesize(prosa::checkpoint::synth_preset(argv[1]), argv[2], options);
    return 0;
  } catch (const prosa::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
