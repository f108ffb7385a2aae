// VoicePipeline: sound in, turns taken, sound out.
//
// One mutex owns the turn: whatever is reported by the microphone, the recogniser, the model and the loudspeaker goes
// through the turn taker under it, and what is to be done is done in that order. Lock order: turn, then a part's own.
#include <algorithm>
#include <deque>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "prosa/text.h"
#include "prosa/voice.h"
#include "voice/listener.h"
#include "voice/playback.h"
#include "voice/resample.h"
#include "voice/responder.h"
#include "voice/speaker.h"
#include "voice/timeline.h"
#include "voice/turn_taker.h"

namespace prosa {
namespace {

using voice::Action;
using voice::Time;
using Event = VoiceEvent::Kind;

constexpr Time kFrame = std::chrono::milliseconds(10);
/// Of the sound before speech was noticed: the begin of the first word.
constexpr size_t kBeforeSpeech = size_t{kHeardRate} * 3 / 10;
/// Of the sound that was pulled and is still to be paired with a push().
constexpr size_t kMaxReference = kHeardRate;

/// A reply that is slow must not keep the user in silence.
constexpr double kPatienceSeconds = 0.3;

SpeakableOptions speakable_options(const VoiceOptions& options) {
  SpeakableOptions speakable = options.speakable;
  if (speakable.patience_seconds == 0) speakable.patience_seconds = kPatienceSeconds;
  return speakable;
}

voice::ResponderOptions responder_options(const VoiceOptions& options) {
  voice::ResponderOptions brain{options.sampling, {}, options.tools, options.on_tool, options.max_tool_rounds};
  if (!brain.sampling.enable_thinking) brain.sampling.disable_thinking = true;
  if (!options.system.empty()) brain.history.push_back({Role::system, options.system});
  brain.max_draft_tokens = options.turns.max_draft_tokens;
  brain.history.insert(brain.history.end(), options.history.begin(), options.history.end());
  return brain;
}

void check(const VoiceParts& parts, const VoiceOptions& options) {
  const auto missing = [](const char* part) {
    throw Error(ErrorCode::invalid_argument, "is missing", part, "see voice_engines() for those that are built in");
  };
  if (!parts.activity) missing("voice activity");
  if (!parts.hears) missing("speech to text");
  if (!parts.speaks) missing("text to speech");
  const auto range = [](const char* field, int value, int least, int most) {
    if (value >= least && value <= most) return;
    throw Error(ErrorCode::invalid_argument, fmt::format("is {}; allowed are {} to {}", value, least, most), field);
  };
  range("play_rate", options.play_rate, 8000, 192'000);
  if (options.play_rate % 100 != 0) throw Error(ErrorCode::invalid_argument, "is no multiple of 100", "play_rate");
  range("output_latency_ms", options.output_latency_ms, 0, 5000);
  range("max_tool_rounds", options.max_tool_rounds, 0, 100);
  validate(options.sampling);
  for (const auto& [field, text] : {std::pair{"system", &options.system}, {"greeting", &options.greeting}})
    if (find_invalid_utf8(*text)) throw Error(ErrorCode::invalid_argument, "is not UTF-8", field);
}

}  // namespace

struct VoicePipeline::Impl final : voice::ListenerEvents, voice::ResponderEvents, voice::SpeakerEvents {
  Impl(Chat chat, VoiceParts parts, const VoiceOptions& given)
      : options(given),
        timeline(given.on_event),
        taker(given.turns),
        activity(std::move(parts.activity)),
        playback(given.play_rate),
        reference_rate(given.play_rate, kHeardRate),
        speaker(std::move(parts.speaks), speakable_options(given), given.play_rate, playback, *this),
        responder(std::move(chat), responder_options(given), *this),
        listener(std::move(parts.hears), *this) {
    if (!given.greeting.empty()) greet();
  }

  // The microphone.

  void push(std::span<const int16_t> frame, std::span<const int16_t> reference_frame) {
    std::vector<int16_t> heard(frame.begin(), frame.end());
    std::vector<int16_t> played = take_reference();
    if (!reference_frame.empty()) played.assign(reference_frame.begin(), reference_frame.end());
    const float speech = sureness(heard, played);
    const std::lock_guard lock(mutex);
    audio_time += kFrame;
    behind = timeline.now() - audio_time;
    taker.left_to_play(playback.left());
    before_speech.insert(before_speech.end(), heard.begin(), heard.end());
    const bool listening = utterance_open;
    act(taker.frame(audio_time, speech));
    if (listening && utterance_open) listener.push(heard);
    if (before_speech.size() > kBeforeSpeech)
      before_speech.erase(before_speech.begin(), before_speech.end() - static_cast<std::ptrdiff_t>(kBeforeSpeech));
  }

