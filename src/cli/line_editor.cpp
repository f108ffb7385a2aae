// Line editing and history through libedit.
#include "cli/line_editor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <histedit.h>
#include <poll.h>
#include <unistd.h>
#ifdef PROSA_ADDRESS_SANITIZER
#include <sanitizer/lsan_interface.h>
#endif

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/lock_beside.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/word_wrap.h"
#include "prosa/error.h"

namespace prosa::cli {
namespace {

constexpr int kMaxHistoryLines = 1000;
constexpr size_t kMaxHistoryBytes = size_t{64} << 20;
constexpr std::string_view kHistoryBegin = "_HiStOrY_V2_\n";  // of every history that libedit writes

/// Set by the signal that came: the terminal has another width, or the program goes on after Ctrl-Z.
volatile std::sig_atomic_t resized = 0;
volatile std::sig_atomic_t continued = 0;

void note_signal(int signal) { (signal == SIGWINCH ? resized : continued) = 1; }

void watch_terminal() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // nothing but the wait for a key is interrupted: poll() always is
  sigaction(SIGWINCH, &action, nullptr);
  sigaction(SIGCONT, &action, nullptr);
}

/// What a terminal sends around pasted text once it was asked to: newlines in it are text, not the end of the message.
constexpr std::string_view kBracketsOn = "\033[?2004h";
constexpr std::string_view kPasteBegins = "\033[200~";
constexpr std::wstring_view kPasteEnds = L"\033[201~";
constexpr size_t kMaxPasted = size_t{4} << 20;

int marking = -1;  // the terminal that was asked to

void mark_pastes(int descriptor) {
  marking = descriptor;
  interrupt::terminal_modes_to_clean(descriptor);
  (void)!write(descriptor, kBracketsOn.data(), kBracketsOn.size());
}

/// The line as it is, once more: another width breaks it elsewhere; after Ctrl-Z the shell has written below it and has
/// given the terminal its own settings.
void redraw(EditLine* editor) {
  if (continued != 0) {
    if (marking >= 0) mark_pastes(marking);
    el_set(editor, EL_PREP_TERM, 0);
    el_set(editor, EL_PREP_TERM, 1);
  }
  resized = 0;
  continued = 0;
  el_resize(editor);
  el_set(editor, EL_REFRESH);
}

/// Waits for the next byte of the terminal: 1, 0 at its end, -1 (errno EINTR: Ctrl-C).
int read_byte(EditLine* editor, char& byte) {
  while (true) {
    pollfd ready = {STDIN_FILENO, POLLIN, 0};
    if (poll(&ready, 1, -1) < 0) {
      if (errno != EINTR) return -1;
      if (resized == 0 && continued == 0) return -1;
      redraw(editor);
      continue;
    }
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
    if (count >= 0) return static_cast<int>(count);
    if (errno != EINTR && errno != EAGAIN) return -1;
  }
}

/// One character for libedit, in the place of its own function, which knows nothing of the above.
int read_character(EditLine* editor, wchar_t* character) {
  std::mbstate_t state = {};
  while (true) {
    char byte = 0;
    const int count = read_byte(editor, byte);
    if (count <= 0) return count;
    const size_t length = std::mbrtowc(character, &byte, 1, &state);
    if (length <= 1) return 1;
    if (length == static_cast<size_t>(-1)) {  // no UTF-8: the message is refused later, with the place
      *character = static_cast<wchar_t>(static_cast<unsigned char>(byte));
      return 1;
    }
  }
}

/// Bound to kPasteBegins: everything up to kPasteEnds goes into the line.
unsigned char paste(EditLine* editor, int) {
  std::wstring text;
  wchar_t character = 0;
  while (el_wgetc(editor, &character) == 1) {
    text += character == L'\r' ? L'\n' : character;
    if (text.ends_with(kPasteEnds)) {
      text.resize(text.size() - kPasteEnds.size());
      break;
    }
    if (text.size() > kMaxPasted) break;
  }
  // The newline at the end of a copied line is no wish for another one.
  while (text.ends_with(L'\n')) text.pop_back();
  std::erase_if(text, [](wchar_t c) { return (c < 0x20 && c != L'\n' && c != L'\t') || c == 0x7f; });
  if (!text.empty() && el_winsertstr(editor, text.c_str()) != 0) return CC_ERROR;
  return CC_REFRESH;
}

const char* prompt_of(EditLine* editor) {
  const char* prompt = nullptr;
  el_get(editor, EL_CLIENTDATA, &prompt);
  return prompt;
}

}  // namespace

/// libedit's list of lines.
class HistoryLines {
 public:
  HistoryLines() : history_(history_init()) {
    if (!history_) throw std::bad_alloc();
    HistEvent event = {};
    ::history(get(), &event, H_SETSIZE, kMaxHistoryLines);
    ::history(get(), &event, H_SETUNIQUE, 1);
  }
  [[nodiscard]] History* get() const { return history_.get(); }

  void add(const std::string& line) {
    HistEvent event = {};
    ::history(get(), &event, H_ENTER, line.c_str());
  }

