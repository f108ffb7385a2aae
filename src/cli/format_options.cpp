// Files of schemas and grammars, read and checked.
#include "cli/format_options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "prosa/error.h"

namespace prosa::cli {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;

/// As validate(), with the option or file in the place of "schema".
ReplyFormat checked(ReplyFormat format, const std::string& name, bool is_schema) {
  try {
    validate(format);
  } catch (const Error& error) {
    const std::string& where = error.where();
    const std::string path = where.substr(std::min(where.find('/'), where.size()));
    throw Error(error.code(), error.message(), is_schema ? name + "#" + path : name, error.remedy());
  }
  return format;
}

}  // namespace

std::string read_source(const std::string& path) {
  const struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  } closer;
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "re"), closer);
  if (!file) throw Error(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io, "cannot read it", path);
  std::string text(kMaxFileBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) throw Error(ErrorCode::io, "cannot read it", path);
  if (text.size() > kMaxFileBytes) throw Error(ErrorCode::invalid_argument, "has more than 1 MiB", path);
  return text;
}

void add_format_options(CLI::App& command, FormatArguments& arguments) {
  const char* const group = "Format";
  command.add_option("--json-schema", arguments.schema_file, "FILE: the answer is JSON by this JSON Schema")
      ->group(group);
  command.add_flag("--json-object", arguments.json_object, "the answer is a JSON object")->group(group);
  command.add_option("--regex", arguments.regex, "the answer matches this regular expression as a whole")->group(group);
  command.add_option("--grammar", arguments.grammar_file, "FILE: the answer is a text of this GBNF grammar")
      ->group(group);
}

ReplyFormat read_format(const FormatArguments& arguments) {
  const int given = static_cast<int>(!arguments.schema_file.empty()) +
                    static_cast<int>(!arguments.grammar_file.empty()) + static_cast<int>(!arguments.regex.empty()) +
                    static_cast<int>(arguments.json_object);
  if (given > 1) throw UsageError("--json-schema, --json-object, --regex and --grammar exclude each other");
  if (arguments.json_object) return ReplyFormat::json_object();
  if (!arguments.regex.empty()) return checked(ReplyFormat::regex(arguments.regex), "--regex", false);
  if (!arguments.schema_file.empty())
    return checked(ReplyFormat::json_schema(read_source(arguments.schema_file)), arguments.schema_file, true);
  if (!arguments.grammar_file.empty())
    return checked(ReplyFormat::grammar(read_source(arguments.grammar_file)), arguments.grammar_file, false);
  return {};
}

}  // namespace prosa::cli
