# Tests of src/server, named server_…_test.cpp: only where it is built.
if(NOT PROSA_SERVER_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/(cli_)?server_[a-z_]*test\\.cpp$")
  return()
endif()

# The page in a browser, where there is one.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(PROSA_BUILD_PROGRAM AND Python3_FOUND AND NOT CMAKE_CROSSCOMPILING AND NOT PROSA_SANITIZE)
  add_test(NAME Server.ThePageWorksInChromium
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/page_test.py $<TARGET_FILE:prosa_cli>)
  set_tests_properties(Server.ThePageWorksInChromium PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()
if(NOT PROSA_TLS_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/server_tls_test\\.cpp$")
endif()