  /// What fails in it is told, and is no end of the conversation: the next frame is asked again.
  float sureness(std::vector<int16_t>& heard, const std::vector<int16_t>& played) {
    try {
      return activity->process(heard, played);
    } catch (const std::exception& error) {
      timeline.note(Event::error, 0, error.what());
      return 0;
    }
  }

  std::vector<int16_t> take_reference() {
    std::vector<int16_t> played(kFrameSamples);
    const std::lock_guard lock(reference_mutex);
    const size_t count = std::min(played.size(), reference.size());
    std::copy_n(reference.begin(), count, played.begin());
    reference.erase(reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(count));
    return played;
  }

  // The loudspeaker.

  void pull(std::span<int16_t> frame) {
    const voice::Playback::Played played = playback.pull(frame);
    {
      const std::lock_guard lock(reference_mutex);
      const std::vector<int16_t> samples = options.play_rate == kHeardRate
                                               ? std::vector<int16_t>(frame.begin(), frame.end())
                                               : reference_rate.push(frame);
      reference.insert(reference.end(), samples.begin(), samples.end());
      if (reference.size() > kMaxReference)
        reference.erase(reference.begin(), reference.end() - static_cast<std::ptrdiff_t>(kMaxReference));
    }
    const std::lock_guard lock(mutex);
    note_heard(frame.size());
    if (played.first) {
      timeline.note(Event::first_audio, played.revision);
      timeline.record(played.revision, [&](TurnRecord& turn) { turn.first_audio = timeline.now(); });
    }
    if (played.last) reply_over(played.revision);
  }

  /// What has reached the ear: what was played output_latency_ms ago.
  void note_heard(size_t samples) {
    played_log.emplace_back(samples, playback.heard());
    logged += samples;
    const auto latency = static_cast<size_t>(int64_t{options.output_latency_ms} * options.play_rate / 1000);
    while (played_log.size() > 1 && logged - played_log.front().first >= latency) {
      logged -= played_log.front().first;
      played_log.pop_front();
    }
  }

  [[nodiscard]] size_t heard() const {
    if (options.output_latency_ms == 0 || played_log.empty()) return playback.heard();
    return played_log.front().second;
  }

  void forget_heard() {
    played_log.clear();
    logged = 0;
  }

  void reply_over(int64_t revision) {
    act(taker.reply_over(audio_time, revision));
    responder.over(revision);
    timeline.note(Event::reply_over, revision);
    timeline.record(revision, [&](TurnRecord& turn) {
      turn.over = timeline.now();
      turn.heard = turn.reply;
    });
    timeline.end_turn(revision);
  }

  // Turns, under the mutex.

  void act(const voice::Actions& actions) {
    for (const Action& action : actions) act(action);
  }

  void act(const Action& action) {
    using Kind = Action::Kind;
    switch (action.kind) {
      case Kind::begin_utterance:
        utterance_open = true;
        listener.begin(action.number);
        listener.push(std::vector<int16_t>(before_speech.begin(), before_speech.end()));
        timeline.note(Event::speech_started, taker.revision());
        break;
      case Kind::end_utterance:
        utterance_open = false;
        listener.end(action.number);
        timeline.note(Event::speech_ended, taker.revision());
        break;
      case Kind::drop_utterance:
        if (!std::exchange(utterance_open, false)) {  // it was ended, and is not waited for any longer
          timeline.note(
              Event::error, 0,
              fmt::format("the recogniser took longer than {} ms (final_ms) for the last word of an utterance",
                          options.turns.final_ms));
        }
        listener.drop(action.number);
        break;
      case Kind::read_ahead: responder.read_ahead(action.text); break;
      case Kind::draft:
        drafted = action.number;
        responder.draft(action.number, action.text);
        timeline.draft_begun();
        timeline.note(Event::draft, action.number, action.text);
        break;
      case Kind::drop_draft: responder.drop_draft(action.number); break;
      case Kind::ask_ending: responder.ask_ending(action.text); break;
      case Kind::soft_commit:
        begin_reply(action, Event::soft_commit);
        soft = action.number;
        responder.soft_commit(action.number);
        break;
      case Kind::commit:
        if (std::exchange(soft, 0) == action.number) {
          timeline.record(action.number, [&](TurnRecord& turn) {
            turn.user = action.text;
            turn.committed = timeline.now();
            turn.soft = true;
          });
          timeline.note(Event::commit, action.number, action.text);
        } else {
          begin_reply(action, Event::commit);
        }
        responder.commit(action.number, action.text);
        break;
      case Kind::pause:
        playback.pause();
        timeline.note(Event::paused, action.number);
        break;
      case Kind::resume:
        playback.resume();
        timeline.note(Event::resumed, action.number);
        break;
      case Kind::interrupt: interrupt(action.number); break;
      case Kind::replace:
        soft = 0;
        speaker.drop();
        forget_heard();
        responder.replace(action.number);
        timeline.note(Event::replaced, action.number);
        timeline.forget_turn(action.number);
        break;
    }
  }

