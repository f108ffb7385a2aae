// Numbers, for every backend and instruction set of this machine: agreement with the golden vectors, with the reference
// and of every way to feed the same tokens, within the bounds of docs/reference/numerics.md.
//
// What must agree bit for bit is in the other backend_*_test.cpp. Where the reference must be exact (it has one program
// for one token and many), it is asked to be.
#include <iostream>

#include "backend_fixture.h"
#include "golden.h"

namespace prosa::test {
namespace {

PROSA_TEST_EVERY_BACKEND(BackendTest);

TEST_P(BackendTest, AgreesWithGoldenVectors) {
  for (const std::string& model : golden_models()) {
    SCOPED_TRACE(model);
    const Golden golden(model);
    const auto backend = make(model);
    Agreement agreement;
    for (const int length : golden.prompts()) {
      const std::string prompt = "prompt_" + std::to_string(length);
      const Ids ids = golden.ids(prompt + ".input_ids");
      const auto state = backend->new_state(length);
      agreement.add(golden.floats(prompt + ".logits"), prefill(*backend, *state, ids),
                    static_cast<size_t>(backend->config().vocab_size));
    }
    EXPECT_TRUE(within_bounds(agreement)) << agreement;
    std::cout << "  " << model << ": " << agreement << "\n";
  }
}

TEST_P(BackendTest, AgreesWithReferenceOnRandomTokens) {
  if (is_reference()) GTEST_SKIP() << "the reference itself";
  for (const std::string& model : all_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 200, 7);
    const Logits expected = reference_logits(model, ids);
    const auto state = backend->new_state(400);

    Agreement by_prefill;
    by_prefill.add(expected, prefill(*backend, *state, ids), static_cast<size_t>(backend->config().vocab_size));
    EXPECT_TRUE(within_bounds(by_prefill)) << "prefill: " << by_prefill;

    backend->reset(*state);
    Agreement by_decode;
    by_decode.add(expected, decode(*backend, *state, ids), static_cast<size_t>(backend->config().vocab_size));
    EXPECT_TRUE(within_bounds(by_decode)) << "decode: " << by_decode;
    std::cout << "  " << model << ": prefill " << by_prefill << "; decode " << by_decode << "\n";
  }
}

TEST_P(BackendTest, PrefillAgreesWithDecodes) {
  for (const std::string& model : few_models()) {
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 216, 11);
    for (const size_t n : {1, 2, 63, 64, 65, 200}) {
      SCOPED_TRACE(model + ", n = " + std::to_string(n));
      const Ids prompt = first(ids, n);
      const Ids after = part(ids, n, 16);
      const auto one = backend->new_state(216);
      const auto other = backend->new_state(216);
      Logits at_once = prefill(*backend, *one, prompt);
      Logits one_by_one = decode(*backend, *other, prompt);
      // Both states must go on alike, so the 16 tokens after count as well.
      append(at_once, decode(*backend, *one, after));
      append(one_by_one, decode(*backend, *other, after));
      expect_agreement(*backend, one_by_one, at_once);
    }
  }
}

TEST_P(BackendTest, RandomCutsAgree) {
  std::mt19937 generator(3);
  for (const std::string& model : few_models()) {
    SCOPED_TRACE(model);
    const auto backend = make(model);
    const Ids ids = random_ids(backend->config(), 200, 13);
    const auto whole_state = backend->new_state(200);
    const Logits whole = prefill(*backend, *whole_state, ids);
    for (int trial = 0; trial < 4; ++trial) {
      const auto state = backend->new_state(200);
      Logits pieces;
      std::string cuts;
      for (size_t at = 0; at < ids.size();) {
        const size_t n = std::min<size_t>(1 + generator() % 90, ids.size() - at);
        cuts += " " + std::to_string(n);
        append(pieces, prefill(*backend, *state, std::span(ids).subspan(at, n)));
        at += n;
      }
      SCOPED_TRACE("cuts" + cuts);
      expect_agreement(*backend, whole, pieces);
    }
  }
}

