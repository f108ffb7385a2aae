// Products with packed weights, and the integers that their inputs become, against sums in double precision, for every
// ISA this machine can run.
//
// The other kernels: kernels_test.cpp. Invariant: a token alone has the bits it has among others.
#include "kernels_fixture.h"

namespace prosa::backend::cpu {
namespace {

class LinearTest : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels = choose_kernels(GetParam());
  ThreadPool pool{2};

  // y = W x of the kernel for `tokens` rows against double sums over the integers (quantized) or x itself (dense).
  void check_linear(const TestMatrix& test, int64_t tokens, int planes = 2) {
    const Matrix& m = test.matrix;
    const PackedMatrix packed = pack(m, pool);
    const InputForm form = m.quantized() ? InputForm{m.format.group_size, planes} : InputForm{};
    InputRows input(tokens, m.cols, m.cols, kInputForms);
    const std::vector<float> x = random_floats(tokens * m.cols, 7);
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(x.data() + t * m.cols, m.cols, input.row(t));
      if (m.quantized()) input.quantize(kernels, t, m.cols, form);
    }
    const Activations view = input.view(form);
    const int64_t ldy = m.rows + 3;
    std::vector<float> y(static_cast<size_t>(tokens * ldy), 0.5F);
    kernels.linear(packed, {0, packed.tiles()}, view, tokens, y.data(), ldy, true);

    std::vector<float> row(static_cast<size_t>(m.cols));
    for (int64_t r = 0; r < m.rows; ++r) {
      dequantize_row(m, r, row.data());
      for (int64_t t = 0; t < tokens; ++t) {
        double expected = 0.5;
        for (int64_t c = 0; c < m.cols; ++c) {
          double value = x[static_cast<size_t>(t * m.cols + c)];
          if (m.quantized()) {
            value = view.high[t * view.ldq + c];
            if (planes == 2) value = 128 * value + view.low[t * view.ldq + c];
            value *= static_cast<double>(view.scale[c / m.format.group_size * view.ldg + t]);
          }
          expected += value * row[static_cast<size_t>(c)];
        }
        ASSERT_NEAR(y[static_cast<size_t>(t * ldy + r)], expected, 2e-4)
            << m.format.bits << " bits, row " << r << ", token " << t;
      }
    }
    for (int64_t t = 0; t < tokens; ++t) {  // nothing is written behind a row
      for (int64_t r = m.rows; r < ldy; ++r) ASSERT_EQ(y[static_cast<size_t>(t * ldy + r)], 0.5F);
    }

    // One token alone has the bits it has among others.
    std::vector<float> alone(static_cast<size_t>(m.rows), 0.5F);
    for (int64_t t = 0; t < tokens; ++t) {
      std::fill(alone.begin(), alone.end(), 0.5F);
      kernels.linear(packed, {0, packed.tiles()}, input.view(form, t), 1, alone.data(), m.rows, true);
      for (int64_t r = 0; r < m.rows; ++r)
        ASSERT_EQ(alone[static_cast<size_t>(r)], y[static_cast<size_t>(t * ldy + r)]);
    }
  }
};

TEST_P(LinearTest, UnpackRowGivesTheFilesValues) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const TestMatrix test = quantized_matrix(19, 256, bits, group, DType::bf16, static_cast<uint32_t>(bits));
      const PackedMatrix packed = pack(test.matrix, pool);
      std::vector<float> ours(256), file(256);
      for (int64_t row = 0; row < 19; ++row) {
        unpack_row(packed, row, ours.data());
        dequantize_row(test.matrix, row, file.data());
        ASSERT_EQ(ours, file) << bits << " bits, group " << group << ", row " << row;
      }
    }
  }
}

TEST_P(LinearTest, QuantizedLinear) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      for (int64_t rows : {2, 16, 35, 64}) {
        const TestMatrix matrix = quantized_matrix(rows, 256, bits, group, DType::bf16, 11);
        for (int64_t tokens : {1, 2, 3, 4, 13, 20, 29}) {  // several tiles of tokens, with few and many left
          for (int planes : {1, 2}) check_linear(matrix, tokens, planes);
        }
      }
    }
  }
}

TEST_P(LinearTest, QuantizedLinearOfManyTokensAndColumns) {
  check_linear(quantized_matrix(33, 1152, 4, 128, DType::bf16, 12), 140);
}

