// A SAX handler for nlohmann's parser: a stack of open containers for the small document, and three modes for the
// lists.
#include "tokenizer/json_reader.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "prosa/error.h"

namespace prosa {
namespace {

using nlohmann::json;
constexpr size_t kMaxDepth = 32;                 // real files have 5
constexpr size_t kMaxEntries = size_t{1} << 19;  // of the rest: real files have some thousand
constexpr size_t kMaxShown = 60;                 // bytes of a token in a message

class Reader final : public nlohmann::json_sax<json> {
 public:
  Reader(TokenizerJson& out, const std::string& where) : out_(out), where_(where) {}

  bool null() override { return value(nullptr); }
  bool boolean(bool truth) override { return value(truth); }
  bool number_float(double number, const std::string&) override { return value(number); }
  bool binary(binary_t&) override { return value(nullptr); }  // JSON text has none

  bool number_integer(int64_t number) override { return value(number); }  // the parser's name for negative ones
  bool number_unsigned(uint64_t number) override {
    if (mode_ != Mode::vocab) return value(number);
    out_.vocab_ids.push_back(number);
    return true;
  }

  bool string(std::string& text) override {
    switch (mode_) {
      case Mode::document: return value(std::move(text));
      case Mode::vocab: return fail_id();
      case Mode::merges: return split_merge(text);
      case Mode::merge_pair:
        ++pair_size_;
        out_.merges.add(text);
        return true;
    }
    return false;
  }

  bool key(std::string& text) override {
    if (mode_ == Mode::vocab) {
      out_.vocab.add(text);
      return true;
    }
    if (mode_ != Mode::document) fail_merge();
    if (stack_.back()->contains(text)) fail(shortened(text), "the key appears twice");
    key_ = std::move(text);
    return true;
  }

  bool start_object(size_t) override {
    if (mode_ == Mode::vocab) fail_id();
    if (mode_ != Mode::document) fail_merge();
    if (!in_model() || key_ != "vocab") return open(json::object());
    if (out_.has_vocab) fail("model.vocab", "the key appears twice");
    out_.has_vocab = true;
    mode_ = Mode::vocab;
    return true;
  }

  bool end_object() override {
    if (mode_ == Mode::vocab) {
      mode_ = Mode::document;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool start_array(size_t) override {
    switch (mode_) {
      case Mode::vocab: return fail_id();
      case Mode::merge_pair: return fail_merge();
      case Mode::merges:
        mode_ = Mode::merge_pair;
        pair_size_ = 0;
        return true;
      case Mode::document: break;
    }
    if (!in_model() || key_ != "merges") return open(json::array());
    if (out_.has_merges) fail("model.merges", "the key appears twice");
    out_.has_merges = true;
    mode_ = Mode::merges;
    return true;
  }

  bool end_array() override {
    if (mode_ == Mode::merge_pair) {
      if (pair_size_ != 2) fail_merge();
      mode_ = Mode::merges;
    } else if (mode_ == Mode::merges) {
      mode_ = Mode::document;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    throw Error(ErrorCode::bad_tokenizer, fmt::format("not valid JSON at byte {}", position), where_,
                "the file may be cut off; fetch it again");
  }

 private:
  enum class Mode { document, vocab, merges, merge_pair };

  [[nodiscard]] bool in_model() const {
    return stack_.size() == 2 && stack_[0]->is_object() && stack_[0]->contains("model") &&
           stack_[1] == &(*stack_[0])["model"] && stack_[1]->is_object();
  }
  /// Where the value at hand belongs in the document.
  json* put(json&& what) {
    if (++entries_ > kMaxEntries) {
      fail(shortened(key_), fmt::format("more than {} values beside model.vocab and model.merges", kMaxEntries));
    }
    if (stack_.empty()) return &(out_.rest = std::move(what));
    json& parent = *stack_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(what));
    parent.push_back(std::move(what));
    return &parent.back();
  }
  template <typename T>
  bool value(T&& what) {
    if (mode_ == Mode::vocab) fail_id();
    if (mode_ != Mode::document) fail_merge();
    put(json(std::forward<T>(what)));
    return true;
  }
  bool open(json&& container) {
    if (stack_.size() == kMaxDepth) fail(shortened(key_), fmt::format("nested deeper than {} levels", kMaxDepth));
    stack_.push_back(put(std::move(container)));  // stays put: nothing is added to its parent while it is open
    return true;
  }
  bool split_merge(std::string_view text) {
    const size_t blank = text.find(' ');
    if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos) fail_merge();
    out_.merges.add(text.substr(0, blank));
    out_.merges.add(text.substr(blank + 1));
    return true;
  }
  [[noreturn]] void fail(std::string_view what, std::string message) const {
    throw Error(ErrorCode::bad_tokenizer, std::move(message), fmt::format("{}: {}", where_, what));
  }
  static std::string shortened(std::string_view text) {
    if (text.size() <= kMaxShown) return std::string(text);
    std::string out;
    utf8::append_complete(out, text.substr(0, kMaxShown));
    return out + "…";
  }
  [[noreturn]] bool fail_id() const {
    fail(fmt::format("model.vocab[\"{}\"]", shortened(out_.vocab[out_.vocab.size() - 1])),
         "the id must be an integer from 0");
  }
  [[noreturn]] bool fail_merge() const {
    fail(fmt::format("model.merges[{}]", out_.merges.size() / 2),
         "a merge must be \"left right\" or [\"left\", \"right\"]");
  }

  TokenizerJson& out_;
  const std::string& where_;
  std::vector<json*> stack_;  // open containers of the document
  std::string key_;           // of the next value, if the innermost container is an object
  Mode mode_ = Mode::document;
  int pair_size_ = 0;
  size_t entries_ = 0;
};

}  // namespace

TokenizerJson read_tokenizer_json(std::string_view text, const std::string& where) {
  TokenizerJson out;
  Reader reader(out, where);
  json::sax_parse(text.begin(), text.end(), &reader);  // errors are thrown by the reader
  return out;
}

}  // namespace prosa
