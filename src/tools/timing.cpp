// The median.
#include "tools/timing.h"

#include <algorithm>

#include "base/check.h"

namespace prosa::tools {

double median(std::vector<double> values) {
  PROSA_CHECK(!values.empty());
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

}  // namespace prosa::tools
