// Kinds, exceptions, what a conversion reported, what a comparison found.
#include "tools/inspect_formats.h"
#include "prosa/text.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/core.h>

#include "checkpoint/names.h"
#include "cli/terminal.h"
#include "prosa/error.h"

namespace prosa::tools {
namespace {

using checkpoint::QuantizationReport;
using checkpoint::TensorDifference;
using checkpoint::TensorListing;
using checkpoint::TensorReport;
using nlohmann::ordered_json;

constexpr size_t kShown = 8;  // exceptions and errors listed without --tensors

/// Tensors whose format is not that of most matrices; none in a folder that is not quantized.
std::vector<TensorListing> find_exceptions(const std::vector<TensorListing>& listings) {
  std::map<WeightFormat, int> counts;
  for (const TensorListing& listing : listings) {
    if (listing.format) ++counts[*listing.format];
  }
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  if (most == counts.end()) return {};
  std::vector<TensorListing> exceptions;
  for (const TensorListing& listing : listings) {
    const bool matrix = listing.name.ends_with(".weight") && listing.shape.size() == 2;
    const bool read = listing.role == "text" || listing.role == "mtp";
    if (matrix && read && listing.format != most->first) exceptions.push_back(listing);
  }
  return exceptions;
}

double relative_error(const TensorDifference& difference) {
  if (difference.squares > 0) return std::sqrt(difference.differences / difference.squares);
  return difference.differences > 0 ? 1.0 : 0.0;
}

void print_line(const std::string& label, const std::string& text) {
  cli::print_output(fmt::format("{:<14}{}\n", label, text));
}

std::string format_name(const TensorListing& listing) {
  return listing.format ? listing.format->name() : listing.dtype;
}

void print_kinds(const KindSums& kinds) {
  const double total = std::max(1.0, static_cast<double>(sum_all(kinds).bytes));
  std::string label = "by kind";
  const auto row = [&label, total](const std::string& kind, const KindSum& sum) {
    print_line(label, fmt::format("{:<10}{:>6} tensors{:>12.2f} M weights{:>8.2f} bits each{:>12}{:>7.1f} %", kind,
                                  sum.tensors, static_cast<double>(sum.weights) / 1e6, sum.bits_per_weight(),
                                  cli::human_bytes(static_cast<double>(sum.bytes)),
                                  100 * static_cast<double>(sum.bytes) / total));
    label.clear();
  };
  for (const auto& [kind, sum] : kinds) row(kind, sum);
  row("all", sum_all(kinds));
}

void print_exceptions(const std::vector<TensorListing>& exceptions, bool all) {
  std::string label = "exceptions";
  for (size_t i = 0; i < exceptions.size(); ++i) {
    if (!all && i == kShown) return print_line("", fmt::format("and {} more (--tensors)", exceptions.size() - i));
    print_line(std::exchange(label, ""),
               fmt::format("{:<18}{}", format_name(exceptions[i]), printable_line(exceptions[i].name)));
  }
}

/// A tensor and how far it moved, for both sources of errors.
struct Moved {
  std::string name;
  double error = 0;
};

void print_errors(const char* title, const KindSums& kinds, std::vector<Moved> tensors, bool all) {
  std::string label = title;
  for (const auto& [kind, sum] : kinds) {
    const auto error = sum.relative_error();
    if (!error) continue;
    print_line(std::exchange(label, ""), fmt::format("{:<10}{:>9.3f} %", kind, 100 * *error));
  }
  std::ranges::stable_sort(tensors, std::ranges::greater{}, &Moved::error);
  if (!all) tensors.resize(std::min(tensors.size(), kShown));
  label = all ? "by tensor" : "most changed";
  for (const Moved& tensor : tensors) {
    if (tensor.error <= 0) break;
    print_line(std::exchange(label, ""),
               fmt::format("{:>8.3f} %  {}", 100 * tensor.error, printable_line(tensor.name)));
  }
}

void print_conversion(const QuantizationReport& conversion, bool all) {
  print_line("converted", fmt::format("method {}, {:.3f} bits a weight in the matrices",
                                      printable_line(conversion.method), conversion.bits_per_weight()));
  std::vector<Moved> tensors;
  for (const TensorReport& tensor : conversion.tensors) {
    if (tensor.relative_error) tensors.push_back({tensor.name, *tensor.relative_error});
    if (!tensor.note.empty()) print_line("note", printable_line(tensor.name + ": " + tensor.note));
  }
  print_errors("error", sum_kinds(conversion), std::move(tensors), all);
}

ordered_json errors_json(const KindSums& kinds) {
  ordered_json object = ordered_json::object();
  for (const auto& [kind, sum] : kinds) {
    if (const auto error = sum.relative_error()) object[kind] = *error;
  }
  return object;
}

ordered_json conversion_json(const QuantizationReport& conversion, bool with_tensors) {
  ordered_json object = {{"method", conversion.method},
                         {"bits_per_weight", conversion.bits_per_weight()},
                         {"relative_error", errors_json(sum_kinds(conversion))}};
  ordered_json notes = ordered_json::array();
  ordered_json tensors = ordered_json::object();
  for (const TensorReport& tensor : conversion.tensors) {
    if (!tensor.note.empty()) notes.push_back({{"name", tensor.name}, {"note", tensor.note}});
    if (tensor.relative_error) tensors[tensor.name] = *tensor.relative_error;
  }
  object["notes"] = std::move(notes);
  if (with_tensors) object["tensors"] = std::move(tensors);
  return object;
}

}  // namespace

FormatReport make_format_report(const std::filesystem::path& folder, const std::filesystem::path& compare) {
  FormatReport report;
  const std::vector<TensorListing> listings = checkpoint::list_tensors(folder);
  report.kinds = sum_kinds(listings);
  report.exceptions = find_exceptions(listings);
  try {
    report.conversion = checkpoint::read_quantization_report(folder);
  } catch (const Error& error) {
    report.conversion_problem = error.what();
  }
  if (compare.empty()) return report;
  report.compared_with = compare.string();
  cli::ProgressLine line;
  report.differences = checkpoint::compare_checkpoints(folder, compare, 0,
                                                       [&line](double fraction) { line.show(fraction, "comparing"); });
  return report;
}

void add_format_json(const FormatReport& report, bool with_tensors, ordered_json& result) {
  const double total = std::max(1.0, static_cast<double>(sum_all(report.kinds).bytes));
  ordered_json kinds = ordered_json::object();
  for (const auto& [kind, sum] : report.kinds) {
    kinds[kind] = {{"tensors", sum.tensors},
                   {"weights", sum.weights},
                   {"bytes", sum.bytes},
                   {"bits_per_weight", sum.bits_per_weight()},
                   {"share", static_cast<double>(sum.bytes) / total}};
  }
  result["kinds"] = std::move(kinds);
  ordered_json exceptions = ordered_json::array();
  for (const TensorListing& listing : report.exceptions) {
    ordered_json entry = {{"name", listing.name}, {"dtype", listing.dtype}};
    if (listing.format) {
      entry.update({{"bits", listing.format->bits}, {"group_size", listing.format->group_size}});
    }
    exceptions.push_back(std::move(entry));
  }
  result["exceptions"] = std::move(exceptions);
  if (report.conversion) result["conversion"] = conversion_json(*report.conversion, with_tensors);
  if (!report.conversion_problem.empty()) result["conversion"] = {{"problem", report.conversion_problem}};
  if (report.compared_with.empty()) return;
  const KindSums sums = sum_kinds(report.differences);
  ordered_json comparison = {{"with", report.compared_with}, {"relative_error", errors_json(sums)}};
  comparison["relative_error"]["all"] = sum_all(sums).relative_error().value_or(0);
  if (with_tensors) {
    for (const TensorDifference& difference : report.differences) {
      comparison["tensors"][difference.name] = relative_error(difference);
    }
  }
  result["comparison"] = std::move(comparison);
}

void print_formats(const FormatReport& report, bool all) {
  print_kinds(report.kinds);
  print_exceptions(report.exceptions, all);
  if (report.conversion) print_conversion(*report.conversion, all);
  if (!report.conversion_problem.empty()) print_line("converted", printable_line(report.conversion_problem));
  if (report.compared_with.empty()) return;
  print_line("compared", "with " + printable_line(report.compared_with));
  std::vector<Moved> tensors;
  for (const TensorDifference& difference : report.differences) {
    tensors.push_back({difference.name, relative_error(difference)});
  }
  KindSums sums = sum_kinds(report.differences);
  sums.emplace_back("all", sum_all(sums));
  print_errors("apart", sums, std::move(tensors), all);
}

}  // namespace prosa::tools
