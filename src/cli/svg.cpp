// The file around a picture, and its elements.
#include "cli/svg.h"
#include "prosa/text.h"

#include <algorithm>

#include "cli/terminal.h"

namespace prosa::cli {
namespace {

// Colours: ink, paler ink, lines.
constexpr std::string_view kSharedStyle =
    R"(text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #1f2933; }
.page { fill: #ffffff; stroke: #d9dee3; }
.title { font-size: 18px; font-weight: 600; }
.head { font-size: 14px; font-weight: 600; }
.pale { fill: #5b6773; font-size: 12px; }
.grid { stroke: #e4e8ec; stroke-width: 1; }
.axis { stroke: #9aa5b1; stroke-width: 1; }
.track { fill: #eef1f4; }
.mid { text-anchor: middle; }
.end { text-anchor: end; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e8ed; }
.page { fill: #14181d; stroke: #2c343c; }
.pale { fill: #98a4b0; }
.grid { stroke: #262d34; }
.axis { stroke: #5b6773; }
.track { fill: #222930; }
}
)";

std::string escaped(std::string_view text) {
  std::string out;
  std::string line = printable_line(text);
  // Characters of UTF-8, but none of XML: U+FFFE and U+FFFF.
  for (const std::string_view none : {"\xef\xbf\xbe", "\xef\xbf\xbf"}) {
    for (size_t at = 0; (at = line.find(none, at)) != std::string::npos;) line.replace(at, none.size(), "\xef\xbf\xbd");
  }
  for (const char c : line) {
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

std::string SvgPicture::file(std::string_view title, std::string_view style) const {
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" width=\"{0}\" height=\"{1:.0f}\" "
             "role=\"img\">\n<title>{2}</title>\n<style>\n",
             page_width, y_, escaped(title)) +
         std::string(kSharedStyle) + std::string(style) +
         fmt::format("</style>\n<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{:.0f}\" rx=\"8\"/>\n",
                     page_width - 1, y_ - 1) +
         body_ + "</svg>\n";
}

void SvgPicture::text(double x, double y, std::string_view style, std::string_view content) {
  put("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, style, escaped(content));
}

void SvgPicture::line(Point a, Point b, std::string_view style) {
  put("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", a.x, a.y, b.x, b.y, style);
}

void SvgPicture::box(double x, double y, double width, double height, std::string_view style) {
  put("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"{}\"/>\n", x, y, std::max(width, 0.0),
      height, style);
}

}  // namespace prosa::cli
