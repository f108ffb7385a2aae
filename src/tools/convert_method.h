// The calibrated methods of `prosa convert`: from options to a plan.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "checkpoint/convert_rules.h"

namespace prosa::tools {

struct MethodArguments {
  std::string method = "rtn";
  std::string calibration;      // text or JSON lines, as `prosa eval --text` takes them
  bool control_tokens = false;  // its texts hold control tokens on purpose
  int64_t tokens = 8192;        // of it
  double budget = 0;            // mixed: as large as codes of so many bits; 0: of `bits`
  int bits = 4;
  int group = 64;
  int threads = 0;
};

/// UsageError: a method without its text, a text for rtn, a budget that is none of mixed's.
void check_method(const MethodArguments& arguments);

/// `rules` itself for rtn, else a plan with the codes (mixed: and the formats) that the method chose. Shows progress.
/// Errors: those of reading text and weights, of mix_formats() and of calibrate(). `arguments` were checked.
std::shared_ptr<const checkpoint::ConvertPlan> choose_plan(const std::filesystem::path& source,
                                                           std::shared_ptr<const checkpoint::RulePlan> rules,
                                                           const MethodArguments& arguments,
                                                           const std::function<bool()>& cancelled);

}  // namespace prosa::tools
