// The rules of taking turns.
#include "voice/turn_taker.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/check.h"
#include "prosa/error.h"
#include "voice/words.h"

namespace prosa::voice {
namespace {

using Kind = Action::Kind;

constexpr int kFrameMs = 10;
/// Frames of silence that one utterance may have inside a begin: three of four, four of five.
constexpr int kMissedFrames = 1;

/// So little of a reply left that what is said then answers it.
constexpr Time kNearlyOver = std::chrono::milliseconds(700);

/// Counted as useful work from the begin, in tokens: or no first turn would ever be drafted.
constexpr int64_t kFirstTokens = 100;

/// Enough of the text's end for its last word.
std::string_view last_of(std::string_view text) {
  constexpr size_t kLongestWord = 200;  // bytes
  return text.size() > kLongestWord ? text.substr(text.size() - kLongestWord) : text;
}

Time ms(int value) { return std::chrono::milliseconds(value); }

/// Words after which nobody has finished a sentence.
constexpr std::array kOpenWords = {"and", "or",   "but",  "the",  "a",    "an",   "to",  "of",      "with", "for",
                                   "in",  "on",   "at",   "my",   "your", "as",   "so",  "because", "if",   "um",
                                   "uh",  "und",  "oder", "aber", "der",  "die",  "das", "ein",     "eine", "et",
                                   "ou",  "mais", "le",   "la",   "y",    "pero", "el",  "que",     "mit",  "de"};

}  // namespace

std::string_view to_string(Action::Kind kind) noexcept {
  switch (kind) {
    case Kind::begin_utterance: return "begin_utterance";
    case Kind::end_utterance: return "end_utterance";
    case Kind::drop_utterance: return "drop_utterance";
    case Kind::read_ahead: return "read_ahead";
    case Kind::draft: return "draft";
    case Kind::drop_draft: return "drop_draft";
    case Kind::ask_ending: return "ask_ending";
    case Kind::soft_commit: return "soft_commit";
    case Kind::commit: return "commit";
    case Kind::pause: return "pause";
    case Kind::resume: return "resume";
    case Kind::interrupt: return "interrupt";
    case Kind::replace: return "replace";
  }
  return "unknown";
}

std::string_view to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::quiet: return "quiet";
    case Phase::speaking: return "speaking";
    case Phase::closing: return "closing";
    case Phase::replying: return "replying";
    case Phase::doubt: return "doubt";
  }
  return "unknown";
}

TurnTaker::TurnTaker(const TurnRules& rules) : rules_(rules) { validate(rules); }

Actions TurnTaker::frame(Time now, float speech) {
  Actions out;
  detect(now, speech);
  if (speech_ && (phase_ == Phase::quiet || phase_ == Phase::replying)) begin(now, out);
  // Speech over a draft that is heard: silence at once, until it is clear what it was.
  if (speech_ && soft_) pause(out);
  if (!speech_ && silent_ && (phase_ == Phase::closing || phase_ == Phase::replying)) resume(out);
  if (!utterance_open_) {
    // A recogniser that never says its last word does not hold the conversation.
    const bool waits = phase_ == Phase::closing || phase_ == Phase::doubt;
    if (!waits || now - closed_ < ms(rules_.final_ms)) return out;
    out.push_back({Kind::drop_utterance, utterance_});
    take_words(now, std::string(partial_), out);
    return out;
  }
  on_silence(now, out);
  return out;
}

/// Speech begins with start_ms of it, less a frame that was missed; it ends with the last frame of it.
void TurnTaker::detect(Time now, float speech) {
  now_ = now;
  const bool over_voice = soft_ || (phase_ == Phase::replying && !over_) || (phase_ == Phase::doubt && !over_);
  const bool heard = speech >= (over_voice ? rules_.speech_over_voice : rules_.speech);
  recent_ = (recent_ << 1) | (heard ? 1U : 0U);
  const int frames = std::clamp((rules_.start_ms + kFrameMs - 1) / kFrameMs, 1, 30);
  const uint32_t window = (1U << (frames + kMissedFrames)) - 1;
  speech_ = std::popcount(recent_ & window) >= frames;
  if (heard && (speech_ || utterance_open_)) last_speech_ = now;
}