  /// From now on the reply to this turn is heard.
  void begin_reply(const Action& action, Event event) {
    TurnRecord turn;
    turn.revision = action.number;
    turn.user = action.text;
    const Time end_of_speech = std::max(Time{}, taker.end_of_speech() + behind);
    turn.end_of_speech = end_of_speech;
    turn.committed = timeline.now();
    timeline.begin_turn(std::move(turn));
    timeline.note(event, action.number, action.text);
    forget_heard();
    // The words of a draft are there; those of another reply are waited for from when they come.
    speaker.begin(action.number, action.number == drafted ? timeline.now() - end_of_speech : Time{});
  }

  void interrupt(int64_t revision) {
    const size_t bytes = heard();
    speaker.drop();
    forget_heard();
    responder.interrupt(revision, bytes);
    std::string what;
    timeline.record(revision, [&](TurnRecord& turn) {
      turn.interrupted = true;
      what = turn.heard = turn.reply.substr(0, bytes);
      turn.over = timeline.now();
    });
    timeline.note(Event::interrupted, revision, what);
    timeline.end_turn(revision);
  }

  void greet() {
    const std::lock_guard lock(mutex);
    const int64_t revision = taker.greet(audio_time);
    speaker.begin(revision);
    responder.say(revision, options.greeting);
    speaker.write(revision, options.greeting);
    speaker.finish(revision);
  }

  // What the parts report, each on its own thread.

  void partial(int64_t utterance, const std::string& text) override {
    const std::lock_guard lock(mutex);
    timeline.note(Event::partial, taker.revision(), text);
    act(taker.partial(audio_time, utterance, text));
  }
  void final(int64_t utterance, const std::string& text) override {
    const std::lock_guard lock(mutex);
    timeline.note(Event::transcript, taker.revision(), text);
    act(taker.final(audio_time, utterance, text));
  }
  void hearing_failed(int64_t, const std::string& what) override { timeline.note(Event::error, 0, what); }

  void read(const std::string& text) override { timeline.note(Event::read_ahead, 0, text); }
  void begun(int64_t revision, bool draft_held) override {
    if (draft_held) timeline.note(Event::draft_held, revision);
    timeline.record(revision, [&](TurnRecord& turn) { turn.draft_held = draft_held; });
  }
  void piece(int64_t revision, const Piece& piece) override {
    const Time now = timeline.now();
    bool first = false;
    timeline.record(revision, [&](TurnRecord& turn) {
      first = !turn.first_token;
      if (first) turn.first_token = now;
      if (piece.channel == Channel::speech) turn.reply += piece.text;
    });
    if (first) timeline.note(Event::first_token, revision);
    if (piece.channel == Channel::tool_call && piece.call) timeline.note(Event::tool_call, revision, piece.call->name);
    if (piece.channel != Channel::speech) return;
    timeline.note(Event::reply_text, revision, piece.text);
    speaker.write(revision, piece.text);
  }
  void tool_open(bool open) override {
    const std::lock_guard lock(mutex);
    taker.tool_open(open);
  }
  void tool_done(int64_t revision, const std::string& result) override {
    timeline.note(Event::tool_result, revision, result);
  }
  void ending(const std::string& text, double probability) override {
    const std::lock_guard lock(mutex);
    timeline.note(Event::ending, 0, fmt::format("{:.4f} {}", probability, text));
    act(taker.ending(audio_time, text, probability));
  }
  void written(int64_t revision) override { speaker.complete(revision); }
  void made(int64_t revision) override { speaker.finish(revision); }
  void draft_gone(int64_t revision) override { timeline.note(Event::draft_dropped, revision); }
  void cost(int64_t revision, const voice::ReplyCost& cost) override {
    timeline.record(revision, [&](TurnRecord& turn) {
      turn.prompt_tokens = cost.prompt;
      turn.computed_tokens = cost.computed;
      turn.generated_tokens = cost.generated;
      turn.useful_tokens = cost.useful;
    });
  }
  void lost(int64_t tokens) override { timeline.lost(tokens); }
  void worked(int64_t lost, int64_t useful) override {
    const std::lock_guard lock(mutex);
    taker.early_work(lost, useful);
  }
  void failed(int64_t revision, const std::string& what) override {
    timeline.record(revision, [](TurnRecord& turn) { turn.failed = true; });
    timeline.note(Event::error, revision, what);
    speaker.finish(revision);
  }

