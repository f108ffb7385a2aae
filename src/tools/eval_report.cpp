// The outcome as JSON and as a table.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/terminal.h"
#include "prosa/text.h"
#include "tools/eval.h"

namespace prosa::tools {
namespace {

using nlohmann::ordered_json;

ordered_json mean_json(const eval::Mean& mean) { return {{"mean", mean.value}, {"error", mean.standard_error}}; }

ordered_json scores_json(const eval::ModelScores& scores) {
  return {{"perplexity", scores.perplexity},
          {"perplexity_error", scores.perplexity_error},
          {"nll", mean_json(scores.nll)},
          {"bits_per_byte", scores.bits_per_byte ? ordered_json(*scores.bits_per_byte) : ordered_json()}};
}

ordered_json divergence_json(const eval::Divergence& divergence) {
  ordered_json kl = mean_json(divergence.kl);
  kl["median"] = divergence.kl_median;
  kl["p90"] = divergence.kl_p90;
  kl["p99"] = divergence.kl_p99;
  kl["max"] = divergence.kl_max;
  ordered_json difference = mean_json(divergence.probability_difference);
  difference["rms"] = divergence.probability_difference_rms;
  return {{"kl", kl},
          {"top1", mean_json(divergence.top1)},
          {"probability_difference", difference},
          {"nll_difference", mean_json(divergence.nll_difference)}};
}

ordered_json text_json(const TextOutcome& text) {
  const eval::EvalReport& report = text.report;
  ordered_json result = {
      {"file", text.file},
      {"window", text.windows.window},
      {"stride", text.windows.stride == 0 ? text.windows.window : text.windows.stride},
      {"skip", text.windows.skip},
      {"documents", report.documents},
      {"windows", report.windows},
      {"tokens", report.tokens},
      {"scored", report.scored},
      {"dropped", report.dropped},
      {"bytes", report.bytes},
  };
  result.update(scores_json(report.model));
  if (report.reference) {
    result["reference"] = {{"model", text.reference}};
    result["reference"].update(scores_json(*report.reference));
  }
  if (report.divergence) result.update(divergence_json(*report.divergence));
  ordered_json& positions = result["positions"] = ordered_json::array();
  for (const eval::PositionBin& bin : report.positions) {
    positions.push_back({{"begin", bin.begin}, {"end", bin.end}, {"tokens", bin.tokens}, {"nll", bin.nll}});
    if (report.divergence) positions.back()["kl"] = bin.kl;
  }
  if (report.divergence) {
    ordered_json& histogram = result["kl_histogram"] = ordered_json::array();
    for (const eval::HistogramBin& bin : report.kl_histogram) {
      histogram.push_back({{"low", bin.low}, {"high", bin.high}, {"tokens", bin.count}});
    }
  }
  result["seconds"] = text.seconds;
  result["tok_s"] = text.seconds > 0 ? static_cast<double>(report.tokens) / text.seconds : 0;
  return result;
}

ordered_json answers_json(const EvalOutcome& outcome) {
  ordered_json failures = ordered_json::array();
  for (size_t i = 0; i < outcome.answers->size(); ++i) {
    const eval::JsonAnswer& answer = (*outcome.answers)[i];
    if (answer.problem.empty()) continue;
    failures.push_back({{"prompt", i + 1},
                        {"problem", answer.problem},
                        {"reply", answer.reply},
                        {"finish", to_string(answer.finish)}});
  }
  const size_t prompts = outcome.answers->size();
  return {{"strict", outcome.strict()},
          {"prompts", prompts},
          {"rate", static_cast<double>(outcome.strict()) / static_cast<double>(prompts)},
          {"failures", failures}};
}

/// A label once, and lines beside it.
class Table {
 public:
  void line(std::string_view label, const std::string& content) {
    text_ += fmt::format("{:<13}{}\n", label, printable(content));
  }
  [[nodiscard]] std::string text() const { return text_; }

