// The outcome as a picture: KL by position in the window with a histogram of all tokens, or nats by position.
#include <algorithm>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

#include "cli/svg.h"
#include "tools/eval.h"

namespace prosa::tools {
namespace {

constexpr double kLeft = cli::SvgPicture::left, kRight = cli::SvgPicture::right;
constexpr double kChart = 220;  // height

constexpr std::string_view kEvalStyle = R"(.bar { fill: #1f77c9; }
.mean { stroke: #d9661f; stroke-width: 1.5; stroke-dasharray: 5 4; }
@media (prefers-color-scheme: dark) {
.bar { fill: #3d8fdd; }
.mean { stroke: #e37a3a; }
}
)";

/// The smallest of 1, 2, 5 times a power of ten that cuts `most` into at most five steps.
double step_of(double most) {
  const double power = std::pow(10, std::floor(std::log10(most / 5)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power * 5 >= most) return factor * power;
  }
  return 10 * power;
}

class Picture : private cli::SvgPicture {
 public:
  explicit Picture(const EvalOutcome& outcome) : outcome_(outcome), text_(*outcome.text) {}

  std::string draw() {
    header();
    positions();
    if (text_.report.divergence) histogram();
    return file("prosa eval: " + outcome_.model, kEvalStyle);
  }

 private:
  void header() {
    const eval::EvalReport& report = text_.report;
    text(24, 36, "title", fmt::format("{}: perplexity {:.4g}", outcome_.model, report.model.perplexity));
    std::string pale = fmt::format("{} · {} tokens, windows of {}", text_.file, report.scored, text_.windows.window);
    if (report.divergence) {
      pale +=
          fmt::format(" · reference {}: {:.4g} · mean KL {:.3g} · same top-1 {:.2f} %", text_.reference,
                      report.reference->perplexity, report.divergence->kl.value, 100 * report.divergence->top1.value);
    }
    text(24, 58, "pale", pale);
    y_ = 76;
  }

  /// Lines and numbers for values from 0 to `most` (> 0); returns the height of one.
  double axis(double top, double most, const char* format) {
    const double bottom = top + kChart, step = step_of(most);
    const double reach = step * std::ceil(most / step - 1e-9);
    for (double value = 0; value <= reach * (1 + 1e-9); value += step) {
      const double y = bottom - kChart * value / reach;
      line({kLeft, y}, {kRight, y}, value == 0 ? "axis" : "grid");
      text(kLeft - 8, y + 4, "pale end", fmt::format(fmt::runtime(format), value));
    }
    return kChart / reach;
  }

  void positions() {
    const bool with_kl = text_.report.divergence.has_value();
    const std::vector<eval::PositionBin>& bins = text_.report.positions;
    const auto value_of = [&](const eval::PositionBin& bin) { return with_kl ? bin.kl : bin.nll; };
    const double mean = with_kl ? text_.report.divergence->kl.value : text_.report.model.nll.value;
    double most = 0;
    for (const eval::PositionBin& bin : bins) most = std::max(most, value_of(bin));
    if (!(most > 0) || !std::isfinite(most)) most = 1;
    const double top = y_ + 26, bottom = top + kChart;
    text(24, y_ + 10, "head", with_kl ? "KL by position in the window" : "Surprise by position in the window");
    const double unit = axis(top, most, "{:.3g}");
    const auto length = static_cast<double>(bins.back().end);
    const auto x_of = [&](int64_t place) { return kLeft + (kRight - kLeft) * static_cast<double>(place) / length; };
    for (const eval::PositionBin& bin : bins) {
      const double value = value_of(bin), x = x_of(bin.begin);
      if (!std::isfinite(value)) continue;
      box(x + 0.5, bottom - unit * value, std::max(x_of(bin.end) - x - 1, 1.0), unit * value, "bar");
    }
    if (std::isfinite(mean)) line({kLeft, bottom - unit * mean}, {kRight, bottom - unit * mean}, "mean");
    const double tick = std::max(step_of(length), 1.0);
    for (double place = 0; place <= length; place += tick) {
      text(x_of(static_cast<int64_t>(place)), bottom + 16, "pale mid", fmt::format("{:.0f}", place));
    }
    text(kRight, bottom + 34, "pale end", "tokens before");
    text(24, bottom + 34, "pale", "up: nats a token, mean; dashed: over all tokens");
    y_ = bottom + 62;
  }

  void histogram() {
    std::vector<eval::HistogramBin> bins = text_.report.kl_histogram;
    // From the power of ten below the first tokens.
    const auto first = std::ranges::find_if(bins, [](const eval::HistogramBin& bin) { return bin.count > 0; });
    bins.erase(bins.begin(), first - (first - bins.begin()) % eval::kBinsOfTen);
    const double top = y_ + 26, bottom = top + kChart;
    const auto scored = static_cast<double>(text_.report.scored);
    double most = 0;
    for (const eval::HistogramBin& bin : bins) most = std::max(most, 100 * static_cast<double>(bin.count) / scored);
    text(24, y_ + 10, "head", "How many tokens have which KL");
    const double unit = axis(top, most, "{:.3g} %");
    const double low = std::log10(bins.front().low), high = std::log10(bins.back().high);
    const auto x_of = [&](double value) { return kLeft + (kRight - kLeft) * (std::log10(value) - low) / (high - low); };
    for (const eval::HistogramBin& bin : bins) {
      const double height = unit * 100 * static_cast<double>(bin.count) / scored;
      box(x_of(bin.low) + 0.5, bottom - height, x_of(bin.high) - x_of(bin.low) - 1, height, "bar");
    }
    const double every = std::max(1.0, std::ceil((high - low) / 12));
    for (double power = std::round(low); power <= high + 1e-9; power += every) {
      const double value = std::pow(10, power);
      text(x_of(value), bottom + 16, "pale mid", fmt::format("{:g}", value));
    }
    text(kRight, bottom + 34, "pale end", "KL, nats");
    text(24, bottom + 34, "pale",
         bins.front().low < 2e-9 ? "up: share of the tokens; the first bar also holds what is below"
                                 : "up: share of the tokens");
    y_ = bottom + 56;
  }

  const EvalOutcome& outcome_;
  const TextOutcome& text_;
};

}  // namespace

std::string eval_svg(const EvalOutcome& outcome) { return Picture(outcome).draw(); }

}  // namespace prosa::tools
