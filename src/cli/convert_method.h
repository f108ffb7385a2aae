// The calibrated methods of `prosa convert`: from options to a plan.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "checkpoint/convert_plan.h"

namespace prosa::cli {

struct MethodArguments {
  std::string method = "rtn";
  std::string calibration;  // text or JSON lines, as `prosa eval --text` takes them
  int64_t tokens = 8192;    // of it
  int threads = 0;
};

/// `formats` itself for rtn, else a plan with the codes that the method chose. Shows progress.
/// Errors: UsageError (a method without its text, a text for rtn), those of reading text and weights and of
/// calibrate().
std::shared_ptr<const checkpoint::ConvertPlan> choose_plan(const std::filesystem::path& source,
                                                           std::shared_ptr<const checkpoint::ConvertPlan> formats,
                                                           const MethodArguments& arguments,
                                                           const std::function<bool()>& cancelled);

}  // namespace prosa::cli
