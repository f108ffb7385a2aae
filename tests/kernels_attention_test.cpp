// Attention over the KV cache, and keys and values as it stores them, against plain double-precision formulas, for
// every ISA this machine can run.
//
// The other kernels: kernels_test.cpp. Invariant: a query row alone has the bits it has among others.
#include <iostream>

#include "kernels_fixture.h"

namespace prosa::backend::cpu {
namespace {

class AttendTest : public testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels = choose_kernels(GetParam());
};

// Two spans joined: what all of it gives, but for rounding; a row that does not see the second keeps its bits.
void check_joined(const Kernels& kernels, const AttendArgs& all) {
  const auto rows = static_cast<size_t>(all.rows);
  const auto dim = static_cast<size_t>(all.kv.head_dim);
  std::vector<float> first(rows * dim), second(rows * dim, 7.0F);
  std::vector<float*> first_rows, second_rows;
  for (size_t r = 0; r < rows; ++r) {
    first_rows.push_back(first.data() + r * dim);
    second_rows.push_back(second.data() + r * dim);
  }
  std::vector<AttendPart> sums(rows), more(rows);
  AttendArgs args = all;
  args.out = first_rows.data();
  args.end = kKvSpan;
  args.parts = sums.data();
  kernels.attend(args);
  args.out = second_rows.data();
  args.first = kKvSpan;
  args.end = 2 * kKvSpan;
  args.parts = more.data();
  kernels.attend(args);
  for (size_t r = 0; r < rows; ++r) {
    const std::vector<float> alone(first_rows[r], first_rows[r] + dim);
    const bool sees = all.limits[r] > kKvSpan;
    ASSERT_EQ(more[r].total != 0, sees);
    join(sums[r], first_rows[r], more[r], second_rows[r], all.kv.head_dim);
    for (size_t d = 0; d < dim; ++d) {
      ASSERT_NEAR(first_rows[r][d], all.out[r][d], 1e-4) << "row " << r;
      if (sees) continue;
      ASSERT_EQ(second_rows[r][d], 0) << "row " << r;
      ASSERT_EQ(first_rows[r][d], alone[d]);
      ASSERT_EQ(first_rows[r][d], all.out[r][d]) << "row " << r;
    }
  }
}

// Vectors of 16 dimensions that the 8-bit form mixes with each other.
int64_t mixed_vectors(int64_t dim) { return std::min<int64_t>(16, dim / 16 & -(dim / 16)); }

// Lane by lane, count vectors from x on, times a Hadamard matrix.
std::vector<double> times_hadamard(const double* x, int64_t count) {
  std::vector<double> sums(static_cast<size_t>(16 * count));
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < count; ++i) {
      const double sign = std::popcount(static_cast<uint64_t>(row & i)) % 2 == 1 ? -1 : 1;
      for (int64_t lane = 0; lane < 16; ++lane) sums[static_cast<size_t>(16 * row + lane)] += sign * x[16 * i + lane];
    }
  }
  return sums;
}

// A query as the 8-bit form sees it: mixed, in 127 steps either way. mixing() times as long, squared.
std::vector<double> mixed_bytes(const float* x, int64_t dim) {
  const int64_t count = mixed_vectors(dim);
  std::vector<double> mixed;
  double peak = 0;
  for (int64_t first = 0; first < dim; first += 16 * count) {
    const std::vector<double> across =
        times_hadamard(std::vector<double>(x + first, x + first + 16 * count).data(), count);
    std::vector<double> along;
    for (int64_t lane = 0; lane < 16; ++lane) {
      for (int64_t i = 0; i < count; ++i) along.push_back(across[static_cast<size_t>(16 * i + lane)]);
    }
    for (const double sum : times_hadamard(along.data(), count)) mixed.push_back(sum);
  }
  for (const double m : mixed) peak = std::max(peak, std::abs(m));
  for (double& m : mixed) m = std::nearbyint(m * 127 / peak) * peak / 127;
  return mixed;
}

// What the product of two mixed vectors is too large by.
double mixing(const KvLayout& kv) {
  const auto count = static_cast<double>(mixed_vectors(kv.head_dim));
  return kv.bits == 8 ? count * count : 1;
}

