// A wave of runs is one call of the scheduler: the backend sees all of their rows at once.
#include "runtime/forks.h"

#include <algorithm>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::runtime {

Forks::Forks(const Session& origin, const Cancel& cancel)
    : core_(origin.core()), cancel_(cancel), capacity_(origin.capacity()), origin_(origin.snapshot()) {}

void Forks::feed(std::span<Run> runs, const std::function<void(Run&, const backend::State&)>& on_rows) {
  for (size_t at = 0; at < runs.size(); at += kMaxStates)
    feed_some(runs.subspan(at, std::min(kMaxStates, runs.size() - at)), on_rows);
}

void Forks::feed_some(std::span<Run> runs, const std::function<void(Run&, const backend::State&)>& on_rows) {
  backend::Backend& backend = core_->backend();
  while (states_.size() < runs.size()) states_.push_back(backend.new_state(capacity_));
  std::vector<Work> works(runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    backend::State& state = *states_[i];
    backend.restore(state, *runs[i].from);
    works[i].state = &state;
    works[i].tokens = runs[i].tokens;
    works[i].rows = backend::Rows::all;
    works[i].tentative = true;
    works[i].cancel = cancel_;
  }
  const bool fed = core_->scheduler().run(works);
  if (!fed) {
    for (const auto& state : states_) backend.reset(*state);
    throw Error(ErrorCode::cancelled, "the scoring was cancelled", "options");
  }
  ++steps_;
  for (size_t i = 0; i < runs.size(); ++i) {
    tokens_ += std::ssize(runs[i].tokens);
    on_rows(runs[i], *states_[i]);
    backend.commit(*states_[i], runs[i].keep ? std::ssize(runs[i].tokens) : 0);
    if (runs[i].keep) runs[i].behind = backend.snapshot(*states_[i]);
  }
}

}  // namespace prosa::runtime
