// prosa chat --script: the lines of a file as user turns of one conversation, with what each turn cost.
//
// The JSON fields are fixed: comparison scripts read them.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "cli/chat_session.h"
#include "cli/terminal.h"

namespace prosa::cli {
namespace {

constexpr size_t kMaxLineBytes = size_t{1} << 20;

struct FileCloser {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

File open_script(const std::string& path) {
  if (path == "-") return File(stdin);
  File file(std::fopen(path.c_str(), "re"));
  if (!file) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::not_found : ErrorCode::io;
    throw Error(code, fmt::format("cannot read the script: {}", std::strerror(errno)), path);
  }
  return file;
}

}  // namespace

void print_turn_json(const std::string& user, const Reply& reply) {
  const ReplyStats& stats = reply.stats;
  const nlohmann::ordered_json line = {{"user", user},
                                       {"reply", reply.text},
                                       {"prompt_tokens", stats.prompt_tokens},
                                       {"reused", stats.cached_tokens},
                                       {"computed", stats.prompt_tokens - stats.cached_tokens},
                                       {"generated", stats.generated_tokens},
                                       {"ttft_ms", stats.first_token_ms},
                                       {"prefill_ms", stats.prefill_ms},
                                       {"decode_tok_s", stats.decode_tok_s},
                                       {"finish", to_string(stats.finish)}};
  print_json(line, -1);
}

void run_script(const ChatOptions& options, const std::string& path, bool json) {
  const File file = open_script(path);
  Chat chat = load_chat(options);
  Conversation conversation(options.system);
  int64_t number = 0;
  while (auto line = read_input_line(file.get(), kMaxLineBytes, path == "-" ? "standard input" : path)) {
    ++number;
    if (!line->empty() && line->back() == '\r') line->pop_back();
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    check_prompt(*line, fmt::format("{}:{}", path, number));
    const auto messages = conversation.with_user(*line);
    if (json) {
      const Reply reply = chat.generate(messages, options.sampling);
      print_turn_json(*line, reply);
      conversation.add_turn(*line, reply);
      continue;
    }
    stream_output("> " + *line + "\n");
    ReplyPrinter printer;
    const Reply reply = chat.generate_stream(messages, options.sampling, [&printer](const Piece& piece) {
      printer.print(piece);
      return true;
    });
    printer.finish();
    conversation.add_turn(*line, reply);
  }
  if (number == 0) throw Error(ErrorCode::invalid_argument, "holds no line", path, "write one user turn a line");
}

}  // namespace prosa::cli