void TurnTaker::begin(Time now, Actions& out) {
  if (phase_ == Phase::replying) {
    const Time patience = ms(unfinished_ ? rules_.reopen_unfinished_ms : rules_.reopen_ms);
    reopens_ = now - answered_at_ <= patience;
    paused_ = now;
    phase_ = Phase::doubt;
    pause(out);
  } else {
    phase_ = Phase::speaking;
    said_.clear();
  }
  began_ = now;
  partial_.clear();
  partial_since_ = now;
  read_.clear();
  drafted_.reset();
  drafts_ = 0;
  asked_.clear();
  ending_.reset();
  utterance_open_ = true;
  out.push_back({Kind::begin_utterance, ++utterance_});
}

void TurnTaker::on_silence(Time now, Actions& out) {
  const Time silent = silence();
  if (phase_ == Phase::speaking) work_early(now, out);
  const bool too_long = now - began_ >= ms(rules_.max_turn_ms);
  if (silent >= ms(sounds_unfinished() ? rules_.unfinished_end_ms : rules_.end_ms) || too_long) return close(now, out);
  // Sound without words is not an interruption, however long.
  if (phase_ == Phase::doubt && now - paused_ >= ms(rules_.resume_ms) && words_of(partial_).empty()) {
    utterance_open_ = false;
    out.push_back({Kind::drop_utterance, utterance_});
    go_on(out);
  }
}

/// What may be done before it is known that the turn is over.
void TurnTaker::work_early(Time now, Actions& out) {
  const Time silent = silence();
  const bool stable = !partial_.empty() && now - partial_since_ >= ms(rules_.stable_ms);
  const bool soft_end = silent >= ms(rules_.soft_end_ms);
  const std::string whole = join(said_, partial_);
  if (silent >= ms(rules_.soft_end_ms) / 2 || stable) ask_ending(whole, out);
  if (soft_end || stable || sounds_over()) draft(whole, out);
  if (!soft_end || !drafted_) return;
  if (soft_) return resume(out);  // it was no word
  if (!rules_.soft_commit || !sounds_over() || now - partial_since_ < ms(rules_.soft_end_ms)) return;
  soft_ = true;
  out.push_back({Kind::soft_commit, revision_, *drafted_});
}

void TurnTaker::ask_ending(std::string_view text, Actions& out) {
  if (!rules_.ending || tool_open_ || same_words(asked_, text) || words_of(text).empty()) return;
  if (static_cast<double>(lost_) > rules_.max_early_work * static_cast<double>(useful_ + kFirstTokens)) return;
  asked_ = text;
  ending_.reset();
  out.push_back({Kind::ask_ending, revision_, asked_});
}

Actions TurnTaker::ending(Time now, std::string_view text, double probability) {
  Actions out;
  now_ = std::max(now_, now);
  if (text != asked_) return out;
  knows_endings_ = knows_endings_ || probability >= rules_.ends_above;
  ending_ = probability;
  if (phase_ == Phase::speaking && utterance_open_) work_early(now_, out);
  return out;
}

void TurnTaker::early_work(int64_t lost, int64_t useful) {
  lost_ = lost;
  useful_ = useful;
}

void TurnTaker::close(Time now, Actions& out) {
  utterance_open_ = false;
  closed_ = now;
  unfinished_ = sounds_unfinished();
  if (phase_ == Phase::speaking) phase_ = Phase::closing;
  out.push_back({Kind::end_utterance, utterance_});
}

