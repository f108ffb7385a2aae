// prosa list, show and rm: the models of the hub that this machine has, and the short names for those it can fetch.
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "prosa/hub_cache.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

using nlohmann::ordered_json;

int64_t now() { return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()); }

/// "today", "3 days ago": nobody needs the minute.
std::string days_ago(int64_t time) {
  constexpr int64_t kDay = 24 * 60 * 60;
  const int64_t days = (now() - time) / kDay;
  if (days <= 0) return "today";
  return days == 1 ? "yesterday" : fmt::format("{} days ago", days);
}

std::string size_of(const CachedRepository& repository) {
  return human_bytes(static_cast<double>(repository.bytes)) + (repository.partial ? ", a part" : "");
}

ordered_json to_json(const CachedRepository& repository) {
  return {{"name", repository.name},         {"folder", repository.folder},   {"bytes", repository.bytes},
          {"last_use", repository.last_use}, {"partial", repository.partial}, {"revisions", repository.revisions}};
}

void run_list(bool json) {
  const std::vector<CachedRepository> cached = list_cached();
  if (json) {
    ordered_json models = ordered_json::array();
    for (const CachedRepository& repository : cached) models.push_back(to_json(repository));
    ordered_json aliases = ordered_json::object();
    for (const ModelAlias& alias : model_aliases()) aliases[std::string(alias.alias)] = alias.name;
    return print_json({{"cached", std::move(models)}, {"aliases", std::move(aliases)}}, 2);
  }
  if (cached.empty()) print_output("The Hugging Face cache holds no model.\n");
  int64_t bytes = 0;
  for (const CachedRepository& repository : cached) {
    print_output(fmt::format("{:<44}{:>18}  {}\n", printable_line(repository.name), size_of(repository),
                             days_ago(repository.last_use)));
    bytes += repository.bytes;
  }
  if (cached.size() > 1)
    print_output(fmt::format("{:<44}{:>18}\n", "together", human_bytes(static_cast<double>(bytes))));
  print_output("\nShort names that every command takes in place of MODEL:\n");
  for (const ModelAlias& alias : model_aliases()) {
    print_output(fmt::format("  {:<20}{:<36}{}\n", alias.alias, alias.name, alias.about));
  }
}

void run_show(const std::string& name, bool json) {
  const auto repository = find_cached(name);
  if (!repository) {
    throw Error(ErrorCode::not_found, "is not in the cache", expand_alias(name).value_or(name),
                "prosa pull fetches it; prosa inspect looks into a folder");
  }
  if (json) return print_json(to_json(*repository), 2);
  print_output(fmt::format("{:<11}{}\n", "name", printable_line(repository->name)));
  print_output(fmt::format("{:<11}{}\n", "size", size_of(*repository)));
  print_output(fmt::format("{:<11}{}\n", "last use", days_ago(repository->last_use)));
  print_output(fmt::format("{:<11}{}\n", "revisions",
                           printable_line(fmt::format("{}", fmt::join(repository->revisions, ", ")))));
  print_output(fmt::format("{:<11}{}\n", "folder", printable_line(repository->folder)));
  print_output(fmt::format("What it holds: prosa inspect {}\n", printable_line(repository->name)));
}

void run_remove(const std::string& name, bool yes) {
  const auto repository = find_cached(name);
  if (!repository) {
    throw Error(ErrorCode::not_found, "is not in the cache", expand_alias(name).value_or(name),
                "prosa list shows what is");
  }
  if (!yes) {
    if (!is_terminal(stdin)) throw UsageError("rm asks before it removes anything: give --yes where nobody can answer");
    stream_output(fmt::format("Remove {} ({}) from the cache that Python's tools share? [y/N] ",
                              printable_line(repository->name), size_of(*repository)));
    const auto answer = read_input_line(stdin, 1024, "standard input");
    if (!answer || (*answer != "y" && *answer != "Y" && *answer != "yes")) {
      print_output("Nothing was removed.\n");
      return;
    }
  }
  remove_cached(name);
  print_output(fmt::format("Removed {}: {} are free again.\n", printable_line(repository->name),
                           human_bytes(static_cast<double>(repository->bytes))));
}

}  // namespace

void add_cached(CLI::App& app) {
  struct Arguments {
    std::string name;
    bool json = false;
    bool yes = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* list = app.add_subcommand("list", "the models in the cache, and short names for models of the hub");
  list->add_flag("--json", arguments->json, "one JSON object instead of text");
  list->footer(
      "The cache is the one that Python's tools share: what they have fetched is listed, too.\n"
      "\n"
      "Examples:\n"
      "  prosa list\n"
      "  prosa pull qwen3.5-0.8b");
  list->callback([arguments] { run_list(arguments->json); });

  CLI::App* show = app.add_subcommand("show", "one model of the cache: its size, revisions and folder");
  show->add_option("NAME", arguments->name, "owner/name or a short name")->required();
  show->add_flag("--json", arguments->json, "one JSON object instead of text");
  show->footer(
      "Example:\n"
      "  prosa show qwen3.5-0.8b");
  show->callback([arguments] { run_show(arguments->name, arguments->json); });

  CLI::App* remove = app.add_subcommand("rm", "remove a model from the cache, after asking");
  remove->add_option("NAME", arguments->name, "owner/name or a short name")->required();
  remove->add_flag("--yes", arguments->yes, "do not ask");
  remove->footer(
      "All revisions of the model go, for Python's tools as well.\n"
      "\n"
      "Example:\n"
      "  prosa rm owner/name");
  remove->callback([arguments] { run_remove(arguments->name, arguments->yes); });
}

}  // namespace prosa::cli