// Beyond what generic/pairs.inl and i8mm/linear.inl have room for, and as much as that.
TEST_P(LinearTest, QuantizedLinearOfVeryManyColumns) {
  for (int64_t cols : {8192, 8256}) {
    for (int bits : {4, 8}) check_linear(quantized_matrix(16, cols, bits, 64, DType::bf16, 14), 7);
  }
}

// One group, an odd number of them, and an odd number behind a chunk; tokens that leave one to eight over.
TEST_P(LinearTest, QuantizedLinearOfOddGroupsAndTokens) {
  for (int64_t cols : {64, 320, 704}) {
    for (int64_t tokens : {9, 17, 21, 24, 38}) {
      for (int planes : {1, 2}) check_linear(quantized_matrix(40, cols, 4, 64, DType::bf16, 13), tokens, planes);
    }
  }
}

TEST_P(LinearTest, QuantizedLinearWithWideScales) {
  for (DType dtype : {DType::f16, DType::f32}) {
    for (int bits : {4, 8}) {
      for (int64_t tokens : {5, 16}) check_linear(quantized_matrix(40, 384, bits, 64, dtype, 5), tokens);
    }
  }
}

TEST_P(LinearTest, DenseLinear) {
  for (DType dtype : {DType::bf16, DType::f16, DType::f32}) {
    for (int64_t rows : {2, 16, 100}) {
      for (int64_t cols : {48, 100, 256}) {
        for (int64_t tokens : {1, 2, 13}) check_linear(dense_matrix(rows, cols, dtype, 3), tokens);
      }
    }
  }
}

TEST_P(LinearTest, ExtremeCodesAndActivationsDoNotSaturate) {
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    TestMatrix test = quantized_matrix(16, 128, bits, 64, DType::f32, 1);
    std::fill(test.data.begin(), test.data.end(), std::byte{0xff});
    const PackedMatrix packed = pack(test.matrix, pool);
    for (float sign : {1.0F, -1.0F}) {
      for (int planes : {1, 2}) {
        InputRows input(1, 128, 128, kInputForms);
        std::fill_n(input.row(0), 128, sign);
        input.quantize(kernels, 0, 128, {64, planes});
        std::vector<float> y(16);
        kernels.linear(packed, {0, 1}, input.view({64, planes}), 1, y.data(), 16, false);
        std::vector<float> row(128);
        for (int64_t r = 0; r < 16; ++r) {
          dequantize_row(test.matrix, r, row.data());
          double expected = 0;
          for (float value : row) expected += sign * value;
          EXPECT_NEAR(y[static_cast<size_t>(r)] / expected, 1.0, 1e-5) << bits;
        }
      }
    }
  }
}

TEST_P(LinearTest, QuantizeRoundsToTheNearestStep) {
  const int64_t n = 256;
  std::vector<float> x = random_floats(n, 3, -4, 4);
  std::fill_n(x.begin() + 64, 64, 0.0F);  // a group of zeros
  x[130] = -5;                            // the ends of the range
  x[200] = 5;
  std::vector<int8_t> high(static_cast<size_t>(n)), low(static_cast<size_t>(n));
  std::vector<float> scale(4), sum(4);
  kernels.quantize(x.data(), n, 64, {.high = high.data(), .low = low.data(), .scale = scale.data(), .sum = sum.data()});
  for (int64_t g = 0; g < 4; ++g) {
    float total = 0;
    for (int64_t i = g * 64; i < (g + 1) * 64; ++i) {
      const auto at = static_cast<size_t>(i);
      const auto q = static_cast<float>(128 * high[at] + low[at]);
      EXPECT_NEAR(scale[static_cast<size_t>(g)] * q, x[at], scale[static_cast<size_t>(g)] * 0.51F);
      EXPECT_TRUE(low[at] >= -64 && low[at] <= 63);
      total += q;
    }
    EXPECT_FLOAT_EQ(sum[static_cast<size_t>(g)], total * scale[static_cast<size_t>(g)]);
  }
  EXPECT_EQ(scale[1], 0.0F);

  kernels.quantize(x.data(), n, 64, {.high = high.data(), .scale = scale.data(), .sum = sum.data()});
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_NEAR(scale[at / 64] * high[at], x[at], scale[at / 64] * 0.51F);
    EXPECT_GE(high[at], -127);
  }
  for (size_t g = 0; g < 4; ++g) {
    const int total = std::accumulate(high.begin() + 64 * g, high.begin() + 64 * (g + 1), 0);
    EXPECT_FLOAT_EQ(sum[g], static_cast<float>(total) * scale[g]);
  }
}

