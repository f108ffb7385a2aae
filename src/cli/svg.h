// What the pictures of prosa share: one self-contained SVG file, no script, no font or style from elsewhere, and
// colours for light and dark pages.
//
// Not what is drawn: voice_picture.cpp, and in tools bench_svg.cpp, eval_svg.cpp, kinds_svg.cpp. Invariant: text from
// outside (names of files and models) is escaped.
#pragma once

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace prosa::cli {

class SvgPicture {
 public:
  static constexpr double page_width = 880;
  static constexpr double left = 64, right = 840;  // of a chart

  struct Point {
    double x = 0, y = 0;
  };

  /// The whole file. Classes of `style` are added to title, head, pale (text), mid, end (its anchor), grid, axis,
  /// track.
  [[nodiscard]] std::string file(std::string_view title, std::string_view style) const;

  /// `format` is markup, written as it is.
  template <typename... Values>
  void put(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(body_), format, std::forward<Values>(values)...);
  }
  void text(double x, double y, std::string_view style, std::string_view content);
  void line(Point a, Point b, std::string_view style);
  void box(double x, double y, double width, double height, std::string_view style);

 protected:
  double y_ = 0;  // where the next part begins; at last the height

 private:
  std::string body_;
};

}  // namespace prosa::cli
