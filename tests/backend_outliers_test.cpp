// Models with a few channels of huge activations, as trained models have them, on the cpu backend against the
// reference: such channels must not cost the others their exactness (docs/reference/numerics.md, Activations).
//
// In such a model the next products do nearly nothing with these channels. Here they do nothing at all: the columns of
// weights that meet them are zero, exactly so when quantized, so that the model is the same one for any factor.
// Products alone: kernels_linear_test.cpp.
#include <gtest/gtest.h>

#include <deque>
#include <iostream>
#include <tuple>

#include "backend_fixture.h"
#include "model/dequantize.h"
#include "model/for_each_matrix.h"

namespace prosa::test {
namespace {

constexpr int64_t kGroup = 64;

/// A small synthetic model of `bits` bits in which some channels of the normalised stream are `factor` times as large
/// as the others before every product.
class CraftedModel {
 public:
  CraftedModel(int bits, int channels, float factor) : bits_(bits) {
    weights_ = *load_model("tiny-f32");
    const auto hidden = static_cast<int64_t>(weights_.norm.size());
    for (int i = 0; i < channels; ++i) large_.push_back((5 + i * hidden / 8) % hidden);
    const bool tied = weights_.tied_head();
    for_each_matrix(weights_, [&](const MatrixPlace& place, Matrix& matrix) {
      const bool inner =
          place.role == MatrixRole::out_proj || place.role == MatrixRole::o_proj || place.role == MatrixRole::down_proj;
      matrix = quantized(matrix, !inner);
    });
    if (tied) weights_.lm_head = weights_.embed_tokens;
    for (LayerWeights& layer : weights_.layers) {
      raise(layer.input_norm, factor);
      raise(layer.post_attention_norm, factor);
    }
    raise(weights_.norm, factor);
  }
  CraftedModel(const CraftedModel&) = delete;
  CraftedModel& operator=(const CraftedModel&) = delete;
  [[nodiscard]] const Weights& weights() const { return weights_; }

 private:
  void raise(std::vector<float>& norm, float factor) const {
    for (const int64_t channel : large_) norm[static_cast<size_t>(channel)] *= factor;
  }

  /// Symmetric codes around the middle one, which stands for exactly 0.
  Matrix quantized(const Matrix& dense, bool without_large) {
    Matrix made = dense;
    made.format = WeightFormat::affine(bits_, kGroup, DType::f32);
    const int middle = 1 << (bits_ - 1);
    std::vector<float> row(static_cast<size_t>(dense.cols)), scales, biases;
    std::vector<std::byte> codes(static_cast<size_t>(dense.rows * dense.cols * bits_ / 8));
    for (int64_t r = 0; r < dense.rows; ++r) {
      dequantize_row(dense, r, row.data());
      for (const int64_t channel : large_) {
        if (without_large) row[static_cast<size_t>(channel)] = 0;
      }
      for (int64_t c = 0; c < dense.cols; ++c) {
        if (c % kGroup == 0) {
          float top = 0;
          for (int64_t i = c; i < c + kGroup; ++i) top = std::max(top, std::abs(row[static_cast<size_t>(i)]));
          scales.push_back(top / static_cast<float>(middle - 1));
          biases.push_back(-scales.back() * static_cast<float>(middle));
        }
        const float steps = scales.back() > 0 ? row[static_cast<size_t>(c)] / scales.back() : 0;
        const auto code = static_cast<unsigned>(std::lround(steps) + middle);
        const auto at = static_cast<size_t>((r * dense.cols + c) * bits_);
        codes[at / 8] |= static_cast<std::byte>(code << at % 8);  // 4 or 8 bits: within a byte
      }
    }
    const auto keep = [&](const auto& values) {
      const auto bytes = std::as_bytes(std::span(values));
      return bytes_.emplace_back(bytes.begin(), bytes.end()).data();
    };
    made.data = keep(codes);
    made.scales = keep(scales);
    made.biases = keep(biases);
    return made;
  }

  int bits_;
  std::vector<int64_t> large_;
  Weights weights_;
  std::deque<std::vector<std::byte>> bytes_;
};

double kl_beside_reference(const CraftedModel& model, const backend::CpuOptions& cpu) {
  const auto weights = std::make_shared<const Weights>(model.weights());
  BackendOptions options;
  options.cpu = cpu;
  const auto tested = backend::make_backend("cpu", weights, options);
  const auto reference = backend::make_reference_backend(weights, {});
  const Ids ids = random_ids(weights->config, 80, 7);
  const auto state = tested->new_state(80);
  const auto exact = reference->new_state(80);
  Agreement agreement;
  agreement.add(prefill(*reference, *exact, ids), prefill(*tested, *state, ids),
                static_cast<size_t>(weights->config.vocab_size));
  EXPECT_TRUE(std::isfinite(agreement.max_diff));
  return agreement.mean_kl();
}

class OutlierModels : public testing::TestWithParam<std::string> {};

TEST_P(OutlierModels, CostNoMoreThanModelsWithout) {
  // Weights of few bits with what they get by default, and with 15 bits, which keep outliers of up to 32 deviations:
  // what those may cost beyond 1.5 times.
  for (const auto& [bits, asked, floor] : {std::tuple{4, 0, 0.0}, {8, 0, 1e-5}, {4, 15, 1e-5}}) {
    const backend::CpuOptions cpu{.threads = 2, .isa = GetParam(), .activation_bits = asked, .kv_bits = 16};
    for (const int channels : {1, 2, 8}) {
      const double without = kl_beside_reference(CraftedModel(bits, channels, 1), cpu);
      for (const float factor : {30.0F, 300.0F, 3000.0F}) {
        const double kl = kl_beside_reference(CraftedModel(bits, channels, factor), cpu);
        std::cout << "  " << bits << " bits, activations " << asked << ": " << channels << " channels of " << factor
                  << ": KL " << kl << ", without " << without << "\n";
        EXPECT_LE(kl, 1.5 * without + floor);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, OutlierModels, testing::ValuesIn(backend::available_isas()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace prosa::test
