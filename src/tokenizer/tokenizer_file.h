// tokenizer.json, read and checked: what it says in the terms of byte-level BPE, nothing computed from it yet.
//
// Whatever the file holds, the result is consistent: ids are dense, every byte has a token, every merge joins two known
// tokens to a known one, and the file asks for nothing that prosa does not do. Otherwise an Error that names the key.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pretokenizer.h"
#include "tokenizer/string_pool.h"

namespace prosa {

/// Two neighbours become one; the place in the list is the rank (0 merges first).
struct Merge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t result = 0;
};

/// A token that is cut out of the text before anything else happens to it.
///
/// Those that steer the model are control tokens: a text can only contain them where prosa wrote it itself. They are
/// all that the file flags as special, and of the others those of the form <|…|> and the six tags by which the chat
/// template and the channels of a reply (src/chat/) mark thoughts, tool calls and tools' answers. What remains are
/// words that somebody added to a vocabulary: text like any other.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // as flagged in the file; decoding can leave these out
  bool control = false;      // steers the model, see above
  bool normalized = false;   // matched in the normalized text, not in the raw one
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows white space to its left
  bool rstrip = false;       // and to its right
};

struct TokenizerFile {
  StringPool tokens;                    // [vocab] bytes by id; added tokens as their text
  std::array<int32_t, 256> byte_ids{};  // byte -> id of the token that is that byte
  std::vector<Merge> merges;
  std::vector<AddedToken> added;
  StringPool added_texts;  // [added] their contents
  PreTokenizer pretokenizer = PreTokenizer::qwen35;
  bool nfc = false;
  /// [vocab] of the tokens that a piece is as a whole, whatever the merges say: the option ignore_merges; else empty.
  std::vector<bool> unmerged;
  /// What the file says otherwise than it is taken here, in whole sentences for people.
  std::vector<std::string> warnings;
};

/// `where` names the text in errors. `qwen35_class`: the official library reads the file with the class of Qwen3.5
/// (official_class.h), whose pre-tokenizer and normalizer count instead of the file's. Errors: bad_tokenizer,
/// unsupported.
TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& where, bool qwen35_class = false);

}  // namespace prosa
