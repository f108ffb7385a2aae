// Filling the lanes.
#include "cli/voice_lanes.h"

#include <algorithm>

namespace prosa::cli {
namespace {

constexpr size_t kMaxShift = 4;  // columns that a mark may stand late, where its own is taken

/// What the model did, in its lane.
char mark_of(VoiceEvent::Kind kind) {
  using Kind = VoiceEvent::Kind;
  switch (kind) {
    case Kind::read_ahead: return 'r';
    case Kind::draft: return 'd';
    case Kind::draft_dropped: return '-';
    case Kind::draft_held: return 'h';
    case Kind::soft_commit: return 'c';
    case Kind::commit: return 'C';
    case Kind::first_sentence: return '1';
    case Kind::sentence: return '+';
    case Kind::tool_call: return 't';
    case Kind::error: return '!';
    default: return ' ';
  }
}

}  // namespace

void VoiceLanes::advance(Time now) {
  const int64_t last = now / kColumn;
  if (last - first_ > static_cast<int64_t>(kMaxColumns) + std::ssize(columns_)) {  // a pause longer than what is kept
    columns_.clear();
    first_ = last;
  }
  while (first_ + std::ssize(columns_) <= last) {
    columns_.push_back({speaking_ ? '#' : ' ', ' ', playing_ && !paused_ ? '=' : ' '});
    if (columns_.size() <= kMaxColumns) continue;
    columns_.pop_front();
    ++first_;
  }
}

/// Columns that are gone count as the oldest one, which nobody sees.
VoiceLanes::Column& VoiceLanes::at(Time time) {
  advance(time);
  const int64_t index = std::clamp<int64_t>(time / kColumn - first_, 0, std::ssize(columns_) - 1);
  return columns_[static_cast<size_t>(index)];
}

void VoiceLanes::mark(Time time, char what) {
  if (what == ' ') return;
  for (size_t shift = 0; shift <= kMaxShift; ++shift) {
    char& place = at(time + kColumn * shift).model;
    if (place == what && (what == 'r' || what == '+')) return;  // the same again, within a tenth of a second
    if (place != ' ' && shift < kMaxShift) continue;
    place = what;
    return;
  }
}

void VoiceLanes::add(const VoiceEvent& event) {
  using Kind = VoiceEvent::Kind;
  advance(event.time);
  switch (event.kind) {
    case Kind::speech_started:
      speaking_ = true;
      at(event.time).user = '#';
      break;
    case Kind::speech_ended: speaking_ = false; break;
    case Kind::first_audio:
      playing_ = true;
      at(event.time).voice = '=';
      break;
    case Kind::paused:
      paused_ = true;
      at(event.time).voice = '|';
      break;
    case Kind::resumed:
      paused_ = speaking_ = false;
      at(event.time).voice = '>';
      break;
    case Kind::interrupted:
    case Kind::replaced:
      playing_ = paused_ = false;
      at(event.time).voice = 'x';
      break;
    case Kind::reply_over: playing_ = paused_ = false; break;
    default: mark(event.time, mark_of(event.kind));
  }
}

std::string VoiceLanes::row(Lane lane, size_t columns) const {
  std::string text;
  const size_t shown = std::min(columns, columns_.size());
  text.append(columns - shown, ' ');
  for (size_t i = columns_.size() - shown; i < columns_.size(); ++i) {
    const Column& column = columns_[i];
    text += lane == Lane::user ? column.user : lane == Lane::model ? column.model : column.voice;
  }
  return text;
}

}  // namespace prosa::cli
