// The conversation so far, printing a reply, and the one-shot form of chat.
#include "cli/chat_session.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/core.h>

#include "cli/download_line.h"
#include "cli/terminal.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {
constexpr size_t kMaxPromptBytes = size_t{16} << 20;
constexpr std::string_view dim = "\033[2m";
constexpr std::string_view plain = "\033[0m";

/// A terminal that takes back what stands on its line.
bool can_rewrite() {
  const char* term = std::getenv("TERM");
  return is_terminal(stdout) && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

Chat load_chat(const ChatOptions& options) {
  ProgressLine line;
  LoadOptions load = options.load;
  load.progress = [&line](double fraction, std::string_view what) {
    line.show(fraction, what.empty() ? "loading the model" : what);
  };
  DownloadLine download(options.model);
  load.download = [&download](const DownloadProgress& progress) { download.show(progress); };
  Chat chat = Chat::from_pretrained(options.model, load);
  line.clear();
  tell_warnings(chat.info().warnings);
  return chat;
}

std::vector<Message> Conversation::messages() const {
  std::vector<Message> messages;
  messages.reserve(turns_.size() + 2);
  if (!system_.empty()) messages.push_back({Role::system, system_});
  messages.insert(messages.end(), turns_.begin(), turns_.end());
  return messages;
}

std::vector<Message> Conversation::with_user(const std::string& user) const {
  std::vector<Message> all = messages();
  all.push_back({Role::user, user});
  return all;
}

void Conversation::resume(std::vector<Message> messages) {
  const bool has_system = !messages.empty() && messages.front().role == Role::system;
  system_ = has_system ? messages.front().content : "";
  if (has_system) messages.erase(messages.begin());
  turns_ = std::move(messages);
}

std::optional<std::string> Conversation::undo() {
  while (!turns_.empty()) {
    Message last = std::move(turns_.back());
    turns_.pop_back();
    if (last.role == Role::user) return std::move(last.content);
  }
  return std::nullopt;
}

void Conversation::add_turn(const std::string& user, const Reply& reply) {
  turns_.push_back({Role::user, user});
  Message answer{Role::assistant, reply.text};
  answer.tool_calls = reply.tool_calls;
  turns_.push_back(std::move(answer));
}

SessionFile::SessionFile(const ChatOptions& options) : options_(options) {
  if (options.session.empty() || options.read_only) return;
  try {
    lock_.emplace(options.session);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::busy) {
      throw Error(error.code(), error.message(), error.where(),
                  "end that one first, name another --session, or look at this one with --read-only");
    }
    if (error.code() != ErrorCode::io || !error.remedy().empty()) throw;
    throw Error(error.code(), error.message(), error.where(),
                "name a file in a folder you may write to, or open it with --read-only");
  }
}

bool SessionFile::resume(Chat& chat, Conversation& conversation) const {
  if (options_.session.empty()) return false;
  try {
    conversation.resume(lock_ ? chat.load_session(*lock_)
                              : chat.load_session(options_.session, SessionAccess::read_only));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found || options_.read_only) throw;
    return false;
  }
  if (!options_.system.empty() && options_.system != conversation.system()) {
    throw Error(ErrorCode::invalid_argument, "the session has another system message", options_.session,
                "leave --system out, or name another --session");
  }
  return true;
}

void SessionFile::keep(Chat& chat, const Conversation& conversation) const {
  if (!lock_) return;
  const std::vector<Message> messages = conversation.messages();
  if (!messages.empty()) return chat.save_session(*lock_, messages, options_.sampling);
  // Nothing to come back to: the file goes, with what it said. Of a link, the file that it leads to.
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(options_.session, error);
  if (error) return;  // there is none yet
  std::filesystem::remove(file, error);
  if (error) throw Error(ErrorCode::io, "can't remove it: " + error.message(), options_.session);
}

ReplyPrinter::ReplyPrinter()
    : terminal_(is_terminal(stdout)), color_(use_color()), wrap_(can_rewrite() ? output_columns() : 0) {
  if (terminal_) use_utf8_characters();
}

void ReplyPrinter::write(const std::string& text) {
  if (!terminal_) return stream_output(text);
  style_output(wrap_.add(printable(text)));
  flush_output();
}

