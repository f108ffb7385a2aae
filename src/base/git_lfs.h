// Git LFS pointers: small texts that stand in a clone where large files were not fetched.
//
// Every reader of a model's files asks here first: what it would say of the text itself leads nowhere.
#pragma once

#include <string>
#include <string_view>

namespace prosa {

/// Error(not_found) that names `where`, when `content` is a pointer instead of the file.
void refuse_git_lfs_pointer(std::string_view content, const std::string& where);

}  // namespace prosa
