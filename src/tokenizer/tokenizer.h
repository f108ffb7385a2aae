// Text <-> token ids with a tokenizer.json: byte-level BPE as Qwen2, Qwen3 and Qwen3.5 use it.
//
// encode: added tokens are cut out first, the rest is NFC-normalized, split by the pre-tokenizer and merged by rank.
// Ids equal those of the official implementation; of a text with marks (marked_text.h) too, unless what was given
// spells a control token: that stays characters there. Any byte sequence encodes and decodes without error: invalid
// UTF-8 is replaced by U+FFFD first. Immutable after load: safe to share between threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/marked_text.h"

namespace prosa {

class Tokenizer {
 public:
  /// From the folder's tokenizer.json, as the official library reads it: for some models that is not quite what the
  /// file says (official_class.h). Errors: not_found, bad_tokenizer (names file and key), unsupported.
  static Tokenizer load(const std::filesystem::path& folder);
  static Tokenizer load_file(const std::filesystem::path& tokenizer_json);
  /// From the text of such a file; `where` names it in errors.
  static Tokenizer load_json(std::string_view text, const std::string& where);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// With `parse_special`, special tokens in the text become their ids; without, they are plain text. Added tokens that
  /// the file does not flag as special (<think>, <tool_call>) become their ids in both cases, as in the official
  /// library. Error(invalid_argument) for more than 1 GiB.
  [[nodiscard]] std::vector<int32_t> encode(std::string_view text, bool parse_special = true) const;
  void encode(std::string_view text, std::vector<int32_t>& out, bool parse_special = true) const;
  /// Control tokens (is_control) become their ids only where all their bytes were written, not given. In everything
  /// else the borders between parts do not show: words and merges cross them. Errors as above.
  [[nodiscard]] std::vector<int32_t> encode(const MarkedText& text) const;
  /// Without control tokens, whatever it spells.
  [[nodiscard]] std::vector<int32_t> encode_given(std::string_view text) const;

  /// Whole text; invalid UTF-8 in it becomes U+FFFD. Ids out of range are skipped. Special tokens are kept as text
  /// unless `skip_special`.
  [[nodiscard]] std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// The raw bytes of one token (may be part of a character); empty for an unknown id.
  [[nodiscard]] std::string_view token_bytes(int32_t id) const noexcept;
  [[nodiscard]] bool is_special(int32_t id) const noexcept;
  /// Steers the model: special, or of those added tokens that are not flagged so but work like it (AddedToken in
  /// tokenizer_file.h has the list).
  [[nodiscard]] bool is_control(int32_t id) const noexcept;
  /// Id of a token by its literal text ("<|im_end|>", " the"), added tokens first.
  [[nodiscard]] std::optional<int32_t> token_id(std::string_view token) const;
  [[nodiscard]] int64_t vocab_size() const noexcept;  // highest id + 1
  /// What the files say otherwise than it was taken, in whole sentences for people; usually there are none.
  [[nodiscard]] const std::vector<std::string>& warnings() const noexcept;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Bytes of tokens in, whole UTF-8 characters out: never half a character. Invalid bytes become U+FFFD.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}
  /// The text that became complete with this token (often one word, sometimes empty).
  std::string push(int32_t id);
  /// What is left at the end: U+FFFD for an unfinished character.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // at most 3 bytes of an unfinished character
};

}  // namespace prosa
