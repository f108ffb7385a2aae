# Packages by CPack, of what cmake/Install.cmake installs: a Debian package and a tarball, in packages/ of the build folder.
# `cpack` in a build folder makes both; `./prosa package` builds what belongs in first.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME prosa)
set(CPACK_PACKAGE_VENDOR "the authors of prosa")
set(CPACK_PACKAGE_CONTACT "the authors of prosa")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
string(TOLOWER "prosa-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}" CPACK_PACKAGE_FILE_NAME)
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Talks with language models of the Qwen3.5 family on the machine itself.
 The program, with its manual pages and shell completions, the library with its
 headers for CMake and pkg-config, and a small model to begin with.")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, pocketsphinx-en-us")
if(NOT BUILD_SHARED_LIBS)  # what an application links beside the static library
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, cmake, pkg-config, libfmt-dev, libutf8proc-dev, libcurl4-openssl-dev, libssl-dev")
endif()
find_program(PROSA_DPKG_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(PROSA_DPKG_SHLIBDEPS)
if(PROSA_DPKG_SHLIBDEPS)  # which libraries it needs; without the tool a package could not say so
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
else()
  set(CPACK_GENERATOR TGZ)
endif()
if(BUILD_SHARED_LIBS)
  file(WRITE ${PROJECT_BINARY_DIR}/triggers "activate-noawait ldconfig\n")
  set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/triggers)
endif()
include(CPack)
