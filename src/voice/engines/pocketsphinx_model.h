// Whether a folder holds an English model that pocketsphinx can read.
//
// pocketsphinx ends the process, or reads beyond a file's end, where one of its binary files is damaged; hence each is
// looked through before. Not a reader of models. Invariant: whatever the files hold, the answer is an Error or none.
#pragma once

#include <filesystem>

namespace prosa::voice {

/// `folder` holds en-us/ (acoustic model), en-us.lm.bin and cmudict-en-us.dict. Errors: not_found (a file of them), io
/// (damaged: which, and how).
void check_pocketsphinx_model(const std::filesystem::path& folder);

}  // namespace prosa::voice
