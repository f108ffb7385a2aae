# Writes the C++ file OUTPUT with the FILES (paths below ROOT) as strings: prosa::server::embedded_files().
#
# A script of the build, not of the configuration: cmake -DROOT=… -DFILES=a,b -DOUTPUT=… -P embed.cmake. Text files
# only: a raw string holds everything but its own end.
string(REPLACE "," ";" FILES "${FILES}")
set(entries "")
foreach(file IN LISTS FILES)
  file(READ "${ROOT}/${file}" text)
  string(FIND "${text}" ")embedded\"" end)
  if(NOT end EQUAL -1)
    message(FATAL_ERROR "${file} holds the mark that ends it in the program: )embedded\"")
  endif()
  get_filename_component(name "${file}" NAME)
  string(APPEND entries "    {\"${name}\", std::string_view(R\"embedded(${text})embedded\")},\n")
endforeach()
file(WRITE "${OUTPUT}" "// Written by src/server/embed.cmake.\n#include \"server/embedded.h\"\n\n"
  "namespace prosa::server {\n\nstd::span<const EmbeddedFile> embedded_files() noexcept {\n"
  "  static constexpr EmbeddedFile kFiles[] = {\n${entries}  };\n  return kFiles;\n}\n\n}  // namespace prosa::server\n")