  /// Those of a file, which need not be there. False: it is no history of libedit's; what was read of it may be here.
  /// Error(io): it can't be read.
  bool load(const std::string& file) {
    // First without libedit, which would wait for a pipe and takes a file of any size.
    const auto text = read_optional_file(file, kMaxHistoryBytes, ErrorCode::io);
    if (!text || text->empty()) return true;
    if (!text->starts_with(kHistoryBegin) || text->find('\0') != std::string::npos) return false;
    HistEvent event = {};
    return ::history(get(), &event, H_LOAD, file.c_str()) >= 0;
  }

  /// In libedit's form; nothing on failure.
  [[nodiscard]] std::optional<std::string> text() const {
    HistEvent event = {};
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> copy(std::tmpfile(), std::fclose);  // libedit wants a file
    if (!copy || ::history(get(), &event, H_SAVE_FP, copy.get()) < 0 || std::fflush(copy.get()) != 0) return {};
    std::string text(static_cast<size_t>(std::max(std::ftell(copy.get()), 0L)), '\0');
    std::rewind(copy.get());
    if (std::fread(text.data(), 1, text.size(), copy.get()) != text.size()) return {};
    return text;
  }

 private:
  struct End {
    void operator()(History* history) const { history_end(history); }
  };
  std::unique_ptr<History, End> history_;
};

std::filesystem::path history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::filesystem::path(state) / "prosa" / "history";
  const char* home = std::getenv("HOME");
  if (home != nullptr && *home == '/') return std::filesystem::path(home) / ".local/state/prosa/history";
  return {};
}

struct LineEditor::Impl {
  /// The file's lines, which other conversations may have added to, and this one. libedit alone would cut the file off
  /// and write it anew, and lose all of it when the process ends meanwhile.
  void save(const std::string& line) {
    try {
      const LockBeside lock(file, LockFor::writing);
      HistoryLines kept;
      if (!kept.load(file)) return;  // it has become a file of somebody else's
      kept.add(line);
      if (const auto text = kept.text()) replace_file(file, *text, FileMode::owner_only);
    } catch (const Error&) {  // a conversation goes on without its history
    }
  }

  std::string prompt;
  std::string file;  // "": no file
  HistoryLines lines;
  std::FILE* output = nullptr;  // where the line shows
  bool brackets = false;        // the terminal is asked to mark pasted text
  EditLine* editor = nullptr;
};

namespace {

/// libedit copies both texts and never frees them, which a leak checker need not tell.
void add_paste(EditLine* editor) {
#ifdef PROSA_ADDRESS_SANITIZER
  __lsan_disable();
#endif
  el_set(editor, EL_ADDFN, "prosa-paste", "pasted text", paste);
#ifdef PROSA_ADDRESS_SANITIZER
  __lsan_enable();
#endif
}

}  // namespace

LineEditor::LineEditor(std::string prompt, std::filesystem::path file) : impl_(std::make_unique<Impl>()) {
  use_utf8_characters();
  watch_terminal();
  impl_->prompt = std::move(prompt);
  impl_->output = is_terminal(stdout) ? stdout : stderr;
  impl_->editor = el_init("prosa", stdin, impl_->output, stderr);
  if (impl_->editor == nullptr) throw std::bad_alloc();
  el_set(impl_->editor, EL_PROMPT, prompt_of);
  el_set(impl_->editor, EL_EDITOR, "emacs");
  el_set(impl_->editor, EL_HIST, ::history, impl_->lines.get());
  el_set(impl_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_set(impl_->editor, EL_GETCFN, read_character);
  add_paste(impl_->editor);
  el_set(impl_->editor, EL_BIND, kPasteBegins.data(), "prosa-paste", nullptr);
  // Between lines nothing typed is shown: it would stand in the middle of a reply. It waits for the next prompt.
  el_set(impl_->editor, EL_SETTY, "-x", "-echo", "-icanon", nullptr);
  const char* term = std::getenv("TERM");
  impl_->brackets = is_terminal(impl_->output) && term != nullptr && std::string_view(term) != "dumb";
  if (impl_->brackets) mark_pastes(fileno(impl_->output));
  if (file.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  if (error) return;
  try {
    if (impl_->lines.load(file.string())) impl_->file = file.string();
  } catch (const Error&) {  // a conversation goes on without its history
  }
}

LineEditor::~LineEditor() {
  if (impl_->brackets) {
    marking = -1;
    interrupt::clean_terminal_modes();
  }
  if (impl_->editor != nullptr) el_end(impl_->editor);  // gives the terminal back as it was
}

LineEditor::Result LineEditor::read(std::string& line, const char* prompt) {
  line.clear();
  el_set(impl_->editor, EL_CLIENTDATA, prompt == nullptr ? impl_->prompt.c_str() : prompt);
  int count = 0;
  // Before the prompt shows: a Ctrl-D typed at once would otherwise still meet the terminal's line mode and get lost.
  el_set(impl_->editor, EL_PREP_TERM, 1);
  errno = 0;
  const char* text = el_gets(impl_->editor, &count);
  if (text == nullptr || count <= 0) return count < 0 && errno == EINTR ? Result::interrupted : Result::end;
  line.assign(text, static_cast<size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  if (line.find_first_not_of(" \t") == std::string::npos) return Result::line;
  impl_->lines.add(line);
  if (!impl_->file.empty()) impl_->save(line);
  return Result::line;
}

}  // namespace prosa::cli
