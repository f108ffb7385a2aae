// What `prosa eval` found, as data, and the forms it is shown in.
//
// Not how it is measured (src/eval/) and not the command (eval.cpp).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "prosa/model.h"
#include "tools/eval/evaluate.h"
#include "tools/eval/strict_json.h"

namespace prosa::tools {

struct TextOutcome {
  std::string file;
  eval::WindowOptions windows;
  eval::EvalReport report;
  std::string reference;  // its name; empty: none
  double seconds = 0;
};

struct EvalOutcome {
  std::string model;
  ModelInfo info;
  std::optional<TextOutcome> text;
  std::optional<std::vector<eval::JsonAnswer>> answers;  // to --prompts, in order

  [[nodiscard]] int64_t strict() const;
};

nlohmann::ordered_json eval_json(const EvalOutcome& outcome);
/// With every reply that is not strict, where `verbose`.
std::string eval_table(const EvalOutcome& outcome, bool verbose);
/// Of a text: KL by position and a histogram, or without a reference nats by position.
std::string eval_svg(const EvalOutcome& outcome);

}  // namespace prosa::tools
