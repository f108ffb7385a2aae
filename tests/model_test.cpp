// The public Model: golden logits through forward(), padding, states that copy and outlive, and what it refuses.
#include "prosa/model.h"

#include <gtest/gtest.h>

#include <numeric>
#include <optional>

#include "prosa/error.h"

namespace prosa {
namespace {

constexpr const char* kTiny = PROSA_TEST_DATA "/golden/tiny-hf";

LoadOptions reference(int64_t context = 128) {
  LoadOptions options;
  options.backend = "reference";
  options.threads = 1;
  options.context = context;
  return options;
}

std::vector<int32_t> range(int32_t first, int32_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

template <typename Call>
std::optional<ErrorCode> code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

std::vector<float> row(const Logits& logits, int64_t index) {
  const std::span<const float> values = logits.row(index);
  return {values.begin(), values.end()};
}

class ModelTest : public testing::Test {
 protected:
  Model model = Model::from_pretrained(kTiny, reference());
  State state = model.new_state();
};

TEST_F(ModelTest, PrefillAndDecodeAgree) {
  const std::vector<int32_t> ids = range(10, 20);
  const Logits all = model.forward(ids, state);
  EXPECT_EQ(all.rows, 20);
  EXPECT_EQ(all.vocab, 512);
  EXPECT_EQ(state.position(), 20);
  State stepwise = model.new_state();
  for (size_t i = 0; i < ids.size(); ++i) {
    const Logits one = model.forward(std::span(&ids[i], 1), stepwise, {}, true);
    ASSERT_EQ(one.rows, 1);
    for (size_t j = 0; j < 512; ++j) ASSERT_NEAR(one.values[j], all.row(static_cast<int64_t>(i))[j], 1e-3);
  }
  State last = model.new_state();
  EXPECT_EQ(row(model.forward(ids, last, {}, true), 0), row(all, 19));
}

TEST_F(ModelTest, PaddingNeverEntersTheState) {
  const std::vector<int32_t> ids = range(10, 6);
  const Logits expected = model.forward(ids, state);
  // Padding in front, between and behind; its ids need not even exist.
  const std::vector<int32_t> padded = {-1, 10, 11, 99999, 12, 13, 0, 14, 15, 7};
  const std::vector<uint8_t> mask = {0, 1, 1, 0, 1, 1, 0, 1, 1, 0};
  State other = model.new_state();
  const Logits logits = model.forward(padded, other, mask);
  EXPECT_EQ(other.position(), 6);
  ASSERT_EQ(logits.rows, 10);
  int64_t real = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    const std::vector<float> found = row(logits, static_cast<int64_t>(i));
    EXPECT_EQ(found, mask[i] != 0 ? row(expected, real) : std::vector<float>(512, 0.0F)) << "row " << i;
    real += mask[i];
  }
  State third = model.new_state();
  EXPECT_EQ(row(model.forward(padded, third, mask, true), 0), row(expected, 5));

  const std::vector<uint8_t> nothing(10, 0);
  const Logits zero = model.forward(padded, other, nothing);
  EXPECT_EQ(other.position(), 6);
  EXPECT_EQ(zero.values, std::vector<float>(5120, 0.0F));

  // One real token among padding on a used state is a decode step.
  const std::vector<uint8_t> one = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const std::vector<int32_t> seven = {7};
  EXPECT_EQ(row(model.forward(padded, other, one), 9), row(model.forward(seven, state), 0));
}

TEST_F(ModelTest, ACopyContinuesWithTheSameBitsOnItsOwn) {
  model.forward(range(10, 9), state);
  State twin = state.copy();
  EXPECT_EQ(twin.position(), 9);
  const Logits a = model.forward(range(50, 5), state);
  model.forward(range(90, 2), state);
  EXPECT_EQ(twin.position(), 9);
  EXPECT_EQ(model.forward(range(50, 5), twin).values, a.values);
  EXPECT_EQ(State().copy().position(), 0);
  EXPECT_EQ(model.new_state().copy().position(), 0);
}

TEST_F(ModelTest, MemoryFollowsTheStates) {
  const MemoryFootprint one = model.memory_footprint();
  EXPECT_GT(one.weights, 0);
  EXPECT_EQ(one.kv + one.state, state.byte_size());
  {
    const State second = model.new_state();
    EXPECT_EQ(model.memory_footprint().kv, 2 * one.kv);
    EXPECT_EQ(model.memory_footprint().state, 2 * one.state);
  }
  EXPECT_EQ(model.memory_footprint().kv, one.kv);
  state = State();
  EXPECT_EQ(model.memory_footprint().kv + model.memory_footprint().state, 0);
}

TEST_F(ModelTest, AStateMayOutliveItsModel) {
  std::optional<Model> brief = Model::from_pretrained(kTiny, reference());
  State left = brief->new_state();
  brief->forward(range(1, 3), left);
  brief.reset();
  EXPECT_EQ(left.position(), 3);
  EXPECT_EQ(left.copy().position(), 3);
}

TEST_F(ModelTest, RefusesWhatCannotBeMeant) {
  const std::vector<int32_t> ids = range(1, 3);
  const std::vector<uint8_t> short_mask = {1, 1};
  State empty;
  State foreign = Model::from_pretrained(kTiny, reference()).new_state();
  EXPECT_EQ(code_of([&] { model.forward(ids, empty); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward(ids, foreign); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward({}, state); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward(ids, state, short_mask); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward(std::vector<int32_t>{1, 512}, state); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward(std::vector<int32_t>{-1}, state); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { model.forward(range(0, 129), state); }), ErrorCode::context_exceeded);
  EXPECT_EQ(state.position(), 0);
  model.forward(range(0, 128), state, {}, true);
  EXPECT_EQ(code_of([&] { model.forward(ids, state); }), ErrorCode::context_exceeded);
  EXPECT_EQ(state.position(), 128);
  EXPECT_EQ(code_of([] { Model::from_pretrained("/nonexistent", reference()); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([] { Model::from_pretrained(kTiny, reference(0)); }), ErrorCode::invalid_argument);
  LoadOptions threads = reference();
  threads.threads = -2;
  EXPECT_EQ(code_of([&] { Model::from_pretrained(kTiny, threads); }), ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace prosa
