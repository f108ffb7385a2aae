// After every token: what has to follow. A mask is made only when it is asked for.
#include "chat/reply_guide.h"

#include <algorithm>

#include "base/check.h"
#include "prosa/error.h"

namespace prosa::chat {

ReplyGuide::ReplyGuide(std::shared_ptr<const ReplyRules> rules, const Tokenizer& tokenizer, const ReplyTokens& tokens,
                       Channel first, std::string_view begun)
    : rules_(std::move(rules)), tokenizer_(&tokenizer), tokens_(&tokens), channel_(first) {
  if (!rules_) return;
  if (rules_->answer) {
    answer_.emplace(rules_->answer->constraint);
    if (!answer_->accept(begun)) {
      throw Error(ErrorCode::invalid_argument, "the format does not begin like the last message",
                  "continue_final_message", "begin the reply as the format does, or leave it to the model");
    }
    begun_ = !begun.empty();
  }
  settle();
}

bool ReplyGuide::may_call_now() const noexcept {
  return rules_->may_call && tokens_->channels.call_open && (rules_->many_calls || calls_ == 0);
}

bool ReplyGuide::may_think_now() const noexcept { return rules_->may_think && !thought_ && !begun_; }

// ---- what has to follow

void ReplyGuide::settle() {
  settled_.clear();
  next_ = 0;
  if (channel_ == Channel::tool_call) {
    if (call_) settle_by(*call_, tokens_->channels.call_close);
  } else if (channel_ == Channel::speech && rules_->guided()) {
    if (margin_due_) {
      settled_ = rules_->margin;
    } else if (calls_ > 0) {
      over_ = !rules_->many_calls;
    } else if (rules_->must_call) {
      if (!may_think_now()) settled_ = {*tokens_->channels.call_open};
    } else if (begun_ || !(may_think_now() || may_call_now())) {
      settle_by(*answer_, std::nullopt);
    }
  }
}

/// `behind`: what follows where the text is whole; unset: the reply is over.
void ReplyGuide::settle_by(grammar::Matcher& matcher, std::optional<int32_t> behind) {
  bool over = false;
  const std::string bytes = matcher.forced(&over);
  settled_ = grammar::settled_tokens(*tokenizer_, matcher.trie(), bytes, over);
  const bool whole = over && (bytes.empty() || !settled_.empty());
  if (whole && behind) settled_.push_back(*behind);
  over_ = over && bytes.empty() && !behind;
}

void ReplyGuide::push(int32_t token, Channel now) {
  if (!rules_) return;
  const Channel before = channel_;
  // Only its end tag leads out of a call; what ends a reply in the middle of one does not count.
  if (before == Channel::tool_call && call_ && token != tokens_->channels.call_close) now = Channel::tool_call;
  channel_ = now;
  if (next_ < settled_.size()) {
    PROSA_CHECK(settled_[next_] == token);
    ++next_;
  }
  const std::string_view bytes = tokenizer_->token_bytes(token);
  if (before != Channel::tool_call && now == Channel::tool_call) {
    ++calls_;
    if (rules_->call) call_.emplace(rules_->call->constraint);
  } else if (before == Channel::tool_call && now == Channel::tool_call) {
    if (call_) PROSA_CHECK(call_->accept(bytes));
  } else if (before == Channel::tool_call) {
    call_.reset();
  } else if (before == Channel::thought && now == Channel::speech) {
    margin_due_ = !rules_->margin.empty();
    thought_ = true;
  } else if (before == Channel::speech && now == Channel::speech) {
    if (margin_due_) {
      margin_due_ = next_ < settled_.size();
    } else if (answer_ && calls_ == 0) {
      PROSA_CHECK(answer_->accept(bytes));
      begun_ = true;
    }
  }
  if (next_ >= settled_.size()) settle();
}

void ReplyGuide::follow(Channel now) {
  if (!rules_) return;
  thought_ = true;
  channel_ = now;
  settle();
}

// ---- what may follow

std::span<const uint32_t> ReplyGuide::one_of(std::span<const int32_t> tokens) {
  mask_.assign(rules_->masks.no_end->size(), 0);
  for (const int32_t token : tokens) mask_[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
  return mask_;
}

/// Of a reply that is held to something as a whole.
std::span<const uint32_t> ReplyGuide::answer_mask() {
  std::vector<int32_t> tags;
  if (may_call_now() && (calls_ > 0 || !begun_)) tags.push_back(*tokens_->channels.call_open);
  if (calls_ > 0) {
    tags.insert(tags.end(), tokens_->end.begin(), tokens_->end.end());
    return one_of(tags);
  }
  if (may_think_now()) tags.push_back(*tokens_->channels.think_open);
  if (rules_->must_call) return one_of(tags);
  const std::span<const uint32_t> allowed = answer_->mask();
  if (tags.empty()) return allowed;
  mask_.assign(allowed.begin(), allowed.end());
  for (const int32_t tag : tags) mask_[static_cast<size_t>(tag) / 32] |= uint32_t{1} << (tag % 32);
  return mask_;
}

std::span<const uint32_t> ReplyGuide::mask() {
  if (!rules_) return {};
  if (channel_ == Channel::speech && rules_->guided()) return answer_mask();
  if (channel_ == Channel::tool_call && call_) return call_->mask();
  const bool no_end = rules_->guided();  // what it is held to is still to come
  const bool no_call = channel_ != Channel::tool_call && !may_call_now();
  if (no_end) return no_call ? *rules_->masks.neither : *rules_->masks.no_end;
  if (no_call && rules_->masks.no_call) return *rules_->masks.no_call;
  return {};
}

std::vector<std::string> ReplyGuide::left_free() const {
  return rules_ && rules_->call ? rules_->call->left_free : std::vector<std::string>();
}

void ReplyGuide::require_way_on() {
  const std::span<const uint32_t> allowed = mask();
  if (allowed.empty() || std::ranges::any_of(allowed, [](uint32_t word) { return word != 0; })) return;
  throw Error(ErrorCode::unsupported, "no token of the model's vocabulary can write what has to follow",
              "SamplingConfig.format", "the format asks for characters that this model cannot write");
}

}  // namespace prosa::chat
