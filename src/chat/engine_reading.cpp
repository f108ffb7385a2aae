// What an engine reads before it is asked to reply: turns being spoken, replies as they were heard, saved
// conversations.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/json.h"
#include "chat/engine.h"
#include "chat/message_json.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

std::vector<Message> read_note(const std::string& text) {
  nlohmann::ordered_json list = parse_json(text, "messages");
  const JsonGuard guard(list);
  return messages_from_json(list);
}

/// Messages as a session file keeps them. Error(invalid_argument) for those that it would not give back: a call's
/// arguments stand deeper in it than by themselves, and escapes make text longer.
std::string session_note(std::span<const Message> messages) {
  nlohmann::ordered_json list = to_json(messages);
  const JsonGuard guard(list);
  std::string text = list.dump();
  try {
    read_note(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::invalid_argument,
                std::string("a session of them could not be loaded again: ") + error.what(), "messages",
                "save fewer, smaller or less nested ones");
  }
  return text;
}

}  // namespace

PromptPlan Engine::plan(const Loaded& loaded, std::span<const Message> messages, std::span<const Tool> tools,
                        const SamplingConfig& sampling) {
  Forgetting forgetting = forgetting_;  // what fails leaves nothing behind
  PromptPlan plan = plan_with(forgetting, loaded, messages, tools, sampling);
  forgetting_ = std::move(forgetting);
  return plan;
}

PromptPlan Engine::plan_with(Forgetting& forgetting, const Loaded& loaded, std::span<const Message> messages,
                             std::span<const Tool> tools, const SamplingConfig& sampling) const {
  const ModelText& text = *loaded.text;
  const int64_t capacity = loaded.session.capacity();
  if (options_.chat.context_policy == ContextPolicy::drop_oldest)
    return forgetting.plan(text.tokenizer, text.chat_template, messages, tools, sampling, capacity);
  PromptPlan plan = plan_prompt(text.tokenizer, text.chat_template, messages, tools, sampling);
  check_fits(plan, capacity);
  return plan;
}

