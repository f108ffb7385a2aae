// The JSON of tokenizer.json, with its two huge members kept out of the document tree.
//
// `model.vocab` and `model.merges` (400,000 strings in a real file) go into flat lists as the parser meets them; the
// rest, a few kilobytes, becomes an ordinary document. Meaning is checked elsewhere, apart from the form of these two.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/string_pool.h"

namespace prosa {

struct TokenizerJson {
  TokenizerJson() = default;
  TokenizerJson(TokenizerJson&&) = default;
  ~TokenizerJson() { dismantle(rest); }

  nlohmann::json rest;  // everything but the two below
  bool has_vocab = false;
  bool has_merges = false;
  StringPool vocab;                 // [n] tokens as the file spells them
  std::vector<uint64_t> vocab_ids;  // [n]
  StringPool merges;                // [2 * merges] left and right by turns
};

/// Errors: bad_tokenizer, also for keys that appear twice and nesting beyond any sense.
TokenizerJson read_tokenizer_json(std::string_view text, const std::string& where);

}  // namespace prosa
