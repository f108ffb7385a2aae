// What the three ways to chat share (one shot, interactive, script): the conversation so far, and printing a reply as
// it comes.
//
// Only public headers: everything here could be written by a user of the library.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/word_wrap.h"
#include "prosa/chat.h"

namespace prosa::cli {

struct ChatOptions {
  std::string model;   // "": the embedded model
  std::string system;  // "": no system message
  SamplingConfig sampling;
  LoadOptions load;
  std::string session;     // a file that the conversation is resumed from and kept in; "": none
  bool read_only = false;  // it is not kept there
};

/// Loads with a progress line on stderr.
Chat load_chat(const ChatOptions& options);

/// The messages of a conversation: at most one system message, then user and assistant in turn.
class Conversation {
 public:
  explicit Conversation(std::string system) : system_(std::move(system)) {}
  void set_system(std::string system) { system_ = std::move(system); }
  void clear() { turns_.clear(); }
  /// Everything so far, from a session file.
  void resume(std::vector<Message> messages);
  [[nodiscard]] std::vector<Message> messages() const;
  [[nodiscard]] const std::string& system() const { return system_; }
  /// Takes the last user message and what followed it away, and returns its text; nothing: there is none.
  std::optional<std::string> undo();
  [[nodiscard]] bool empty() const { return turns_.empty(); }

  /// The messages with `user` as the newest one.
  [[nodiscard]] std::vector<Message> with_user(const std::string& user) const;
  /// Keeps a finished turn.
  void add_turn(const std::string& user, const Reply& reply);

 private:
  std::string system_;
  std::vector<Message> turns_;
};

/// The file of --session, if one is named: held for as long as the object lives, unless it is opened --read-only.
class SessionFile {
 public:
  /// Before the model is loaded, which takes longer. Errors: busy (another process has it), io.
  explicit SessionFile(const ChatOptions& options);

  /// Whether the conversation is now the one in the file. Errors: invalid_argument (--system says something else than
  /// that conversation), not_found (--read-only of a file that is not there), those of Chat::load_session().
  bool resume(Chat& chat, Conversation& conversation) const;
  /// An empty conversation leaves no file. No effect without one, and with --read-only.
  void keep(Chat& chat, const Conversation& conversation) const;
  [[nodiscard]] bool read_only() const noexcept { return options_.read_only; }

 private:
  const ChatOptions& options_;
  std::optional<SessionLock> lock_;
};

/// Writes pieces to stdout as they come. On a terminal thoughts are dim (or in parentheses without colour), control
/// characters are written out and lines end between words; elsewhere only the answer is written, byte for byte.
class ReplyPrinter {
 public:
  ReplyPrinter();
  void print(const Piece& piece);
  /// Ends the line, if the reply did not.
  void finish();

 private:
  void write(const std::string& text);
  void print_thought(const std::string& text);
  void end_thought();

  bool terminal_;
  bool color_;
  bool in_thought_ = false;
  bool line_open_ = false;  // the last character written was not a newline
  WordWrap wrap_;
};

/// Error(invalid_argument) for text the model can't be given: empty, not UTF-8 (names the byte), 16 MiB and more.
void check_prompt(const std::string& text, const std::string& what);

/// A line about a reply that ended otherwise than by itself ("" when it did).
std::string finish_note(const ReplyStats& stats, int max_tokens);

/// How one answer is shown.
struct OnceOptions {
  bool json = false;       // one line, when it is complete
  bool verbose = false;    // a line on stderr about what it cost
  std::string begin = {};  // the reply begins with it, and the model goes on from there
};
void run_once(const ChatOptions& options, const std::string& prompt, const OnceOptions& once);
/// {"user", "reply", "prompt_tokens", …}: the fields are fixed, comparison scripts read them.
void print_turn_json(const std::string& user, const Reply& reply);
void run_interactive(const ChatOptions& options);
void run_script(const ChatOptions& options, const std::string& path, bool json);

}  // namespace prosa::cli