Actions TurnTaker::partial(Time now, int64_t utterance, std::string_view text) {
  Actions out;
  now_ = std::max(now_, now);
  if (!utterance_open_ || utterance != utterance_ || text == partial_) return out;
  const std::string before = std::exchange(partial_, std::string(text));
  if (!same_words(before, partial_)) partial_since_ = now;
  if (phase_ == Phase::doubt) {
    if (!is_more_than_listening(partial_) || is_stop_word(partial_)) return out;
    confirm(out);
    phase_ = Phase::speaking;
  }
  if (phase_ != Phase::speaking) return out;
  const std::string whole = join(said_, partial_);
  if (drafted_ && !same_words(*drafted_, whole)) drop_draft(out);
  if (rules_.read_ahead) {
    const std::string stood = join(said_, std::string_view(partial_).substr(0, common_prefix(before, partial_)));
    if (!stood.empty() && stood != read_) {
      read_ = stood;
      out.push_back({Kind::read_ahead, revision_, stood});
    }
  }
  return out;
}

Actions TurnTaker::final(Time now, int64_t utterance, std::string_view text) {
  Actions out;
  now_ = std::max(now_, now);
  if (utterance_open_ || utterance != utterance_) return out;
  if (phase_ == Phase::closing || phase_ == Phase::doubt) take_words(now, text, out);
  return out;
}

/// The utterance is over and these are its words.
void TurnTaker::take_words(Time now, std::string_view text, Actions& out) {
  partial_.clear();
  if (phase_ == Phase::doubt) {
    if (!takes_the_turn(text)) return go_on(out);
    const bool stop = is_stop_word(text);
    confirm(out);
    if (stop) {
      phase_ = Phase::quiet;
      return;
    }
  }
  const std::string whole = join(said_, text);
  if (words_of(whole).empty()) {  // a breath, a click
    drop_draft(out);
    phase_ = Phase::quiet;
    return;
  }
  commit(now, whole, out);
}

void TurnTaker::commit(Time now, std::string_view text, Actions& out) {
  if (!drafted_ || !same_words(*drafted_, text)) {
    drop_draft(out);
    ++revision_;
  }
  drafted_.reset();
  soft_ = false;
  answered_ = text;
  answered_at_ = std::min(last_speech_, now);
  over_ = false;
  left_.reset();
  phase_ = Phase::replying;
  out.push_back({Kind::commit, revision_, answered_});
}

/// Its words are the turn: they were answered aloud.
void TurnTaker::end_heard_draft(Time now, Actions& out) {
  if (std::exchange(utterance_open_, false)) out.push_back({Kind::drop_utterance, utterance_});
  ++utterance_;  // a final that is on its way is not waited for
  partial_.clear();
  commit(now, std::string(*drafted_), out);
  end_reply(out);
  phase_ = Phase::quiet;
}

void TurnTaker::end_reply(Actions& out) {
  out.push_back({Kind::interrupt, revision_});
  ++revision_;
  silent_ = false;
  over_ = true;
}

Actions TurnTaker::interrupt(Time now) {
  Actions out;
  now_ = std::max(now_, now);
  if (soft_ && silent_ && utterance_open_) {  // the user goes on: what has been said is not all of the turn
    drop_draft(out);
  } else if (soft_) {
    end_heard_draft(now, out);
  } else if (phase_ == Phase::replying) {
    end_reply(out);
    phase_ = Phase::quiet;
  } else if (phase_ == Phase::doubt &&
             (!over_ || silent_)) {  // whoever speaks does not go on with the turn that was answered
    end_reply(out);
    reopens_ = false;
  }
  return out;
}

Actions TurnTaker::type(Time now, std::string_view text) {
  Actions out;
  now_ = std::max(now_, now);
  if (soft_) end_heard_draft(now, out);
  if (std::exchange(utterance_open_, false)) out.push_back({Kind::drop_utterance, utterance_});
  ++utterance_;
  drop_draft(out);
  if (phase_ == Phase::replying || (phase_ == Phase::doubt && (!over_ || silent_))) end_reply(out);
  phase_ = Phase::quiet;
  if (words_of(text).empty()) return out;
  unfinished_ = false;
  last_speech_ = now;
  commit(now, text, out);
  return out;
}

int64_t TurnTaker::greet(Time now) {
  now_ = std::max(now_, now);
  answered_.clear();
  answered_at_ = Time::min() / 2;  // words over it go on with no turn
  over_ = false;
  left_.reset();
  phase_ = Phase::replying;
  return ++revision_;
}

