// Synthesis by flite, in process: four American and British voices of 16 kHz, given out as they are made.
//
// flite keeps counts of references in its voices without a lock, so one synthesis runs at a time in the process. It is
// some thirty times faster than the sound lasts, and runs on a thread of its own that fills memory: whoever listens
// slowly holds nobody else up. Text is brought to ASCII first (flite drops every other byte), so that "café" is not
// "caf".
#include <flite/flite.h>
#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <csetjmp>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "prosa/error.h"
#include "voice/engines/engines.h"

extern "C" {
cst_voice* register_cmu_us_slt(const char* folder);
cst_voice* register_cmu_us_rms(const char* folder);
cst_voice* register_cmu_us_awb(const char* folder);
cst_voice* register_cmu_us_kal16(const char* folder);
}

namespace prosa::voice {
namespace {

constexpr int kFliteRate = 16'000;
constexpr int kChunkSamples = 800;                  // that flite makes before it gives them out: 50 ms
constexpr size_t kMaxPiece = 1600;                  // samples that are given out at once, so that a cancel is soon
constexpr size_t kMaxTextBytes = size_t{64} << 10;  // about an hour of speech: 120 MB of samples

/// What flite asks for and what takes its place: signs that NFKD leaves outside ASCII.
struct Replacement {
  char32_t sign;
  const char* text;
};
constexpr Replacement kReplacements[] = {
    {0x2018, "'"}, {0x2019, "'"}, {0x201c, "\""}, {0x201d, "\""}, {0x2013, "-"}, {0x2014, ", "},
    {0xdf, "ss"},  {0xe6, "ae"},  {0xc6, "AE"},   {0xf8, "o"},    {0xd8, "O"},   {0x153, "oe"},
    {0x152, "OE"}, {0x131, "i"},  {0x142, "l"},   {0x141, "L"},   {0xf0, "th"},  {0xfe, "th"},
};

std::string to_ascii(std::string_view text) {
  const std::string valid = utf8::replace_invalid(text);
  utf8proc_uint8_t* plain = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STRIPMARK);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
                                   static_cast<utf8proc_ssize_t>(valid.size()), &plain, options);
  if (length < 0) throw Error(ErrorCode::out_of_memory, utf8proc_errmsg(length), "flite");
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(plain, &std::free);
  const std::string_view decomposed(reinterpret_cast<const char*>(plain), static_cast<size_t>(length));
  std::string out;
  for (size_t at = 0; at < decomposed.size();) {
    const char32_t code = utf8::next(decomposed, at);
    const auto* found = std::ranges::find(kReplacements, code, &Replacement::sign);
    if (found != std::end(kReplacements))
      out += found->text;
    else if (code >= 0x20 && code < 0x7f)
      out += static_cast<char>(code);
    else
      out += ' ';
  }
  return out;
}

/// Sound on its way from the thread that makes it to the one that gives it out.
class Pipe {
 public:
  /// false: nobody wants more.
  bool put(std::span<const int16_t> samples) {
    const std::scoped_lock lock(mutex_);
    samples_.insert(samples_.end(), samples.begin(), samples.end());
    changed_.notify_all();
    return !stopped_;
  }
  void finish(std::string failure) {
    const std::scoped_lock lock(mutex_);
    failure_ = std::move(failure);
    finished_ = true;
    changed_.notify_all();
  }
  void stop() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  bool stopped() {
    const std::scoped_lock lock(mutex_);
    return stopped_;
  }
  /// What there is, up to kMaxPiece, as soon as there is anything; nothing at the end.
  std::vector<int16_t> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || finished_ || !samples_.empty(); });
    if (stopped_) return {};
    if (samples_.empty() && !failure_.empty()) throw Error(ErrorCode::io, failure_, "flite");
    const auto end = samples_.begin() + static_cast<std::ptrdiff_t>(std::min(samples_.size(), kMaxPiece));
    std::vector<int16_t> piece(samples_.begin(), end);
    samples_.erase(samples_.begin(), end);
    return piece;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<int16_t> samples_;  // guarded by mutex_, as the following
  std::string failure_;
  bool finished_ = false;  // all was put
  bool stopped_ = false;   // nobody wants more
};

int give_out(const cst_wave* wave, int start, int size, int /*last*/, cst_audio_streaming_info* info) {
  auto* pipe = static_cast<Pipe*>(info->userdata);
  const bool wanted = pipe->put({wave->samples + start, static_cast<size_t>(std::max(size, 0))});
  return wanted ? CST_AUDIO_STREAM_CONT : CST_AUDIO_STREAM_STOP;
}

std::mutex flite_mutex;                            // flite and all its voices
constexpr std::chrono::milliseconds kPatience{1};  // between two looks at cancel() while another synthesis runs