SyncReport Engine::hear(std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                        const SamplingConfig& sampling, int slot) {
  const EngineLease lease = begin_reply();
  SyncReport report;
  try {
    read_ahead(*loaded(), history, transcript, tools, sampling, slot, report);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  touch();
  return report;
}

std::optional<double> Engine::ending_probability(std::span<const Message> history, std::string_view transcript,
                                                 std::span<const Tool> tools, const SamplingConfig& sampling, int slot,
                                                 int64_t& asked) {
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  std::optional<double> probability;
  try {
    SyncReport report;  // all of it was read by hear(), as a rule
    const HearingPlan hearing = read_ahead(*now, history, transcript, tools, sampling, slot, report);
    asked = report.computed;
    // Where nothing is read yet, reading would move the conversation.
    if (!hearing.tokens.empty() && !hearing.rest.empty() && std::ssize(hearing.rest) <= backend::kMaxTentative) {
      probability = now->session.probability(hearing.rest, hearing.ending, Cancel(&cancel_flag()));
      asked += std::ssize(hearing.rest);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  touch();
  return probability;
}

/// Brings the session to where hearing.tokens ends; `report` says how, also where it is cancelled on the way.
HearingPlan Engine::read_ahead(Loaded& loaded, std::span<const Message> history, std::string_view transcript,
                               std::span<const Tool> tools, const SamplingConfig& sampling, int slot,
                               SyncReport& report) {
  std::vector<Message> messages(history.begin(), history.end());
  messages.push_back({Role::user, std::string(transcript)});
  // What a turn in the making would leave behind is not left behind for good: it may come out shorter.
  Forgetting forgetting = forgetting_;
  const PromptPlan whole =
      plan_with(forgetting, loaded, messages, tools, sampling);  // its errors, and what is left out
  messages.pop_back();
  if (options_.chat.context_policy == ContextPolicy::drop_oldest) messages = forgetting.kept(messages);
  const ModelText& text = *loaded.text;
  HearingPlan hearing = plan_hearing(text.tokenizer, text.chat_template, messages, transcript, tools, sampling);
  if (hearing.tokens.empty()) return hearing;
  fetch_system(loaded, whole);
  runtime::Session& session = loaded.session;
  const std::span<const int32_t> tokens(hearing.tokens);
  runtime::SyncRequest request;
  request.cancel = Cancel(&cancel_flag());
  request.logits = false;
  request.priority = runtime::Priority::background;
  // Pauses where every prompt with this turn pauses: the bits stay those of a cold run. Of transcripts, the last two
  // are kept for as long as the turn lasts.
  if (hearing.begin > 0 && session.common_with(tokens) < hearing.begin) {
    request.tokens = tokens.first(static_cast<size_t>(hearing.begin));
    request.cuts = hearing.cuts;
    report = session.sync(request);
    session.mark();
  }
  request.tokens = tokens;
  request.cuts = {};
  request.passing = session.position() != hearing.begin || std::ssize(tokens) != hearing.begin;
  const SyncReport rest = session.sync(request);
  if (session.position() > hearing.begin) session.mark_in_slot(slot % 2);
  if (report.computed == 0) {
    report = rest;
  } else {
    report.computed += rest.computed;
  }
  return hearing;
}

std::string Engine::heard(size_t characters) {
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  if (!last_.said) throw Error(ErrorCode::invalid_argument, "there was no reply yet", "heard");
  const std::string said = last_.said->cut(characters);
  std::vector<Message> messages = last_.messages;
  if (!said.empty()) {
    messages.push_back({Role::assistant, said});
    SyncReport report;
    try {
      read_ahead(*now, messages, {}, last_.tools, last_.sampling, 0, report);
    } catch (const Error& error) {  // the text is right all the same
      if (error.code() != ErrorCode::cancelled && error.code() != ErrorCode::context_exceeded) throw;
    }
  }
  touch();
  return said;
}

void Engine::end_choice(const PromptPlan& plan, std::span<const Message> messages, std::span<const Tool> tools,
                        const SamplingConfig& sampling, const std::string& said) {
  const auto now = loaded();
  if (cache_) cache_->keep(now->session.store(), std::span(plan.tokens).first(static_cast<size_t>(plan.system_end)));
  if (!said.empty()) {
    last_ = {{messages.begin(), messages.end()}, {tools.begin(), tools.end()}, sampling, std::make_shared<SaidText>()};
    last_.said->append(said);
    std::vector<Message> history = last_.messages;
    history.push_back({Role::assistant, said});
    SyncReport report;
    try {
      read_ahead(*now, history, {}, tools, sampling, 0, report);
    } catch (const Error& error) {  // the choice is right all the same
      if (error.code() != ErrorCode::cancelled && error.code() != ErrorCode::context_exceeded) throw;
    }
  }
  touch();
}

void Engine::save_session(const std::string& path, std::span<const Message> messages, const SamplingConfig& sampling,
                          std::span<const Tool> tools) {
  const std::string text = session_note(messages);  // first: what can't be loaded again touches nothing
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  SyncReport report;
  read_ahead(*now, messages, {}, tools, sampling, 0, report);
  now->session.save(path, {{"messages", text}, {"seed", std::to_string(stats().seed)}});
  touch();
}

std::vector<Message> Engine::load_session(const std::string& path) {
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  runtime::SessionFile file = now->session.read(path);
  std::vector<Message> messages;
  if (const auto note = file.notes.find("messages"); note != file.notes.end()) {
    try {
      messages = read_note(note->second);
    } catch (const Error& error) {
      throw Error(ErrorCode::bad_session, std::string("its messages can't be read: ") + error.what(), path);
    }
  }
  ReplyStats stats;
  if (const auto seed = file.notes.find("seed"); seed != file.notes.end()) {
    std::from_chars(seed->second.data(), seed->second.data() + seed->second.size(), stats.seed);
  }
  now->session.take(std::move(file));
  last_ = {};
  const std::lock_guard lock(mutex_);
  stats_ = std::move(stats);
  return messages;
}

}  // namespace prosa::chat