/// The user does take the turn.
void TurnTaker::confirm(Actions& out) {
  said_ = reopens_ ? answered_ : std::string();
  drafts_ = 0;
  if (reopens_) {
    out.push_back({Kind::replace, revision_});
    ++revision_;
    silent_ = false;
    over_ = true;
  } else if (!over_ || silent_) {  // else it was ended before
    end_reply(out);
  }
}

/// The user did not take the turn.
void TurnTaker::go_on(Actions& out) {
  partial_.clear();
  phase_ = over_ ? Phase::quiet : Phase::replying;
  recent_ = 0;
  speech_ = false;
  resume(out);
}

void TurnTaker::pause(Actions& out) {
  if (!std::exchange(silent_, true)) out.push_back({Kind::pause, revision_});
}

void TurnTaker::resume(Actions& out) {
  if (std::exchange(silent_, false)) out.push_back({Kind::resume, revision_});
}

Actions TurnTaker::reply_over(Time now, int64_t revision) {
  now_ = std::max(now_, now);
  if (revision != revision_) return {};
  if (phase_ == Phase::replying || phase_ == Phase::doubt) over_ = true;
  if (phase_ == Phase::replying) phase_ = Phase::quiet;
  return {};
}

void TurnTaker::draft(std::string_view text, Actions& out) {
  if (!rules_.draft || tool_open_ || drafts_ >= rules_.max_drafts) return;
  if ((drafted_ && same_words(*drafted_, text)) || words_of(text).empty()) return;
  const double most = rules_.max_early_work * static_cast<double>(useful_ + kFirstTokens);
  if (static_cast<double>(lost_ + rules_.max_draft_tokens) > most) return;
  drop_draft(out);
  drafted_ = std::string(text);
  ++drafts_;
  out.push_back({Kind::draft, ++revision_, *drafted_});
}

void TurnTaker::drop_draft(Actions& out) {
  if (!drafted_) return;
  drafted_.reset();
  const bool heard = std::exchange(soft_, false);
  if (heard) silent_ = false;
  out.push_back({heard ? Kind::replace : Kind::drop_draft, revision_});
}

Time TurnTaker::silence() const { return now_ - std::max(last_speech_, began_); }

/// As the model finds, and not against the words.
bool TurnTaker::sounds_over() const {
  return ending_ && *ending_ >= rules_.ends_above && same_words(asked_, join(said_, partial_)) && !sounds_unfinished();
}

bool TurnTaker::sounds_unfinished() const {
  const std::string whole = join(said_, partial_);
  if (knows_endings_ && ending_ && *ending_ < rules_.goes_on_below && same_words(asked_, whole)) return true;
  if (!whole.empty() && (whole.back() == ',' || whole.back() == '-')) return true;
  const std::vector<std::string> words = words_of(last_of(whole));
  return !words.empty() && std::find(kOpenWords.begin(), kOpenWords.end(), words.back()) != kOpenWords.end();
}

bool TurnTaker::is_more_than_listening(std::string_view text) const {
  std::vector<std::string> rest = words_of(text);
  // "Yeah, uh-huh": any number of them, each whole.
  for (size_t at = 0; at < rest.size();) {
    size_t longest = 0;
    for (const std::string& heard : rules_.backchannels) {
      const std::vector<std::string> words = words_of(heard);
      if (words.size() > longest && at + words.size() <= rest.size() &&
          std::equal(words.begin(), words.end(), rest.begin() + static_cast<std::ptrdiff_t>(at)))
        longest = words.size();
    }
    if (longest == 0) return true;
    at += longest;
  }
  return false;
}

/// An answer that begins while the last words of a question are played is no listener's sound.
bool TurnTaker::takes_the_turn(std::string_view text) const {
  if (is_more_than_listening(text)) return true;
  return !words_of(text).empty() && left_ && *left_ <= kNearlyOver;
}

bool TurnTaker::is_stop_word(std::string_view text) const {
  return std::any_of(rules_.stop_words.begin(), rules_.stop_words.end(),
                     [&](const std::string& word) { return same_words(word, text); });
}

}  // namespace prosa::voice
