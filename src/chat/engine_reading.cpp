// What an engine reads before it is asked to reply: turns being spoken, replies as they were heard, saved
// conversations.
#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/engine.h"
#include "chat/message_json.h"
#include "prosa/error.h"

namespace prosa::chat {

PromptPlan Engine::plan(const Loaded& loaded, std::span<const Message> messages, std::span<const Tool> tools,
                        const SamplingConfig& sampling) {
  return plan_with(forgetting_, loaded, messages, tools, sampling);
}

PromptPlan Engine::plan_with(Forgetting& forgetting, const Loaded& loaded, std::span<const Message> messages,
                             std::span<const Tool> tools, const SamplingConfig& sampling) const {
  const ModelText& text = *loaded.text;
  const int64_t capacity = loaded.session.capacity();
  if (options_.chat.context_policy == ContextPolicy::drop_oldest)
    return forgetting.plan(text.tokenizer, text.thinking_default, messages, tools, sampling, capacity);
  PromptPlan plan = plan_prompt(text.tokenizer, text.thinking_default, messages, tools, sampling);
  check_fits(plan, capacity);
  return plan;
}

SyncReport Engine::hear(std::span<const Message> history, std::string_view transcript, std::span<const Tool> tools,
                        const SamplingConfig& sampling, int slot) {
  const EngineLease lease = begin_reply();
  if (!utf8::is_valid(transcript)) throw Error(ErrorCode::invalid_argument, "is not UTF-8", "transcript");
  SyncReport report;
  try {
    read_ahead(*loaded(), history, transcript, tools, sampling, slot, report);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  touch();
  return report;
}

void Engine::read_ahead(Loaded& loaded, std::span<const Message> history, std::string_view transcript,
                        std::span<const Tool> tools, const SamplingConfig& sampling, int slot, SyncReport& report) {
  std::vector<Message> messages(history.begin(), history.end());
  messages.push_back({Role::user, std::string(transcript)});
  // What a turn in the making would leave behind is not left behind for good: it may come out shorter.
  Forgetting forgetting = forgetting_;
  const PromptPlan whole =
      plan_with(forgetting, loaded, messages, tools, sampling);  // its errors, and what is left out
  messages.pop_back();
  if (options_.chat.context_policy == ContextPolicy::drop_oldest) messages = forgetting.kept(messages);
  const ModelText& text = *loaded.text;
  const HearingPlan hearing =
      plan_hearing(text.tokenizer, text.thinking_default, messages, transcript, tools, sampling);
  if (hearing.tokens.empty()) return;
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

void Engine::save_session(const std::string& path, std::span<const Message> messages, const SamplingConfig& sampling,
                          std::span<const Tool> tools) {
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  SyncReport report;
  read_ahead(*now, messages, {}, tools, sampling, 0, report);
  now->session.save(path, {{"messages", to_json(messages).dump()}, {"seed", std::to_string(stats().seed)}});
  touch();
}

std::vector<Message> Engine::load_session(const std::string& path) {
  const EngineLease lease = begin_reply();
  const auto now = loaded();
  const auto notes = now->session.load(path);
  last_ = {};
  {
    ReplyStats stats;
    if (const auto seed = notes.find("seed"); seed != notes.end()) {
      std::from_chars(seed->second.data(), seed->second.data() + seed->second.size(), stats.seed);
    }
    const std::lock_guard lock(mutex_);
    stats_ = stats;
  }
  const auto messages = notes.find("messages");
  if (messages == notes.end()) return {};
  try {
    return messages_from_json(parse_json(messages->second, "messages"));
  } catch (const Error& error) {
    throw Error(ErrorCode::bad_session, std::string("its messages can't be read: ") + error.what(), path);
  }
}

}  // namespace prosa::chat
