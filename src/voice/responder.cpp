// The responder's thread: a task, else a piece of the reply under way, else it waits.
#include "voice/responder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/utf8.h"

namespace prosa::voice {
namespace {

size_t code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
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

Responder::~Responder() {
  thread_.request_stop();
  const std::lock_guard lock(mutex_);
  if (active_ != nullptr) active_->cancel();
}

void Responder::read_ahead(const std::string& text) { post({Task::Kind::read_ahead, 0, text}, false); }
void Responder::draft(int64_t revision, const std::string& text) { post({Task::Kind::draft, revision, text}, true); }
void Responder::drop_draft(int64_t revision) { post({Task::Kind::drop_draft, revision}, true); }
void Responder::interrupt(int64_t revision, size_t bytes) { post({Task::Kind::interrupt, revision, {}, bytes}, true); }
void Responder::replace(int64_t revision) { post({Task::Kind::replace, revision}, true); }
void Responder::over(int64_t revision) { post({Task::Kind::over, revision}, false); }
void Responder::say(int64_t revision, const std::string& text) { post({Task::Kind::say, revision, text}, true); }
// A draft that holds goes on; one that does not was dropped before.
void Responder::commit(int64_t revision, const std::string& text) { post({Task::Kind::commit, revision, text}, false); }

/// Cancelling under the lock: it ends what runs now, never what a later task begins.
void Responder::post(Task task, bool cancels) {
  const std::lock_guard lock(mutex_);
  // What is newer says all that an older one of these would have.
  if (task.kind == Task::Kind::read_ahead || task.kind == Task::Kind::commit)
    std::erase_if(tasks_, [](const Task& other) { return other.kind == Task::Kind::read_ahead; });
  tasks_.push_back(std::move(task));
  if (cancels && active_ != nullptr) active_->cancel();
  wake_.notify_all();
}

void Responder::work(const std::stop_token& stop) {
  try {
    do_read_ahead({});      // the system message, before the first word
  } catch (const Error&) {  // the first turn will say it
  }
  while (!stop.stop_requested()) {
    std::optional<Task> task;
    {
      std::unique_lock lock(mutex_);
      const bool computes = reply_ && !reply_->made;
      busy_ = computes;
      if (!computes) wake_.wait(lock, stop, [&] { return !tasks_.empty(); });
      if (!tasks_.empty()) {
        task = std::move(tasks_.front());
        tasks_.pop_front();
        busy_ = true;
      }
    }
    try {
      if (task) {
        obey(*task);
      } else if (reply_ && !stop.stop_requested()) {
        go_on();
      }
    } catch (const std::exception& error) {
      fail(error.what());
    }
  }
}

void Responder::obey(const Task& task) {
  const bool mine = reply_ && reply_->revision == task.revision;
  switch (task.kind) {
    case Task::Kind::read_ahead:
      if (!reply_) do_read_ahead(task.text);
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
    case Task::Kind::commit: do_commit(task.revision, task.text); break;
    case Task::Kind::interrupt:
      if (mine && reply_->committed) do_interrupt(task.bytes);
      break;
    case Task::Kind::replace:
      if (mine) {  // the reply to the longer turn may begin alike
        std::string said = reply_->spoken_before + reply_->speech;
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

void Responder::do_read_ahead(const std::string& text) {
  if (!turn_) turn_.emplace(chat_.begin_turn(history(), options_.sampling, options_.tools));
  activate(&chat_);
  try {
    turn_->hear(text);
  } catch (...) {
    activate(nullptr);
    turn_.reset();
    throw;
  }
  activate(nullptr);
  if (!text.empty()) events_.read(text);
}

void Responder::do_commit(int64_t revision, const std::string& text) {
  if (reply_ && reply_->revision == revision && reply_->fork) {
    ReplyUnderWay& reply = *reply_;
    reply.committed = reply.draft_held = true;
    reply.turn.front().content = text;  // the same words, as they were written last
    turn_.reset();
    events_.begun(revision, true);
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
    }
    return;
  }
  const Piece& piece = **reply.next;
  if (reply.committed) {
    hand_out(reply, piece);
  } else {
    reply.kept.push_back(piece);
  }
}

void Responder::hand_out(ReplyUnderWay& reply, const Piece& piece) {
  if (piece.channel == Channel::speech) reply.speech += piece.text;
  if (piece.channel == Channel::tool_call && piece.call) reply.calls.push_back(*piece.call);
  events_.piece(reply.revision, piece);
}

/// The newest generation of a committed turn has ended: tools, then the next, or the reply is made.
void Responder::end_generation(ReplyUnderWay& reply) {
  if (reply.calls.empty() || !options_.on_tool || reply.rounds >= options_.max_tool_rounds) return finish(reply);
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
  events_.made(reply.revision, reply.stats, reply.draft_held);
}

/// Of the reply so far some was heard: that stays in the history.
void Responder::do_interrupt(size_t bytes) {
  ReplyUnderWay& reply = *reply_;
  activate(nullptr);
  reply.next.reset();
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

/// The reply under way ends. A draft's tokens were spent for nothing; `tell` says so.
void Responder::drop(bool tell) {
  if (!reply_) return;
  activate(nullptr);
  ReplyUnderWay& reply = *reply_;
  reply.next.reset();
  const int64_t generated = reply.stream ? reply.stream->stats().generated_tokens : reply.stats.generated_tokens;
  reply.stream.reset();
  // A draft that held is the conversation now.
  if (reply.fork && reply.committed) chat_ = std::move(*reply.fork);
  turn_.reset();
  const int64_t revision = reply.revision;
  const bool draft = !reply.committed;
  if (draft) {
    guess_.clear();
    for (const Piece& piece : reply.kept)
      if (piece.channel == Channel::speech) guess_ += piece.text;
  }
  reply_.reset();
  if (draft && tell) events_.draft_gone(revision, generated);
}

void Responder::fail(const std::string& what) {
  activate(nullptr);
  if (!reply_) return;
  const int64_t revision = reply_->revision;
  const bool committed = reply_->committed;
  if (!committed) return drop(true);
  reply_->next.reset();
  reply_->stream.reset();
  reply_->made = true;
  events_.failed(revision, what);
}

/// The turn is over.
void Responder::remember(std::vector<Message> messages) {
  seed_.reset();
  guess_.clear();
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

bool Responder::idle() const {
  const std::lock_guard lock(mutex_);
  return tasks_.empty() && !busy_;
}

std::vector<Message> Responder::history() const {
  const std::lock_guard lock(mutex_);
  return history_;
}

}  // namespace prosa::voice
