// prosa chat on a terminal: a conversation, with a few commands that begin with a slash.
//
// Ctrl-C ends the reply (or clears the line), never the program; Ctrl-D and /quit end it.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/core.h>

#include "cli/chat_session.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/quiet_input.h"
#include "cli/sampling_text.h"
#include "cli/terminal.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

constexpr std::string_view help_text =
    "/system TEXT   set the system message and start over\n"
    "/reset         forget the conversation, in the session file too\n"
    "/retry         another reply to your last message\n"
    "/edit TEXT     ask that instead of your last message\n"
    "/undo          take back your last message and its reply\n"
    "/think on|off  let the model think before it answers, or not\n"
    "/stats         what the last reply cost, and the memory held\n"
    "/help          this list\n"
    "/quit          end (or Ctrl-D)\n"
    "Ctrl-C stops a reply. A message of several lines: paste it, or write \"\"\" before and after it.\n";

class InteractiveChat {
 public:
  explicit InteractiveChat(const ChatOptions& options)
      : options_(options),
        session_(options_),
        chat_(load_chat(options)),
        conversation_(options.system),
        editor_("> ", history_file()) {}

  void run() {
    interrupt::ignore_uncaught();
    greet();
    if (session_.resume(chat_, conversation_)) {
      note(fmt::format("[resumed: {} messages{}]", conversation_.messages().size(),
                       session_.read_only() ? "; read-only: nothing is saved" : ""));
    }
    std::string text;
    while (read_turn(text)) {
      if (text.find_first_not_of(" \t") == std::string::npos) continue;
      if (text.starts_with('/')) {
        if (!obey(text)) break;
        continue;
      }
      answer(text);
    }
  }

 private:
  void greet() {
    const ModelInfo info = chat_.info();
    std::string name = info.path.substr(info.path.find_last_of('/') + 1);
    const std::string bits = info.bits > 0 ? fmt::format("{} bit", info.bits) : std::string("not quantized");
    const std::string banner = fmt::format("{}, {}, {:.1f} M parameters, {} {} with {} thread{}. /help lists commands.",
                                           printable_line(name), bits, static_cast<double>(info.parameters) / 1e6,
                                           info.backend, info.isa, info.threads, info.threads == 1 ? "" : "s");
    if (is_terminal(stdout)) return stream_output(banner + "\n");
    tell(banner);  // standard output goes into a file or a pipe, for the conversation
  }

  /// A turn, which may span lines: each but the last ends with a backslash, or all stand between """ and """. False at
  /// the end of the input.
  bool read_turn(std::string& text) {
    constexpr std::string_view kQuotes = "\"\"\"";
    constexpr const char* kMorePrompt = "... ";
    const interrupt::Catch catch_interrupt({}, interrupt::Waiting::ends);
    text.clear();
    bool quoted = false;
    std::string line;
    while (true) {
      const bool first = text.empty() && !quoted;
      switch (editor_.read(line, first ? nullptr : kMorePrompt)) {
        case LineEditor::Result::end:
          if (first) {
            stream_output("\n[ended]\n");
            return false;
          }
          // Half a message is not sent, and not lost by a slip either.
          stream_output(quoted ? "\n[\"\"\" ends the message, Ctrl-C drops it]\n"
                               : "\n[an empty line ends the message, Ctrl-C drops it]\n");
          if (++ends_ > 1) return false;  // a terminal that is gone ends again and again
          continue;
        case LineEditor::Result::interrupted:
          stream_output(first && line.empty() ? "\n[Ctrl-D or /quit ends]\n" : "\n");
          text.clear();
          quoted = false;
          continue;
        case LineEditor::Result::line: ends_ = 0; break;
      }
      if (first && line.starts_with(kQuotes)) {
        quoted = true;
        line.erase(0, kQuotes.size());
        if (line.empty()) continue;
      }
      if (quoted && line.ends_with(kQuotes)) {
        text += line.substr(0, line.size() - kQuotes.size());
        while (text.ends_with('\n')) text.pop_back();
        return true;
      }
      if (!quoted && !line.ends_with('\\')) break;
      if (!quoted) line.pop_back();
      text += line + '\n';
    }
    text += line;
    return true;
  }

  /// A slash command. False: end.
  bool obey(const std::string& text) {
    const size_t space = text.find(' ');
    const std::string command = text.substr(0, space);
    std::string argument = space == std::string::npos ? "" : text.substr(space + 1);
    argument.erase(0, std::min(argument.find_first_not_of(" \t"), argument.size()));
    if (command == "/quit" || command == "/exit") return false;
    if (command == "/help") {
      stream_output(help_text);
    } else if (command == "/reset") {
      conversation_.clear();
      chat_.reset_state();
      stream_output("[new conversation]\n");
      keep();
    } else if (command == "/undo") {
      const std::optional<std::string> taken = conversation_.undo();
      note(taken ? fmt::format("[taken back: {}]", *taken) : "[nothing to take back]");
      if (taken) keep();
    } else if (command == "/retry" || command == "/edit") {
      again(command, argument);
    } else if (command == "/system") {
      set_system(argument);
    } else if (command == "/think") {
      set_thinking(argument);
    } else if (command == "/stats") {
      print_stats();
    } else {
      stream_output(fmt::format("[no command {}: /help lists them]\n", command));
    }
    return true;
  }

