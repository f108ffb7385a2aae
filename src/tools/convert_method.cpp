// Text, weights and method together, with a line of progress.
#include "tools/convert_method.h"

#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "tools/calibrate/awq.h"
#include "tools/calibrate/calibrate.h"
#include "tools/calibrate/mixed.h"
#include "tools/eval/corpus.h"

namespace prosa::tools {
namespace {

constexpr int64_t kSequence = 512;  // tokens that see each other
constexpr double kFolding = 0.2;    // of the time
constexpr double kMeasuring = 0.3;
constexpr double kMinBudget = 3;

double budget_of(const MethodArguments& arguments) { return arguments.budget > 0 ? arguments.budget : arguments.bits; }

using Tell = std::function<void(double, std::string_view)>;

/// Progress of steps that come one after the other.
class Steps {
 public:
  explicit Steps(std::function<bool()> cancelled) : cancelled_(std::move(cancelled)) {}
  /// For a step that takes this share of the time. Must not outlive the steps.
  Tell next(double share) {
    const double before = std::exchange(done_, done_ + share);
    return [this, before, share](double fraction, std::string_view what) {
      if (cancelled_ && cancelled_()) throw Error(ErrorCode::cancelled, "the conversion was interrupted");
      const double all = before + share * fraction;
      news_.show(all, fmt::format("calibrating: {}", what), fmt::format("calibrating: {:.0f} %, {}", 100 * all, what));
    };
  }

 private:
  std::function<bool()> cancelled_;
  cli::ProgressNews news_;
  double done_ = 0;
};

}  // namespace

void check_method(const MethodArguments& arguments) {
  const bool mixed = arguments.method == "mixed";
  if (!mixed && arguments.budget > 0) throw cli::UsageError("--budget is for --method mixed");
  if (mixed && budget_of(arguments) < kMinBudget)
    throw cli::UsageError(fmt::format("--method mixed needs a --budget of {} bits or more", kMinBudget));
  if (arguments.method == "rtn" && !arguments.calibration.empty())
    throw cli::UsageError("--calibration is for --method clip, awq, gptq and mixed: rtn takes no text");
  if (arguments.method != "rtn" && arguments.calibration.empty())
    throw cli::UsageError(fmt::format("--method {} needs a text: --calibration FILE", arguments.method));
}

std::shared_ptr<const checkpoint::ConvertPlan> choose_plan(const std::filesystem::path& source,
                                                           std::shared_ptr<const checkpoint::RulePlan> rules,
                                                           const MethodArguments& arguments,
                                                           const std::function<bool()>& cancelled) {
  if (arguments.method == "rtn") return rules;
  eval::TextEncoder encoder(source, arguments.control_tokens ? ControlTokens::read : ControlTokens::as_text);
  std::vector<std::vector<int32_t>> documents;
  eval::Corpus corpus = eval::read_corpus(arguments.calibration, encoder);
  cli::tell_warnings(corpus.warnings);
  for (auto& document : corpus.documents) documents.push_back(std::move(document.tokens));
  const auto sequences = calibrate::cut_sequences(documents, kSequence, arguments.tokens);
  const auto weights = checkpoint::load_weights(source);
  const bool mixed = arguments.method == "mixed";
  const bool folds = arguments.method == "awq";
  Steps steps(cancelled);
  std::shared_ptr<const checkpoint::ConvertPlan> plan = rules;
  if (folds) {
    const auto tell = steps.next(kFolding);
    plan = calibrate::search_awq_scales(*weights, sequences, std::move(plan), arguments.threads, tell);
  }
  if (mixed) {
    calibrate::MixedOptions options;
    options.bits = budget_of(arguments);
    options.group_size = arguments.group;
    options.fixed = [&rules](const std::string& name) { return rules->override_of(name) != nullptr; };
    options.threads = arguments.threads;
    options.progress = steps.next(kMeasuring);
    plan = calibrate::mix_formats(*weights, sequences, std::move(plan), options);
  }
  calibrate::CalibrateOptions options;
  options.method = arguments.method == "gptq" || mixed ? calibrate::Method::gptq : calibrate::Method::clip;
  options.threads = arguments.threads;
  options.progress = steps.next(1 - (folds ? kFolding : 0) - (mixed ? kMeasuring : 0));
  return calibrate::calibrate(*weights, sequences, std::move(plan), options);
}

}  // namespace prosa::tools