// The numbers of a stored key or value.
std::vector<double> stored(const KvLayout& kv, const std::byte* head, int64_t slot, bool key) {
  float scale = 0;
  std::memcpy(&scale, head + kv.scale_at(slot), sizeof scale);
  std::vector<double> x;
  for (int64_t d = 0; d < kv.head_dim; ++d) {
    const int64_t at = key ? kv.key_at(slot, d) : kv.value_at(slot, d);
    int16_t whole = 0;
    if (kv.bits == 8)
      whole = static_cast<int8_t>(head[at]);
    else
      std::memcpy(&whole, head + 2 * at, sizeof whole);
    x.push_back(static_cast<double>(scale) * whole);
  }
  return x;
}

void check_attention_of(const Kernels& kernels, const KvLayout& kv, int64_t rows) {
  const int64_t positions = 150, dim = kv.head_dim;
  const std::vector<float> k = random_floats(positions * dim, 1, -2, 2), v = random_floats(positions * dim, 2);
  // Two blocks, each with something in front of the head's keys and values.
  const int64_t keys_at = 192, values_at = keys_at + kv.head_bytes() + 64;
  // What was never stored must not be weighed: it is as bad as can be.
  std::vector<std::vector<std::byte>> blocks(
      2, std::vector<std::byte>(static_cast<size_t>(values_at + kv.head_bytes()), std::byte{0xff}));
  const std::vector<const std::byte*> table{blocks[0].data(), blocks[1].data()};
  for (int64_t p = 0; p < positions; ++p) {
    std::byte* block = blocks[static_cast<size_t>(p / kKvSpan)].data();
    kernels.store_key(k.data() + p * dim, kv, p % kKvSpan, block + keys_at);
    kernels.store_value(v.data() + p * dim, kv, p % kKvSpan, block + values_at);
  }
  const float spread = 8.0F / std::sqrt(static_cast<float>(dim));  // so that scores of any width are as large
  const std::vector<float> q = random_floats(rows * dim, 3, -spread, spread);
  const std::vector<int64_t> some{150, 1, 64, 129, 63, 128, 16, 149};
  std::vector<int64_t> limits;
  for (int64_t r = 0; r < rows; ++r) limits.push_back(some[static_cast<size_t>(r) % some.size()]);
  std::vector<float> out(static_cast<size_t>(rows * dim)), alone(static_cast<size_t>(dim)),
      scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  std::vector<const float*> queries;
  std::vector<float*> outs;
  for (int64_t r = 0; r < rows; ++r) {
    queries.push_back(q.data() + r * dim);
    outs.push_back(out.data() + r * dim);
  }
  AttendArgs args;
  args.blocks = table.data();
  args.keys = keys_at;
  args.values = values_at;
  args.kv = kv;
  args.scratch = scratch.data();
  args.q = queries.data();
  args.out = outs.data();
  args.limits = limits.data();
  args.rows = rows;
  kernels.attend(args);
  check_joined(kernels, args);
  std::vector<std::vector<double>> key_of, value_of;  // as stored; how well that is: StoredKeysAndValues
  for (int64_t p = 0; p < positions; ++p) {
    const std::byte* block = table[static_cast<size_t>(p / kKvSpan)];
    key_of.push_back(stored(kv, block + keys_at, p % kKvSpan, true));
    value_of.push_back(stored(kv, block + values_at, p % kKvSpan, false));
  }
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    std::vector<double> query(queries[r], queries[r] + dim);
    if (kv.bits == 8) query = mixed_bytes(queries[r], dim);
    std::vector<double> weight;
    double total = 0;
    for (size_t p = 0; p < static_cast<size_t>(limits[r]); ++p) {
      weight.push_back(std::exp(std::inner_product(query.begin(), query.end(), key_of[p].begin(), 0.0) / mixing(kv)));
      total += weight.back();
    }
    for (size_t d = 0; d < static_cast<size_t>(dim); ++d) {
      double expected = 0;
      for (size_t p = 0; p < weight.size(); ++p) expected += weight[p] / total * value_of[p][d];
      ASSERT_NEAR(outs[r][d], expected, kv.bits == 8 ? 1.5e-2 : 1e-3) << "row " << r << " of " << rows << ", " << dim;
    }
    float* single = alone.data();
    AttendArgs one = args;
    one.q = queries.data() + r;
    one.out = &single;
    one.limits = limits.data() + r;
    one.rows = 1;
    kernels.attend(one);
    for (int64_t d = 0; d < dim; ++d)
      ASSERT_EQ(alone[static_cast<size_t>(d)], outs[r][d]) << "row " << r << " alone, " << rows << ", " << dim;
  }
}

