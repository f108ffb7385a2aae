// Drawing the view: text goes above, the lanes are wiped and drawn again below it.
#include "cli/voice_view.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/terminal.h"
#include "cli/voice_lanes.h"
#include "prosa/text.h"

namespace prosa::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Time = std::chrono::microseconds;
using Kind = VoiceEvent::Kind;

constexpr std::chrono::milliseconds kRedraw{100};
constexpr size_t kMinColumns = 40;  // of a terminal that lanes fit
constexpr size_t kLaneNames = 9;    // columns of "model |" and what is around
constexpr size_t kMaxShown = 300;   // characters of a transcript in the line below

/// The reply as text while it comes, and what the user was understood to say.
class PlainTalk final : public VoiceView {
 public:
  void show(const VoiceEvent& event) override {
    switch (event.kind) {
      case Kind::soft_commit:
      case Kind::commit:
        if (std::exchange(shown_, event.revision) == event.revision) break;
        stream_output(printable("\n> " + event.text + "\n"));
        break;
      case Kind::reply_text: stream_output(printable(event.text)); break;
      case Kind::interrupted:
      case Kind::replaced: stream_output(" —\n"); break;
      case Kind::reply_over: stream_output("\n"); break;
      case Kind::error: note("prosa: " + event.text); break;
      default: break;
    }
  }
  void note(std::string_view line) override { tell(line); }

 private:
  int64_t shown_ = 0;  // the turn whose words were shown: a soft commit comes before the commit
};

size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

/// Columns that text takes at most: what is not ASCII may be two wide.
size_t width_of(std::string_view text) {
  size_t width = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) ++width;
    if (byte >= 0xc0) width += 2;  // begins a character
  }
  return width;
}

/// Where the first `columns` of it end, at a character's border.
size_t fitting(std::string_view text, size_t columns) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    size_t next = at + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0U) == 0x80U) ++next;
    width += width_of(text.substr(at, next - at));
    if (width > columns) return at;
    at = next;
  }
  return text.size();
}

class TerminalTalk final : public VoiceView {
 public:
  TerminalTalk() : color_(use_color()), thread_([this](const std::stop_token& stop) { redraw(stop); }) {}
  ~TerminalTalk() override {
    thread_.request_stop();
    thread_.join();
    const std::lock_guard lock(mutex_);
    try {
      wipe();
      end_line();
      flush_output();
    } catch (const std::exception&) {  // nobody reads the terminal any more
    }
  }
  TerminalTalk(const TerminalTalk&) = delete;
  TerminalTalk& operator=(const TerminalTalk&) = delete;

  void show(const VoiceEvent& event) override {
    const std::lock_guard lock(mutex_);
    const Clock::time_point begin = Clock::now() - event.time;
    begin_ = begin_ ? std::min(*begin_, begin) : begin;  // an event may come late, never early
    lanes_.add(event);
    wipe();
    take(event);
    draw();
  }

  void note(std::string_view line) override {
    const std::lock_guard lock(mutex_);
    wipe();
    flush_output();
    tell(line);
    draw();
  }

 private:
  void take(const VoiceEvent& event) {
    switch (event.kind) {
      case Kind::speech_started:
        hearing_.clear();
        waited_.clear();
        break;
      case Kind::partial: hearing_ = printable_line(event.text, kMaxShown); break;
      case Kind::transcript:
        // Empty: a breath. What had been understood of it is gone.
        hearing_ = printable_line(event.text, kMaxShown);
        break;
      case Kind::soft_commit:
      case Kind::commit:
        if (event.kind == Kind::commit && committed_revision_ == event.revision) break;  // it was shown
        committed_revision_ = event.revision;
        committed_ = event.time;
        waited_.clear();
        hearing_.clear();
        end_line();
        write("\n> " + event.text + "\n");
        break;
      case Kind::reply_text: write(event.text); break;
      case Kind::first_sentence: waited_ = fmt::format("sentence +{} ms", since_commit(event)); break;
      case Kind::first_audio: waited_ += fmt::format("  sound +{} ms", since_commit(event)); break;
      case Kind::paused: waited_ = "paused: you speak"; break;
      case Kind::resumed: waited_ = "goes on"; break;
      case Kind::interrupted:
      case Kind::replaced:
        waited_ = event.kind == Kind::interrupted ? "interrupted" : "your turn goes on";
        write(" —");
        end_line();
        break;
      case Kind::reply_over: end_line(); break;
      case Kind::error:
        end_line();
        flush_output();
        tell("prosa: " + event.text);
        break;
      default: break;
    }
  }