  /// Another reply in the place of the last one, to the same message or to another.
  void again(const std::string& command, const std::string& argument) {
    if (command == "/edit" && argument.empty()) return stream_output("[/edit TEXT]\n");
    const Conversation before = conversation_;
    const std::optional<std::string> text = conversation_.undo();
    if (!text) return stream_output("[nothing to answer yet]\n");
    if (!answer(command == "/edit" ? argument : *text)) conversation_ = before;
  }

  /// Into the session file, after everything that changes the conversation: what was taken back must not stay on the
  /// disk. A conversation that can't be kept goes on all the same.
  void keep() {
    try {
      session_.keep(chat_, conversation_);
    } catch (const Error& error) {
      note(fmt::format("[not saved: {}]", error.what()));
    }
  }

  void set_system(const std::string& text) {
    if (find_invalid_utf8(text)) {
      stream_output("[the system message is not UTF-8]\n");
      return;
    }
    conversation_.set_system(text);
    conversation_.clear();
    stream_output(text.empty() ? "[no system message, new conversation]\n"
                               : "[system message set, new conversation]\n");
    keep();
  }

  void set_thinking(const std::string& argument) {
    if (argument != "on" && argument != "off") {
      stream_output("[/think on or /think off]\n");
      return;
    }
    options_.sampling.enable_thinking = argument == "on";
    options_.sampling.disable_thinking = argument == "off";
    stream_output(fmt::format("[thinking {}]\n", argument));
  }

  void print_stats() {
    const ReplyStats stats = chat_.stats();
    if (stats.prompt_tokens == 0) {
      stream_output("[no reply yet]\n");
    } else {
      stream_output(fmt::format("prompt    {} tokens: reused {}, computed {} in {:.0f} ms ({})\n",
                                with_commas(stats.prompt_tokens), with_commas(stats.cached_tokens),
                                with_commas(stats.prompt_tokens - stats.cached_tokens), stats.prefill_ms,
                                stats.reuse.reason()));
      if (stats.dropped_messages > 0) {
        stream_output(fmt::format("left out  the {} oldest messages: the context is full\n", stats.dropped_messages));
      }
      stream_output(fmt::format("reply     {} tokens ({} thinking), first after {:.0f} ms, {:.1f} tok/s, seed {}, {}\n",
                                stats.generated_tokens, stats.thinking_tokens, stats.first_token_ms, stats.decode_tok_s,
                                stats.seed, to_string(stats.finish)));
    }
    stream_output(
        fmt::format("sampling  {}\n", sampling_text(explain_sampling(options_.sampling, chat_.info().sampling))));
    const MemoryFootprint memory = chat_.memory_footprint();
    const auto bytes = [](int64_t count) { return human_bytes(static_cast<double>(count)); };
    stream_output(fmt::format("memory    {}: weights {}, KV {}, state {}, checkpoints {}, scratch {}\n",
                              bytes(memory.total()), bytes(memory.weights), bytes(memory.kv), bytes(memory.state),
                              bytes(memory.stored_states), bytes(memory.scratch)));
  }

  /// False: there was no reply, and nothing has changed.
  bool answer(const std::string& text) {
    ReplyPrinter printer;
    try {
      check_prompt(text, "your message");
      const interrupt::Catch catch_interrupt([this] { chat_.cancel(); });
      const Reply reply =
          chat_.generate_stream(conversation_.with_user(text), options_.sampling, [&](const Piece& piece) {
            printer.print(piece);
            return !catch_interrupt.interrupted();
          });
      printer.finish();
      // A turn stopped before its first word leaves no trace in the history.
      const bool said_something = !reply.text.empty() || !reply.tool_calls.empty();
      const bool counts = said_something || reply.stats.finish != FinishReason::cancelled;
      if (counts) conversation_.add_turn(text, reply);
      if (reply.stats.dropped_messages > dropped_) {
        note(fmt::format("[the {} oldest messages no longer fit and were left out]", reply.stats.dropped_messages));
      }
      dropped_ = reply.stats.dropped_messages;
      note(finish_note(reply.stats, options_.sampling.max_tokens));
      if (counts) keep();
      return counts;
    } catch (const Error& error) {
      printer.finish();
      if (error.code() == ErrorCode::io || error.code() == ErrorCode::not_loaded) throw;
      note(error.code() == ErrorCode::cancelled ? "[stopped]" : fmt::format("[{}]", error.what()));
      return false;
    }
  }

  static std::string with_commas(int64_t number) {
    std::string digits = std::to_string(number);
    for (auto at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
      digits.insert(static_cast<size_t>(at), ",");
    return digits;
  }

  static void note(const std::string& text) {
    if (!text.empty()) stream_output(text + "\n");
  }

  QuietInput quiet_;  // also while the model loads
  ChatOptions options_;
  SessionFile session_;
  Chat chat_;
  Conversation conversation_;
  LineEditor editor_;
  int ends_ = 0;         // of the input, one after the other
  int64_t dropped_ = 0;  // messages left out of the last prompt
};

}  // namespace

void run_interactive(const ChatOptions& options) { InteractiveChat(options).run(); }

}  // namespace prosa::cli
