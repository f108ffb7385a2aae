# The CUDA module: libprosa_cuda.so, loaded by name at run time, so that one program runs with and without a driver.
# It holds the CUDA runtime; nothing else of prosa links anything of CUDA.
set(PROSA_CUDA AUTO CACHE STRING "Build the CUDA module: AUTO (where nvcc and a card are found), ON, OFF")
set_property(CACHE PROPERTY PROSA_CUDA PROPERTY STRINGS AUTO ON OFF)
# Machine code for each, and PTX of the first one for all others from there on. 90a: Hopper's matrix instructions.
set(PROSA_CUDA_ARCHITECTURES "80;86;89;90a;100;120" CACHE STRING "Compute capabilities that the module is built for")

set(PROSA_CUDA_FOUND OFF)
# The driver's device: a toolkit without a card is no reason to compile for minutes.
if(PROSA_CUDA STREQUAL "AUTO" AND EXISTS /dev/nvidiactl OR PROSA_CUDA STREQUAL "ON")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(PROSA_CUDA_FOUND ON)
  elseif(NOT PROSA_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "PROSA_CUDA is ${PROSA_CUDA}, but no CUDA compiler is found: install the CUDA toolkit (13.0 or "
                        "newer), set CMAKE_CUDA_COMPILER, or leave PROSA_CUDA at AUTO")
  endif()
endif()
message(STATUS "CUDA module: ${PROSA_CUDA_FOUND}")
if(NOT PROSA_CUDA_FOUND)
  return()
endif()

set(prosa_cuda_real ${PROSA_CUDA_ARCHITECTURES})
list(TRANSFORM prosa_cuda_real APPEND "-real")
list(GET PROSA_CUDA_ARCHITECTURES 0 prosa_cuda_first)
if(NOT prosa_cuda_first MATCHES "a$")  # PTX with a letter runs on that one card only
  list(APPEND prosa_cuda_real "${prosa_cuda_first}-virtual")
endif()
set(CMAKE_CUDA_ARCHITECTURES ${prosa_cuda_real})
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

set(prosa_cuda_root ${CMAKE_CURRENT_LIST_DIR}/..)
file(GLOB prosa_cuda_sources CONFIGURE_DEPENDS
  ${prosa_cuda_root}/src/backend/cuda/*.cpp ${prosa_cuda_root}/src/backend/cuda/kernels/*.cu)
list(FILTER prosa_cuda_sources EXCLUDE REGEX "/cuda/(loader|module)\\.cpp$")
# What the backend needs of the library stands in the module once more: it takes no symbol from the program.
add_library(prosa_cuda_objects OBJECT ${prosa_cuda_sources}
  ${prosa_cuda_root}/src/backend/segments.cpp ${prosa_cuda_root}/src/backend/candidates.cpp)
target_include_directories(prosa_cuda_objects PRIVATE ${prosa_cuda_root}/src ${prosa_cuda_root}/include ${PROSA_GPU_HEADERS})
target_include_directories(prosa_cuda_objects SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_definitions(prosa_cuda_objects PRIVATE FMT_HEADER_ONLY)
if("90a" IN_LIST PROSA_CUDA_ARCHITECTURES)
  target_compile_definitions(prosa_cuda_objects PRIVATE PROSA_CUDA_SM90A)
endif()
# -fmad=false: a product and a sum are fused only where the code says so.
target_compile_options(prosa_cuda_objects PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>
                                                  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-ffp-contract=off>)
if(PROSA_WERROR)
  target_compile_options(prosa_cuda_objects PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
set_target_properties(prosa_cuda_objects PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON CUDA_STANDARD 17 CUDA_EXTENSIONS OFF CUDA_RUNTIME_LIBRARY Static
                                                    UNITY_BUILD OFF)
