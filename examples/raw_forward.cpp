// The model without any text: token ids in, logits out, a greedy loop over an explicit state, and a copy of that state
// that continues with the same bits.
//
// Usage: raw_forward [MODEL]
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

#include <prosa/error.h>
#include <prosa/model.h>

namespace {

int32_t best(const prosa::Logits& logits) {
  const auto row = logits.row(logits.rows - 1);
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::vector<int32_t> continue_greedily(const prosa::Model& model, prosa::State& state, int32_t token, int steps) {
  std::vector<int32_t> ids;
  for (int step = 0; step < steps; ++step) {
    ids.push_back(token);
    token = best(model.forward(std::vector<int32_t>{token}, state, {}, true));
  }
  return ids;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto model = prosa::Model::from_pretrained(argc > 1 ? argv[1] : "");
  const prosa::ModelInfo info = model.info();
  std::cout << info.parameters << " parameters, " << info.num_layers << " layers on " << info.backend << " ("
            << info.isa << ", " << info.threads << " threads)\n";

  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8};
  prosa::State state = model.new_state();
  const int32_t first = best(model.forward(prompt, state, {}, true));
  prosa::State fork = state.copy();

  const std::vector<int32_t> ids = continue_greedily(model, state, first, 8);
  for (const int32_t id : ids) std::cout << id << " ";
  std::cout << "\n";
  return continue_greedily(model, fork, first, 8) == ids ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const prosa::Error& error) {
  std::cerr << error.what() << "\n";
  return EXIT_FAILURE;
}
