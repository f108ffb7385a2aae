// Uses an installed prosa's voice: prints the engines that were built in.
#include <prosa/audio.h>
#include <prosa/voice_parts.h>
#include <prosa/wyoming.h>

#include <iostream>

int main() {
  for (const std::string& engine : prosa::voice_engines()) std::cout << engine << "\n";
  const auto activity = prosa::make_voice_activity("energy");
  return activity ? 0 : 1;
}
