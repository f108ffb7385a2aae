// resolve_model() with a download line.
#include "tools/find_model.h"

#include "cli/download_line.h"
#include "hub/resolve.h"

namespace prosa::tools {

std::filesystem::path find_model(const std::string& model, const LoadOptions& load, bool text_only) {
  cli::DownloadLine line(model);
  PullOptions options;
  options.revision = load.revision;
  options.offline = load.offline;
  options.text_only = text_only;
  options.progress = [&line](const DownloadProgress& progress) { line.show(progress); };
  return resolve_model(model, options);
}

}  // namespace prosa::tools
