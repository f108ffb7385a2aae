# The flags of every prosa target, as the interface target prosa_options.
#
# -ffp-contract=off: a product and a sum are fused only where the code says so, so that a kernel's bits do not depend
# on how the compiler unrolled it.
add_library(prosa_options INTERFACE)
target_compile_features(prosa_options INTERFACE cxx_std_20)
target_compile_options(prosa_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -ffp-contract=off)
# Where the sources lay is nobody's business: a broken invariant names its file from the project's folder on.
target_compile_options(prosa_options INTERFACE -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(prosa_options INTERFACE -Wno-restrict)  # GCC 12 warns of std::string's own code (PR 105329)
endif()
if(BUILD_SHARED_LIBS)  # calls within the library are calls of the library's own functions, and may be inlined
  target_compile_options(prosa_options INTERFACE -fno-semantic-interposition)
endif()
if(PROSA_WERROR)
  target_compile_options(prosa_options INTERFACE -Werror)
endif()
if(PROSA_SANITIZE)
  # For tests that must know; compilers have no common name for it.
  if(PROSA_SANITIZE MATCHES "address")
    target_compile_definitions(prosa_options INTERFACE PROSA_ADDRESS_SANITIZER)
  endif()
  if(PROSA_SANITIZE MATCHES "thread")
    target_compile_definitions(prosa_options INTERFACE PROSA_THREAD_SANITIZER)
  endif()
  target_compile_options(prosa_options INTERFACE -fsanitize=${PROSA_SANITIZE} -fno-sanitize-recover=all
                                                 -fno-omit-frame-pointer)
  if(PROSA_SANITIZE MATCHES "undefined")  # what that name leaves out: numbers that no integer can hold
    target_compile_options(prosa_options INTERFACE -fsanitize=float-cast-overflow)
  endif()
  target_link_options(prosa_options INTERFACE -fsanitize=${PROSA_SANITIZE})
endif()
if(PROSA_BUILD_FUZZERS)  # counts the ways through the code; what links it also links what reads the counters
  target_compile_options(prosa_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Code around the library, whose speed nothing depends on: what the optimizer and the checks of every access would do with
# the JSON and command line headers in it is half of a build.
add_library(prosa_plain_options INTERFACE)
target_link_libraries(prosa_plain_options INTERFACE prosa_options)
if(PROSA_SANITIZE)
  target_compile_options(prosa_plain_options INTERFACE -O0 -fno-sanitize=alignment,null,object-size,pointer-overflow)
else()
  target_compile_options(prosa_plain_options INTERFACE $<$<NOT:$<CONFIG:Debug>>:-O1>)
endif()