TEST_P(BackendTest, LongContextsAgreeWithTheReference) {
  if (is_reference()) GTEST_SKIP() << "it is what others are compared with";
  const auto backend = make("tiny-mlx-4bit", 5);
  const Ids ids = random_ids(backend->config(), 560, 29);
  const Logits expected = reference_logits("tiny-mlx-4bit", ids);
  const auto at_once = backend->new_state(600), in_steps = backend->new_state(600);
  expect_agreement(*backend, expected, prefill(*backend, *at_once, ids));
  (void)prefill(*backend, *in_steps, first(ids, 540), Rows::last);
  const auto vocab = static_cast<int64_t>(backend->config().vocab_size);
  expect_agreement(*backend, Logits(expected.begin() + 540 * vocab, expected.end()),
                   decode(*backend, *in_steps, part(ids, 540, 20)));
}

// ---- what a backend says of itself ----------------------------------------------------------------------------------

TEST_P(BackendTest, TellsWhatItIs) {
  const auto backend = make("grouped-mlx-4bit", 2, 100);
  const backend::Description& said = backend->description();
  EXPECT_EQ(said.name, GetParam().backend);
  if (!GetParam().isa.empty()) {
    EXPECT_EQ(said.kernels, GetParam().isa);
  }
  EXPECT_EQ(said.threads, host_threads(2));
  EXPECT_NE(said.details, "");
  EXPECT_EQ(backend->config().num_layers, 8);
  EXPECT_GE(backend->slice_unit(), 1);
  if (said.name != "mlx") {  // its passes have one size
    EXPECT_GE(backend->step_rows(), 100) << "what was asked for, rounded up";
  }
  EXPECT_EQ(backend->step_rows() % backend->slice_unit(), 0);
  EXPECT_GT(backend->memory().weights, 0);
}

TEST_P(BackendTest, StatesTellTheirSize) {
  const auto backend = make("tiny-mlx-4bit");
  const auto state = backend->new_state(300);
  EXPECT_GT(state->byte_size(), 0);
  EXPECT_EQ(state->capacity(), 300);
  EXPECT_EQ(state->row_bytes(), 0);
  const Ids ids = random_ids(backend->config(), 260, 3);
  (void)prefill(*backend, *state, ids, Rows::none);
  // At least so many bits for keys and values of the tokens in the one attention layer.
  EXPECT_GE(state->byte_size(), 260 * 2 * backend->config().kv_dim() * GetParam().kv_bits / 8);
  (void)prefill(*backend, *state, first(ids, 10), Rows::all);
  const int64_t row = backend->config().vocab_size * static_cast<int64_t>(sizeof(float));
  EXPECT_GE(state->row_bytes(), 10 * row);
  backend->reset(*state);
  (void)prefill(*backend, *state, first(ids, 200), Rows::all);
  EXPECT_GE(state->row_bytes(), 200 * row);
  (void)prefill(*backend, *state, first(ids, 1), Rows::last);
  EXPECT_LE(state->row_bytes(), backend::kMaxTentative * row) << "a prompt's rows do not stay";
}

TEST(MakeBackend, UnknownNamesAreUnsupported) {
  EXPECT_EQ(error_code([] { (void)backend::make_backend("abacus", load_model("tiny-hf"), {}); }),
            ErrorCode::unsupported);
}

#ifndef PROSA_TEST_CUDA  // options of a backend that is not there
TEST(MakeBackend, BadOptionsAreErrors) {
  const auto code = [](const backend::CpuOptions& cpu) {
    BackendOptions options;
    options.cpu = cpu;
    return error_code([&] { (void)backend::make_backend("cpu", load_model("tiny-hf"), options); });
  };
  EXPECT_EQ(code({.threads = 1, .isa = "sse9"}), ErrorCode::unsupported);
  EXPECT_EQ(code({.threads = -1}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.threads = 1, .activation_bits = 12}), ErrorCode::invalid_argument);
  EXPECT_EQ(code({.threads = 1, .kv_bits = 4}), ErrorCode::invalid_argument);
}
#endif

}  // namespace
}  // namespace prosa::test
