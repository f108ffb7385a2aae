// The report as a picture: the machine's roofline with every run on it, how much of its limit each run reaches, and
// where the time goes.
//
// Not the file around it (svg.h).
#include "tools/bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>

#include <fmt/format.h>

#include "cli/svg.h"
#include "cli/terminal.h"

namespace prosa::tools {
namespace {

constexpr double kLeft = cli::SvgPicture::left, kRight = cli::SvgPicture::right;
constexpr double kRoofHeight = 250;
constexpr double kRow = 30;
constexpr double kTag = 9;  // radius of a run's number

// The two limits, and a row of hues of equal weight for the stages.
constexpr std::string_view kBenchStyle = R"(.roof { stroke: #5b6773; stroke-width: 2; fill: none; }
.decode { fill: #1f77c9; }
.prefill { fill: #d9661f; }
.spread { stroke: #1f2933; stroke-width: 1.5; }
.number { fill: #ffffff; font-size: 11px; font-weight: 600; text-anchor: middle; }
.leader { stroke: #9aa5b1; stroke-width: 1; }
.s0 { fill: #4e79a7; } .s1 { fill: #f28e2b; } .s2 { fill: #59a14f; } .s3 { fill: #e15759; } .s4 { fill: #76b7b2; }
.s5 { fill: #b07aa1; } .s6 { fill: #c9a227; } .s7 { fill: #9c755f; } .s8 { fill: #8b95a1; } .s9 { fill: #d37295; }
@media (prefers-color-scheme: dark) {
.roof { stroke: #98a4b0; }
.decode { fill: #3d8fdd; }
.prefill { fill: #e37a3a; }
.spread { stroke: #e3e8ed; }
.number { fill: #ffffff; }
.leader { stroke: #5b6773; }
}
)";
constexpr size_t kStageColours = 10;

/// A run with its place in the picture.
struct Item {
  const BenchRun* run;
  const BenchSet* set;
  double fraction;  // of its roof
};

class Picture : private cli::SvgPicture {
 public:
  explicit Picture(const BenchReport& report) : report_(report) {
    for (const BenchSet& set : report.sets) {
      for (const BenchRun& run : set.runs) items_.push_back({&run, &set, roof_fraction(run, set.ceilings)});
    }
  }

  std::string draw() {
    header();
    if (!items_.empty()) {
      roofline();
      bars();
      stages();
    }
    return file("prosa bench: " + report_.name, kBenchStyle);
  }

 private:
  void tag(Point at, size_t index) {
    put("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" class=\"{}\"/>\n", at.x, at.y, kTag,
        kind_name(items_[index].run->what.kind));
    text(at.x, at.y + 4, "number", std::to_string(index + 1));
  }

  void header() {
    const BenchSet& main = report_.main_set();
    text(24, 36, "title",
         fmt::format("{}: {} bit, {} of weights", report_.name, report_.sizes.bits,
                     cli::human_bytes(static_cast<double>(report_.weight_bytes))));
    const std::string machine = report_.processor.empty() ? std::string() : report_.processor + " · ";
    text(24, 58, "pale",
         fmt::format("{}{} · {} thread{} · memory reads {:.1f} GB/s · int8 {:.0f} G multiply-adds/s", machine,
                     report_.isa.empty() ? report_.backend : report_.isa, main.threads, main.threads == 1 ? "" : "s",
                     main.ceilings.read_gbps(), main.ceilings.int8_gmacs()));
    y_ = 76;
  }

  // Multiply-adds per byte to the right, multiply-adds per second up, both logarithmic: under the slope memory is the
  // limit, under the flat line the dot products are.
  void roofline() {
    double low_x = 1, high_x = 1, low_y = 1e300, high_y = 0;
    for (const Item& item : items_) {
      const double intensity = item.run->macs / item.run->bytes;
      low_x = std::min(low_x, intensity / 2);
      high_x = std::max(high_x, intensity * 2);
      low_y = std::min(low_y, item.run->gmacs() / 2);
      high_y = std::max(high_y, item.run->gmacs());
    }
    for (const BenchSet& set : report_.sets) {
      const BenchCeilings& limit = set.ceilings;
      if (limit.int8_gmacs() > 0) high_x = std::max(high_x, 4 * limit.int8_gmacs() / limit.read_gbps());
      high_y = std::max(high_y, limit.int8_gmacs());
    }
    high_y *= 1.6;
    const double top = y_ + 26, bottom = top + kRoofHeight;
    x_of_ = [=](double x) { return kLeft + (kRight - kLeft) * std::log(x / low_x) / std::log(high_x / low_x); };
    y_of_ = [=](double y) { return bottom - kRoofHeight * std::log(y / low_y) / std::log(high_y / low_y); };
    text(24, y_ + 10, "head", "What the machine allows");
    grid(low_x, high_x, low_y, high_y);
    for (const BenchSet& set : report_.sets) roof(set.ceilings, low_x, high_x, low_y);
    points();
    text(kRight, bottom + 34, "pale end", "int8 multiply-adds per byte read");
    text(24, bottom + 34, "pale", "up: 10⁹ multiply-adds a second");
    y_ = bottom + 62;
  }

  void grid(double low_x, double high_x, double low_y, double high_y) {
    const double bottom = y_of_(low_y), top = y_of_(high_y);
    for (double x = std::pow(10, std::ceil(std::log10(low_x))); x <= high_x; x *= 10) {
      line({x_of_(x), top}, {x_of_(x), bottom}, "grid");
      text(x_of_(x), bottom + 16, "pale mid", fmt::format("{:g}", x));
    }
    for (double y = std::pow(10, std::ceil(std::log10(low_y))); y <= high_y; y *= 10) {
      line({kLeft, y_of_(y)}, {kRight, y_of_(y)}, "grid");
      text(kLeft - 8, y_of_(y) + 4, "pale end", fmt::format("{:g}", y));
    }
    line({kLeft, bottom}, {kRight, bottom}, "axis");
    line({kLeft, top}, {kLeft, bottom}, "axis");
  }

  void roof(const BenchCeilings& limit, double low_x, double high_x, double low_y) {
    const double read = limit.read_gbps(), int8 = limit.int8_gmacs();
    const double from = std::max(low_x, low_y / read);
    if (int8 <= 0) return line({x_of_(from), y_of_(from * read)}, {x_of_(high_x), y_of_(high_x * read)}, "roof");
    const Point ridge = {x_of_(int8 / read), y_of_(int8)};
    put("<path class=\"roof\" d=\"M {:.1f} {:.1f} L {:.1f} {:.1f} L {:.1f} {:.1f}\"/>\n", x_of_(from),
        y_of_(from * read), ridge.x, ridge.y, x_of_(high_x), ridge.y);
    text(kRight, ridge.y - 7, "pale end", fmt::format("dot products {:.0f} G/s", int8));
    // Along the slope, a little above it.
    const Point start = {x_of_(from), y_of_(from * read)};
    const double angle = std::atan2(ridge.y - start.y, ridge.x - start.x) * 180 / 3.14159265358979;
    const Point middle = {0.5 * (start.x + ridge.x), 0.5 * (start.y + ridge.y)};
    put("<text class=\"pale mid\" transform=\"translate({:.1f} {:.1f}) rotate({:.1f})\" dy=\"-8\">"
        "memory {:.1f} GB/s</text>\n",
        middle.x, middle.y, angle, read);
  }

  // A dot where the run stands; its number as near as it may be without covering another.
  void points() {
    std::vector<Point> taken;
    std::vector<Point> dots;
    for (const Item& item : items_) {
      dots.push_back({x_of_(item.run->macs / item.run->bytes), y_of_(item.run->gmacs())});
    }
    const auto is_free = [&](Point at) {
      const auto near = [&](Point other) { return std::hypot(at.x - other.x, at.y - other.y) < 2 * kTag + 2; };
      return std::ranges::none_of(taken, near) &&
             std::ranges::none_of(dots, [&](Point dot) { return std::hypot(at.x - dot.x, at.y - dot.y) < kTag + 4; });
    };
    for (size_t i = 0; i < items_.size(); ++i) {
      Point at = {dots[i].x + 18, dots[i].y + 14};
      for (int step = 0; step < 160 && !is_free(at); ++step) {  // a spiral, downwards first: the roof is above
        const double angle = 0.7 + 0.7 * step, distance = 20 + 1.5 * step;
        at = {dots[i].x + distance * std::cos(angle), dots[i].y + distance * std::sin(angle)};
      }
      taken.push_back(at);
      line(dots[i], at, "leader");
    }
    for (size_t i = 0; i < items_.size(); ++i) {
      put("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" class=\"{}\"/>\n", dots[i].x, dots[i].y,
          kind_name(items_[i].run->what.kind));
      tag(taken[i], i);
    }
  }

  std::string label(const Item& item) const {
    std::string name = case_name(item.run->what);
    if (report_.sets.size() > 1) name += fmt::format(", {} thr.", item.set->threads);
    return name;
  }

  void bars() {
    const double from = 260, to = 620;
    double most = 1;
    for (const Item& item : items_) most = std::max(most, item.fraction * item.run->tok_s_max() / item.run->tok_s());
    const double tick = most <= 1.25 ? 0.25 : std::pow(10, std::ceil(std::log10(most / 4)));
    most = tick * std::ceil(most / tick - 1e-9);
    const auto x = [&](double part) { return from + (to - from) * part / most; };
    text(24, y_, "head", "How much of its limit each run reaches");
    text(kRight, y_, "pale end", "median; line: slowest to fastest");
    const double top = y_ + 14, bottom = top + kRow * static_cast<double>(items_.size());
    for (size_t i = 0; i < items_.size(); ++i) {
      box(from, top + kRow * static_cast<double>(i) + 7, to - from, 16, "track");
    }
    for (double part = 0; part <= most + 1e-9; part += tick) {
      line({x(part), top}, {x(part), bottom + 4}, "grid");
      text(x(part), bottom + 18, "pale mid", fmt::format("{:.0f} %", 100 * part));
    }
    for (size_t i = 0; i < items_.size(); ++i) bar(i, top + kRow * static_cast<double>(i), from, x);
    y_ = bottom + 44;
  }

  template <typename Scale>
  void bar(size_t index, double y, double from, const Scale& x) {
    const Item& item = items_[index];
    const BenchRun& run = *item.run;
    tag({24 + kTag, y + 15}, index);
    text(52, y + 19, "", label(item));
    box(from, y + 7, x(item.fraction) - from, 16, kind_name(run.what.kind));
    const double slowest = x(item.fraction * run.tok_s_min() / run.tok_s());
    const double fastest = x(item.fraction * run.tok_s_max() / run.tok_s());
    line({slowest, y + 15}, {fastest, y + 15}, "spread");
    line({slowest, y + 11}, {slowest, y + 19}, "spread");
    line({fastest, y + 11}, {fastest, y + 19}, "spread");
    const double read = item.set->ceilings.read_gbps();
    const bool memory = read > 0 && run.gbps() / read >= item.fraction;
    text(636, y + 19, "", fmt::format("{:.{}f} tok/s", run.tok_s(), run.tok_s() < 100 ? 1 : 0));
    const std::string rate = memory ? fmt::format("{:.1f} GB/s", run.gbps()) : fmt::format("{:.0f} G/s", run.gmacs());
    text(kRight, y + 19, "pale end", fmt::format("{} · {:.0f} %", rate, 100 * item.fraction));
  }

  // A bar of its own for each run that was profiled, all of the same length.
  void stages() {
    std::vector<std::string> names;
    for (const Item& item : items_) {
      for (const BenchStage& stage : item.run->stages) {
        if (std::ranges::count(names, stage.name) == 0) names.push_back(stage.name);
      }
    }
    if (names.empty()) return;
    text(24, y_, "head", "Where the time goes");
    double y = y_ + 14;
    for (size_t i = 0; i < items_.size(); ++i) {
      double total = 0, x = 260;
      for (const BenchStage& stage : items_[i].run->stages) total += stage.seconds;
      if (total <= 0) continue;
      tag({24 + kTag, y + 15}, i);
      text(52, y + 19, "", label(items_[i]));
      for (const BenchStage& stage : items_[i].run->stages) {
        const double width = (kRight - 260) * stage.seconds / total;
        const auto colour = static_cast<size_t>(std::ranges::find(names, stage.name) - names.begin()) % kStageColours;
        box(x, y + 7, width, 16, fmt::format("s{}", colour));
        if (width > 34) text(x + width / 2, y + 19, "number", fmt::format("{:.0f} %", 100 * stage.seconds / total));
        x += width;
      }
      y += kRow;
    }
    legend(names, y + 10);
  }

  void legend(const std::vector<std::string>& names, double y) {
    double x = 260;
    for (size_t i = 0; i < names.size(); ++i) {
      const double width = 30 + 7.2 * static_cast<double>(names[i].size());
      if (x + width > kRight) x = 260, y += 20;
      box(x, y, 11, 11, fmt::format("s{}", i % kStageColours));
      text(x + 16, y + 10, "pale", names[i]);
      x += width;
    }
    y_ = y + 32;
  }

  const BenchReport& report_;
  std::vector<Item> items_;
  std::function<double(double)> x_of_, y_of_;  // of the roofline
};

}  // namespace

std::string bench_svg(const BenchReport& report) { return Picture(report).draw(); }

}  // namespace prosa::tools
