// Which tokenizer class transformers' AutoTokenizer would load for a folder, as far as it changes ids.
//
// AutoTokenizer (5.24) knows that folders of Qwen3.5 name the wrong class and takes Qwen3.5's own for them. That class
// brings its pre-tokenizer and normalizer along, whatever tokenizer.json says. Reads two small files, no tokenizer.
#pragma once

#include <filesystem>

namespace prosa {

/// The folder's config.json and tokenizer_config.json lead AutoTokenizer to Qwen3_5Tokenizer. False where there is no
/// config.json, or none that can be read: whoever needs it will say so.
bool is_qwen35_class(const std::filesystem::path& folder);

}  // namespace prosa