// Few rows, more than a tile of them, and more heads' dimensions than one.
TEST_P(AttendTest, Attention) {
  for (const int64_t dim : {48, 64, 256}) {
    for (const int bits : {8, 16}) {
      for (const int64_t rows : {8, 9, 43, 96}) check_attention_of(kernels, {dim, bits}, rows);
    }
  }
}

// Keys as trained models may have them: one dimension is much larger than all others, and alike at all positions, so
// that it changes no weight. What it costs the others in 8 bits is what is left of it after mixing.
TEST_P(AttendTest, AttentionBesideALargeDimension) {
  const KvLayout kv{256, 8};
  const int64_t dim = kv.head_dim, positions = 128;
  std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
  std::vector<float> k = random_floats(positions * dim, 1), v = random_floats(positions * dim, 2);
  const std::vector<float> q = random_floats(dim, 3, -0.5F, 0.5F);
  for (int64_t p = 0; p < positions; ++p) {
    k[static_cast<size_t>(p * dim + 17)] = 40;
    kernels.store_key(k.data() + p * dim, kv, p, block.data());
    kernels.store_value(v.data() + p * dim, kv, p, block.data() + kv.head_bytes());
  }
  std::vector<float> out(static_cast<size_t>(dim)), scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  const std::byte* table = block.data();
  const float* query = q.data();
  float* sums = out.data();
  kernels.attend({&query, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()});
  std::vector<double> weights;
  for (int64_t p = 0; p < positions; ++p)
    weights.push_back(std::exp(std::inner_product(q.begin(), q.end(), k.begin() + p * dim, 0.0)));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (int64_t d = 0; d < dim; ++d) {
    double expected = 0;
    for (int64_t p = 0; p < positions; ++p)
      expected += weights[static_cast<size_t>(p)] / total * v[static_cast<size_t>(p * dim + d)];
    ASSERT_NEAR(out[static_cast<size_t>(d)], expected, 0.02);
  }
}

// Vectors that use the integers' whole range: one element holds all of the length, all elements are alike, a query
// points along its key, weights are all the same or one is alone, and scales from tiny to large.
void check_edges(const Kernels& kernels, const KvLayout& kv) {
  const int64_t dim = kv.head_dim, positions = 64;
  std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
  const std::byte* table = block.data();
  std::vector<float> scratch(static_cast<size_t>(attend_scratch_floats(dim)));
  const auto vector_of = [&](int form, float size) {
    std::vector<float> x(static_cast<size_t>(dim), form == 1 ? size / 16 : 0.0F);
    if (form == 0) x[7] = -size;
    if (form == 2) x = random_floats(dim, 5, -size, size);
    return x;
  };
  for (int form : {0, 1, 2, 3}) {  // 3: zeros
    for (const float size : {1e-12F, 1.0F, 3e4F}) {
      for (const bool alike : {true, false}) {
        const std::vector<float> key = vector_of(form, size), value = vector_of((form + 1) % 4, size);
        double norm = 0;
        for (const float x : key) norm += static_cast<double>(x) * x;
        std::vector<float> q = key;  // a score of 20 with its own key, whatever its size
        for (float& x : q) x = norm > 0 ? static_cast<float>(20.0 * x / norm) : 0.0F;
        for (int64_t p = 0; p < positions; ++p) {
          const bool same = alike || p == 11;
          std::vector<float> k = key, v = value;
          for (float& x : k) x *= same ? 1.0F : -1.0F;
          for (float& x : v) x *= same ? 1.0F : 0.5F;
          kernels.store_key(k.data(), kv, p, block.data());
          kernels.store_value(v.data(), kv, p, block.data() + kv.head_bytes());
        }
        std::vector<float> out(static_cast<size_t>(dim));
        const float* query = q.data();
        float* sums = out.data();
        AttendArgs args{&query, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()};
        kernels.attend(args);
        const std::vector<float> alone = out;
        constexpr int64_t kMany = 20;
        const std::vector<const float*> queries(kMany, query);
        const std::vector<int64_t> limits(kMany, positions);
        std::vector<float> many(static_cast<size_t>(kMany * dim));
        std::vector<float*> outs;
        for (int64_t r = 0; r < kMany; ++r) outs.push_back(many.data() + r * dim);
        args.q = queries.data();
        args.out = outs.data();
        args.limits = limits.data();
        args.rows = kMany;
        kernels.attend(args);
        for (size_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], alone[i % alone.size()]) << "among others";
        const double share = alike || norm == 0 ? 1.0 / static_cast<double>(positions) : 1.0;  // of position 11
        const double mixed = alike ? 1.0 : share + (1 - share) * 0.5;
        for (size_t d = 0; d < out.size(); ++d) {
          ASSERT_NEAR(out[d], mixed * value[d], (kv.bits == 8 ? 5e-3 : 1e-3) * size)
              << "form " << form << ", size " << size;
        }
      }
    }
  }
}

