// Where the bytes of a checkpoint lie, as a picture.
//
// One self-contained SVG file: no script, no font or style from elsewhere, and colours for light and dark pages.
// Invariant: text from outside (the model's name) is escaped.
#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "cli/kinds.h"
#include "cli/terminal.h"

namespace prosa::cli {
namespace {

constexpr std::string_view kStyle = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2933; }
.page { fill: #ffffff; stroke: #d9dee3; }
.title { font-size: 18px; font-weight: 600; }
.pale { fill: #5b6773; font-size: 12px; }
.end { text-anchor: end; }
.track { fill: #eef1f4; }
.bar { fill: #1f77c9; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e8ed; }
.page { fill: #14181d; stroke: #2c343c; }
.pale { fill: #98a4b0; }
.track { fill: #222930; }
.bar { fill: #3d8fdd; }
}
</style>
)";

constexpr double kWidth = 720, kLeft = 120, kBarRight = 460, kRight = 696;
constexpr double kTop = 84, kRow = 30;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : without_controls(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace

std::string kinds_svg(const KindSums& sums, const std::string& name) {
  const KindSum all = sum_all(sums);
  int64_t most = 1;
  for (const auto& [kind, sum] : sums) most = std::max(most, sum.bytes);
  const double height = kTop + kRow * static_cast<double>(sums.size()) + 16;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" height=\"{1:.0f}\" "
      "role=\"img\">\n<title>prosa inspect: {2}</title>\n{3}"
      "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{4}\" height=\"{5:.0f}\" rx=\"8\"/>\n"
      "<text x=\"24\" y=\"36\" class=\"title\">Where the bytes of {2} lie</text>\n"
      "<text x=\"24\" y=\"60\" class=\"pale\">{6} in {7} tensors, {8:.2f} bits per weight</text>\n",
      kWidth, height, escaped(name), kStyle, kWidth - 1, height - 1, human_bytes(static_cast<double>(all.bytes)),
      all.tensors, all.bits_per_weight());
  double y = kTop;
  for (const auto& [kind, sum] : sums) {
    const double width = (kBarRight - kLeft) * static_cast<double>(sum.bytes) / static_cast<double>(most);
    const double share = 100 * static_cast<double>(sum.bytes) / static_cast<double>(std::max<int64_t>(all.bytes, 1));
    svg += fmt::format(
        "<text x=\"24\" y=\"{0:.0f}\">{1}</text>\n"
        "<rect class=\"track\" x=\"{2}\" y=\"{3:.0f}\" width=\"{4}\" height=\"16\"/>\n"
        "<rect class=\"bar\" x=\"{2}\" y=\"{3:.0f}\" width=\"{5:.1f}\" height=\"16\"/>\n"
        "<text x=\"{6}\" y=\"{0:.0f}\">{7} · {8:.1f} %</text>\n"
        "<text x=\"{9}\" y=\"{0:.0f}\" class=\"pale end\">{10:.2f} bits</text>\n",
        y + 17, escaped(kind), kLeft, y + 4, kBarRight - kLeft, width, kBarRight + 14,
        human_bytes(static_cast<double>(sum.bytes)), share, kRight, sum.bits_per_weight());
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace prosa::cli
