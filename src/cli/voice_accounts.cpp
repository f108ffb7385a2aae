// What a voice conversation cost, as JSON and in a line.
#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/voice.h"

namespace prosa::cli {
namespace {

using Json = nlohmann::ordered_json;

double ms(std::chrono::microseconds time) { return std::round(static_cast<double>(time.count()) / 100) / 10; }

/// From the end of the user's speech; null where it never came.
Json since_speech(const TurnRecord& turn, const std::optional<TurnRecord::Time>& time) {
  return time ? Json(ms(*time - turn.end_of_speech)) : Json();
}

template <typename Figure>
std::optional<double> median(const std::vector<TurnRecord>& turns, const Figure& figure) {
  std::vector<double> values;
  for (const TurnRecord& turn : turns)
    if (const std::optional<double> value = figure(turn)) values.push_back(*value);
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::optional<double> to_audio(const TurnRecord& turn) {
  if (!turn.first_audio) return std::nullopt;
  return ms(*turn.first_audio - turn.end_of_speech);
}

std::optional<double> to_sentence(const TurnRecord& turn) {
  if (!turn.first_sentence) return std::nullopt;
  return std::max(0.0, ms(*turn.first_sentence - turn.committed));  // of a soft commit it was there before
}

int64_t held(const std::vector<TurnRecord>& turns) {
  return std::count_if(turns.begin(), turns.end(), [](const TurnRecord& turn) { return turn.draft_held; });
}

/// Tokens computed early for nothing, over those of use.
double early_work(const std::vector<TurnRecord>& turns) {
  int64_t lost = 0;
  int64_t useful = 0;
  for (const TurnRecord& turn : turns) {
    lost += turn.lost_tokens;
    useful += turn.useful_tokens;
  }
  return useful > 0 ? static_cast<double>(lost) / static_cast<double>(useful) : 0;
}

Json turn_json(const TurnRecord& turn) {
  return {{"turn", turn.revision},
          {"user", turn.user},
          {"reply", turn.reply},
          {"heard", turn.heard},
          {"end_of_speech_ms", ms(turn.end_of_speech)},
          {"to_commit_ms", ms(turn.committed - turn.end_of_speech)},
          {"to_first_token_ms", since_speech(turn, turn.first_token)},
          {"to_first_sentence_ms", since_speech(turn, turn.first_sentence)},
          {"to_first_audio_ms", since_speech(turn, turn.first_audio)},
          {"to_end_ms", since_speech(turn, turn.over)},
          {"draft_held", turn.draft_held},
          {"soft", turn.soft},
          {"interrupted", turn.interrupted},
          {"failed", turn.failed},
          {"drafts", turn.drafts},
          {"prompt_tokens", turn.prompt_tokens},
          {"computed_tokens", turn.computed_tokens},
          {"generated_tokens", turn.generated_tokens},
          {"useful_tokens", turn.useful_tokens},
          {"lost_tokens", turn.lost_tokens}};
}

}  // namespace

void VoiceLog::add(const VoiceEvent& event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
}

std::vector<VoiceEvent> VoiceLog::events() const {
  const std::lock_guard lock(mutex_);
  return events_;
}

std::string voice_json(const std::vector<VoiceEvent>& events, const std::vector<TurnRecord>& turns,
                       const VoiceSound& sound, std::chrono::microseconds sound_begin) {
  Json out;
  Json& list = out["events"] = Json::array();
  for (const VoiceEvent& event : events) {
    Json line{{"time_ms", ms(event.time)}, {"event", to_string(event.kind)}, {"turn", event.revision}};
    if (!event.text.empty()) line["text"] = event.text;
    list.push_back(std::move(line));
  }
  Json& recordings = out["recordings"] = Json::array();
  for (const PlayedRecording& played : sound.recordings) {
    recordings.push_back({{"file", played.file},
                          {"begin_ms", ms(sound_begin + played.begin)},
                          {"end_ms", ms(sound_begin + played.end)}});
  }
  Json& records = out["turns"] = Json::array();
  for (const TurnRecord& turn : turns) records.push_back(turn_json(turn));
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  out["summary"] = {{"turns", turns.size()},
                    {"drafts_held", held(turns)},
                    {"to_first_audio_ms_median", number(median(turns, to_audio))},
                    {"commit_to_sentence_ms_median", number(median(turns, to_sentence))},
                    {"early_work", std::round(early_work(turns) * 1000) / 1000}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string voice_summary(const std::vector<TurnRecord>& turns) {
  if (turns.empty()) return "no turn was taken";
  std::string line = fmt::format("{} turn{}", turns.size(), turns.size() == 1 ? "" : "s");
  if (const auto wait = median(turns, to_audio)) line += fmt::format(", first sound after {:.0f} ms (median)", *wait);
  if (const auto wait = median(turns, to_sentence))
    line += fmt::format(", first sentence {:.0f} ms after the turn was over", *wait);
  line += fmt::format(", {} of {} turns as drafted, {:.0f} % more computing for it", held(turns), turns.size(),
                      100 * early_work(turns));
  return line;
}

}  // namespace prosa::cli
