# Tests of src/voice, named voice_…_test.cpp: of those of an engine the ones whose engine is built in. Test speech is made
# by flite while the test runs.
function(voice_tests_need pattern)
  foreach(engine IN LISTS ARGN)
    if(NOT engine IN_LIST PROSA_VOICE_ENGINES)
      list(FILTER test_sources EXCLUDE REGEX "/voice_${pattern}test\\.cpp$")
    endif()
  endforeach()
  set(test_sources ${test_sources} PARENT_SCOPE)
endfunction()

if(NOT PROSA_VOICE_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/(voice_|speakable|cli_(speak|voice|wyoming)_)[a-z_]*test\\.cpp$")
  return()
endif()
voice_tests_need(flite_ flite)
voice_tests_need(pocketsphinx_ pocketsphinx flite)
voice_tests_need(webrtc_ webrtc flite)
voice_tests_need(echo_ webrtc flite)

# What the tests speak Wyoming with.
add_executable(wyoming_program wyoming_program.cpp)
target_link_libraries(wyoming_program PRIVATE prosa_plain_options nlohmann_json::nlohmann_json)

# What every test gets that has engines of its own making.
function(prosa_voice_test name)
  target_link_libraries(${name} PRIVATE prosa_voice)
  target_compile_definitions(${name} PRIVATE PROSA_WYOMING_PROGRAM="$<TARGET_FILE:wyoming_program>")
  add_dependencies(${name} wyoming_program)
  if(name MATCHES "pocketsphinx")
    pkg_get_variable(pocketsphinx_models pocketsphinx modeldir)
    target_compile_definitions(${name} PRIVATE PROSA_POCKETSPHINX_MODELS="${pocketsphinx_models}")
  endif()
endfunction()