// ---- outliers

/// Numbers as a normalised stream has them, with `channels` large ones side by side from column `first` on.
std::vector<float> with_outliers(int64_t cols, int channels, int64_t first, float factor, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(cols));
  for (float& value : x) value = normal(engine);
  for (int i = 0; i < channels; ++i) x[static_cast<size_t>(first + i)] *= factor;
  return x;
}

struct OutlierCase {
  int channels = 0;
  float factor = 1;
};

// The largest error of W x relative to the result that the weights' other columns give: what is left of them.
TEST_P(LinearTest, OutliersCostTheOthersNothing) {
  constexpr int64_t kCols = 1024;
  for (int bits : {2, 3, 4, 5, 6, 8}) {
    for (int group : {32, 64, 128}) {
      const TestMatrix test = quantized_matrix(40, kCols, bits, group, bits % 2 == 0 ? DType::bf16 : DType::f32, 17);
      const PackedMatrix packed = pack(test.matrix, pool);
      for (int planes : {1, 2}) {
        const auto error = [&](OutlierCase outliers) {
          constexpr int64_t kTokens = 20;
          InputRows input(kTokens, kCols, kCols, kInputForms);
          std::vector<std::vector<float>> x;
          for (int64_t t = 0; t < kTokens; ++t) {
            const int64_t first = t % 3 == 2 ? 128 : 24;  // mostly the same channels, as in models
            x.push_back(with_outliers(kCols, outliers.channels, first, outliers.factor, static_cast<uint32_t>(t)));
            std::ranges::copy(x.back(), input.row(t));
            input.quantize(kernels, t, kCols, {group, planes});
          }
          std::vector<float> y(static_cast<size_t>(kTokens * 40));
          multiply_tiles(kernels, packed, {0, packed.tiles()}, input.view({group, planes}), kTokens, y.data(), 40,
                         false);
          double squares = 0;
          std::vector<float> row(kCols);
          for (int64_t r = 0; r < 40; ++r) {
            dequantize_row(test.matrix, r, row.data());
            for (int64_t t = 0; t < kTokens; ++t) {
              const double expected =
                  std::inner_product(row.begin(), row.end(), x[static_cast<size_t>(t)].begin(), 0.0);
              const double difference = y[static_cast<size_t>(t * 40 + r)] - expected;
              squares += difference * difference;
            }
          }
          return std::sqrt(squares);
        };
        const double without = error({});
        for (const OutlierCase outliers : {OutlierCase{1, 30}, {1, 300}, {2, 300}, {8, 30}, {8, 300}}) {
          // Float32 sums of large numbers keep 2^-24 of them.
          const double floats = planes == 2 ? outliers.factor * 2e-4 : 0;
          // Two planes keep outliers of up to 32 deviations, or as a tail's end more: 10 bits are left beside them.
          const double times = planes == 2 ? 32 : 1.5;
          EXPECT_LT(error(outliers), times * without + floats)
              << bits << " bits, groups of " << group << ", " << planes << " planes: " << outliers.channels
              << " channels of " << outliers.factor;
        }
      }
    }
  }
}

TEST_P(LinearTest, OutliersChangeNoNeighbour) {
  const TestMatrix test = quantized_matrix(72, 256, 4, 64, DType::bf16, 3);
  const PackedMatrix packed = pack(test.matrix, pool);
  for (int planes : {1, 2}) {
    const InputForm form{64, planes};
    constexpr int64_t kTokens = 150;  // more than are added together
    InputRows input(kTokens, 256, 256, kInputForms);
    for (int64_t t = 0; t < kTokens; ++t) {
      std::ranges::copy(with_outliers(256, static_cast<int>(t % 4), t % 240, 500, static_cast<uint32_t>(t)),
                        input.row(t));
      input.quantize(kernels, t, 256, form);
    }
    std::vector<float> together(static_cast<size_t>(kTokens * 72), 1.0F), alone(72);
    multiply_tiles(kernels, packed, {0, 1}, input.view(form), kTokens, together.data(), 72, true);
    multiply_tiles(kernels, packed, {1, 3}, input.view(form), kTokens, together.data(), 72, true);
    for (int64_t t = 0; t < kTokens; ++t) {
      std::ranges::fill(alone, 1.0F);
      multiply_tiles(kernels, packed, {0, packed.tiles()}, input.view(form, t), 1, alone.data(), 72, true);
      for (size_t r = 0; r < 72; ++r) ASSERT_EQ(alone[r], together[static_cast<size_t>(t) * 72 + r]) << t << ", " << r;
    }
  }
}

