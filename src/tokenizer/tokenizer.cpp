// Tokenizer: the steps of encode in order, decoding, and the streaming decoder. The steps themselves are next door:
// tokenizer_file (reading), added_tokens, unicode (NFC), pretokenizer, bpe.
#include "tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <functional>
#include <utility>

#include "base/files.h"
#include "base/git_lfs.h"
#include "base/utf8.h"
#include "prosa/error.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/official_class.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer_file.h"
#include "tokenizer/unicode.h"

namespace prosa {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 29;  // the largest real ones have some 30 MB
constexpr size_t kMaxTextBytes = size_t{1} << 30;  // keeps every position within 32 bits, NFC's growth included

std::string read_text(const std::filesystem::path& path) {
  auto text = read_optional_file(path, kMaxFileBytes, ErrorCode::bad_tokenizer);
  if (text) {
    refuse_git_lfs_pointer(*text, path.string());
    return std::move(*text);
  }
  throw Error(ErrorCode::not_found, "no such file", path.string(), "a model folder needs its tokenizer.json");
}

void check_size(std::string_view text) {
  if (text.size() <= kMaxTextBytes) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("{} bytes are too many to encode at once", text.size()), "text",
              fmt::format("give at most {}", kMaxTextBytes));
}

/// Takes the tokens out of the file.
AddedTokens take_added(TokenizerFile& file, bool normalized) {
  std::vector<AddedToken> picked;
  for (AddedToken& token : file.added) {
    if (token.normalized != normalized) continue;
    picked.push_back(std::move(token));
    if (normalized && file.nfc) picked.back().content = unicode::to_nfc(picked.back().content);
  }
  return AddedTokens(std::move(picked));
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerFile file)
      : tokens(std::move(file.tokens)),
        bpe(tokens, file.merges, file.byte_ids, file.unmerged),
        special(tokens.size()),
        control(tokens.size()),
        pretokenizer(file.pretokenizer),
        nfc(file.nfc),
        warnings(std::move(file.warnings)),
        contents(std::move(file.added_texts)),
        contents_index(file.added.size()),
        raw_added(take_added(file, false)),
        normalized_added(take_added(file, true)) {
    for (const AddedToken& token : file.added) {  // their texts are gone
      if (token.special) special[static_cast<size_t>(token.id)] = true;
      if (token.control) control[static_cast<size_t>(token.id)] = true;
      contents_index.insert(contents, static_cast<int32_t>(content_ids.size()));
      content_ids.push_back(token.id);
    }
  }
  Impl(const Impl&) = delete;  // bpe points to tokens
  Impl& operator=(const Impl&) = delete;

  /// `text`: valid UTF-8, no added tokens to be cut out any more.
  void encode_pieces(std::string_view text, Bpe::Scratch& scratch, std::vector<int32_t>& out) const {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = piece_end(pretokenizer, text, begin);
      bpe.encode(text.substr(begin, end - begin), scratch, out);
      begin = end;
    }
  }

  /// Cuts `added` out of `text`, whose stretches between them go to `plain`. `given`: ranges of `text`.
  static void cut_out(const AddedTokens& added, std::string_view text, std::span<const MarkedText::Range> given,
                      bool parse_special, std::vector<int32_t>& out,
                      const std::function<void(std::string_view)>& plain) {
    WrittenReach reach(given);
    for (size_t at = 0; at < text.size();) {
      const AddedTokens::Found found = added.next(text, at, parse_special, reach);
      if (found.plain) plain(text.substr(found.plain->begin, found.plain->end - found.plain->begin));
      if (found.token) out.push_back(found.token->id);
      at = found.token ? found.token->end : found.plain->end;
    }
  }

  /// `marks`: null, or those of `text`, which is valid UTF-8.
  void encode(std::string_view text, const MarkedText* marks, bool parse_special, std::vector<int32_t>& out) const {
    out.reserve(out.size() + text.size() / 4 + 1);
    Bpe::Scratch scratch;
    std::string normal;
    const auto pieces = [&](std::string_view part) { encode_pieces(part, scratch, out); };
    const std::span<const MarkedText::Range> given = marks ? marks->given() : std::span<const MarkedText::Range>();
    cut_out(raw_added, text, given, parse_special, out, [&](std::string_view part) {
      const bool changes = nfc && !unicode::is_surely_nfc(part);
      if (given.empty() || normalized_added.empty()) {
        if (changes) part = normal = unicode::to_nfc(part);
        cut_out(normalized_added, part, {}, parse_special, out, pieces);
        return;
      }
      const MarkedText stretch = changes ? to_nfc(marks->slice(part)) : marks->slice(part);
      cut_out(normalized_added, stretch.text(), stretch.given(), parse_special, out, pieces);
    });
  }

  StringPool tokens;  // [vocab] bytes by id
  Bpe bpe;
  std::vector<bool> special;  // [vocab]
  std::vector<bool> control;  // [vocab]
  PreTokenizer pretokenizer;
  bool nfc;
  std::vector<std::string> warnings;
  StringPool contents;  // [added] texts of added tokens, for token_id
  StringIndex contents_index;
  std::vector<int32_t> content_ids;  // [added]
  AddedTokens raw_added;             // matched before normalization
  AddedTokens normalized_added;      // and after it
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.json";
  return Tokenizer(
      std::make_unique<Impl>(parse_tokenizer_json(read_text(file), file.string(), is_qwen35_class(folder))));
}

