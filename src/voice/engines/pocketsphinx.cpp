// Recognition by pocketsphinx: English, offline, a transcript after every piece of sound.
//
// The second pass (flat lexicon) is off: it costs 60 ms at the end of an utterance and makes more words wrong than
// right (docs/guide/voice-engines.md). pocketsphinx writes to a log of the whole process, which is switched off here;
// it ends the process when a model file is damaged inside, so that the files are looked through before it reads them.
#include <pocketsphinx/pocketsphinx.h>
#include <sphinxbase/err.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

#include "prosa/error.h"
#include "voice/engines/engines.h"
#include "voice/engines/pocketsphinx_model.h"

namespace prosa::voice {
namespace {

constexpr size_t kSlice = kHeardRate / 10;  // samples between two looks at cancel()

/// Keeps what pocketsphinx complained of last, on this thread, for an Error.
thread_local std::string last_complaint;

extern "C" void keep_complaint(void* /*data*/, err_lvl_t level, const char* format, ...) {
  if (level < ERR_ERROR) return;
  va_list arguments;
  va_start(arguments, format);
  char line[256];
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  last_complaint = line;
  last_complaint.erase(last_complaint.find_last_not_of(" \n") + 1);
}

void silence_log() {
  static std::once_flag once;
  std::call_once(once, [] {
    err_set_logfp(nullptr);
    err_set_callback(keep_complaint, nullptr);
  });
}

struct FreeConfig {
  void operator()(cmd_ln_t* config) const { cmd_ln_free_r(config); }
};
struct FreeDecoder {
  void operator()(ps_decoder_t* decoder) const { ps_free(decoder); }
};

class Pocketsphinx final : public SpeechToText {
 public:
  explicit Pocketsphinx(const PocketsphinxOptions& options) {
    silence_log();
    const std::filesystem::path folder = options.models.empty() ? PROSA_POCKETSPHINX_MODELS "/en-us" : options.models;
    const std::string acoustic = folder / "en-us", words = folder / "en-us.lm.bin",
                      sounds = folder / "cmudict-en-us.dict";
    check_pocketsphinx_model(folder);
    last_complaint.clear();
    config_.reset(cmd_ln_init(nullptr, ps_args(), 1, "-hmm", acoustic.c_str(), "-lm", words.c_str(), "-dict",
                              sounds.c_str(), "-fwdflat", "no", "-bestpath", options.best_path ? "yes" : "no",
                              static_cast<const char*>(nullptr)));
    if (config_) decoder_.reset(ps_init(config_.get()));
    if (!decoder_) throw Error(ErrorCode::io, "pocketsphinx can't load its model: " + last_complaint, folder.string());
  }

  void begin() override {
    abandon();
    cancelled_ = false;
    if (ps_start_utt(decoder_.get()) != 0) fail("can't begin an utterance");
    open_ = true;
  }

  std::string push(std::span<const int16_t> samples) override {
    require_open();
    while (!samples.empty()) {
      stop_if_cancelled();
      const auto slice = samples.first(std::min(samples.size(), kSlice));
      if (ps_process_raw(decoder_.get(), slice.data(), slice.size(), 0, 0) < 0) fail("can't take more sound");
      samples = samples.subspan(slice.size());
    }
    stop_if_cancelled();
    return transcript();
  }

  std::string end() override {
    require_open();
    stop_if_cancelled();
    open_ = false;
    if (ps_end_utt(decoder_.get()) != 0) fail("can't end the utterance");
    return transcript();
  }

  void cancel() noexcept override { cancelled_ = true; }

 private:
  [[noreturn]] void fail(const std::string& what) {
    abandon();
    throw Error(ErrorCode::io, what + (last_complaint.empty() ? "" : ": " + std::exchange(last_complaint, {})),
                "pocketsphinx");
  }
  void abandon() noexcept {
    if (std::exchange(open_, false)) ps_end_utt(decoder_.get());
  }
  void require_open() const {
    if (!open_ && !cancelled_) throw Error(ErrorCode::invalid_argument, "no utterance was begun", "pocketsphinx");
  }
  void stop_if_cancelled() {
    if (!cancelled_) return;
    abandon();
    throw Error(ErrorCode::cancelled, "recognition was cancelled");
  }
  std::string transcript() {
    const char* words = ps_get_hyp(decoder_.get(), nullptr);
    return words == nullptr ? std::string() : std::string(words);
  }

  std::unique_ptr<cmd_ln_t, FreeConfig> config_;
  std::unique_ptr<ps_decoder_t, FreeDecoder> decoder_;
  std::atomic<bool> cancelled_{false};
  bool open_ = false;  // between begin() and end()
};

}  // namespace

std::unique_ptr<SpeechToText> make_pocketsphinx(const PocketsphinxOptions& options) {
  return std::make_unique<Pocketsphinx>(options);
}

}  // namespace prosa::voice
