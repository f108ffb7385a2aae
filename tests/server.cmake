# Tests of src/server, named server_…_test.cpp: only where it is built.
if(NOT PROSA_SERVER_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/(cli_)?server_[a-z_]*test\\.cpp$")
endif()
if(NOT PROSA_TLS_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/server_tls_test\\.cpp$")
endif()
