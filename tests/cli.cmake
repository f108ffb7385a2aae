# What the tests of the whole program need besides the library: where the program lies, and what starts it when it was
# built for another machine. And the test of an installed prosa.
find_program(PROSA_BASH bash REQUIRED)
list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " prosa_emulator)
foreach(name IN ITEMS cli_test cli_bench_test cli_chat_test cli_convert_test cli_eval_test cli_pull_test)
  target_compile_definitions(${name} PRIVATE PROSA_PROGRAM="$<TARGET_FILE:prosa_cli>" PROSA_EMULATOR="${prosa_emulator}"
                                             PROSA_BASH="${PROSA_BASH}")
  target_link_libraries(${name} PRIVATE util)  # forkpty
  add_dependencies(${name} prosa_cli)
endforeach()

if(NOT CMAKE_CROSSCOMPILING AND NOT PROSA_SANITIZE)
  add_test(NAME Install.ConsumerBuildsAndRuns
           COMMAND ${PROSA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/install_test.sh ${PROJECT_BINARY_DIR})
endif()