void ReplyPrinter::print_thought(const std::string& text) {
  if (!terminal_ || text.empty()) return;
  if (!in_thought_ && color_) style_output(dim);
  if (!in_thought_ && !color_) write("(thinking) ");
  in_thought_ = true;
  line_open_ = text.back() != '\n';
  write(text);
}

void ReplyPrinter::end_thought() {
  if (!in_thought_) return;
  in_thought_ = false;
  if (color_) style_output(plain);
  write(line_open_ ? "\n\n" : "\n");
  line_open_ = false;
}

void ReplyPrinter::print(const Piece& piece) {
  if (piece.channel == Channel::thought) return print_thought(piece.text);
  end_thought();
  std::string text = piece.text;
  if (piece.channel == Channel::tool_call && piece.call) {
    text = fmt::format("{}[{}({})]\n", line_open_ ? "\n" : "", piece.call->name, piece.call->arguments);
  }
  if (text.empty()) return;
  line_open_ = text.back() != '\n';
  write(text);
}

void ReplyPrinter::finish() {
  if (in_thought_ && color_) style_output(plain);
  in_thought_ = false;
  if (line_open_) write("\n");
  line_open_ = false;
}

void check_prompt(const std::string& text, const std::string& what) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Error(ErrorCode::invalid_argument, "is empty", what, "give some text");
  }
  if (text.size() >= kMaxPromptBytes) {
    throw Error(ErrorCode::invalid_argument, fmt::format("longer than {} bytes", kMaxPromptBytes), what);
  }
  if (const auto offset = find_invalid_utf8(text)) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("not UTF-8: byte 0x{:02x} at offset {}", static_cast<unsigned char>(text[*offset]), *offset), what,
        "convert it to UTF-8");
  }
}

std::string finish_note(const ReplyStats& stats, int max_tokens) {
  switch (stats.finish) {
    case FinishReason::length: return fmt::format("[ended after --max-tokens {}]", max_tokens);
    case FinishReason::deadline: return "[ended at the deadline]";
    case FinishReason::context_full: return "[the context is full: /reset or a larger --context]";
    case FinishReason::cancelled: return "[stopped]";
    case FinishReason::stop:
    case FinishReason::stop_string:
    case FinishReason::tool_calls:
    case FinishReason::error: return {};  // thrown, and said by who catches it
  }
  return {};
}

void run_once(const ChatOptions& options, const std::string& prompt, const OnceOptions& once) {
  check_prompt(prompt, "prompt");
  if (!once.begin.empty()) check_prompt(once.begin, "--continue-final-message");
  const SessionFile session(options);
  Chat chat = load_chat(options);
  Conversation conversation(options.system);
  session.resume(chat, conversation);
  std::vector<Message> messages = conversation.with_user(prompt);
  SamplingConfig sampling = options.sampling;
  ReplyPrinter printer;
  if (!once.begin.empty()) {
    sampling.continue_final_message = true;
    messages.push_back({Role::assistant, once.begin});
    if (!once.json) printer.print({Channel::speech, once.begin});
  }
  Reply reply = chat.generate_stream(messages, sampling, [&printer, &once](const Piece& piece) {
    if (!once.json) printer.print(piece);
    return true;
  });
  reply.text.insert(0, once.begin);
  printer.finish();
  if (once.json) print_turn_json(prompt, reply);
  if (once.verbose) {
    const ReplyStats& stats = reply.stats;
    tell(
        fmt::format("prompt {} tokens ({} reused) in {:.0f} ms, reply {} tokens, first after {:.0f} ms, {:.1f} tok/s, "
                    "seed {}, {}",
                    stats.prompt_tokens, stats.cached_tokens, stats.prefill_ms, stats.generated_tokens,
                    stats.first_token_ms, stats.decode_tok_s, stats.seed, to_string(stats.finish)));
  }
  const std::string note = finish_note(reply.stats, options.sampling.max_tokens);
  if (!note.empty() && is_terminal(stderr)) tell(note);
  conversation.add_turn(prompt, reply);
  session.keep(chat, conversation);
}

}  // namespace prosa::cli
