# The mlx backend, over MLX's own C++ library, where MLX's CMake package is found (CMAKE_PREFIX_PATH or MLX_DIR; MLX's
# wheels on PyPI carry it). Without it nothing of the build changes.
set(PROSA_MLX AUTO CACHE STRING "Build the mlx backend: AUTO (where MLX's CMake package is found), ON, OFF")
set_property(CACHE PROPERTY PROSA_MLX PROPERTY STRINGS AUTO ON OFF)

set(PROSA_MLX_FOUND OFF)
if(NOT PROSA_MLX STREQUAL "OFF")
  find_package(MLX CONFIG QUIET GLOBAL)
  if(MLX_FOUND)
    set(PROSA_MLX_FOUND ON)
    message(STATUS "mlx backend: MLX of ${MLX_DIR}")
  elseif(NOT PROSA_MLX STREQUAL "AUTO")
    message(FATAL_ERROR "PROSA_MLX is ${PROSA_MLX}, but MLX's CMake package is not found: install MLX (pip install mlx) and "
                        "set MLX_DIR to the folder share/cmake/MLX inside it, or leave PROSA_MLX at AUTO")
  endif()
endif()
