// The options that say what an answer has to be: --json-schema, --json-object, --regex, --grammar.
#pragma once

#include <string>

#include "prosa/reply_format.h"

namespace CLI {
class App;
}  // namespace CLI

namespace prosa::cli {

struct FormatArguments {
  std::string schema_file;
  std::string grammar_file;
  std::string regex;
  bool json_object = false;
};

/// A file of a schema or a grammar. Errors: not_found, io, invalid_argument (more than 1 MiB).
std::string read_source(const std::string& path);

void add_format_options(CLI::App& command, FormatArguments& arguments);

/// Read and checked, before a model is loaded. Errors: UsageError (more than one), not_found, io, and those of
/// validate(ReplyFormat), which then name the file: "person.json#/properties/age/multipleOf".
ReplyFormat read_format(const FormatArguments& arguments);

}  // namespace prosa::cli
