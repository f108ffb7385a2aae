// Line editing and history through libedit.
#include "cli/line_editor.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <histedit.h>
#include <langinfo.h>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/lock_beside.h"
#include "cli/terminal.h"
#include "prosa/error.h"

namespace prosa::cli {
namespace {

constexpr int kMaxHistoryLines = 1000;
constexpr size_t kMaxHistoryBytes = size_t{64} << 20;
constexpr std::string_view kHistoryBegin = "_HiStOrY_V2_\n";  // of every history that libedit writes

/// libedit reads characters by the locale. The text is UTF-8 whatever the locale says, so a plain C locale is replaced
/// by C.UTF-8, which glibc always has. Numbers keep their C form.
void use_utf8_characters() {
  if (std::setlocale(LC_CTYPE, "") != nullptr && std::string_view(nl_langinfo(CODESET)) == "UTF-8") return;
  std::setlocale(LC_CTYPE, "C.UTF-8");
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
  EditLine* editor = nullptr;
};

LineEditor::LineEditor(std::string prompt, std::filesystem::path file) : impl_(std::make_unique<Impl>()) {
  use_utf8_characters();
  impl_->prompt = std::move(prompt);
  impl_->editor = el_init("prosa", stdin, is_terminal(stdout) ? stdout : stderr, stderr);
  if (impl_->editor == nullptr) throw std::bad_alloc();
  el_set(impl_->editor, EL_CLIENTDATA, impl_->prompt.c_str());
  el_set(impl_->editor, EL_PROMPT, prompt_of);
  el_set(impl_->editor, EL_EDITOR, "emacs");
  el_set(impl_->editor, EL_HIST, ::history, impl_->lines.get());
  el_set(impl_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
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
  if (impl_->editor != nullptr) el_end(impl_->editor);  // gives the terminal back as it was
}

LineEditor::Result LineEditor::read(std::string& line) {
  line.clear();
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