TEST_P(AttendTest, AttentionAtTheEdgesOfItsIntegers) {
  check_edges(kernels, {256, 8});
  check_edges(kernels, {256, 16});
}

// What is stored, read back by the layout: each number within half a step, and the products of keys as they were,
// whichever dimensions are the large ones, each at a place of its own.
TEST_P(AttendTest, StoredKeysAndValues) {
  for (const KvLayout kv : {KvLayout{48, 8}, KvLayout{96, 8}, KvLayout{512, 8}, KvLayout{48, 16}, KvLayout{256, 16}}) {
    SCOPED_TRACE(std::to_string(kv.head_dim) + " of " + std::to_string(kv.bits) + " bits");
    const auto dim = static_cast<size_t>(kv.head_dim);
    std::vector<std::byte> keys(static_cast<size_t>(kv.head_bytes())), values = keys;
    std::set<int64_t> key_places, value_places;
    for (const int64_t slot : {0, 5, 15, 16, 63, 64, 127}) {
      std::vector<float> x = random_floats(kv.head_dim, static_cast<unsigned>(slot));
      x[17] = 12;
      kernels.store_key(x.data(), kv, slot, keys.data());
      kernels.store_value(x.data(), kv, slot, values.data());
      const std::vector<double> key = stored(kv, keys.data(), slot, true);
      const std::vector<double> value = stored(kv, values.data(), slot, false);
      const std::vector<double> mixed =
          kv.bits == 8 ? mixed_bytes(x.data(), kv.head_dim) : std::vector<double>(x.begin(), x.end());
      for (size_t d = 0; d < dim; ++d) {
        ASSERT_NEAR(value[d], x[d], kv.bits == 8 ? 0.501 * 12 / 127 : 1e-3);
        ASSERT_NEAR(key[d], mixed[d], 1e-3);
        const auto at = static_cast<int64_t>(d);
        ASSERT_TRUE(key_places.insert(kv.key_at(slot, at)).second);
        ASSERT_TRUE(value_places.insert(kv.value_at(slot, at)).second);
      }
      const double product = std::inner_product(key.begin(), key.end(), mixed.begin(), 0.0);
      const double expected = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
      ASSERT_NEAR(product / mixing(kv), expected, 0.01 * expected);
    }
    for (const std::set<int64_t>& places : {key_places, value_places}) {
      ASSERT_GE(*places.begin(), 0);
      ASSERT_LT(*places.rbegin(), kKvSpan * kv.head_dim);
    }
  }
}

// Every number of the positions asked for, and nothing of those behind.
TEST(KvShapeTest, CopiesOfBlocks) {
  ModelConfig config;
  config.layer_types = {LayerType::full_attention, LayerType::linear_attention, LayerType::full_attention};
  config.num_key_value_heads = 2;
  config.head_dim = 48;
  for (const int bits : {8, 16}) {
    const KvShape shape(config, bits);
    const Ref<KvBlock> block(new KvBlock(shape.block_bytes));
    for (int64_t i = 0; i < shape.block_bytes; ++i) block->data[i] = std::byte{static_cast<uint8_t>(1 + i % 251)};
    for (int64_t positions = 0; positions <= kKvSpan; ++positions) {
      std::vector<std::byte> expected(static_cast<size_t>(shape.block_bytes));
      const auto copied = [&](int64_t at, int64_t bytes) {
        std::copy_n(block->data.data() + at, bytes, expected.begin() + at);
      };
      for (int64_t part = 0; part < 2 * 2 * 2; ++part) {
        const int64_t begin = part * shape.head.head_bytes();
        for (int64_t slot = 0; slot < positions; ++slot) {
          copied(begin + shape.head.scale_at(slot), 4);
          for (int64_t d = 0; d < config.head_dim; ++d) {
            const int64_t at = part % 4 < 2 ? shape.head.key_at(slot, d) : shape.head.value_at(slot, d);
            copied(begin + at * bits / 8, bits / 8);
          }
        }
      }
      const auto copy = shape.copy_of(*block, positions);
      ASSERT_EQ(copy->filled, positions);
      ASSERT_TRUE(std::ranges::equal(copy->data.span(), expected)) << bits << " bits, " << positions << " positions";
    }
  }
}

