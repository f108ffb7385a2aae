// The first line of a pointer is fixed; https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
#include "base/git_lfs.h"

#include "prosa/error.h"

namespace prosa {

void refuse_git_lfs_pointer(std::string_view content, const std::string& where) {
  constexpr std::string_view kFirstLine = "version https://git-lfs.github.com/spec/";
  if (!content.starts_with(kFirstLine)) return;
  throw Error(ErrorCode::not_found, "is a Git LFS pointer: the repository was cloned without its large files", where,
              "run 'git lfs pull' in that folder, or fetch the model with 'prosa pull'");
}

}  // namespace prosa
