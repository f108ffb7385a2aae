# Install rules: the library with its headers, the exported target prosa::prosa and prosa.pc; the program with its manual
# pages and the shells' completions; the embedded model. cmake/Package.cmake makes packages of the same files.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# The shared library is one file; the static ones are all that it consists of.
set(prosa_installed_targets prosa)
if(NOT BUILD_SHARED_LIBS)
  list(APPEND prosa_installed_targets prosa_core prosa_hub prosa_base)
  if(PROSA_VOICE_FOUND)
    list(APPEND prosa_installed_targets prosa_voice)
  endif()
  if(PROSA_SERVER_FOUND)
    list(APPEND prosa_installed_targets prosa_server)
  endif()
endif()
install(TARGETS ${prosa_installed_targets} EXPORT prosa-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(prosa_models ${CMAKE_INSTALL_DATADIR}/prosa/models)
install(DIRECTORY models/ DESTINATION ${prosa_models})

# What `prosa install` and `prosa package` build: all that is installed, and nothing else.
add_custom_target(prosa_installed DEPENDS ${prosa_installed_targets})
if(TARGET prosa_cuda)
  add_dependencies(prosa_installed prosa_cuda)
endif()

if(PROSA_BUILD_PROGRAM)
  install(TARGETS prosa_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # Written by the program itself, so that they cannot say anything else than its --help.
  set(share ${PROJECT_BINARY_DIR}/shell)
  add_custom_command(OUTPUT ${share}/man/man1/prosa.1
                     COMMAND prosa_cli man --all ${share}
                     COMMAND ${CMAKE_COMMAND} -E touch ${share}/man/man1/prosa.1
                     DEPENDS prosa_cli COMMENT "Writing manual pages and completions")
  add_custom_target(prosa_shell_files ALL DEPENDS ${share}/man/man1/prosa.1)
  add_dependencies(prosa_installed prosa_shell_files)
  install(DIRECTORY ${share}/man/ DESTINATION ${CMAKE_INSTALL_MANDIR})
  install(DIRECTORY ${share}/bash-completion ${share}/fish DESTINATION ${CMAKE_INSTALL_DATADIR})
  # Debian's zsh looks elsewhere for what packages bring than for what was installed by hand.
  set(zsh site-functions)
  if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    set(zsh vendor-completions)
  endif()
  install(FILES ${share}/zsh/_prosa DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${zsh})
endif()

# find_package(prosa)
set(prosa_cmake ${CMAKE_INSTALL_LIBDIR}/cmake/prosa)
install(EXPORT prosa-targets NAMESPACE prosa:: DESTINATION ${prosa_cmake})
configure_package_config_file(cmake/prosa-config.cmake.in ${PROJECT_BINARY_DIR}/prosa-config.cmake
                              INSTALL_DESTINATION ${prosa_cmake} PATH_VARS prosa_models)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/prosa-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/prosa-config.cmake ${PROJECT_BINARY_DIR}/prosa-config-version.cmake
        DESTINATION ${prosa_cmake})

# pkg-config prosa. Its folders are found from where the file lies, so that an unpacked tarball works anywhere.
file(RELATIVE_PATH prosa_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(prosa_pc_requires "")
set(prosa_pc_libs "-lprosa")
if(NOT BUILD_SHARED_LIBS)
  set(prosa_pc_libs "-lprosa_core -lprosa_hub -lprosa_base -pthread")
  set(prosa_pc_requires fmt libutf8proc)
  if(PROSA_HUB)
    list(APPEND prosa_pc_requires libcurl libcrypto)
  endif()
  if(PROSA_VOICE_FOUND)
    string(PREPEND prosa_pc_libs "-lprosa_voice ")
    foreach(package IN LISTS PROSA_VOICE_PACKAGES)  # target=module
      string(REGEX REPLACE ".*=" "" module ${package})
      list(APPEND prosa_pc_requires ${module})
    endforeach()
    if(flite IN_LIST PROSA_VOICE_ENGINES)
      foreach(library IN LISTS FLITE_LIBRARIES)
        get_filename_component(library ${library} NAME_WE)
        string(REGEX REPLACE "^lib" " -l" library ${library})
        string(APPEND prosa_pc_libs ${library})
      endforeach()
    endif()
  endif()
  list(JOIN prosa_pc_requires " " prosa_pc_requires)
endif()
configure_file(cmake/prosa.pc.in ${PROJECT_BINARY_DIR}/prosa.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/prosa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