Pipe* flite_pipe = nullptr;  // of the synthesis under way; guarded by flite_mutex

/// Called by flite before it makes a sentence: null ends the whole text.
cst_utterance* go_on(cst_utterance* sentence) {
  if (!flite_pipe->stopped()) return sentence;
  delete_utterance(sentence);
  return nullptr;
}

/// Sentence by sentence. flite ends the process when something goes wrong in it, unless it is told where to jump.
/// Between here and there stand only its own functions, and give_out() and go_on(), which call none that could go
/// wrong.
bool synthesize(const char* text, cst_voice* voice) noexcept {
  std::jmp_buf back;
  volatile bool fine = false;
  cst_errjmp = &back;
  if (setjmp(back) == 0) {
    const auto sign = [&](const char* name) { return get_param_string(voice->features, name, nullptr); };
    cst_tokenstream* tokens = ts_open_string(text, sign("text_whitespace"), sign("text_singlecharsymbols"),
                                             sign("text_prepunctuation"), sign("text_postpunctuation"));
    flite_ts_to_speech(tokens, voice, "stream");  // which closes them
    fine = true;
  }
  cst_errjmp = nullptr;
  return fine;
}

using Register = cst_voice* (*)(const char*);

class Flite final : public TextToSpeech {
 public:
  explicit Flite(Register own) {
    const std::scoped_lock lock(flite_mutex);
    flite_init();
    voice_ = own(nullptr);
  }

  [[nodiscard]] int rate() const override { return kFliteRate; }

  void speak(std::string_view text, const Sink& sink) override {
    if (text.size() > kMaxTextBytes) {
      throw Error(ErrorCode::invalid_argument,
                  "the text has more than " + std::to_string(kMaxTextBytes) + " bytes, more than is spoken at once");
    }
    const std::string plain = to_ascii(text);
    if (std::ranges::none_of(plain, [](unsigned char c) { return std::isalnum(c) != 0; })) return;
    const auto pipe = std::make_shared<Pipe>();
    set_current(pipe);
    std::jthread maker([&] { make(plain, *pipe); });
    try {
      for (auto samples = pipe->take(); !samples.empty(); samples = pipe->take()) {
        if (!sink(samples)) break;
      }
    } catch (...) {
      pipe->stop();
      set_current(nullptr);
      throw;
    }
    pipe->stop();
    set_current(nullptr);
  }

  void cancel() noexcept override {
    const std::scoped_lock lock(current_mutex_);
    if (current_) current_->stop();
  }

 private:
  void set_current(const std::shared_ptr<Pipe>& pipe) {
    const std::scoped_lock lock(current_mutex_);
    current_ = pipe;
  }

  void make(const std::string& text, Pipe& pipe) const {
    std::unique_lock lock(flite_mutex, std::defer_lock);
    while (!lock.try_lock()) {
      if (pipe.stopped()) return;
      std::this_thread::sleep_for(kPatience);
    }
    bool fine = true;
    if (!pipe.stopped()) {
      cst_audio_streaming_info* info = new_audio_streaming_info();
      info->asc = give_out;
      info->min_buffsize = kChunkSamples;
      info->userdata = &pipe;
      feat_set(voice_->features, "streaming_info", audio_streaming_info_val(info));  // which owns it from here on
      feat_set(voice_->features, "utt_user_callback", uttfunc_val(go_on));
      flite_pipe = &pipe;
      fine = synthesize(text.c_str(), voice_);
      flite_pipe = nullptr;
      feat_remove(voice_->features, "streaming_info");
    }
    pipe.finish(fine ? "" : "flite failed inside");
  }

  cst_voice* voice_ = nullptr;  // of flite, which keeps one of each for the process
  std::mutex current_mutex_;
  std::shared_ptr<Pipe> current_;  // of the speak() under way; guarded by current_mutex_
};

struct Voice {
  const char* name;
  Register make;
};
constexpr Voice kVoices[] = {{"slt", register_cmu_us_slt},
                             {"rms", register_cmu_us_rms},
                             {"awb", register_cmu_us_awb},
                             {"kal16", register_cmu_us_kal16}};

}  // namespace

std::unique_ptr<TextToSpeech> make_flite(const std::string& voice) {
  const std::string_view wanted = voice.empty() ? std::string_view("slt") : std::string_view(voice);
  for (const Voice& each : kVoices) {
    if (each.name == wanted) return std::make_unique<Flite>(each.make);
  }
  throw Error(ErrorCode::invalid_argument, "flite has no voice '" + voice + "'", {}, "choose slt, rms, awb or kal16");
}

}  // namespace prosa::voice
