# Install rules: the libraries with their headers and the exported target prosa::prosa, the program, the embedded model.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(PROSA_VOICE_FOUND)
  set(prosa_voice_target prosa_voice)
endif()
if(PROSA_SERVER_FOUND)
  set(prosa_server_target prosa_server)
endif()
install(TARGETS prosa ${prosa_server_target} ${prosa_voice_target} prosa_core prosa_hub prosa_base EXPORT prosa-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(PROSA_BUILD_PROGRAM)
  install(TARGETS prosa_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(prosa_models ${CMAKE_INSTALL_DATADIR}/prosa/models)
install(DIRECTORY models/ DESTINATION ${prosa_models})

set(prosa_cmake ${CMAKE_INSTALL_LIBDIR}/cmake/prosa)
install(EXPORT prosa-targets NAMESPACE prosa:: DESTINATION ${prosa_cmake})
configure_package_config_file(cmake/prosa-config.cmake.in ${PROJECT_BINARY_DIR}/prosa-config.cmake
                              INSTALL_DESTINATION ${prosa_cmake} PATH_VARS prosa_models)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/prosa-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/prosa-config.cmake ${PROJECT_BINARY_DIR}/prosa-config-version.cmake
        DESTINATION ${prosa_cmake})