  [[nodiscard]] int64_t since_commit(const VoiceEvent& event) const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(event.time - committed_).count();
  }

  /// Text above the lanes. Its last line is drawn with them until it is full or over.
  void write(std::string_view text) {
    line_ += printable(text);
    for (size_t end = line_.find('\n'); end != std::string::npos; end = line_.find('\n')) {
      print_output(line_.substr(0, end + 1));
      line_.erase(0, end + 1);
    }
    const size_t columns = terminal_columns() - 1;
    while (width_of(line_) > columns) {
      size_t end = fitting(line_, columns);
      const size_t space = line_.rfind(' ', end);
      if (space != std::string::npos && space > 0) end = space;
      print_output(line_.substr(0, end) + "\n");
      line_.erase(0, std::min(line_.size(), line_.find_first_not_of(' ', end)));
    }
  }
  void end_line() {
    if (!line_.empty()) print_output(line_ + "\n");
    line_.clear();
  }

  void redraw(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      wake_.wait_for(lock, stop, kRedraw, [] { return false; });
      if (stop.stop_requested()) return;
      try {
        wipe();
        draw();
      } catch (const std::exception&) {  // the thread that shows the next event tells it
        return;
      }
    }
  }

  /// The cursor back to where the lanes begin, and nothing below it.
  void wipe() {
    if (drawn_ > 0) style_output(fmt::format("\r\033[{}A\033[J", drawn_));
    drawn_ = 0;
  }

  void draw() {
    if (!begin_) return;  // there is no clock before the first event
    const size_t columns = terminal_columns();
    const Time now = std::chrono::duration_cast<Time>(Clock::now() - *begin_);
    lanes_.advance(now);
    style_output("\033[?7l");  // what is too wide is cut, and never a line more
    if (!line_.empty()) line(line_);
    lane("you  ", VoiceLanes::Lane::user, columns, "\033[34m");
    lane("model", VoiceLanes::Lane::model, columns, "\033[35m");
    lane("voice", VoiceLanes::Lane::voice, columns, "\033[32m");
    std::string below = fmt::format("{:6.1f} s  ", static_cast<double>(now.count()) / 1e6);
    if (!hearing_.empty()) below += "\"" + hearing_ + "\"  ";
    below += waited_;
    line(below.substr(0, fitting(below, columns - 1)));
    style_output("\033[?7h");
    flush_output();
  }
  void lane(std::string_view name, VoiceLanes::Lane which, size_t columns, std::string_view color) {
    style_output(fmt::format("{} |", name));
    if (color_) style_output(color);
    style_output(lanes_.row(which, std::min(columns - kLaneNames, VoiceLanes::kMaxColumns)));
    if (color_) style_output("\033[0m");
    line("|");
  }
  void line(const std::string& text) {
    print_output(text + "\n");
    ++drawn_;
  }

  const bool color_;
  std::mutex mutex_;  // all that follows
  VoiceLanes lanes_;
  std::optional<Clock::time_point> begin_;  // of the pipeline's clock
  std::string line_;                        // of the text, not over yet
  std::string hearing_, waited_;            // printable
  Time committed_{};
  int64_t committed_revision_ = 0;
  size_t drawn_ = 0;  // lines of the terminal below the text
  std::condition_variable_any wake_;
  std::jthread thread_;  // the last: it uses the rest
};

}  // namespace

std::unique_ptr<VoiceView> make_voice_view() {
  const char* term = std::getenv("TERM");
  const bool moves = term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
  if (is_terminal(stdout) && moves && terminal_columns() >= kMinColumns) return std::make_unique<TerminalTalk>();
  return std::make_unique<PlainTalk>();
}

}  // namespace prosa::cli