// What is an outlier: not the largest of usual numbers, nor of long tails; each of some large ones.
TEST_P(LinearTest, OutliersAreToldFromTails) {
  const auto taken = [&](const std::vector<float>& x, int64_t group, int planes = 1) {
    InputRows input(1, 128, 128, kInputForms);
    std::ranges::copy(x, input.row(0));
    const InputForm form{group, planes};
    input.quantize(kernels, 0, 128, form);
    const Activations view = input.view(form);
    std::vector<int64_t> columns;
    for (int64_t g = 0; g < 128 / group; ++g) {
      for (int i = 0; i < view.outliers[g * view.ldg]; ++i) {
        const Outlier& outlier = view.outlier[g * view.ldg * kMaxOutliers + i];
        columns.push_back(g * group + outlier.column);
        EXPECT_EQ(outlier.value, x[static_cast<size_t>(columns.back())]);
        EXPECT_EQ(view.high[columns.back()], 0);
      }
    }
    return columns;
  };
  std::mt19937 engine(5);
  std::normal_distribution<float> normal;
  size_t of_normal = 0, of_products = 0, of_long_tails = 0;
  constexpr size_t kTrials = 500;
  for (size_t trial = 0; trial < kTrials; ++trial) {
    std::vector<float> plain(128), products(128), gated(128);
    for (float& value : plain) value = normal(engine);
    for (float& value : products) value = normal(engine) * normal(engine);
    for (float& value : gated) value = normal(engine) * normal(engine) * normal(engine);
    for (int64_t group : {32, 64, 128}) {
      of_normal += taken(plain, group).size();
      of_products += taken(products, group).size();
      of_long_tails += taken(plain, group, 2).size() + taken(gated, group, 2).size();
    }
  }
  EXPECT_EQ(of_normal, 0U);
  EXPECT_LT(of_products, kTrials * 128 * 3 / 500) << "long tails belong to the group";
  EXPECT_LT(of_long_tails, kTrials * 128 * 3 / 5000) << "two planes hold longer ones";

  for (int64_t group : {32, 64, 128}) {
    std::vector<float> x = with_outliers(128, 0, 0, 1, 9);
    for (float& value : x) value = std::clamp(value, -2.5F, 2.5F);
    EXPECT_TRUE(taken(x, group).empty());
    x[7] = -40;
    x[20] = 3000;
    EXPECT_EQ(taken(x, group), (std::vector<int64_t>{7, 20}));
    EXPECT_EQ(taken(x, group, 2), (std::vector<int64_t>{7, 20}));
    x[20] = 20;
    x[7] = 1;
    EXPECT_EQ(taken(x, group), (std::vector<int64_t>{20}));
    EXPECT_TRUE(taken(x, group, 2).empty()) << "two planes have steps enough for both";
    x[7] = -40;
    x[20] = 3000;
    x[8] = x[9] = x[10] = 50, x[11] = -60, x[12] = x[13] = 35;  // eight
    EXPECT_EQ(taken(x, group).size(), 8U);
    x[21] = x[22] = 70;  // ten: they are no exception
    EXPECT_TRUE(taken(x, group).empty());
    EXPECT_TRUE(taken(std::vector<float>(128, 0.0F), group).empty());
    std::vector<float> lonely(128, 0.0F);
    lonely[100] = 1;
    (void)taken(lonely, group);  // an outlier or the group's peak: both are exact
    x = with_outliers(128, 0, 0, 1, 9);
    x[3] = std::numeric_limits<float>::infinity();
    (void)taken(x, group);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    (void)taken(x, group);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, LinearTest, testing::ValuesIn(available_isas()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace prosa::backend::cpu