// One position that a query sees well and 63 that it sees 100 to 10,000 times less: together they count, alone each is
// less than half of the smallest step that a weight of 8 bits has. Their share must not be lost.
TEST_P(AttendTest, WeakWeightsKeepTheirShare) {
  const KvLayout kv{64, 8};
  const int64_t dim = kv.head_dim, positions = 64;
  const std::vector<float> q = random_floats(dim, 3), v = random_floats(2 * dim, 2);
  const auto length = std::inner_product(q.begin(), q.end(), q.begin(), 0.0F);
  for (const float ratio : {100.0F, 600.0F, 1000.0F, 10000.0F}) {
    for (const int64_t strong : {0, 37, 63}) {
      std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
      std::vector<float> key(static_cast<size_t>(dim));
      std::vector<double> weights(64);
      const std::vector<double> query = mixed_bytes(q.data(), dim);
      double total = 0;
      for (int64_t p = 0; p < positions; ++p) {
        const float score = p == strong ? std::log(ratio) : 0.1F;
        for (size_t d = 0; d < key.size(); ++d) key[d] = q[d] * score / length;
        kernels.store_key(key.data(), kv, p, block.data());
        kernels.store_value(v.data() + (p == strong ? 0 : dim), kv, p, block.data() + kv.head_bytes());
        const std::vector<double> kept = stored(kv, block.data(), p, true);
        weights[static_cast<size_t>(p)] =
            std::exp(std::inner_product(query.begin(), query.end(), kept.begin(), 0.0) / mixing(kv));
        total += weights[static_cast<size_t>(p)];
      }
      std::vector<float> out(static_cast<size_t>(dim)), scratch(static_cast<size_t>(attend_scratch_floats(dim)));
      const std::byte* table = block.data();
      const float* queries = q.data();
      float* sums = out.data();
      kernels.attend({&queries, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()});
      for (size_t d = 0; d < out.size(); ++d) {
        double expected = 0;
        for (size_t p = 0; p < 64; ++p)
          expected +=
              weights[p] / total * stored(kv, block.data() + kv.head_bytes(), static_cast<int64_t>(p), false)[d];
        EXPECT_NEAR(out[d], expected, 4e-3) << "1 : " << ratio << ", the strong one at " << strong;
      }
    }
  }
}

// What keys, values and queries are in a q8_0 cache: 8 bits with a 16-bit scale for each 32 numbers.
std::vector<double> in_q8_0(const std::vector<float>& x) {
  std::vector<double> kept;
  for (size_t first = 0; first < x.size(); first += 32) {
    float peak = 0;
    for (size_t i = first; i < first + 32; ++i) peak = std::max(peak, std::abs(x[i]));
    const float scale = f16_to_float(float_to_f16(peak / 127));
    for (size_t i = first; i < first + 32; ++i)
      kept.push_back(peak > 0 ? std::nearbyint(x[i] * 127 / peak) * scale : 0);
  }
  return kept;
}

/// softmax(q.k) v in double.
std::vector<double> attention_of(const std::vector<double>& q, const std::vector<std::vector<double>>& k,
                                 const std::vector<std::vector<double>>& v) {
  std::vector<double> out(q.size());
  double total = 0;
  for (size_t p = 0; p < k.size(); ++p) {
    const double weight = std::exp(std::inner_product(q.begin(), q.end(), k[p].begin(), 0.0));
    total += weight;
    for (size_t d = 0; d < q.size(); ++d) out[d] += weight * v[p][d];
  }
  for (double& o : out) o /= total;
  return out;
}