Tokenizer Tokenizer::load_file(const std::filesystem::path& tokenizer_json) {
  return load_json(read_text(tokenizer_json), tokenizer_json.string());
}

Tokenizer Tokenizer::load_json(std::string_view text, const std::string& where) {
  return Tokenizer(std::make_unique<Impl>(parse_tokenizer_json(text, where)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
  std::vector<int32_t> out;
  encode(text, out, parse_special);
  return out;
}

void Tokenizer::encode(std::string_view text, std::vector<int32_t>& out, bool parse_special) const {
  check_size(text);
  std::string repaired;
  if (!utf8::is_valid(text)) text = repaired = utf8::replace_invalid(text);
  impl_->encode(text, nullptr, parse_special, out);
}

std::vector<int32_t> Tokenizer::encode(const MarkedText& text) const {
  check_size(text.text());
  std::vector<int32_t> out;
  if (utf8::is_valid(text.text())) {
    impl_->encode(text.text(), &text, true, out);
  } else {
    const MarkedText repaired = replace_invalid(text);
    impl_->encode(repaired.text(), &repaired, true, out);
  }
  return out;
}

std::vector<int32_t> Tokenizer::encode_given(std::string_view text) const { return encode(MarkedText::of_given(text)); }

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    bytes += token_bytes(id);
  }
  return utf8::is_valid(bytes) ? bytes : utf8::replace_invalid(bytes);
}

std::string_view Tokenizer::token_bytes(int32_t id) const noexcept {
  if (id < 0 || static_cast<size_t>(id) >= impl_->tokens.size()) return {};
  return impl_->tokens[static_cast<size_t>(id)];
}

bool Tokenizer::is_special(int32_t id) const noexcept {
  return id >= 0 && static_cast<size_t>(id) < impl_->special.size() && impl_->special[static_cast<size_t>(id)];
}

bool Tokenizer::is_control(int32_t id) const noexcept {
  return id >= 0 && static_cast<size_t>(id) < impl_->control.size() && impl_->control[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  if (const int32_t added = impl_->contents_index.find(impl_->contents, token); added != StringIndex::kNone) {
    return impl_->content_ids[static_cast<size_t>(added)];
  }
  if (const int32_t id = impl_->bpe.whole(token); id != StringIndex::kNone) return id;
  return std::nullopt;
}

const std::vector<std::string>& Tokenizer::warnings() const noexcept { return impl_->warnings; }

int64_t Tokenizer::vocab_size() const noexcept { return static_cast<int64_t>(impl_->tokens.size()); }

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->token_bytes(id);
  std::string text;
  pending_.erase(0, utf8::append_complete(text, pending_));
  return text;
}

std::string StreamDecoder::flush() {
  const std::string rest = std::exchange(pending_, {});
  return utf8::replace_invalid(rest);
}

}  // namespace prosa
