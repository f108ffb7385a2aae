// Resampler over SRC_STATE. "Medium" quality: noise at -121 dB, the band kept up to 90 % of what the rate allows.
#include "voice/resample.h"

#include <samplerate.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::voice {
namespace {

constexpr int kQuality = SRC_SINC_MEDIUM_QUALITY;
constexpr float kNothing = 0;
constexpr size_t kOutputBlock = 4096;  // samples that are asked for at once

int16_t nearest(float sample) {
  return static_cast<int16_t>(std::lrintf(std::clamp(sample * 32768.0F, -32768.0F, 32767.0F)));
}

}  // namespace

struct Resampler::State {
  SRC_STATE* converter = nullptr;
  double ratio = 1;

  State(int from, int to) : ratio(static_cast<double>(to) / from) {
    int error = 0;
    converter = src_new(kQuality, 1, &error);
    if (converter == nullptr) throw Error(ErrorCode::out_of_memory, src_strerror(error), "the resampler");
  }
  ~State() { src_delete(converter); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  template <typename Take>
  void process(std::span<const float> samples, bool last, const Take& take) {
    std::vector<float> block(kOutputBlock);
    SRC_DATA data{};
    data.src_ratio = ratio;
    data.end_of_input = last ? 1 : 0;
    do {
      data.data_in = samples.empty() ? &kNothing : samples.data();  // null would mean that there is no end either
      data.input_frames = static_cast<long>(samples.size());
      data.data_out = block.data();
      data.output_frames = static_cast<long>(block.size());
      const int error = src_process(converter, &data);
      if (error != 0) throw Error(ErrorCode::invalid_argument, src_strerror(error), "the resampler");
      samples = samples.subspan(static_cast<size_t>(data.input_frames_used));
      take(std::span(block).first(static_cast<size_t>(data.output_frames_gen)));
      // At the end of a sound it gives the rest in as many pieces as it likes.
    } while (!samples.empty() || data.output_frames_gen == static_cast<long>(block.size()) ||
             (last && data.output_frames_gen > 0));
  }
};

Resampler::Resampler(int from, int to) : state_(std::make_unique<State>(from, to)) { PROSA_CHECK(from > 0 && to > 0); }
Resampler::~Resampler() = default;
Resampler::Resampler(Resampler&&) noexcept = default;
Resampler& Resampler::operator=(Resampler&&) noexcept = default;

std::vector<int16_t> Resampler::push(std::span<const int16_t> samples, bool last) {
  if (state_->ratio == 1) return {samples.begin(), samples.end()};
  std::vector<float> in(samples.size());
  std::ranges::transform(samples, in.begin(), [](int16_t sample) { return static_cast<float>(sample) / 32768.0F; });
  std::vector<int16_t> out;
  state_->process(
      in, last, [&](std::span<const float> block) { std::ranges::transform(block, std::back_inserter(out), nearest); });
  return out;
}

void Resampler::reset() { src_reset(state_->converter); }

std::vector<int16_t> to_int16(std::span<const float> samples) {
  std::vector<int16_t> out(samples.size());
  std::ranges::transform(samples, out.begin(), nearest);
  return out;
}

std::vector<float> resample(std::span<const float> samples, int from, int to) {
  PROSA_CHECK(from > 0 && to > 0);
  if (from == to) return {samples.begin(), samples.end()};
  Resampler::State state(from, to);
  std::vector<float> out;
  out.reserve(static_cast<size_t>(static_cast<double>(samples.size()) * state.ratio) + 1);
  state.process(samples, true,
                [&](std::span<const float> block) { out.insert(out.end(), block.begin(), block.end()); });
  return out;
}

}  // namespace prosa::voice
