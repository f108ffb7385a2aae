// The brain of a voice pipeline: a thread that reads ahead, drafts, replies and runs tools, on one conversation.
//
// Knows text and revisions; no sound, no clock, no rules of turns. Invariant: the history is what was said and heard by
// the end of the last turn: a turn that is under way is in it only once it is over, interrupted or failed; one that was
// replaced never. Thread safety: every call from any thread. What is asked for ends at once what it supersedes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "prosa/chat.h"

namespace prosa::voice {

/// In tokens.
struct ReplyCost {
  int64_t prompt = 0;     // of the newest generation
  int64_t computed = 0;   // of prompts, by the reply or the draft that held
  int64_t generated = 0;  // of all generations
  int64_t useful = 0;     // all that was computed for it, what was read ahead included
};

/// What a responder does, told on its thread; no lock of its own is held.
class ResponderEvents {
 public:
  virtual ~ResponderEvents() = default;
  virtual void read(const std::string& text) = 0;  // it was read ahead
  virtual void ending(const std::string& text, double probability) = 0;
  virtual void begun(int64_t revision, bool draft_held) = 0;     // the reply of a committed turn
  virtual void piece(int64_t revision, const Piece& piece) = 0;  // of it, in order; before begun() where it was heard
  virtual void written(int64_t revision) = 0;                    // of a draft that is heard: it has no more pieces
  virtual void tool_open(bool open) = 0;
  virtual void tool_done(int64_t revision, const std::string& result) = 0;
  virtual void made(int64_t revision) = 0;  // its last piece was told
  virtual void draft_gone(int64_t revision) = 0;
  /// What a committed reply has cost so far.
  virtual void cost(int64_t revision, const ReplyCost& cost) = 0;
  /// So many tokens were computed early for nothing.
  virtual void lost(int64_t tokens) = 0;
  /// All tokens computed so far, for nothing and of use.
  virtual void worked(int64_t lost, int64_t useful) = 0;
  virtual void failed(int64_t revision, const std::string& what) = 0;  // instead of made()
};

struct ResponderOptions {
  SamplingConfig sampling;
  std::vector<Message> history;  // the system message first
  std::vector<Tool> tools;
  std::function<std::string(const ToolCall&)> on_tool;
  int max_tool_rounds = 4;
  int64_t max_draft_tokens = 24;  // a draft waits there for its turn to be over
};

/// A reply under way, or made and not yet heard.
struct ReplyUnderWay {
  int64_t revision = 0;
  std::string user;           // the turn
  std::optional<Chat> fork;   // of a draft: it becomes the conversation when the draft holds
  std::vector<Message> turn;  // the user's message, then calls and results so far
  std::optional<ReplyStream> stream;
  std::optional<ReplyStream::iterator> next;
  std::vector<Piece> kept;      // of a draft: not yet told
  std::string speech;           // of the newest generation
  std::string spoken_before;    // of those before, where tools were called
  std::vector<ToolCall> calls;  // of the newest generation
  int rounds = 0;
  bool committed = false;
  bool draft_held = false;
  bool heard = false;   // of a draft: what it says is told as it comes, what it does waits for the commit
  std::string failure;  // of a draft that is heard
  bool made = false;
  bool counted = false;      // the newest generation's cost
  ReplyStats stats;          // of the newest generation, once it has ended
  int64_t found = 0;         // tokens of its first prompt that were in the state
  int64_t from_reading = 0;  // of these: read ahead while the user spoke
  ReplyCost cost;
};

class Responder {
 public:
  /// `events` outlives the responder.
  Responder(Chat chat, ResponderOptions options, ResponderEvents& events);
  /// Ends what is under way.
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  void read_ahead(const std::string& text);
  void draft(int64_t revision, const std::string& text);
  void drop_draft(int64_t revision);
  /// How probable is it that the user's message ends with `text`?
  void ask_ending(const std::string& text);
  /// The draft of this revision is heard from now on. Its tools wait for the commit.
  void soft_commit(int64_t revision);
  void commit(int64_t revision, const std::string& text);
  /// The reply ends; of its speech the first `bytes` were heard.
  void interrupt(int64_t revision, size_t bytes);
  /// The turn and its reply never were.
  void replace(int64_t revision);
  /// All of the reply was heard.
  void over(int64_t revision);
  /// The pipeline says it without being asked: a reply that is made, to no turn.
  void say(int64_t revision, const std::string& text);

  [[nodiscard]] bool idle() const;
  [[nodiscard]] std::vector<Message> history() const;

 private:
  struct Task {
    enum class Kind { read_ahead, ask_ending, draft, drop_draft, soft_commit, commit, interrupt, replace, over, say };
    Kind kind;
    int64_t revision = 0;
    std::string text = {};
    size_t bytes = 0;
  };

  void post(Task task, bool cancels);
  void work(const std::stop_token& stop);
  void obey(const Task& task);
  void go_on();
  void begin(ReplyUnderWay& reply, Chat& chat);
  [[nodiscard]] SamplingConfig sampling();
  void hand_out(ReplyUnderWay& reply, const Piece& piece);
  void end_generation(ReplyUnderWay& reply);
  void run_tools(ReplyUnderWay& reply);
  void finish(ReplyUnderWay& reply);
  void fail(const std::string& what);
  void drop(bool tell);
  void read(Turn& turn, const std::string& text);
  void do_read_ahead(const std::string& text);
  void do_ask_ending(const std::string& text);
  void do_soft_commit();
  static void count(ReplyUnderWay& reply);
  void count_useful(ReplyUnderWay& reply);
  void count_lost(ReplyUnderWay& reply);
  void lose(int64_t tokens);
  [[nodiscard]] bool computes() const;
  [[nodiscard]] bool is_to_end(int64_t revision) const;
  void do_commit(int64_t revision, const std::string& text);
  void do_interrupt(size_t bytes);
  void remember(std::vector<Message> messages);
  [[nodiscard]] std::vector<Message> messages_with(const std::vector<Message>& turn) const;
  /// What cancel() ends: the chat whose call may be under way.
  void activate(Chat* chat);

  const ResponderOptions options_;
  ResponderEvents& events_;

  // Of the thread alone.
  Chat chat_;
  std::optional<Turn> turn_;  // what is read ahead
  std::optional<ReplyUnderWay> reply_;
  std::string guess_;             // what the last draft of this turn said
  std::optional<uint64_t> seed_;  // of this turn: drafts and reply draw alike
  int64_t begin_ = -1;            // where the user's turn begins in the prompt, in tokens; -1: not known
  int64_t read_ = 0;              // tokens read ahead of it
  int64_t lost_ = 0;              // tokens computed in vain
  int64_t useful_ = 0;            // and the others

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Task> tasks_;
  Chat* active_ = nullptr;
  bool busy_ = false;   // something is computed
  bool ended_ = false;  // the thread
  std::vector<Message> history_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace prosa::voice
