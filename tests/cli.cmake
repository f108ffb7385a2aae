# What the tests of the whole program need besides the library: where the program lies, and what starts it when it was
# built for another machine.
list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " prosa_emulator)
foreach(source IN LISTS test_sources)
  get_filename_component(name ${source} NAME_WE)
  if(NOT name MATCHES "^cli_")
    continue()
  endif()
  target_compile_definitions(${name} PRIVATE PROSA_PROGRAM="$<TARGET_FILE:prosa_cli>" PROSA_EMULATOR="${prosa_emulator}"
                                             PROSA_BASH="${PROSA_BASH}")
  target_link_libraries(${name} PRIVATE util)  # forkpty
  add_dependencies(${name} prosa_cli)
endforeach()
target_sources(cli_editing_test PRIVATE ${PROJECT_SOURCE_DIR}/src/cli/word_wrap.cpp)  # of the program, by itself

find_program(PROSA_PYTHON python3)
mark_as_advanced(PROSA_PYTHON)
if(PROSA_SERVER_FOUND AND PROSA_PYTHON AND NOT CMAKE_CROSSCOMPILING AND NOT PROSA_SANITIZE)
  add_test(NAME Replicas.OneIsKilledUnderLoad
           COMMAND ${PROSA_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/replicas_test.py
                   $<TARGET_FILE:prosa_cli> ${PROSA_TINY_CHAT} ${PROJECT_SOURCE_DIR})
  set_tests_properties(Replicas.OneIsKilledUnderLoad PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 120)
endif()

if(NOT CMAKE_CROSSCOMPILING)
  add_test(NAME Cli.ProcessesShareASessionFile
           COMMAND ${PROSA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/session_race_test.sh
                   $<TARGET_FILE:prosa_cli> ${PROSA_TINY_CHAT} 4 6 2)
endif()
