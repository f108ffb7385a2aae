// Text, weights and method together, with a line of progress.
#include "cli/convert_method.h"

#include <vector>

#include <fmt/core.h>

#include "calibrate/calibrate.h"
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "eval/corpus.h"

namespace prosa::cli {
namespace {

constexpr int64_t kSequence = 512;  // tokens that see each other

}  // namespace

std::shared_ptr<const checkpoint::ConvertPlan> choose_plan(const std::filesystem::path& source,
                                                           std::shared_ptr<const checkpoint::ConvertPlan> formats,
                                                           const MethodArguments& arguments,
                                                           const std::function<bool()>& cancelled) {
  if (arguments.method == "rtn") {
    if (arguments.calibration.empty()) return formats;
    throw UsageError("--calibration is for --method clip and gptq: rtn takes no text");
  }
  if (arguments.calibration.empty())
    throw UsageError(fmt::format("--method {} needs a text: --calibration FILE", arguments.method));
  eval::TextEncoder encoder(source);
  std::vector<std::vector<int32_t>> documents;
  for (auto& document : eval::read_corpus(arguments.calibration, encoder).documents)
    documents.push_back(std::move(document.tokens));
  const auto sequences = calibrate::cut_sequences(documents, kSequence, arguments.tokens);
  const auto weights = checkpoint::load_weights(source);
  ProgressNews news;
  calibrate::CalibrateOptions options;
  options.method = arguments.method == "clip" ? calibrate::Method::clip : calibrate::Method::gptq;
  options.threads = arguments.threads;
  options.cancelled = cancelled;
  options.progress = [&news](const calibrate::CalibrateProgress& progress) {
    news.show(progress.fraction, fmt::format("calibrating: {}", progress.what),
              fmt::format("calibrating: {:.0f} %, {}", 100 * progress.fraction, progress.what));
  };
  return calibrate::calibrate(*weights, sequences, std::move(formats), options);
}

}  // namespace prosa::cli
