// The responder's thread: a task, else a piece of the reply under way, else it waits.
#include "voice/responder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"

namespace prosa::voice {
namespace {

constexpr std::chrono::milliseconds kCancelAgain{5};

size_t code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string speech_of(const std::vector<Piece>& pieces) {
  std::string text;
  for (const Piece& piece : pieces)
    if (piece.channel == Channel::speech) text += piece.text;
  return text;
}

/// The first `bytes` of the text, less what is cut of a character and less trailing space.
std::string_view heard_of(std::string_view text, size_t bytes) {
  bytes = std::min(bytes, text.size());
  while (bytes > 0 && bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xc0U) == 0x80U) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

Responder::Responder(Chat chat, ResponderOptions options, ResponderEvents& events)
    : options_(std::move(options)),
      events_(events),
      chat_(std::move(chat)),
      history_(options_.history),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

/// A call that was about to begin does not see a cancel() that came just before it: the next one reaches it.
Responder::~Responder() {
  thread_.request_stop();
  std::unique_lock lock(mutex_);
  while (!ended_) {
    if (active_ != nullptr) active_->cancel();
    wake_.wait_for(lock, kCancelAgain);
  }
}

void Responder::read_ahead(const std::string& text) { post({Task::Kind::read_ahead, 0, text}, false); }
// What it supersedes was dropped before; what is read for it goes on.
void Responder::draft(int64_t revision, const std::string& text) { post({Task::Kind::draft, revision, text}, false); }
void Responder::ask_ending(const std::string& text) { post({Task::Kind::ask_ending, 0, text}, false); }
void Responder::soft_commit(int64_t revision) { post({Task::Kind::soft_commit, revision}, false); }
void Responder::drop_draft(int64_t revision) { post({Task::Kind::drop_draft, revision}, true); }
void Responder::interrupt(int64_t revision, size_t bytes) { post({Task::Kind::interrupt, revision, {}, bytes}, true); }
void Responder::replace(int64_t revision) { post({Task::Kind::replace, revision}, true); }
void Responder::over(int64_t revision) { post({Task::Kind::over, revision}, false); }
// Nothing is computed for it, so nothing has to end for it: least of all the system message that is being read.
void Responder::say(int64_t revision, const std::string& text) { post({Task::Kind::say, revision, text}, false); }
// A draft that holds goes on; one that does not was dropped before.
void Responder::commit(int64_t revision, const std::string& text) { post({Task::Kind::commit, revision, text}, false); }

/// Cancelling under the lock: it ends what runs now, never what a later task begins.
void Responder::post(Task task, bool cancels) {
  const std::lock_guard lock(mutex_);
  // What is newer says all that an older one of these would have.
  const bool newer = task.kind == Task::Kind::ask_ending || task.kind == Task::Kind::commit;
  if (task.kind == Task::Kind::read_ahead || newer)
    std::erase_if(tasks_, [&](const Task& other) {
      return other.kind == Task::Kind::read_ahead || (newer && other.kind == Task::Kind::ask_ending);
    });
  tasks_.push_back(std::move(task));
  if (cancels && active_ != nullptr) active_->cancel();
  wake_.notify_all();
}

void Responder::work(const std::stop_token& stop) {
  try {
    if (!stop.stop_requested()) do_read_ahead({});  // the system message and the tools, before the first word
  } catch (const Error&) {                          // the first turn will say it
  }
  while (!stop.stop_requested()) {
    std::optional<Task> task;
    {
      std::unique_lock lock(mutex_);
      busy_ = computes();
      if (!busy_) wake_.wait(lock, stop, [&] { return !tasks_.empty(); });
      if (!tasks_.empty()) {
        task = std::move(tasks_.front());
        tasks_.pop_front();
        busy_ = true;
      }
    }
    try {
      if (task) {
        obey(*task);
      } else if (computes() && !stop.stop_requested()) {
        go_on();
      }
    } catch (const std::exception& error) {
      fail(error.what());
    }
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  active_ = nullptr;
  wake_.notify_all();
}

/// Whether a reply is under way that does not wait for its turn to be over.
bool Responder::computes() const {
  if (!reply_ || reply_->made) return false;
  if (reply_->committed || reply_->heard || !reply_->stream) return true;
  return reply_->stream->stats().generated_tokens < options_.max_draft_tokens;
}

void Responder::obey(const Task& task) {
  const bool mine = reply_ && reply_->revision == task.revision;
  switch (task.kind) {
    case Task::Kind::read_ahead:
      if (!reply_) do_read_ahead(task.text);
      break;
    case Task::Kind::ask_ending:
      if (!reply_ || (reply_->fork && !reply_->committed)) do_ask_ending(task.text);
      break;
    case Task::Kind::draft: {
      drop(true);
      reply_.emplace();
      reply_->revision = task.revision;
      reply_->user = task.text;
      reply_->turn = {{Role::user, task.text}};
      reply_->fork.emplace(chat_.fork());
      begin(*reply_, *reply_->fork);
      break;
    }
    case Task::Kind::drop_draft:
      if (mine && !reply_->committed) drop(true);
      break;
    case Task::Kind::soft_commit:
      if (mine && !reply_->committed && reply_->fork) do_soft_commit();
      break;
    case Task::Kind::commit: do_commit(task.revision, task.text); break;
    case Task::Kind::interrupt:
      if (mine && reply_->committed) do_interrupt(task.bytes);
      break;
    case Task::Kind::replace:
      if (mine) {  // the reply to the longer turn may begin alike
        std::string said = reply_->spoken_before + reply_->speech + speech_of(reply_->kept);
        count_lost(*reply_);
        drop(false);
        guess_ = std::move(said);
      }
      break;
    case Task::Kind::over:
      if (mine && reply_->committed) {
        std::vector<Message> turn = reply_->turn;
        if (!reply_->speech.empty()) turn.push_back({Role::assistant, reply_->speech});
        drop(false);
        remember(std::move(turn));
        do_read_ahead({});  // the reply as the next turn will see it, while nobody waits
      }
      break;
    case Task::Kind::say:
      drop(true);
      reply_.emplace();
      reply_->revision = task.revision;
      reply_->speech = task.text;
      reply_->committed = reply_->made = true;
      break;
  }
}

/// With the place where the turn begins, so that its own tokens can be told from those of the history.
void Responder::read(Turn& turn, const std::string& text) {
  if (begin_ < 0) {
    const SyncReport history = turn.hear({});
    const int64_t position = history.reused + history.computed;
    if (position > 0) begin_ = position;  // else it was cancelled
  }
  if (!text.empty()) read_ += turn.hear(text).computed;
}

void Responder::do_read_ahead(const std::string& text) {
  if (!turn_) turn_.emplace(chat_.begin_turn(history(), options_.sampling, options_.tools));
  activate(&chat_);
  try {
    read(*turn_, text);
  } catch (...) {
    activate(nullptr);
    turn_.reset();
    throw;
  }
  activate(nullptr);
  if (!text.empty()) events_.read(text);
}

/// What fails gives no answer, and silence decides.
void Responder::do_ask_ending(const std::string& text) {
  TurnEnding ending;
  try {
    do_read_ahead(text);
    activate(&chat_);
    ending = turn_->ending();
  } catch (const Error&) {
  }
  activate(nullptr);
  lose(ending.computed_tokens);
  if (ending.probability) events_.ending(text, *ending.probability);
}

/// Speech as it comes; from the first call of a tool on all of it waits.
void Responder::do_soft_commit() {
  reply_->heard = true;
  for (const Piece& piece : std::exchange(reply_->kept, {})) hand_out(*reply_, piece);
  if (reply_->made && reply_->kept.empty()) events_.written(reply_->revision);
}

void Responder::do_commit(int64_t revision, const std::string& text) {
  if (reply_ && reply_->revision == revision && reply_->fork) {
    ReplyUnderWay& reply = *reply_;
    reply.committed = reply.draft_held = true;
    reply.turn.front().content = text;  // the same words, as they were written last
    turn_.reset();
    events_.begun(revision, true);
    if (!reply.failure.empty()) {
      count_useful(reply);
      return events_.failed(revision, reply.failure);
    }
    for (const Piece& piece : std::exchange(reply.kept, {})) hand_out(reply, piece);
    if (reply.made) {
      reply.made = false;
      end_generation(reply);
    }
    return;
  }
  drop(true);
  reply_.emplace();
  reply_->revision = revision;
  reply_->user = text;
  reply_->turn = {{Role::user, text}};
  reply_->committed = true;
  events_.begun(revision, false);
  begin(*reply_, chat_);
}

/// The generation after the messages so far.
void Responder::begin(ReplyUnderWay& reply, Chat& chat) {
  turn_.reset();
  reply.speech.clear();
  reply.calls.clear();
  reply.next.reset();
  reply.stats = {};
  reply.counted = false;
  if (reply.turn.size() == 1) {  // what an earlier draft said is tried first
    Turn turn = chat.begin_turn(history(), sampling(), options_.tools);
    reply.stream.emplace(turn.commit(reply.turn.front().content, std::exchange(guess_, {})));
  } else {
    reply.stream.emplace(chat.generate_stream(messages_with(reply.turn), sampling(), options_.tools));
  }
  activate(&chat);
}

/// With a seed: the same words then draw the same tokens, in a draft and in the reply.
SamplingConfig Responder::sampling() {
  if (!seed_) {
    std::random_device device;
    seed_ = options_.sampling.seed.value_or((static_cast<uint64_t>(device()) << 32) ^ device());
  }
  SamplingConfig config = options_.sampling;
  config.seed = seed_;
  return config;
}

/// One piece more.
void Responder::go_on() {
  ReplyUnderWay& reply = *reply_;
  if (!reply.next) {
    reply.next = reply.stream->begin();
  } else {
    ++*reply.next;
  }
  if (*reply.next == reply.stream->end()) {
    reply.stats = reply.stream->stats();
    activate(nullptr);
    reply.next.reset();
    reply.stream.reset();
    if (reply.committed) {
      end_generation(reply);
    } else {
      reply.made = true;
      if (reply.heard && reply.kept.empty()) events_.written(reply.revision);
    }
    return;
  }
  hand_out(reply, **reply.next);
}

/// To whoever listens; of a draft only what may be heard before its turn is over.
void Responder::hand_out(ReplyUnderWay& reply, const Piece& piece) {
  const bool may = reply.committed || (reply.heard && reply.kept.empty() && piece.channel != Channel::tool_call);
  if (!may) return reply.kept.push_back(piece);
  if (piece.channel == Channel::speech) reply.speech += piece.text;
  if (piece.channel == Channel::tool_call && piece.call) reply.calls.push_back(*piece.call);
  events_.piece(reply.revision, piece);
}

/// Adds the newest generation to the reply's cost, once.
void Responder::count(ReplyUnderWay& reply) {
  if (std::exchange(reply.counted, true)) return;
  const ReplyStats stats = reply.stream ? reply.stream->stats() : reply.stats;
  reply.cost.prompt = stats.prompt_tokens;
  reply.cost.computed += stats.reuse.computed;
  reply.cost.generated += stats.generated_tokens;
  if (reply.rounds == 0) reply.found = stats.reuse.reused;
}

/// What was read ahead of a turn and is not in its prompt was read in vain.
void Responder::count_useful(ReplyUnderWay& reply) {
  if (reply.user.empty()) return;  // nobody asked for it
  count(reply);
  if (reply.cost.useful == 0) {
    reply.from_reading = begin_ < 0 ? 0 : std::clamp<int64_t>(reply.found - begin_, 0, read_);
    lose(std::exchange(read_, 0) - reply.from_reading);
  }
  useful_ -= reply.cost.useful;
  reply.cost.useful = reply.cost.computed + reply.cost.generated + reply.from_reading;
  useful_ += reply.cost.useful;
  events_.cost(reply.revision, reply.cost);
  events_.worked(lost_, useful_);
}

void Responder::count_lost(ReplyUnderWay& reply) {
  if (reply.user.empty()) return;
  count(reply);
  useful_ -= std::exchange(reply.cost.useful, 0);
  read_ += std::exchange(reply.from_reading, 0);  // the longer turn has it, too
  lose(std::exchange(reply.cost.computed, 0) + std::exchange(reply.cost.generated, 0));
}

void Responder::lose(int64_t tokens) {
  if (tokens <= 0) return;
  lost_ += tokens;
  events_.lost(tokens);
  events_.worked(lost_, useful_);
}

/// The newest generation of a committed turn has ended: tools, then the next, or the reply is made.
void Responder::end_generation(ReplyUnderWay& reply) {
  count_useful(reply);
  const bool calls = !reply.calls.empty() && options_.on_tool && reply.rounds < options_.max_tool_rounds;
  if (!calls || is_to_end(reply.revision)) return finish(reply);
  ++reply.rounds;
  run_tools(reply);
  // What was asked for meanwhile is looked at before the first token.
  begin(reply, reply.fork ? *reply.fork : chat_);
}

void Responder::run_tools(ReplyUnderWay& reply) {
  events_.tool_open(true);
  Message assistant{Role::assistant, reply.speech};
  assistant.tool_calls = reply.calls;
  reply.turn.push_back(std::move(assistant));
  reply.spoken_before += reply.speech;
  for (const ToolCall& call : reply.calls) {
    std::string result;
    try {
      result = options_.on_tool(call);
    } catch (const std::exception& error) {
      result = std::string("error: ") + error.what();
    } catch (...) {
      result = "error: the tool failed";
    }
    result = utf8::replace_invalid(result);
    events_.tool_done(reply.revision, result);
    reply.turn.push_back({Role::tool, std::move(result)});
  }
  events_.tool_open(false);
}

void Responder::finish(ReplyUnderWay& reply) {
  reply.made = true;
  events_.made(reply.revision);
}

/// Of the reply so far some was heard: that stays in the history.
void Responder::do_interrupt(size_t bytes) {
  ReplyUnderWay& reply = *reply_;
  activate(nullptr);
  reply.next.reset();
  count_useful(reply);
  reply.stream.reset();  // ends it; the chat can be asked what was heard
  std::vector<Message> turn = reply.turn;
  const size_t before = reply.spoken_before.size();
  std::string heard(heard_of(reply.speech, bytes > before ? bytes - before : 0));
  Chat& chat = reply.fork ? *reply.fork : chat_;
  if (!heard.empty()) {
    try {
      if (!reply.user.empty()) heard = chat.heard(code_points(heard));
    } catch (const Error&) {  // the words are right all the same
    }
    turn.push_back({Role::assistant, heard});
  }
  drop(false);
  remember(std::move(turn));
}

/// The reply under way ends. `tell`: of a draft, that it is gone.
void Responder::drop(bool tell) {
  if (!reply_) return;
  activate(nullptr);
  ReplyUnderWay& reply = *reply_;
  reply.next.reset();
  if (!reply.committed) count_lost(reply);
  reply.stream.reset();
  // A draft that held is the conversation now.
  if (reply.fork && reply.committed) chat_ = std::move(*reply.fork);
  turn_.reset();
  const int64_t revision = reply.revision;
  const bool draft = !reply.committed;
  if (draft) guess_ = reply.speech + speech_of(reply.kept);
  reply_.reset();
  if (draft && tell) events_.draft_gone(revision);
}

void Responder::fail(const std::string& what) {
  activate(nullptr);
  if (!reply_) return;
  const int64_t revision = reply_->revision;
  const bool committed = reply_->committed;
  if (!committed && !reply_->heard) return drop(true);
  reply_->next.reset();
  if (committed) count_useful(*reply_);
  reply_->stream.reset();
  reply_->made = true;
  if (committed) {
    events_.failed(revision, what);
  } else {
    reply_->failure = what;  // told when the turn is over
  }
}

/// The turn is over.
void Responder::remember(std::vector<Message> messages) {
  seed_.reset();
  guess_.clear();
  begin_ = -1;
  const std::lock_guard lock(mutex_);
  history_.insert(history_.end(), std::make_move_iterator(messages.begin()), std::make_move_iterator(messages.end()));
}

std::vector<Message> Responder::messages_with(const std::vector<Message>& turn) const {
  std::vector<Message> messages = history();
  messages.insert(messages.end(), turn.begin(), turn.end());
  return messages;
}

void Responder::activate(Chat* chat) {
  const std::lock_guard lock(mutex_);
  active_ = chat;
}

/// Whether the end of this reply is asked for already. No tool runs for it then.
bool Responder::is_to_end(int64_t revision) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(tasks_.begin(), tasks_.end(), [&](const Task& task) {
    return (task.kind == Task::Kind::interrupt || task.kind == Task::Kind::replace) && task.revision == revision;
  });
}

bool Responder::idle() const {
  const std::lock_guard lock(mutex_);
  return tasks_.empty() && !busy_;
}

std::vector<Message> Responder::history() const {
  const std::lock_guard lock(mutex_);
  return history_;
}

}  // namespace prosa::voice
