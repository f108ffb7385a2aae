# The tests of the backend seam and of stored sessions, unchanged, on the mlx backend: `ctest -L mlx`.
foreach(part backend_numbers backend_exact backend_snapshot backend_tentative backend_cancel backend_errors session_exact)
  add_executable(mlx_${part}_test ${part}_test.cpp)
  set_target_properties(mlx_${part}_test PROPERTIES CXX_EXTENSIONS OFF)
  target_include_directories(mlx_${part}_test PRIVATE ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(mlx_${part}_test PRIVATE prosa_parts prosa_tools prosa_plain_options nlohmann_json::nlohmann_json fmt::fmt GTest::gtest_main GTest::gmock)
  target_compile_definitions(mlx_${part}_test PRIVATE PROSA_TEST_MLX PROSA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data"
                                                      PROSA_TINY_CHAT="${PROSA_TINY_CHAT}")
  add_test(NAME mlx_${part} COMMAND mlx_${part}_test)
  # Threads that wait for each other in a spin are slow where several tests share two cores.
  set_tests_properties(mlx_${part} PROPERTIES LABELS mlx TIMEOUT 600 ENVIRONMENT OPENBLAS_NUM_THREADS=1)
  list(APPEND mlx_tests mlx_${part}_test)
endforeach()
add_custom_target(mlx_tests DEPENDS ${mlx_tests})
