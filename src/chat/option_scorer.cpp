// The tree is walked in waves, the newest branches first, and lines with slots are filled where they leave it: so only
// a few places are kept at a time.
#include "chat/option_scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::chat {

using backend::State;
using runtime::Forks;

/// A token of one or more options.
struct OptionScorer::Node {
  size_t parent = 0;
  int32_t token = -1;
  double log_probability = 0;         // of the token, after what stands before it
  std::vector<size_t> children = {};  // nodes
  std::vector<size_t> ends = {};      // options that end here
  std::vector<size_t> lines = {};     // whose first slot begins here, or a token that the slot may change

  /// Others than the one child need the row here, or the place.
  [[nodiscard]] bool branches() const { return children.size() > 1 || !ends.empty() || !lines.empty(); }
};

/// An option with slots on its way.
struct OptionScorer::Line {
  size_t option = 0;
  grammar::Matcher matcher;
  size_t node = 0;                   // where it leaves the tree
  Forks::Place place = {};           // the end of what was fed
  std::vector<int32_t> coming = {};  // to be fed
  std::vector<double> scores = {};   // of the tokens behind the tree, those of `coming` but its first not yet
  size_t tokens = 0;
  bool over = false;
  bool ended = false;
};

OptionScorer::~OptionScorer() = default;

OptionScorer::OptionScorer(const runtime::Session& session, const Tokenizer& tokenizer,
                           std::shared_ptr<const grammar::TokenTrie> trie, int32_t end,
                           std::span<const OptionText> options, const Cancel& cancel)
    : session_(session),
      tokenizer_(tokenizer),
      trie_(std::move(trie)),
      end_(end),
      room_(session.capacity() - session.position()),
      forks_(session, cancel),
      nodes_(1),
      scores_(options.size()) {
  for (size_t i = 0; i < options.size(); ++i) {
    const OptionText& option = options[i];
    std::vector<int32_t> tokens;
    if (option.has_slots()) {
      auto constraint =
          std::make_shared<grammar::Constraint>(option.rules(), trie_, std::vector<int32_t>{end_}, option.where());
      Line line{i, grammar::Matcher(std::move(constraint))};
      tokens = grammar::settled_tokens(tokenizer_, *trie_, line.matcher.forced());
      for (const int32_t token : tokens) PROSA_CHECK(line.matcher.accept(tokenizer_.token_bytes(token)));
      line.tokens = tokens.size();
      lines_.push_back(std::move(line));
    } else {
      scores_[i].text = option.plain_text();
      tokens = tokenizer_.encode_given(scores_[i].text);
    }
    if (tokens.size() > kMaxOptionTokens) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("has {} tokens, more than {}", tokens.size(), kMaxOptionTokens), option.where());
    }
    if (std::ssize(tokens) > room_) {
      throw Error(ErrorCode::context_exceeded,
                  fmt::format("{} tokens do not fit behind the prompt of {}", tokens.size(), session.position()),
                  option.where(), "drop old messages, or load with a larger LoadOptions::context");
    }
    insert(tokens, i, option.has_slots());
  }
}

size_t OptionScorer::child_of(size_t node, int32_t token) {
  for (const size_t child : nodes_[node].children) {
    if (nodes_[child].token == token) return child;
  }
  nodes_.push_back({.parent = node, .token = token});
  nodes_[node].children.push_back(nodes_.size() - 1);
  return nodes_.size() - 1;
}

void OptionScorer::insert(std::span<const int32_t> tokens, size_t option, bool filled) {
  size_t node = 0;
  for (const int32_t token : tokens) node = child_of(node, token);
  if (filled) {
    lines_.back().node = node;
    nodes_[node].lines.push_back(lines_.size() - 1);
  } else {
    nodes_[node].ends.push_back(option);
  }
}

std::vector<double> OptionScorer::path_to(size_t node) const {
  std::vector<double> scores;
  for (; node != 0; node = nodes_[node].parent) scores.push_back(nodes_[node].log_probability);
  std::ranges::reverse(scores);
  return scores;
}