 private:
  std::string text_;
};

std::string scores_text(const eval::ModelScores& scores) {
  std::string text = fmt::format("{:.4f} ± {:.4f} ({:.4f} ± {:.4f} nats a token", scores.perplexity,
                                 scores.perplexity_error, scores.nll.value, scores.nll.standard_error);
  if (scores.bits_per_byte) text += fmt::format(", {:.4f} bits a byte", *scores.bits_per_byte);
  return text + ")";
}

std::string plural(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void add_divergence(Table& table, const eval::Divergence& divergence) {
  table.line("KL", fmt::format("mean {:.3g} ± {:.2g} nats a token", divergence.kl.value, divergence.kl.standard_error));
  table.line("", fmt::format("median {:.3g}, p90 {:.3g}, p99 {:.3g}, max {:.3g}", divergence.kl_median,
                             divergence.kl_p90, divergence.kl_p99, divergence.kl_max));
  table.line("same top-1",
             fmt::format("{:.2f} ± {:.2f} %", 100 * divergence.top1.value, 100 * divergence.top1.standard_error));
  table.line("true token", fmt::format("probability {:+.3f} ± {:.3f} %, root of mean square {:.3f} %",
                                       100 * divergence.probability_difference.value,
                                       100 * divergence.probability_difference.standard_error,
                                       100 * divergence.probability_difference_rms));
}

void add_text(Table& table, const TextOutcome& text) {
  const eval::EvalReport& report = text.report;
  std::string what = fmt::format("{}: {} in {} of {}", text.file, plural(report.tokens, "token"),
                                 plural(report.windows, "window"), text.windows.window);
  if (text.windows.stride != 0) what += fmt::format(", stride {}", text.windows.stride);
  what += fmt::format("; {} scored", report.scored);
  if (report.dropped > 0) what += fmt::format(", {} left out", report.dropped);
  table.line("text", what);
  table.line("perplexity", scores_text(report.model));
  if (report.reference) table.line("of reference", scores_text(*report.reference) + ": " + text.reference);
  if (report.divergence) {
    const eval::Mean& difference = report.divergence->nll_difference;
    const double ratio = std::exp(difference.value);
    table.line("ratio", fmt::format("{:.5f} ± {:.5f}", ratio, ratio * difference.standard_error));
    add_divergence(table, *report.divergence);
  }
  if (text.seconds > 0) {
    table.line("speed", fmt::format("{:.0f} tok/s", static_cast<double>(report.tokens) / text.seconds));
  }
}

/// On one line.
std::string line_of(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

void add_answers(Table& table, const EvalOutcome& outcome, bool verbose) {
  const size_t prompts = outcome.answers->size();
  table.line("strict JSON", fmt::format("{} of {} ({:.1f} %)", outcome.strict(), prompts,
                                        100 * static_cast<double>(outcome.strict()) / static_cast<double>(prompts)));
  if (!verbose) return;
  for (size_t i = 0; i < prompts; ++i) {
    const eval::JsonAnswer& answer = (*outcome.answers)[i];
    if (!answer.problem.empty())
      table.line("", fmt::format("{}: {}: {}", i + 1, answer.problem, line_of(answer.reply)));
  }
}

}  // namespace

int64_t EvalOutcome::strict() const {
  return answers ? std::ranges::count_if(*answers, [](const auto& answer) { return answer.problem.empty(); }) : 0;
}

ordered_json eval_json(const EvalOutcome& outcome) {
  ordered_json result = {
      {"model", outcome.model},          {"bits", outcome.info.bits}, {"weight_bytes", outcome.info.weight_bytes},
      {"backend", outcome.info.backend}, {"isa", outcome.info.isa},   {"threads", outcome.info.threads}};
  if (outcome.text) result["text"] = text_json(*outcome.text);
  if (outcome.answers) result["strict_json"] = answers_json(outcome);
  return result;
}

std::string eval_table(const EvalOutcome& outcome, bool verbose) {
  Table table;
  const ModelInfo& info = outcome.info;
  table.line("model", fmt::format("{}: {}, {} of weights; {}, {}", outcome.model,
                                  info.bits == 0 ? std::string("not quantized") : fmt::format("{} bit", info.bits),
                                  cli::human_bytes(static_cast<double>(info.weight_bytes)), info.isa,
                                  plural(info.threads, "thread")));
  if (outcome.text) add_text(table, *outcome.text);
  if (outcome.answers) add_answers(table, outcome, verbose);
  return table.text();
}

}  // namespace prosa::tools