  void sentence(int64_t revision, const SpokenUnit& unit, bool first) override {
    timeline.note(first ? Event::first_sentence : Event::sentence, revision, unit.text);
    if (first) timeline.record(revision, [&](TurnRecord& turn) { turn.first_sentence = timeline.now(); });
  }
  void speaking_failed(int64_t revision, const std::string& what) override {
    timeline.note(Event::error, revision, what);
  }

  const VoiceOptions options;
  voice::Timeline timeline;

  std::mutex mutex;  // the turn
  voice::TurnTaker taker;
  Time audio_time{};  // of the microphone's frames
  Time behind{};      // the clock less that
  std::deque<int16_t> before_speech;
  bool utterance_open = false;
  int64_t drafted = 0;                               // the newest revision that was drafted
  int64_t soft = 0;                                  // the revision that is heard and not committed; 0: none
  std::deque<std::pair<size_t, size_t>> played_log;  // samples pulled, bytes of the reply played by then
  size_t logged = 0;                                 // samples in it

  std::unique_ptr<VoiceActivity> activity;  // of push() alone
  voice::Playback playback;
  std::mutex reference_mutex;
  voice::Resampler reference_rate;
  std::deque<int16_t> reference;  // played, not yet paired with what was heard

  // Threads: they report to all of the above, and are ended before it.
  voice::Speaker speaker;
  voice::Responder responder;
  voice::Listener listener;
};

VoicePipeline::VoicePipeline(Chat chat, VoiceParts parts, const VoiceOptions& options) {
  check(parts, options);
  impl_ = std::make_unique<Impl>(std::move(chat), std::move(parts), options);
}

VoicePipeline::~VoicePipeline() = default;

void VoicePipeline::push(std::span<const int16_t> frame, std::span<const int16_t> played) {
  const auto check = [](const char* what, size_t samples) {
    if (samples == kFrameSamples) return;
    throw Error(ErrorCode::invalid_argument, fmt::format("has {} samples instead of {}", samples, kFrameSamples), what);
  };
  check("frame", frame.size());
  if (!played.empty()) check("played", played.size());
  impl_->push(frame, played);
}

void VoicePipeline::pull(std::span<int16_t> frame) { impl_->pull(frame); }

void VoicePipeline::type(std::string_view text) {
  if (find_invalid_utf8(text)) throw Error(ErrorCode::invalid_argument, "is not UTF-8", "text");
  const std::lock_guard lock(impl_->mutex);
  impl_->act(impl_->taker.type(impl_->audio_time, text));
}

void VoicePipeline::interrupt() {
  const std::lock_guard lock(impl_->mutex);
  impl_->act(impl_->taker.interrupt(impl_->audio_time));
}

bool VoicePipeline::idle() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->taker.phase() == voice::Phase::quiet && impl_->listener.idle() && impl_->responder.idle() &&
         impl_->speaker.idle() && impl_->playback.queued() == Time{};
}

std::vector<Message> VoicePipeline::history() const { return impl_->responder.history(); }
std::vector<TurnRecord> VoicePipeline::turns() const { return impl_->timeline.turns(); }

}  // namespace prosa