/// KL of 512 next tokens, whose logits are random products of what attention gives and spread by about 1.
double kl_of_outputs(const std::vector<double>& exact, const std::vector<double>& other) {
  const std::vector<float> head = random_floats(512 * static_cast<int64_t>(exact.size()), 99);
  const double factor = std::sqrt(3 / std::inner_product(exact.begin(), exact.end(), exact.begin(), 0.0));
  std::vector<double> of[2];
  double normal[2] = {0, 0};
  for (size_t token = 0; token < 512; ++token) {
    for (size_t side = 0; side < 2; ++side) {
      const std::vector<double>& x = side == 0 ? exact : other;
      double logit = 0;
      for (size_t d = 0; d < x.size(); ++d) logit += static_cast<double>(head[token * x.size() + d]) * x[d];
      of[side].push_back(factor * logit);
      normal[side] += std::exp(factor * logit);
    }
  }
  double kl = 0;
  for (size_t token = 0; token < 512; ++token) {
    const double p = std::exp(of[0][token]) / normal[0];
    kl += p * (of[0][token] - of[1][token] - std::log(normal[0] / normal[1]));
  }
  return kl;
}

// One strong position beside 63 weak ones, from the numbers themselves to the next token's probabilities, and the same
// with a q8_0 cache and float softmax weights. Prints both: the figures of docs/measurements/numerics.md.
TEST_P(AttendTest, WeakWeightsCostNextToNothing) {
  const KvLayout kv{256, 8};
  const int64_t dim = kv.head_dim, positions = 64;
  constexpr uint32_t kDraws = 6;
  for (const float ratio : {100.0F, 300.0F, 1000.0F, 3000.0F, 10000.0F}) {
    double mine = 0, weights_alone = 0, q8_0 = 0;
    for (uint32_t draw = 0; draw < kDraws; ++draw) {
      const std::vector<float> q = random_floats(dim, 10 * draw + 3, -0.2F, 0.2F),
                               common = random_floats(dim, 10 * draw + 4);
      const auto length = std::inner_product(q.begin(), q.end(), q.begin(), 0.0F);
      std::vector<std::byte> block(static_cast<size_t>(2 * kv.head_bytes()));
      std::vector<std::vector<double>> keys, values, kept_keys, kept_values, stored_keys, stored_values;
      for (int64_t p = 0; p < positions; ++p) {
        const bool strong = p == 11 * draw;
        std::vector<float> key = random_floats(dim, 1000 * draw + 2 * static_cast<uint32_t>(p));
        std::vector<float> value = random_floats(dim, 1000 * draw + 2 * static_cast<uint32_t>(p) + 1);
        const auto meets = std::inner_product(q.begin(), q.end(), key.begin(), 0.0F);
        for (size_t d = 0; d < key.size(); ++d) key[d] += q[d] * ((strong ? std::log(ratio) : 0.0F) - meets) / length;
        for (size_t d = 0; d < value.size() && !strong; ++d) value[d] = common[d] + 0.5F * value[d];
        kernels.store_key(key.data(), kv, p, block.data());
        kernels.store_value(value.data(), kv, p, block.data() + kv.head_bytes());
        keys.emplace_back(key.begin(), key.end());
        values.emplace_back(value.begin(), value.end());
        kept_keys.push_back(in_q8_0(key));
        kept_values.push_back(in_q8_0(value));
        stored_keys.push_back(stored(kv, block.data(), p, true));
        for (double& x : stored_keys.back()) x /= mixing(kv);
        stored_values.push_back(stored(kv, block.data() + kv.head_bytes(), p, false));
      }
      const std::vector<double> exact = attention_of({q.begin(), q.end()}, keys, values);
      q8_0 += kl_of_outputs(exact, attention_of(in_q8_0(q), kept_keys, kept_values)) / kDraws;
      std::vector<float> out(static_cast<size_t>(dim)), scratch(static_cast<size_t>(attend_scratch_floats(dim)));
      const std::byte* table = block.data();
      const float* queries = q.data();
      float* sums = out.data();
      kernels.attend({&queries, &sums, &positions, 1, &table, 0, kv.head_bytes(), kv, scratch.data()});
      mine += kl_of_outputs(exact, {out.begin(), out.end()}) / kDraws;
      const std::vector<double> with_float_weights =
          attention_of(mixed_bytes(q.data(), dim), stored_keys, stored_values);
      weights_alone += kl_of_outputs(with_float_weights, {out.begin(), out.end()}) / kDraws;
    }
    std::cout << "  1 : " << ratio << ": KL " << mine << ", of it softmax weights " << weights_alone
              << "; a q8_0 cache " << q8_0 << "\n";
    EXPECT_LE(weights_alone, 2e-5) << "1 : " << ratio;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttendTest, testing::ValuesIn(available_isas()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace prosa::backend::cpu
