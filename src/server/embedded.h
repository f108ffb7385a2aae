// The files that the program carries: those of src/server/page, and the description of the API, openapi.json.
//
// Their text only: page.cpp says how they are served. The definition is written by the build (embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace prosa::server {

struct EmbeddedFile {
  std::string_view name;  // "style.css"
  std::string_view text;
};

std::span<const EmbeddedFile> embedded_files() noexcept;

}  // namespace prosa::server
