// Where the bytes of a checkpoint lie, as a picture: a bar for each kind of tensor.
#include <algorithm>

#include <fmt/format.h>

#include "cli/svg.h"
#include "cli/terminal.h"
#include "tools/kinds.h"

namespace prosa::tools {
namespace {

constexpr const char* kKindsStyle = R"(.bar { fill: #1f77c9; }
@media (prefers-color-scheme: dark) {
.bar { fill: #3d8fdd; }
}
)";

constexpr double kLeft = 120, kBarRight = 580, kRight = cli::SvgPicture::page_width - 24;
constexpr double kTop = 84, kRow = 30;

class Picture : private cli::SvgPicture {
 public:
  std::string draw(const KindSums& sums, const std::string& name) {
    const KindSum all = sum_all(sums);
    text(24, 36, "title", fmt::format("Where the bytes of {} lie", name));
    text(24, 60, "pale",
         fmt::format("{} in {} tensors, {:.2f} bits per weight", cli::human_bytes(static_cast<double>(all.bytes)),
                     all.tensors, all.bits_per_weight()));
    int64_t most = 1;
    for (const auto& [kind, sum] : sums) most = std::max(most, sum.bytes);
    y_ = kTop;
    for (const auto& [kind, sum] : sums) {
      bar(kind, sum, static_cast<double>(sum.bytes) / static_cast<double>(most),
          static_cast<double>(sum.bytes) / static_cast<double>(std::max<int64_t>(all.bytes, 1)));
      y_ += kRow;
    }
    y_ += 16;
    return file("prosa inspect: " + name, kKindsStyle);
  }

 private:
  /// `length` and `share` in [0, 1]: of the longest bar, of all bytes.
  void bar(const std::string& kind, const KindSum& sum, double length, double share) {
    text(24, y_ + 17, "", kind);
    box(kLeft, y_ + 4, kBarRight - kLeft, 16, "track");
    box(kLeft, y_ + 4, (kBarRight - kLeft) * length, 16, "bar");
    text(kBarRight + 14, y_ + 17, "",
         fmt::format("{} · {:.1f} %", cli::human_bytes(static_cast<double>(sum.bytes)), 100 * share));
    text(kRight, y_ + 17, "pale end", fmt::format("{:.2f} bits", sum.bits_per_weight()));
  }
};

}  // namespace

std::string kinds_svg(const KindSums& sums, const std::string& name) { return Picture().draw(sums, name); }

}  // namespace prosa::tools