/// Of these tokens after the row, among all tokens of the vocabulary.
std::vector<double> OptionScorer::log_probabilities(const State& state, int64_t row,
                                                    std::span<const int32_t> tokens) const {
  std::vector<uint32_t> wanted((static_cast<size_t>(session_.backend().config().vocab_size) + 31) / 32, 0);
  for (const int32_t token : tokens) wanted[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
  std::vector<backend::RowPick> asks(2, {&state, row, {}});
  asks[0].pick = {.allowed = wanted, .k = std::ssize(tokens)};
  asks[1].pick = {.k = 1, .log_sum = true};
  std::vector<backend::Candidates> answers(2);
  session_.backend().candidates(asks, answers);
  const double log_sum = answers[1].log_sum;
  if (!std::isfinite(log_sum)) throw Error(ErrorCode::bad_checkpoint, "the logits are no numbers", "model");
  std::vector<double> scores;
  for (const int32_t token : tokens) {
    const auto found = std::ranges::find(answers[0].best, token, &backend::Candidate::id);
    const bool possible = found != answers[0].best.end();
    scores.push_back(possible ? double{found->logit} - log_sum : -std::numeric_limits<double>::infinity());
  }
  return scores;
}

/// What the row after this node's token says of what stands below it.
void OptionScorer::read_row(const State& state, int64_t row, size_t node) {
  const Node& at = nodes_[node];
  std::vector<int32_t> tokens;
  for (const size_t child : at.children) tokens.push_back(nodes_[child].token);
  if (!at.ends.empty()) tokens.push_back(end_);
  // At most kMaxOptions children and an end: more than a backend answers at once.
  std::vector<double> found;
  for (size_t i = 0; i < tokens.size(); i += backend::kMaxCandidates) {
    const size_t count = std::min<size_t>(backend::kMaxCandidates, tokens.size() - i);
    const std::vector<double> some = log_probabilities(state, row, std::span(tokens).subspan(i, count));
    found.insert(found.end(), some.begin(), some.end());
  }
  for (size_t i = 0; i < at.children.size(); ++i) nodes_[at.children[i]].log_probability = found[i];
  for (const size_t option : at.ends) {
    scores_[option].tokens = path_to(node);
    scores_[option].tokens.push_back(found.back());
    scores_[option].ended = true;
  }
  for (const size_t line : at.lines) choose(lines_[line], state, row);
}

void OptionScorer::feed_tree() {
  struct Edge {
    Forks::Place from;
    size_t first = 0;  // the node of its first token
  };
  std::vector<Edge> open;
  std::vector<Line*> leaving;  // the tree, here
  const auto open_below = [&](size_t node, const Forks::Place& place) {
    for (const size_t line : nodes_[node].lines) {
      lines_[line].place = place;
      leaving.push_back(&lines_[line]);
    }
    for (auto child = nodes_[node].children.rbegin(); child != nodes_[node].children.rend(); ++child)
      open.push_back({place, *child});
  };
  read_row(session_.state(), session_.state().rows() - 1, 0);
  open_below(0, forks_.origin());
  fill(std::exchange(leaving, {}));
  while (!open.empty()) {
    const size_t count = std::min(open.size(), Forks::kMaxStates);
    std::vector<std::vector<size_t>> nodes;  // of each run
    std::vector<Forks::Run> runs;
    for (size_t i = 0; i < count; ++i) {
      const Edge edge = std::move(open.back());
      open.pop_back();
      std::vector<size_t> path = {edge.first};
      while (!nodes_[path.back()].branches() && nodes_[path.back()].children.size() == 1 &&
             std::ssize(path) < backend::kMaxTentative)
        path.push_back(nodes_[path.back()].children.front());
      Forks::Run run{edge.from, {}};
      for (const size_t node : path) run.tokens.push_back(nodes_[node].token);
      run.keep = !nodes_[path.back()].children.empty() || !nodes_[path.back()].lines.empty();
      runs.push_back(std::move(run));
      nodes.push_back(std::move(path));
    }
    forks_.feed(runs, [&](Forks::Run& run, const State& state) {
      const std::vector<size_t>& path = nodes[static_cast<size_t>(&run - runs.data())];
      for (size_t i = 0; i < path.size(); ++i) read_row(state, static_cast<int64_t>(i), path[i]);
    });
    for (size_t i = 0; i < runs.size(); ++i) open_below(nodes[i].back(), runs[i].behind);
    runs.clear();
    fill(std::exchange(leaving, {}));
  }
}

/// The next token of a line, and what has to follow it.
void OptionScorer::choose(Line& line, const State& state, int64_t row) {
  backend::RowPick ask{&state, row, {.allowed = line.matcher.mask(), .k = 1}};
  backend::Candidates answer;
  session_.backend().candidates({&ask, 1}, {&answer, 1});
  line.over = true;
  if (answer.best.empty()) return;  // no token of the vocabulary goes on
  const int32_t token = answer.best.front().id;
  line.scores.push_back(log_probabilities(state, row, {&token, 1}).front());
  if (token == end_) {
    line.ended = true;
    return;
  }
  line.coming = {token};
  PROSA_CHECK(line.matcher.accept(tokenizer_.token_bytes(token)));
  for (const int32_t next : grammar::settled_tokens(tokenizer_, *trie_, line.matcher.forced())) {
    if (std::ssize(line.coming) == backend::kMaxTentative) break;
    PROSA_CHECK(line.matcher.accept(tokenizer_.token_bytes(next)));
    line.coming.push_back(next);
  }
  line.tokens += line.coming.size();
  line.over = line.tokens > kMaxOptionTokens || static_cast<int64_t>(line.tokens) > room_;
}

/// Lines to their ends, as many side by side as there are states.
void OptionScorer::fill(std::vector<Line*> lines) {
  while (std::erase_if(lines, [](const Line* line) { return line->over; }), !lines.empty()) {
    const size_t count = std::min(lines.size(), Forks::kMaxStates);
    std::vector<Forks::Run> runs;
    for (size_t i = 0; i < count; ++i) runs.push_back({lines[i]->place, lines[i]->coming, true});
    forks_.feed(runs, [&](Forks::Run& run, const State& state) {
      Line& line = *lines[static_cast<size_t>(&run - runs.data())];
      for (size_t i = 1; i < run.tokens.size(); ++i) {
        const int32_t token = run.tokens[i];
        line.scores.push_back(log_probabilities(state, static_cast<int64_t>(i) - 1, {&token, 1}).front());
      }
      choose(line, state, std::ssize(run.tokens) - 1);
    });
    for (size_t i = 0; i < count; ++i) lines[i]->place = lines[i]->over ? nullptr : std::move(runs[i].behind);
  }
}

std::vector<OptionScorer::Score> OptionScorer::run() {
  feed_tree();
  for (const Line& line : lines_) {
    Score& score = scores_[line.option];
    score.text = line.matcher.text();
    score.tokens = path_to(line.node);
    score.tokens.insert(score.tokens.end(), line.scores.begin(), line.scores.end());
    score.ended = line.ended;
  }
  return std::move(scores_);
}

}  // namespace prosa::chat
